import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from api.errors import BadRequest
from api.schedules import (
    UnreadableCalendar,
    read_calendar,
    weekly_calendar,
    with_closings,
    with_public_holidays,
)
from tracker.clock import Calendar
from tracker.errors import BadCalendar

TODAY = date(2026, 11, 22)
HOURS = [["09:00", "17:00"]]
WEEK = weekly_calendar("Asia/Shanghai", dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), HOURS))


def closings(folder: Path, *events: str) -> Path:
    """An .ics file with these events."""
    inner = "".join(f"BEGIN:VEVENT\r\nUID:{n}\r\n{e}END:VEVENT\r\n" for n, e in enumerate(events))
    text = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\n{inner}END:VCALENDAR\r\n"
    path = folder / "closings.ics"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def closed(document: dict[str, Any]) -> dict[str, Any]:
    exceptions: dict[str, Any] = document["exceptions"]
    return exceptions


@pytest.mark.parametrize("name", ["desk.yaml", "desk.json"])
def test_a_calendar_is_read_from_either_form(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("json"):
        path.write_text(json.dumps({**WEEK, "exceptions": {"2026-10-01": []}}))
    else:
        path.write_text(
            "versions:\n  - valid_from: 2026-01-01\n    weekly: {mon: [[09:00, 13:30]]}\n"
            "exceptions: {2026-10-01: []}\n"
        )

    document = read_calendar(path, timezone="Asia/Shanghai")

    assert closed(document) == {"2026-10-01": []}
    assert document["versions"][0]["weekly"]["mon"][0][0] == "09:00"
    assert Calendar.from_document(document).spans_on(date(2026, 11, 23))


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b\n", "a: [", "just words"])
def test_a_file_that_is_no_calendar_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "desk.yaml"
    path.write_text(text)

    with pytest.raises((UnreadableCalendar, BadCalendar)):
        read_calendar(path, timezone="Asia/Shanghai")


def test_public_holidays_close_and_make_up_days_open() -> None:
    exceptions = closed(with_public_holidays(WEEK, "CN", range(2026, 2027)))

    assert exceptions["2026-10-01"] == []  # National Day, a Thursday
    assert exceptions["2026-10-10"] == HOURS  # a Saturday that makes up for it
    assert "2026-11-23" not in exceptions  # an ordinary Monday


def test_an_unknown_country_is_refused() -> None:
    with pytest.raises(BadRequest, match="Atlantis"):
        with_public_holidays(WEEK, "Atlantis", range(2026, 2027))


def test_whole_days_are_closed_up_to_but_without_the_end(tmp_path: Path) -> None:
    path = closings(tmp_path, "DTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20261226\r\n")

    assert closed(with_closings(WEEK, path, today=TODAY)) == {"2026-12-24": [], "2026-12-25": []}


def test_a_timed_closing_takes_its_part_of_the_day(tmp_path: Path) -> None:
    path = closings(
        tmp_path,
        "DTSTART;TZID=Asia/Shanghai:20261125T120000\r\nDTEND;TZID=Asia/Shanghai:20261125T140000\r\n",
    )

    found = closed(with_closings(WEEK, path, today=TODAY))

    assert found == {"2026-11-25": [["09:00", "12:00"], ["14:00", "17:00"]]}


def test_a_closing_in_utc_is_moved_to_the_library_s_clock(tmp_path: Path) -> None:
    path = closings(tmp_path, "DTSTART:20261125T060000Z\r\nDURATION:PT2H\r\n")

    found = closed(with_closings(WEEK, path, today=TODAY))

    assert found == {"2026-11-25": [["09:00", "14:00"], ["16:00", "17:00"]]}


def test_a_closing_that_repeats_closes_each_time(tmp_path: Path) -> None:
    path = closings(tmp_path, "DTSTART;VALUE=DATE:20261204\r\nRRULE:FREQ=WEEKLY;COUNT=3\r\n")

    assert set(closed(with_closings(WEEK, path, today=TODAY))) == {
        "2026-12-04",
        "2026-12-11",
        "2026-12-18",
    }


def test_a_closing_that_repeats_for_ever_ends_in_three_years(tmp_path: Path) -> None:
    path = closings(tmp_path, "DTSTART;VALUE=DATE:20261225\r\nRRULE:FREQ=YEARLY\r\n")

    assert set(closed(with_closings(WEEK, path, today=TODAY))) == {
        "2026-12-25",
        "2027-12-25",
        "2028-12-25",
    }


def test_a_cancelled_event_closes_nothing(tmp_path: Path) -> None:
    path = closings(tmp_path, "STATUS:CANCELLED\r\nDTSTART;VALUE=DATE:20261225\r\n")

    assert closed(with_closings(WEEK, path, today=TODAY)) == {}


def test_a_file_that_is_no_icalendar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "closings.ics"
    path.write_text("hello")

    with pytest.raises(UnreadableCalendar):
        with_closings(WEEK, path, today=TODAY)
