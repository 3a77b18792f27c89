"""After the first answer: each share with its counts, and the cases that it counts."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.db import Database
from tests.api.conftest import Libraries, SignIn
from tests.conftest import MONDAY
from tests.tracker.samples import desk_document
from tracker.calendars import save_calendar
from tracker.history import import_rows
from tracker.models import Library

PAGE = "/manage/handling?from=2026-11-01&to=2026-11-23"


def row(number: int, *more: tuple[float, dict[str, Any]]) -> dict[str, Any]:
    """A question of 15 days ago with events so many hours later."""
    received = MONDAY - timedelta(days=15, minutes=number)
    events = [
        {"at": (received + timedelta(hours=hours)).isoformat(), **event} for hours, event in more
    ]
    return {
        "id": f"c{number}",
        "library": "north",
        "channel": "web",
        "received_at": received.isoformat(),
        "events": [{"at": received.isoformat(), "kind": "message", "by": "patron"}, *events],
    }


ESCALATED = (0, {"kind": "escalated", "by": "bot"})
ANSWERED = (1, {"kind": "feedback", "by": "librarian@north", "substantive": True})
CLOSED = (2, {"kind": "closed", "by": "librarian@north"})
REOPENED = (3, {"kind": "reopened", "by": "patron"})
BOT = (0, {"kind": "bot_answer", "by": "bot", "entry": "renew-books", "probability": 0.9})
YES = (0.1, {"kind": "bot_accepted", "by": "patron"})
NO = (0.1, {"kind": "bot_rejected", "by": "patron", "cause": "no"})


@pytest.fixture
def manage(signed_in: SignIn, database: Database, libraries: Libraries) -> TestClient:
    rows = [row(n, ESCALATED, ANSWERED, CLOSED) for n in range(24)]
    rows.append(row(24, ESCALATED, ANSWERED, CLOSED, REOPENED))
    rows += [row(n, BOT, YES) for n in range(30, 48)]
    rows += [row(n, BOT, NO) for n in range(50, 56)]
    rows += [row(n, BOT) for n in range(60, 65)]
    with database.transaction() as session:
        import_rows(session, enumerate(rows, start=1), now=MONDAY)
    client = signed_in("manager@north")
    client.headers["Accept-Language"] = "en"
    return client


def line(page: str, name: str) -> str:
    return page.partition(f'<th scope="row">{name}')[2].partition("</tr>")[0]


def test_reopening_and_acceptance_stand_with_counts_and_intervals(manage: TestClient) -> None:
    page = manage.get(PAGE).text

    reopened = line(page, "Reopened within 7 days")
    assert "4.0%" in reopened
    assert "1 of 25" in reopened
    assert "0.7–19.5" in reopened
    accepted = line(page, "Bot answers that patrons said helped")
    assert "75.0%" in accepted
    assert "18 of 24" in accepted
    assert "24 of 29 patrons said anything" in accepted


def test_a_figure_leads_to_as_many_cases_as_it_counts(manage: TestClient) -> None:
    page = manage.get(PAGE).text
    found = re.search(r'href="([^"]*figure=acceptance[^"]*)"', page)
    assert found is not None
    address = unescape(found[1])

    assert "· 24 questions" in manage.get(address).text
    address = address.replace("&outcome=said", "")
    assert "· 29 questions" in manage.get(address).text
    for outcome, count in (("accepted", 18), ("rejected", 6), ("silent", 5)):
        assert f"· {count} questions" in manage.get(f"{address}&outcome={outcome}").text
    again = address.replace("acceptance", "reopened")
    assert "25 questions" in manage.get(again).text
    assert "1 question<" in manage.get(f"{again}&outcome=again").text


def test_every_figure_leads_to_exactly_its_cases(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    again = (4, {"kind": "message", "by": "patron", "text": "周日呢？"})
    late = (40, {"kind": "feedback", "by": "librarian@north", "substantive": True})
    said = (41, {"kind": "corrected", "by": "librarian@north", "read_scale": 3})
    rows = [row(n, ESCALATED, ANSWERED, again, late, said) for n in range(70, 73)]
    rows += [row(n, ESCALATED, late, CLOSED, (50, again[1])) for n in range(73, 75)]
    with database.transaction() as session:
        import_rows(session, enumerate(rows, start=1), now=MONDAY)
        library = session.get_one(Library, libraries.north)
        save_calendar(session, library.id, "desk", desk_document(), now=MONDAY, by="test")

    page = manage.get(PAGE).text

    links = {
        unescape(address): int(number.replace(",", ""))
        for address, number in re.findall(
            r'<td class="number"><a href="(/manage/cases[^"]*)">[^<]*</a>'
            r'(?:<br><span class="small muted">\d+ of (\d+)</span>)',
            page,
        )
    }
    assert re.findall(r"figure=(\w+)", "\n".join(links)) == [
        "next_response", "staffed_target", "reopened", "acceptance",
    ]  # fmt: skip
    for address, number in re.findall(
        r'<td class="number"><a href="(/manage/cases[^"]*)">([\d,]+)</a></td>', page
    ):
        links[unescape(address)] = int(number.replace(",", ""))
    assert len(links) == 4 + 9 + 1  # shares, volumes, one READ level
    for address, number in links.items():
        assert re.search(rf"· {number} questions?</p>", manage.get(address).text), address
    (closed, *_) = map(unescape, re.findall(r'href="([^"]*figure=resolution)"', page))
    assert "26 closed, 4 open" in page
    assert "· 26 questions" in manage.get(f"{closed}&outcome=closed").text
    assert "· 4 questions" in manage.get(f"{closed}&outcome=open").text
    assert (
        links[f"/manage/cases?{PAGE.partition('?')[2]}&figure=next_response&outcome=matured"] == 5
    )


def test_a_long_period_works_out_on_demand_what_must_read_each(
    manage: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.dashboard.handling.MOST_READ", 10)

    page = manage.get(PAGE).text

    assert "Reopened within 7 days" not in page
    assert "closed, " not in page
    (worked_out, *_) = map(unescape, re.findall(r'href="([^"]*whole=true)"', page))
    whole = manage.get(worked_out).text
    assert "1 of 25" in line(whole, "Reopened within 7 days")
    for name in ("Received", "Reference transactions", "Handed over to staff", "Directional"):
        assert line(page, name) == line(whole, name) != ""


def test_few_are_not_judged_and_nothing_is_no_rate(manage: TestClient) -> None:
    page = manage.get("/manage/handling?from=2020-01-01&to=2020-01-31").text

    assert "0.0%" not in page
    assert "100.0%" not in page


def test_librarians_see_none_of_it(signed_in: SignIn, libraries: Libraries) -> None:
    assert signed_in("librarian@north").get("/manage/handling").status_code == 403
