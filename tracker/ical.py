"""Closings as iCalendar (RFC 5545), in and out."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
from dateutil.rrule import rrulestr

from tracker.clock import Calendar, Span
from tracker.errors import BadCalendar

PRODUCT = "-//refdesk//calendar//EN"
DAY = timedelta(days=1)
DAY_MINUTES = 1440
LONGEST = 366  # days of one closing
MOST_OCCURRENCES = 1_000
MOST_YEARS = 10


def with_closings(document: Mapping[str, Any], text: bytes) -> dict[str, Any]:
    """The calendar document with the events of an iCalendar file as closings.

    An event of whole days closes them; one with times closes those hours of each day.
    Recurring events are followed for ten years at most. Raises BadCalendar.
    """
    calendar = Calendar.from_document(document)
    days: dict[date, list[Span]] = {}
    for first, last in _events(text, calendar.tz):
        for day, closed in _by_day(first, last):
            hours = days.get(day)
            if hours is None:
                hours = list(calendar.weekly_on(day))
            days[day] = [left for span in hours for left in _without(span, closed)]
    exceptions = dict(document.get("exceptions") or {})
    exceptions |= {day.isoformat(): [_text(span) for span in spans] for day, spans in days.items()}
    changed = {**document, "exceptions": dict(sorted(exceptions.items()))}
    Calendar.from_document(changed)
    return changed


def closings(document: Mapping[str, Any], *, name: str, now: datetime) -> bytes:
    """The exceptions of a calendar document as iCalendar: closed days and special hours."""
    calendar = Calendar.from_document(document)
    out = icalendar.Calendar()
    out.add("prodid", PRODUCT)
    out.add("version", "2.0")
    out.add("x-wr-calname", name)
    for day in sorted(calendar.exceptions):
        spans = calendar.spans_on(day)
        if not spans:
            out.add_component(_event(f"{day}", "Closed", day, day + DAY, now))
        for number, (opens, shuts) in enumerate(spans):
            out.add_component(_event(f"{day}-{number}", "Open", opens, shuts, now))
    return bytes(out.to_ical())


def _event(
    identity: str, summary: str, start: date | datetime, end: date | datetime, now: datetime
) -> icalendar.Event:
    event = icalendar.Event()
    event.add("uid", f"{identity}@refdesk")
    event.add("summary", summary)
    event.add("dtstamp", now.astimezone(UTC))
    event.add("dtstart", start)
    event.add("dtend", end)
    event.add("transp", "TRANSPARENT" if summary == "Open" else "OPAQUE")
    return event


def _events(text: bytes, tz: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """Begin and end of each closing in wall time of the zone."""
    try:
        parsed = icalendar.Calendar.from_ical(text)
    except ValueError as error:
        raise BadCalendar(f"this is not iCalendar: {error}") from error
    for event in parsed.walk("VEVENT"):
        if str(event.get("transp", "")).upper() == "TRANSPARENT":
            continue  # special opening hours, or a note that blocks nothing
        if str(event.get("status", "")).upper() == "CANCELLED":
            continue
        start, end = _bounds(event, tz)
        if end - start > LONGEST * DAY:
            raise BadCalendar(f"a closing from {start.date()} lasts longer than a year")
        for first in _occurrences(event, start, tz):
            yield first, first + (end - start)


def _bounds(event: Any, tz: ZoneInfo) -> tuple[datetime, datetime]:
    if "dtstart" not in event:
        raise BadCalendar("an event has no DTSTART")
    raw = event.decoded("dtstart")
    start = _wall(raw, tz)
    if "dtend" in event:
        end = _wall(event.decoded("dtend"), tz)
    elif "duration" in event:
        end = start + event.decoded("duration")
    else:
        end = start if isinstance(raw, datetime) else start + DAY
    if end < start:
        raise BadCalendar(f"an event ends before it begins, on {start.date()}")
    return start, end


def _wall(value: date | datetime, tz: ZoneInfo) -> datetime:
    """A date or instant as wall time in the zone; a floating time is wall time already."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a wall time
    if value.tzinfo is None:
        return value
    return value.astimezone(tz).replace(tzinfo=None)


def _occurrences(event: Any, start: datetime, tz: ZoneInfo) -> Iterator[datetime]:
    if "rrule" not in event:
        yield start
        return
    rule = event["rrule"]
    if "UNTIL" in rule:
        rule = icalendar.vRecur({**rule, "UNTIL": [_wall(rule["UNTIL"][0], tz)]})
    skipped = {_wall(item.dt, tz) for item in _excluded(event)}
    try:
        found = rrulestr(rule.to_ical().decode(), dtstart=start)
    except ValueError as error:
        raise BadCalendar(f"a recurrence cannot be read: {error}") from error
    until = start.replace(year=start.year + MOST_YEARS, day=min(start.day, 28))
    for moment in islice(found, MOST_OCCURRENCES):
        if moment > until:
            return
        if moment not in skipped:
            yield moment


def _excluded(event: Any) -> Iterator[Any]:
    lists = event.get("exdate", [])
    for item in lists if isinstance(lists, list) else [lists]:
        yield from item.dts


def _by_day(first: datetime, last: datetime) -> Iterator[tuple[date, Span]]:
    """The part of a closing that falls on each date, in minutes after its midnight."""
    day = first.date()
    while True:
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a wall time
        begin = max(0, _minutes(first - midnight))
        end = min(DAY_MINUTES, _minutes(last - midnight))
        if end <= 0:
            return
        if begin < end:
            # A closed whole day takes the tail of its overnight span with it.
            yield day, (begin, 2 * DAY_MINUTES if end == DAY_MINUTES else end)
        if end < DAY_MINUTES:
            return
        day += DAY


def _minutes(length: timedelta) -> int:
    return int(length.total_seconds() // 60)


def _without(span: Span, closed: Span) -> Iterator[Span]:
    if span[0] < closed[0]:
        yield span[0], min(span[1], closed[0])
    if closed[1] < span[1]:
        yield max(span[0], closed[1]), span[1]


def _text(span: Span) -> list[str]:
    return [f"{minutes // 60:02d}:{minutes % 60:02d}" for minutes in span]
