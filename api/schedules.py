"""Calendars from files: DESIGN 4.5's own form, and closings from any calendar program."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import icalendar
import yaml
from dateutil.rrule import rrulestr

from api.errors import BadRequest
from tracker.clock import WEEKDAYS, Calendar

Spans = list[list[str]]
Weekly = Mapping[str, Spans]
YEARS_AHEAD = 3  # for closings that repeat for ever
MOST_CLOSINGS = 2_000
MIDNIGHT = 24 * 60


class UnreadableCalendar(BadRequest):
    """The calendar file cannot be read."""

    status = 422


def read_calendar(path: Path, *, timezone: str | None = None) -> dict[str, Any]:
    """A calendar of DESIGN 4.5's form, from JSON or YAML. Raises UnreadableCalendar."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise UnreadableCalendar(f"{path.name}: {error}") from None
    if not isinstance(document, dict):
        raise UnreadableCalendar(f"{path.name} must hold an object with tz, versions, exceptions.")
    if timezone is not None:
        document.setdefault("tz", timezone)
    plain: dict[str, Any] = _plain(document)
    Calendar.from_document(plain)
    return plain


def _plain(found: Any) -> Any:
    """What was written, where YAML took it for a date or, unquoted, 13:30 for 810 minutes."""
    if isinstance(found, dict):
        return {_plain(key): _plain(value) for key, value in found.items()}
    if isinstance(found, list):
        is_span = len(found) == 2 and all(isinstance(end, int | str) for end in found)
        if is_span:
            return [_clock(end) if isinstance(end, int) else end for end in found]
        return [_plain(value) for value in found]
    return found.isoformat() if isinstance(found, date) else found


def weekly_calendar(timezone: str, weekly: Weekly) -> dict[str, Any]:
    """A calendar with the same hours every week."""
    hours = {day: list(weekly.get(day, ())) for day in WEEKDAYS}
    return {
        "tz": timezone,
        "versions": [{"valid_from": "1990-01-01", "weekly": hours}],
        "exceptions": {},
    }


def with_public_holidays(
    document: Mapping[str, Any], country: str, years: range, *, make_up_as: str = "mon"
) -> dict[str, Any]:
    """The calendar closed on a country's holidays, open on the weekends that make up for them."""
    known = _holidays(country, years)
    weekly = document["versions"][-1]["weekly"]
    exceptions = dict(document.get("exceptions") or {})
    for year in years:
        day = date(year, 1, 1)
        while day.year == year:
            usual = weekly[WEEKDAYS[day.weekday()]]
            works = known.is_working_day(day)
            if not works and usual and day in known:
                exceptions.setdefault(day.isoformat(), [])
            elif works and day.weekday() >= 5:
                exceptions.setdefault(day.isoformat(), weekly[make_up_as])
            day += timedelta(days=1)
    return {**document, "exceptions": exceptions}


@cache
def _holidays(country: str, years: range) -> Any:
    try:
        return holidays.country_holidays(country, years=years)
    except NotImplementedError:
        raise BadRequest(f'Public holidays of "{country}" are not known.') from None


# --- closings from iCalendar -------------------------------------------------------------


def with_closings(document: Mapping[str, Any], path: Path, *, today: date) -> dict[str, Any]:
    """The calendar, closed where the events of an .ics file say so.

    Whole-day events close their days; timed ones close that part of the day.
    Raises UnreadableCalendar.
    """
    try:
        calendar = icalendar.Calendar.from_ical(path.read_bytes())
    except (ValueError, IndexError) as error:
        raise UnreadableCalendar(f"{path.name}: {error}") from None
    tz = ZoneInfo(document["tz"])
    exceptions: dict[str, Spans] = dict(document.get("exceptions") or {})
    result = {**document, "exceptions": exceptions}
    until = today.replace(year=today.year + YEARS_AHEAD, day=1)
    for count, (start, end) in enumerate(_closings(calendar, tz, until=until)):
        if count >= MOST_CLOSINGS:
            raise UnreadableCalendar(f"{path.name} holds more than {MOST_CLOSINGS} closings.")
        for day, closed in _by_day(start, end):
            exceptions[day.isoformat()] = _without(_spans_on(result, day), closed)
    Calendar.from_document(result)
    return result


def _closings(
    calendar: icalendar.Calendar, tz: ZoneInfo, *, until: date
) -> Iterator[tuple[datetime, datetime]]:
    """Every closing as wall time in the library's zone, repeated ones each time."""
    events: list[Any] = calendar.walk("VEVENT")
    for event in events:
        if str(event.get("STATUS", "")).upper() == "CANCELLED" or event.get("DTSTART") is None:
            continue
        first = _wall(event["DTSTART"].dt, tz)
        length = _length(event, first, tz)
        rule = event.get("RRULE")
        if rule is None:
            yield first, first + length
            continue
        text = _naive_rule(rule.to_ical().decode())
        last = datetime.combine(until, time())
        for start in rrulestr(text, dtstart=first).between(first, last, inc=True):
            yield start, start + length


def _naive_rule(text: str) -> str:
    """The rule with its end as a wall time: like its start, it carries no zone here."""
    parts = [part.rstrip("Z") if part.startswith("UNTIL=") else part for part in text.split(";")]
    return ";".join(parts)


def _length(event: Any, start: datetime, tz: ZoneInfo) -> timedelta:
    if event.get("DTEND") is not None:
        return _wall(event["DTEND"].dt, tz) - start
    if event.get("DURATION") is not None:
        length: timedelta = event["DURATION"].dt
        return length
    return timedelta(days=1) if not isinstance(event["DTSTART"].dt, datetime) else timedelta(0)


def _wall(moment: date, tz: ZoneInfo) -> datetime:
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time())
    if moment.tzinfo is None:
        return moment
    return moment.astimezone(UTC).astimezone(tz).replace(tzinfo=None)


def _by_day(start: datetime, end: datetime) -> Iterator[tuple[date, tuple[int, int]]]:
    """The closed minutes of each day that a closing touches."""
    day = start.date()
    while datetime.combine(day, time()) < end:
        midnight = datetime.combine(day, time())
        opens = max(0, int((start - midnight).total_seconds() // 60))
        shuts = min(MIDNIGHT, int((end - midnight).total_seconds() // 60))
        yield day, (opens, shuts)
        day += timedelta(days=1)


def _spans_on(document: Mapping[str, Any], day: date) -> Spans:
    exceptions = document["exceptions"]
    if day.isoformat() in exceptions:
        return list(exceptions[day.isoformat()])
    in_force = [v for v in document["versions"] if v["valid_from"] <= day.isoformat()]
    if not in_force:
        return []
    newest = max(in_force, key=lambda version: str(version["valid_from"]))
    return list(newest["weekly"].get(WEEKDAYS[day.weekday()], ()))


def _without(spans: Spans, closed: tuple[int, int]) -> Spans:
    """What is left of a day's spans outside the closed minutes."""
    left: Spans = []
    for start, end in spans:
        opens, shuts = _minutes(start), _minutes(end)
        if shuts <= opens:
            shuts += MIDNIGHT  # it ends on the next day
        for begin, finish in ((opens, min(shuts, closed[0])), (max(opens, closed[1]), shuts)):
            if begin < finish:
                left.append([_clock(begin), _clock(finish)])
    return left


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
