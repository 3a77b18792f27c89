"""Closings come in as iCalendar and go out as iCalendar."""

from datetime import date
from typing import Any

import icalendar
import pytest

from tests.tracker.samples import NOW, desk_document
from tracker.clock import Calendar
from tracker.errors import BadCalendar
from tracker.ical import closings, with_closings


def ics(*lines: str, events: int = 1) -> bytes:
    body = "\r\n".join(lines)
    inner = f"BEGIN:VEVENT\r\nUID:1\r\n{body}\r\nEND:VEVENT\r\n" if events else ""
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{inner}END:VCALENDAR\r\n".encode()


def closed(*lines: str, **changes: Any) -> dict[str, Any]:
    exceptions: dict[str, Any] = with_closings(desk_document(**changes), ics(*lines))["exceptions"]
    return exceptions


def test_whole_days_close_whole_days() -> None:
    found = closed("DTSTART;VALUE=DATE:20260501", "DTEND;VALUE=DATE:20260504")

    assert found == {"2026-05-01": [], "2026-05-02": [], "2026-05-03": []}


def test_a_day_without_end_is_one_day() -> None:
    assert closed("DTSTART;VALUE=DATE:20260501") == {"2026-05-01": []}


def test_hours_close_only_those_hours() -> None:
    found = closed("DTSTART:20260310T040000Z", "DTEND:20260310T060000Z")

    assert found == {"2026-03-10": [["08:30", "12:00"], ["14:00", "17:00"]]}


def test_two_closings_of_one_day_add_up() -> None:
    first = with_closings(
        desk_document(), ics("DTSTART:20260310T010000Z", "DTEND:20260310T040000Z")
    )

    second = with_closings(first, ics("DTSTART:20260310T060000Z", "DURATION:PT1H"))

    assert second["exceptions"] == {
        "2026-03-10": [["08:30", "09:00"], ["12:00", "14:00"], ["15:00", "17:00"]]
    }


def test_a_closing_over_midnight_touches_both_dates() -> None:
    found = closed("DTSTART;TZID=Asia/Shanghai:20260310T150000", "DTEND:20260311T020000Z")

    assert found == {"2026-03-10": [["08:30", "15:00"]], "2026-03-11": [["10:00", "17:00"]]}


def test_recurring_closings_are_followed() -> None:
    found = closed(
        "DTSTART;VALUE=DATE:20260101",
        "RRULE:FREQ=YEARLY;UNTIL=20280101",
        "EXDATE;VALUE=DATE:20270101",
    )

    assert found == {"2026-01-01": [], "2028-01-01": []}


def test_an_endless_recurrence_ends_after_ten_years() -> None:
    found = closed("DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=YEARLY")

    assert (min(found), max(found), len(found)) == ("2026-01-01", "2036-01-01", 11)


@pytest.mark.parametrize("line", ["TRANSP:TRANSPARENT", "STATUS:CANCELLED"])
def test_what_blocks_nothing_closes_nothing(line: str) -> None:
    assert closed("DTSTART;VALUE=DATE:20260501", line) == {}


@pytest.mark.parametrize(
    "text",
    [
        b"not a calendar",
        ics("SUMMARY:no start"),
        ics("DTSTART:20260310T060000Z", "DTEND:20260310T050000Z"),
        ics("DTSTART;VALUE=DATE:20260101", "DTEND;VALUE=DATE:20280101"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(text: bytes) -> None:
    with pytest.raises(BadCalendar):
        with_closings(desk_document(), text)


def test_an_empty_calendar_changes_nothing() -> None:
    assert with_closings(desk_document(), ics(events=0)) == desk_document()


def test_what_goes_out_closes_the_same_days() -> None:
    document = desk_document(
        exceptions={"2026-05-01": [], "2026-05-04": [], "2026-12-31": [["08:30", "12:00"]]}
    )

    text = closings(document, name="desk", now=NOW)

    again = with_closings(desk_document(), text)["exceptions"]
    assert again == {"2026-05-01": [], "2026-05-04": []}
    events = icalendar.Calendar.from_ical(text).walk("VEVENT")
    assert [str(event["summary"]) for event in events] == ["Closed", "Closed", "Open"]
    assert Calendar.from_document(document).local_date(events[2].decoded("dtstart")) == date(
        2026, 12, 31
    )
