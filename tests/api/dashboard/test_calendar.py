"""The calendar's page: each change is a version, nothing typed is lost, nobody is overwritten."""

from datetime import date, timedelta
from typing import Any

import icalendar
import pytest
from starlette.testclient import TestClient

from api.db import Database
from tests.api.conftest import Libraries, SignIn, csrf_of
from tests.conftest import MONDAY
from tests.tracker.test_ical import ics
from tracker.calendars import calendar, latest
from tracker.clock import Calendar
from tracker.history import import_rows
from tracker.models import Consultation

PAGE = "/manage/calendar"


@pytest.fixture
def manage(signed_in: SignIn) -> TestClient:
    client = signed_in("manager@north")
    client.headers["Accept-Language"] = "en"
    return client


def send(client: TestClient, action: str, *, version: int = 1, **fields: str) -> Any:
    """A form as the page sends it."""
    shown = {"csrf": csrf_of(client, PAGE), "name": "desk", "version": str(version)}
    return client.post(f"{PAGE}/{action}", data={**shown, **fields})


def document(database: Database, libraries: Libraries, name: str = "desk") -> dict[str, Any]:
    with database.snapshot() as session:
        row = latest(session, libraries.north, name)
    assert row is not None
    return row.document


def test_a_day_is_changed_and_the_grid_shows_it(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    answer = send(manage, "day", day="2026-11-25", kind="other", hours="8:30–12:00，14:00-16:30")

    assert answer.status_code == 303
    kept = document(database, libraries)["exceptions"]
    assert kept == {"2026-11-25": [["08:30", "12:00"], ["14:00", "16:30"]]}
    page = manage.get(f"{PAGE}?month=2026-11").text
    assert "14:00–16:30" in page
    assert ">own</span>" in page


def test_a_stretch_is_closed_at_once_and_opened_again(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    send(manage, "day", day="2027-02-01", until="2027-02-20", kind="closed")
    assert len(document(database, libraries)["exceptions"]) == 20

    send(manage, "day", version=2, day="2027-02-01", until="2027-02-20", kind="usual")

    assert document(database, libraries)["exceptions"] == {}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "other", "hours": "from nine to five"}, "from nine to five"),
        ({"kind": "other", "hours": "09:00-25:00"}, "09:00-25:00"),
        ({"kind": "closed", "until": "2026-11-01"}, "Choose 1 to 366 days."),
        ({"kind": "closed", "until": "2036-11-01"}, "Choose 1 to 366 days."),
    ],
)
def test_wrong_hours_are_refused_and_what_was_typed_comes_back(
    manage: TestClient,
    database: Database,
    libraries: Libraries,
    fields: dict[str, str],
    said: str,
) -> None:
    answer = send(manage, "day", day="2026-11-25", **fields)

    assert answer.status_code == 422
    assert said in answer.text
    assert fields.get("hours", "") in answer.text
    assert document(database, libraries)["exceptions"] == {}


def test_nobody_overwrites_what_somebody_else_changed(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    send(manage, "day", day="2026-11-25", kind="closed")

    second = send(manage, "day", version=1, day="2026-11-26", kind="other", hours="10:00-11:00")

    assert second.status_code == 409
    assert "Somebody changed this calendar meanwhile" in second.text
    assert 'value="10:00-11:00"' in second.text
    assert list(document(database, libraries)["exceptions"]) == ["2026-11-25"]


def test_a_timetable_holds_from_its_date_and_can_go(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    week = dict.fromkeys(("mon", "wed"), "09:00-16:00")
    send(manage, "timetable", valid_from="2027-01-18", do="save", **week)

    made = Calendar.from_document(document(database, libraries))
    assert made.weekly_on(date(2027, 1, 19)) == ()
    assert made.weekly_on(date(2027, 1, 15)) == ((510, 1050),)
    send(manage, "timetable", version=2, valid_from="2027-01-18", do="remove")
    assert len(document(database, libraries)["versions"]) == 1
    refused = send(manage, "timetable", version=3, valid_from="2020-01-01", do="remove")
    assert refused.status_code == 422


def test_holidays_are_named_and_an_open_year_is_provisional_until_confirmed(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    send(manage, "holidays", country="CN", first="2026", last="2027")

    page = manage.get(f"{PAGE}?month=2026-10").text
    assert "National Day" in page
    assert "2027 are not announced yet" in page
    kept = document(database, libraries)
    assert kept["unconfirmed_years"] == [2027]
    assert kept["exceptions"]["2026-10-01"] == []

    assert "provisional" in manage.get("/manage?from=2026-12-01&to=2027-01-05").text
    send(manage, "confirm", version=2, year="2027")
    assert document(database, libraries)["unconfirmed_years"] == []
    assert "provisional" not in manage.get("/manage?from=2026-12-01&to=2027-01-05").text


def test_a_country_that_nobody_knows_is_refused(manage: TestClient) -> None:
    answer = send(manage, "holidays", country="XX", first="2026", last="2026")

    assert answer.status_code == 422
    assert "XX" in answer.text


def test_closings_come_in_and_go_out_as_icalendar(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    content = ics("DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261226")
    shown = {"csrf": csrf_of(manage, PAGE), "name": "desk", "version": "1"}

    answer = manage.post(f"{PAGE}/import", data=shown, files={"file": ("c.ics", content)})

    assert answer.status_code == 303
    assert document(database, libraries)["exceptions"] == {"2026-12-24": [], "2026-12-25": []}
    sent = manage.get(f"{PAGE}/closings.ics?name=desk")
    assert sent.headers["content-type"].startswith("text/calendar")
    days = [
        event.decoded("dtstart")
        for event in icalendar.Calendar.from_ical(sent.content).walk("VEVENT")
    ]
    assert days == [date(2026, 12, 24), date(2026, 12, 25)]


def test_what_is_no_icalendar_is_refused_whole(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    shown = {"csrf": csrf_of(manage, PAGE), "name": "desk", "version": "1"}

    answer = manage.post(f"{PAGE}/import", data=shown, files={"file": ("c.ics", b"<html>")})

    assert answer.status_code == 422
    assert document(database, libraries)["exceptions"] == {}


def test_an_earlier_version_holds_again_as_a_new_one(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    send(manage, "day", day="2026-11-25", kind="closed")

    send(manage, "restore", version=2, number="1")

    with database.snapshot() as session:
        row = latest(session, libraries.north)
    assert row is not None
    assert (row.version, row.document["exceptions"], row.by) == (3, {}, "manager@north")


def test_a_branch_gets_a_calendar_of_its_own(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    answer = manage.post(f"{PAGE}/new", data={"csrf": csrf_of(manage, PAGE), "name": "东校区分馆"})

    assert answer.status_code == 303
    assert document(database, libraries, "东校区分馆")["tz"] == "Asia/Shanghai"
    assert "东校区分馆" in manage.get(PAGE).text
    assert manage.get(f"{PAGE}?name=nowhere").status_code == 404


def test_a_term_can_be_reported_on(manage: TestClient) -> None:
    send(manage, "term", term="2026 autumn", start="2026-09-07", end="2027-01-15", do="save")

    assert "2026 autumn" in manage.get("/manage/report").text
    send(manage, "term", version=2, term="2026 autumn", do="remove")
    assert "2026 autumn" not in manage.get("/manage/report").text


def test_new_hours_move_only_what_still_waits(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    received = MONDAY.isoformat()
    old = (MONDAY - timedelta(days=12)).isoformat()
    rows = [
        {
            "id": name,
            "library": "north",
            "channel": "web",
            "received_at": at,
            "events": [{"at": at, "kind": "escalated", "by": "bot"}],
        }
        for name, at in (("open", received), ("missed", old))
    ]
    with database.transaction() as session:
        import_rows(session, enumerate(rows, start=1), now=MONDAY)
    before = _due(database, libraries)

    send(manage, "day", day="2026-11-24", kind="closed")

    after = _due(database, libraries)
    assert after["missed"] == before["missed"]
    assert after["open"] == before["open"] + timedelta(days=1)
    with database.snapshot() as session:
        assert calendar(session, libraries.north) is not None


def _due(database: Database, libraries: Libraries) -> dict[str, Any]:
    with database.snapshot() as session:
        rows = session.query(Consultation.key, Consultation.next_day_due_at).all()
    return {row.key: row.next_day_due_at for row in rows}


@pytest.mark.parametrize("action", ["day", "timetable", "holidays", "restore", "new", "import"])
def test_librarians_change_no_hours(signed_in: SignIn, action: str) -> None:
    client = signed_in("librarian@north")

    assert client.post(f"{PAGE}/{action}", data={"name": "desk"}).status_code == 403
