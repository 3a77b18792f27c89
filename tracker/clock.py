"""Opening hours and deadlines: pure functions over calendars, no database, no present time.

Rules R1-R8 stand in tests/tracker/cases/business_time_cases.json. In short: instants are
UTC; a calendar has an IANA zone, dated versions of a weekly table in wall time, and
exceptions for single dates. A span belongs to the date it starts on, may end on the next,
and is half open: who comes at the closing instant comes after hours.

Inside, an instant is a whole number of microseconds since 1970, because integers compare
and subtract an order of magnitude faster than datetimes, and exactly. Merged open intervals
are kept per UTC year with their running total, so that a question about any stretch of time
costs two binary searches.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tracker.errors import BadCalendar

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
FOREVER = (datetime(9998, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
MINUTE = 60 * SECOND
DAY = timedelta(days=1)
DAY_MINUTES = 24 * 60
LAST_YEAR = 9997  # the last that is looked at: Python's dates end soon after

Pause = tuple[datetime, datetime | None]  # from, until; None: still paused
Span = tuple[int, int]  # minutes after the midnight of the date it starts on


def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name. Raises BadCalendar for an offset or an unknown name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadCalendar(f"{name!r} is not an IANA time zone") from error


def micros(instant: datetime) -> int:
    """Microseconds since 1970. Raises ValueError for a datetime without an offset."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no offset; give an instant with a time zone")
    return (instant - EPOCH) // timedelta(microseconds=1)


def instant_of(microseconds: int) -> datetime:
    """The instant in UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


@lru_cache(maxsize=65_536)
def first_instant(wall: datetime, tz: ZoneInfo) -> datetime:
    """The first real instant at which the zone's clocks show `wall` or later, in UTC.

    A wall time that clocks skip becomes the instant of the skip; one that they show twice,
    the first of the two.
    """
    guess = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if guess.astimezone(tz).replace(tzinfo=None) == wall:
        return guess
    before = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
    low, high = sorted((before, guess))
    low -= timedelta(seconds=1)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if middle.astimezone(tz).replace(tzinfo=None) >= wall:
            high = middle
        else:
            low = middle
    return high


def day_bounds(day: date, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """The instants at which a local date begins and ends."""
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a wall time
    return first_instant(midnight, tz), first_instant(midnight + DAY, tz)


def within_24h(received_at: datetime, at: datetime | None) -> bool:
    """Whether that came within 24 hours of real time: 86,400 s is in, 86,401 s is out (R8)."""
    return at is not None and received_at <= at <= received_at + DAY


@dataclass(frozen=True, slots=True)
class _Year:
    """Merged open intervals of one UTC year, with the open time before each."""

    opens: tuple[int, ...]
    shuts: tuple[int, ...]
    before: tuple[int, ...]
    total: int

    def elapsed(self, at: int) -> int:
        """Open time of this year up to `at`."""
        index = bisect_right(self.opens, at) - 1
        if index < 0:
            return 0
        return self.before[index] + min(at, self.shuts[index]) - self.opens[index]

    def reached(self, amount: int) -> int:
        """The earliest instant by which `amount` (more than 0) of open time has passed."""
        index = bisect_left(self.before, amount) - 1
        return self.opens[index] + amount - self.before[index]


@dataclass(frozen=True, slots=True)
class _Version:
    valid_from: date
    weekly: tuple[tuple[Span, ...], ...]


@dataclass(slots=True)
class Calendar:
    """Opening hours of one place, ready to be asked. Make it with `from_document`."""

    tz: ZoneInfo
    versions: tuple[_Version, ...]
    exceptions: dict[date, tuple[Span, ...]]
    unconfirmed_years: frozenset[int] = frozenset()
    _starts: tuple[date, ...] = ()
    _exception_dates: tuple[date, ...] = ()
    _dates: dict[date, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    _years: dict[int, _Year] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Calendar":
        """Read a calendar of DESIGN 4.5's form.

        Raises BadCalendar with what is wrong and where.
        """
        if not isinstance(document, Mapping):
            raise BadCalendar("a calendar is an object with tz and versions")
        name = document.get("tz")
        if not isinstance(name, str):
            raise BadCalendar("tz is missing")
        versions = sorted(
            (_version(item) for item in _list(document.get("versions"), "versions")),
            key=lambda version: version.valid_from,
        )
        exceptions = document.get("exceptions") or {}
        if not isinstance(exceptions, Mapping):
            raise BadCalendar("exceptions is an object of dates")
        dated = {_date(day): _spans(spans, day) for day, spans in exceptions.items()}
        years = _list(document.get("unconfirmed_years") or [], "unconfirmed_years")
        if not all(isinstance(year, int) for year in years):
            raise BadCalendar("unconfirmed_years are numbers")
        return cls(
            tz=zone(name),
            versions=tuple(versions),
            exceptions=dated,
            unconfirmed_years=frozenset(years),
            _starts=tuple(version.valid_from for version in versions),
            _exception_dates=tuple(sorted(day for day, spans in dated.items() if spans)),
        )

    def local_date(self, at: datetime) -> date:
        """The date that the calendar's clocks show. Raises ValueError without an offset."""
        if at.tzinfo is None:
            raise ValueError(f"{at!r} has no offset; give an instant with a time zone")
        return at.astimezone(self.tz).date()

    def spans_on(self, day: date) -> tuple[tuple[datetime, datetime], ...]:
        """Opening and closing instants of the spans that start on a date, in order."""
        return tuple((instant_of(start), instant_of(end)) for start, end in self._spans(day))

    def is_open(self, at: datetime) -> bool:
        """Whether it is open at that instant; at the closing instant it is not (R4)."""
        instant = micros(at)
        year = self._year(at.astimezone(UTC).year)
        index = bisect_right(year.opens, instant) - 1
        return index >= 0 and instant < year.shuts[index]

    def next_opening(self, at: datetime) -> datetime | None:
        """When it next opens: `at` itself while open, None if it never opens again."""
        if self.is_open(at):
            return at
        instant, number = micros(at), at.astimezone(UTC).year
        while number <= self._last_year(number):
            opens = self._year(number).opens
            index = bisect_left(opens, instant)
            if index < len(opens):
                return instant_of(opens[index])
            number += 1
        return None

    def closes_at(self, at: datetime) -> datetime | None:
        """When it shuts next, seen from an instant at which it is open; None while shut."""
        if not self.is_open(at):
            return None
        instant, number = micros(at), at.astimezone(UTC).year
        while True:
            year = self._year(number)
            shut = year.shuts[bisect_right(year.opens, instant) - 1]
            following = self._year(number + 1)
            if not (following.opens and following.opens[0] == shut):
                return instant_of(shut)  # else the interval goes on over New Year
            instant, number = shut, number + 1

    def open_seconds(self, start: datetime, end: datetime, pauses: Iterable[Pause] = ()) -> int:
        """Open time between two instants without the pauses, in whole seconds (R5)."""
        total = sum(
            self._elapsed(begin, finish)
            for begin, finish in _unpaused(micros(start), micros(end), pauses)
        )
        return total // SECOND

    def due(self, start: datetime, minutes: int, pauses: Iterable[Pause] = ()) -> datetime | None:
        """The earliest instant by which that many open, unpaused minutes have passed (R6).

        Where they run out at closing time it is that closing instant, not the next opening.
        None if they never pass. Raises ValueError for negative minutes.
        """
        if minutes < 0:
            raise ValueError(f"{minutes} minutes is not a length of time")
        if minutes == 0:
            return start.astimezone(UTC)
        left = minutes * MINUTE
        for begin, finish in _unpaused(micros(start), FOREVER, pauses):
            passed, reached = self._advance(begin, finish, left)
            if reached is not None:
                return instant_of(reached)
            left -= passed
        return None

    def next_opening_day_due(self, received_at: datetime) -> datetime | None:
        """The last closing instant of the first open date after the receipt's date (R7)."""
        return self._last_shut_after(self.local_date(received_at))

    def is_provisional(self, at: datetime) -> bool:
        """Whether that year's holidays are not officially announced yet."""
        return self.local_date(at).year in self.unconfirmed_years

    def weekly_on(self, day: date) -> tuple[Span, ...]:
        """The spans of a date by the weekly table and the exceptions, in minutes."""
        if day in self.exceptions:
            return self.exceptions[day]
        index = bisect_right(self._starts, day) - 1
        return self.versions[index].weekly[day.weekday()] if index >= 0 else ()

    def _spans(self, day: date) -> tuple[tuple[int, int], ...]:
        known = self._dates.get(day)
        if known is None:
            known = self._dates[day] = self._real_spans(day)
        return known

    def _real_spans(self, day: date) -> tuple[tuple[int, int], ...]:
        """Spans of a date as instants. One that clocks skip altogether is no span."""
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a wall time
        spans = []
        for start, end in self.weekly_on(day):
            opens = micros(first_instant(midnight + timedelta(minutes=start), self.tz))
            shuts = micros(first_instant(midnight + timedelta(minutes=end), self.tz))
            if opens < shuts:
                spans.append((opens, shuts))
        return tuple(spans)

    def _year(self, number: int) -> _Year:
        known = self._years.get(number)
        if known is None:
            known = self._years[number] = self._merged(number)
        return known

    def _merged(self, number: int) -> _Year:
        """Open intervals of one UTC year, from all dates whose spans can reach into it."""
        first = max(date(number, 1, 1).toordinal() - 4, 2)
        last = min(date(number, 12, 31).toordinal() + 2, date.max.toordinal() - 3)
        low = micros(datetime(number, 1, 1, tzinfo=UTC))
        high = micros(datetime(number, 12, 31, tzinfo=UTC)) + DAY_MINUTES * MINUTE
        intervals = sorted(
            span
            for ordinal in range(first, last + 1)
            for span in self._spans(date.fromordinal(ordinal))
        )
        opens: list[int] = []
        shuts: list[int] = []
        for start, end in intervals:
            begin, finish = max(start, low), min(end, high)
            if begin >= finish:
                continue
            if shuts and begin <= shuts[-1]:
                shuts[-1] = max(shuts[-1], finish)
            else:
                opens.append(begin)
                shuts.append(finish)
        before, total = [], 0
        for begin, finish in zip(opens, shuts, strict=True):
            before.append(total)
            total += finish - begin
        return _Year(tuple(opens), tuple(shuts), tuple(before), total)

    def _elapsed(self, start: int, end: int) -> int:
        if start >= end:
            return 0
        first, last = instant_of(start).year, instant_of(end).year
        if first == last:
            year = self._year(first)
            return year.elapsed(end) - year.elapsed(start)
        whole = sum(self._year(number).total for number in range(first, last))
        return whole - self._year(first).elapsed(start) + self._year(last).elapsed(end)

    def _advance(self, start: int, end: int, amount: int) -> tuple[int, int | None]:
        """Open time passed from `start` to `end`, and when it reached `amount`, if it did."""
        number, passed = instant_of(start).year, 0
        skipped = self._year(number).elapsed(start)
        while number <= min(instant_of(end).year, self._last_year(number)):
            year = self._year(number)
            if passed + year.total - skipped >= amount:
                reached = year.reached(amount - passed + skipped)
                return (amount, reached) if reached <= end else (self._elapsed(start, end), None)
            passed += year.total - skipped
            skipped, number = 0, number + 1
        return (0 if end == FOREVER else self._elapsed(start, end)), None

    def _last_year(self, number: int) -> int:
        """The last year worth looking at, seen from this one: later nothing opens again."""
        if self.versions and any(self.versions[-1].weekly):
            latest = max(number, self._starts[-1].year)
        else:
            dates = [*self._exception_dates[-1:], *self._starts[-1:]]
            latest = max((day.year for day in dates), default=number)
        return min(latest + 1, LAST_YEAR)

    def _last_shut_after(self, day: date) -> datetime | None:
        day += DAY
        while day.year <= LAST_YEAR:
            spans = self._spans(day)
            if spans:
                return instant_of(max(end for _, end in spans))
            following = self._next_candidate(day)
            if following is None:
                return None
            day = following
        return None

    def _next_candidate(self, day: date) -> date | None:
        """The next date that may have spans, skipping stretches with an empty weekly table."""
        index = bisect_right(self._starts, day) - 1
        if index >= 0 and any(self.versions[index].weekly):
            return day + DAY
        candidates = []
        if index + 1 < len(self._starts):
            candidates.append(self._starts[index + 1])
        position = bisect_right(self._exception_dates, day)
        if position < len(self._exception_dates):
            candidates.append(self._exception_dates[position])
        return min(candidates, default=None)


def evaluate_cases(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Answer the questions of a case file of DESIGN 4.5's form, from its inputs alone.

    Raises BadCalendar for a calendar or case that cannot be read.
    """
    calendars = {name: Calendar.from_document(item) for name, item in document["calendars"].items()}
    return {case["id"]: _evaluate(case, calendars) for case in document["cases"]}


def _evaluate(case: Mapping[str, Any], calendars: Mapping[str, Calendar]) -> dict[str, Any]:
    name = case.get("calendar")
    if name not in calendars:
        raise BadCalendar(f"case {case['id']}: there is no calendar {name!r}")
    calendar = calendars[str(name)]
    received = parse_instant(case["received_at"])
    answered = parse_instant(case["answered_at"]) if case.get("answered_at") else None
    pauses = [
        (parse_instant(start), parse_instant(end) if end else None)
        for start, end in case.get("paused_for_patron") or ()
    ]
    minutes = case.get("target_open_minutes")
    next_day = calendar.next_opening_day_due(received)
    known = answered is not None
    return {
        "open_seconds": calendar.open_seconds(received, answered, pauses) if answered else None,
        "elapsed_seconds": (
            (micros(answered) - micros(received)) // SECOND if answered is not None else None
        ),
        "within_24h": within_24h(received, answered) if known else None,
        "next_opening_day_due": utc_text(next_day),
        "within_next_opening_day": (
            None if next_day is None or answered is None else received <= answered <= next_day
        ),
        "open_minutes_due": (
            None if minutes is None else utc_text(calendar.due(received, minutes, pauses))
        ),
    }


def parse_instant(text: str) -> datetime:
    """Read an ISO-8601 instant. Raises ValueError where it has no offset."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text} has no offset; write it with Z or with +08:00")
    return instant.astimezone(UTC)


def utc_text(instant: datetime | None) -> str | None:
    """An instant as ISO-8601 in UTC, with Z."""
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _unpaused(start: int, end: int, pauses: Iterable[Pause]) -> Iterator[tuple[int, int]]:
    """The stretches between start and end that no pause covers, in order."""
    breaks = sorted(
        (micros(begin), FOREVER if finish is None else micros(finish)) for begin, finish in pauses
    )
    for begin, finish in breaks:
        if begin >= finish:
            continue
        if start < begin:
            yield start, min(begin, end)
        start = max(start, finish)
        if start >= end:
            return
    if start < end:
        yield start, end


def _version(item: Any) -> _Version:
    if not isinstance(item, Mapping) or not isinstance(item.get("weekly"), Mapping):
        raise BadCalendar("a version has valid_from and a weekly table")
    weekly = item["weekly"]
    unknown = set(weekly) - set(WEEKDAYS)
    if unknown:
        raise BadCalendar(f"{sorted(unknown)[0]!r} is not a weekday; use {', '.join(WEEKDAYS)}")
    return _Version(
        valid_from=_date(item.get("valid_from")),
        weekly=tuple(_spans(weekly.get(name) or [], name) for name in WEEKDAYS),
    )


def _spans(items: Any, where: str) -> tuple[Span, ...]:
    return tuple(sorted(_span(item, where) for item in _list(items, where)))


def _span(item: Any, where: str) -> Span:
    if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != 2:
        raise BadCalendar(f"{where}: {item!r} is not a pair of times")
    start, end = _minutes(item[0], where), _minutes(item[1], where)
    if start >= DAY_MINUTES:
        raise BadCalendar(f"{where}: a span starts before 24:00, not at {item[0]}")
    return start, end if end > start else end + DAY_MINUTES


def _minutes(text: Any, where: str) -> int:
    hours, colon, minutes = str(text).partition(":")
    if not (colon and hours.isdecimal() and minutes.isdecimal() and len(minutes) == 2):
        raise BadCalendar(f"{where}: {text!r} is not a time such as 08:30")
    if int(minutes) > 59 or int(hours) * 60 + int(minutes) > 2 * DAY_MINUTES:
        raise BadCalendar(f"{where}: {text!r} is not a time of a day or of the next")
    return int(hours) * 60 + int(minutes)


def _date(text: Any) -> date:
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise BadCalendar(f"{text!r} is not a date such as 2026-03-10") from error


def _list(items: Any, where: str) -> list[Any]:
    if not isinstance(items, list | tuple):
        raise BadCalendar(f"{where} is not a list")
    return list(items)
