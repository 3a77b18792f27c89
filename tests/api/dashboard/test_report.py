"""The report as a page and as files, and who may have it."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.db import Database
from api.i18n import LANGUAGES
from api.models import AuditEntry
from api.reports import FORMATS
from tests.api.conftest import Libraries, SignIn, post_form
from tests.conftest import MONDAY, StandingClock
from tracker.history import import_rows

MANAGER = "manager@north"
PAGE = "/manage/report?month=2026-10"
OCTOBER = {"start": "2026-10-01", "end": "2026-10-31", "name": ""}


def row(number: int, *, hours: float | None) -> dict[str, Any]:
    received = MONDAY - timedelta(days=40) + timedelta(minutes=number)
    events: list[dict[str, Any]] = [{"at": received.isoformat(), "kind": "escalated", "by": "bot"}]
    if hours is not None:
        at = (received + timedelta(hours=hours)).isoformat()
        events.append({"at": at, "kind": "feedback", "by": "lin", "substantive": True})
    return {
        "id": f"q{number}",
        "library": "north",
        "channel": "wechat",
        "received_at": received.isoformat(),
        "events": events,
    }


@pytest.fixture
def october(database: Database, libraries: Libraries) -> None:
    """33 of 80 answered within 24 hours, all in October."""
    rows = [row(number, hours=2 if number < 33 else 40) for number in range(80)]
    with database.transaction() as session:
        import_rows(session, enumerate(rows, start=1), now=MONDAY)


@pytest.fixture
def manager(october: None, signed_in: SignIn) -> TestClient:
    return signed_in(MANAGER)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_the_rate_in_every_language(manager: TestClient, language: str) -> None:
    answer = manager.get(f"{PAGE}&language={language}")

    assert answer.status_code == 200
    assert ("41,3\xa0%" if language == "vi" else "41.3%") in answer.text
    assert f'<article class="report" lang="{language}">' in answer.text


def test_each_headline_leads_to_its_cases(manager: TestClient) -> None:
    text = manager.get(PAGE).text

    assert "/manage/cases?from=2026-10-01&amp;to=2026-10-31&amp;figure=answered_within_24h" in text


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_can_be_taken_along(manager: TestClient, form: str) -> None:
    answer = manager.get(f"/manage/report/file?month=2026-10&format={form}")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == FORMATS[form]
    name = f'attachment; filename="north-2026-10.{form}"'
    assert answer.headers["content-disposition"] == name
    assert len(answer.content) > 500


@pytest.mark.parametrize(
    "query",
    [
        "month=2026-13", "month=oct", "year=20", "year=9999", "term=none", "from=2026-10-01",
        "from=2026-10-31&to=2026-10-01", "from=1900-01-01&to=2026-01-01", "format=exe",
    ],
)  # fmt: skip
def test_a_period_or_format_that_there_is_not_is_refused(manager: TestClient, query: str) -> None:
    assert manager.get(f"/manage/report/file?{query}").status_code in {400, 422}


def test_a_librarian_and_a_stranger_do_not_get_the_report(
    october: None, signed_in: SignIn, client: TestClient
) -> None:
    assert signed_in("librarian@north").get(PAGE).status_code == 403
    assert client.get(PAGE).status_code in {303, 401}
    assert client.get("/manage/report/file?month=2026-10").status_code in {303, 401}


def test_another_library_has_another_report(october: None, signed_in: SignIn) -> None:
    text = signed_in("manager@south").get(PAGE + "&language=en").text

    assert "south received no questions" in text


def test_problems_and_measures_are_kept_and_carried_over(manager: TestClient) -> None:
    answer = post_form(
        manager,
        "/manage/report/notes",
        page=PAGE,
        **OCTOBER,
        problems="No one\r\non weekends <b>",
        measures="One more librarian",
    )

    assert answer.status_code == 303
    assert "month=2026-10" in answer.headers["location"]
    for page in (PAGE, "/manage/report?month=2026-11"):
        text = manager.get(page).text
        assert "No one\non weekends &lt;b&gt;" in text
        assert "One more librarian" in text


def test_sealing_and_restating_are_recorded_and_shown(
    manager: TestClient, database: Database, clock: StandingClock
) -> None:
    assert "/manage/report/seal" in manager.get(PAGE).text

    assert post_form(manager, "/manage/report/seal", page=PAGE, **OCTOBER).status_code == 303
    sealed = manager.get(PAGE + "&language=en").text
    assert "/manage/report/seal" not in sealed
    assert "by manager@north" in sealed
    clock.advance(hours=1)
    answer = post_form(manager, "/manage/report/restate", page=PAGE, **OCTOBER, reason="wrong <i>")
    assert answer.status_code == 303

    assert "manager@north: wrong &lt;i&gt;" in manager.get(PAGE + "&language=en").text
    with database.snapshot() as session:
        actions = list(session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))
    assert actions[-2:] == ["report.seal", "report.restate"]


def test_a_month_that_still_runs_cannot_be_sealed(manager: TestClient) -> None:
    november = {"start": "2026-11-01", "end": "2026-11-30", "name": ""}

    answer = post_form(manager, "/manage/report/seal", page=PAGE, **november)

    assert answer.status_code == 400
    assert "/manage/report/seal" not in manager.get("/manage/report?month=2026-11").text


def test_a_restatement_needs_a_sealed_report_and_a_reason(manager: TestClient) -> None:
    for reason in ("", "  ", "because"):
        answer = post_form(manager, "/manage/report/restate", page=PAGE, **OCTOBER, reason=reason)

        assert answer.status_code == 400


def test_a_form_without_its_token_changes_nothing(manager: TestClient) -> None:
    answer = manager.post("/manage/report/seal", data=OCTOBER)

    assert answer.status_code == 403
    assert "/manage/report/seal" in manager.get(PAGE).text
