"""Managers' pages over HTTP: the same numbers as the command line, and whom they refuse."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.audit import AuditEntry
from api.db import Database
from api.i18n import LANGUAGES
from kb.library import entry_versions, export_entries
from tests.api.conftest import Libraries, SignIn, post_form
from tests.conftest import MONDAY, StandingClock
from tracker.history import import_rows
from tracker.models import Library
from tracker.stats import stats

MANAGER = "manager@north"
PAGES = [
    "/manage",
    "/manage?from=2020-01-01&to=2020-02-01",
    "/manage?channel=wechat",
    "/manage/cases",
    "/manage/cases?figure=bot_inclusive_within_24h&outcome=missed",
    "/manage/cases?figure=backlog",
    "/manage/cases?figure=deflection",
    "/manage/cases?figure=excluded",
    "/manage/kb",
    "/manage/kb?q=续借&category=circulation",
    "/manage/kb?due=1",
    "/manage/kb/new",
    "/manage/kb/renew-books",
    "/manage/kb/try?q=怎么续借",
    "/manage/kb/try?q=xyzzy",
    "/manage/kb/unanswered",
    "/manage/calendar",
    "/manage/calendar?name=building",
    "/manage/calendar?month=2027-02&day=2027-02-05",
    "/manage/calendar?timetable=2020-01-01",
    "/manage/cases?figure=withdrawn",
    "/manage/cases?figure=received&weekday=1&hour=9&topic=-&by=lin",
    "/manage/handling",
    "/manage/cases?figure=reopened",
    "/manage/cases?figure=acceptance&outcome=accepted",
    "/manage/alerts",
    "/manage/activity",
    "/manage/audits",
    "/manage/consortium",
    "/manage/channels",
    "/manage/staff",
    "/manage/audit",
    "/manage/settings",
]


def row(number: int, channel: str, *, hours: float | None, by: str = "lin") -> dict[str, Any]:
    received = MONDAY - timedelta(days=5) + timedelta(minutes=number)
    events: list[dict[str, Any]] = [
        {"at": received.isoformat(), "kind": "message", "by": "patron", "text": f"问题{number}"},
        {"at": received.isoformat(), "kind": "escalated", "by": "bot"},
    ]
    if hours is not None:
        at = (received + timedelta(hours=hours)).isoformat()
        events.append({"at": at, "kind": "feedback", "by": by, "text": "答", "substantive": True})
    return {
        "id": f"{channel}-{number}",
        "library": "north",
        "channel": channel,
        "received_at": received.isoformat(),
        "events": events,
    }


@pytest.fixture
def history(database: Database, libraries: Libraries) -> None:
    """WeChat: 35 handed over, 6 answered within a day (METRICS.md, RC01). E-mail: 2."""
    rows = [row(n, "wechat", hours=2 if n < 6 else 30 if n < 10 else None) for n in range(35)]
    rows += [row(n, "email", hours=1) for n in range(2)]
    with database.transaction() as session:
        import_rows(session, enumerate(rows, start=1), now=MONDAY)


@pytest.fixture
def manage(signed_in: SignIn, history: None) -> TestClient:
    client = signed_in(MANAGER)
    client.headers["Accept-Language"] = "en"
    return client


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_there_in_every_language(
    manage: TestClient, path: str, language: str
) -> None:
    answer = manage.get(path, headers={"Accept-Language": language})

    assert answer.status_code == 200
    assert f'<html lang="{language}">' in answer.text
    assert " style=" not in answer.text
    assert "<style" not in answer.text


def test_the_page_shows_the_numbers_of_the_command_line(
    manage: TestClient, database: Database, libraries: Libraries, clock: StandingClock
) -> None:
    with database.snapshot() as session:
        library = session.get_one(Library, libraries.north)
        found = stats(session, library, at=clock())["channels"]["wechat"]["answered_within_24h"]
    assert (found["within"], found["matured"]) == (6, 35)

    page = manage.get("/manage").text

    assert "17.1%" in page
    assert "6 of 35, 24 h elapsed" in page
    assert "8.1–32.7" in page


def test_two_questions_are_too_few_to_judge(manage: TestClient) -> None:
    page = manage.get("/manage?channel=email").text

    assert "too few to judge" in page
    assert "100.0%" not in page.partition("Week by week")[0]


def test_misses_come_first_and_each_leads_to_its_conversation(manage: TestClient) -> None:
    page = manage.get("/manage/cases?figure=answered_within_24h&channel=wechat").text
    first, last = page.index("Not within the time</span>"), page.rindex("Within the time</span>")

    assert first < last
    assert page.count('<a href="/desk/c/') == 35


def test_an_unknown_figure_or_period_is_refused(manage: TestClient) -> None:
    assert manage.get("/manage/cases?figure=made_up").status_code == 400
    assert manage.get("/manage?from=soon").status_code == 400


@pytest.mark.parametrize("path", PAGES)
def test_librarians_and_strangers_see_no_figures(
    signed_in: SignIn, client: TestClient, path: str
) -> None:
    assert signed_in("librarian@north").get(path).status_code == 403
    assert client.get(path).status_code == 401


def test_another_librarys_figures_are_its_own(signed_in: SignIn, history: None) -> None:
    stranger = signed_in("manager@south")

    assert "17.1" not in stranger.get("/manage").text
    assert "问题1" not in stranger.get("/manage/cases").text
    assert stranger.get("/manage/kb/renew-books").status_code == 404


# --- the knowledge base ------------------------------------------------------------------------

ENTRY = {
    "id": "night-bus",
    "category": "hours-location",
    "questions_zh": "夜班车几点\n校车几点",
    "answer_zh": "23点。",
    "tags": "bus, night",
    "review_by": "2027-01-31",
}


def test_an_entry_is_published_with_its_history(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    answer = post_form(manage, "/manage/kb/save", page="/manage/kb/new", **ENTRY)
    assert answer.status_code == 303

    changed = {**ENTRY, "answer_zh": "22点。", "version": "1"}
    post_form(manage, "/manage/kb/save", page="/manage/kb/night-bus", **changed)

    with database.snapshot() as session:
        versions = entry_versions(session, libraries.north, "night-bus")
        logged = session.scalars(select(AuditEntry.action)).all()
    assert [version.entry.answers["zh"] for version in versions] == ["22点。", "23点。"]
    assert versions[0].entry.questions["zh"] == ("夜班车几点", "校车几点")
    assert versions[0].entry.tags == ("bus", "night")
    assert logged.count("entry.save") == 2


def test_an_older_version_is_not_written_over_a_newer(manage: TestClient) -> None:
    post_form(manage, "/manage/kb/save", page="/manage/kb/new", **ENTRY)

    again = post_form(manage, "/manage/kb/save", page="/manage/kb/new", **ENTRY)

    assert again.status_code == 400
    assert "Somebody changed this entry" in again.text
    assert "夜班车几点" in again.text


@pytest.mark.parametrize(
    "change",
    [{"id": "Not A Key"}, {"questions_zh": ""}, {"category": ""}, {"review_by": "soon"}],
)
def test_a_wrong_entry_is_refused_and_what_was_typed_is_kept(
    manage: TestClient, database: Database, libraries: Libraries, change: dict[str, str]
) -> None:
    answer = post_form(manage, "/manage/kb/save", page="/manage/kb/new", **{**ENTRY, **change})

    assert answer.status_code in {400, 422}
    assert "23点。" in answer.text
    with database.snapshot() as session:
        assert len(export_entries(session, libraries.north)) == 2


def test_a_retired_entry_answers_no_more(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    post_form(manage, "/manage/kb/lost-card/retire", page="/manage/kb/lost-card")

    with database.snapshot() as session:
        assert [entry.id for entry in export_entries(session, libraries.north)] == ["renew-books"]
    assert manage.get("/manage/kb/lost-card").status_code == 200


def test_a_draft_takes_the_question_and_the_librarians_answer(manage: TestClient) -> None:
    page = manage.get("/manage/cases?figure=within&channel=email").status_code
    assert page == 400
    listed = manage.get("/manage/cases?figure=received&channel=email").text
    number = listed.partition('href="/desk/c/')[2].partition('"')[0]

    draft = manage.get(f"/manage/kb/new?consultation={number}").text

    assert "问题" in draft
    assert ">答</textarea>" in draft


# --- settings ----------------------------------------------------------------------------------


def test_settings_are_kept_and_logged(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        library.settings = {"suggestions": ["renew-books"], "privacy_url": "https://old.example/"}

    answer = post_form(
        manage,
        "/manage/settings",
        page="/manage/settings",
        name="North Library",
        catalogue_url="https://catalogue.example.org/?q={title}",
        retention_days="90",
        privacy_url="",
    )

    assert answer.status_code == 303
    with database.snapshot() as session:
        kept = session.get_one(Library, libraries.north)
    assert kept.name == "North Library"
    assert kept.settings == {
        "suggestions": ["renew-books"],
        "catalogue_url": "https://catalogue.example.org/?q={title}",
        "retention_days": 90,
        "target_percent": 90,
        "target_minutes": 120,
    }


def test_the_pages_that_may_ask_are_kept_as_browsers_name_them(
    manage: TestClient, client: TestClient, database: Database, libraries: Libraries
) -> None:
    fields = {"name": "N", "retention_days": "90"}
    named = "https://WWW.example.org:443/\r\nhttp://localhost:8080"
    post_form(manage, "/manage/settings", page="/manage/settings", **fields, allowed_origins=named)

    with database.snapshot() as session:
        kept = session.get_one(Library, libraries.north).settings["allowed_origins"]
    asked = {
        origin: client.post(
            "/webhooks/rest/webhook",
            json={"sender": "x", "message": "hello"},
            headers={"origin": origin},
        ).status_code
        for origin in ("https://www.example.org", "https://elsewhere.example.org")
    }
    page = manage.get("/manage/settings").text
    post_form(manage, "/manage/settings", page="/manage/settings", **fields, allowed_origins="")

    assert kept == ["https://www.example.org", "http://localhost:8080"]
    assert list(asked.values()) == [200, 403]
    assert "https://www.example.org\nhttp://localhost:8080</textarea>" in page
    with database.snapshot() as session:
        assert "allowed_origins" not in session.get_one(Library, libraries.north).settings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("catalogue_url", "javascript:alert('{title}')"),
        ("catalogue_url", "https://catalogue.example.org/"),
        ("privacy_url", "data:text/html,x"),
        ("name", "  "),
        ("allowed_origins", "https://www.example.org/chat"),
        ("allowed_origins", "https://www.example.org\nwww.example.org"),
        ("allowed_origins", "https://[::1"),
        ("retention_days", "3"),
    ],
)
def test_a_wrong_setting_is_refused(manage: TestClient, field: str, value: str) -> None:
    fields = {"name": "N", "catalogue_url": "", "retention_days": "90", "privacy_url": ""}

    answer = post_form(
        manage, "/manage/settings", page="/manage/settings", **{**fields, field: value}
    )

    assert answer.status_code == 422
