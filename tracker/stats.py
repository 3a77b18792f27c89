"""The figures of a library for a period, read only: settled days from rollups, the rest live.

Run them in one snapshot of the database, so that rollups and live rows belong together.
Period bounds are inclusive local dates of the library. What happened after `at` is ignored.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from tracker import counting
from tracker.clock import day_bounds, utc_text, zone
from tracker.figures import (
    ANSWERED,
    COLUMNS,
    INCLUSIVE,
    NEXT_DAY,
    RATES,
    RESPONDED,
    Block,
    Case,
)
from tracker.fold import EARLIEST, LATEST, Facts
from tracker.models import Consultation, Library, Rollup
from tracker.past import facts_at
from tracker.rollups import WHOLE_DAY, settled_spans, usable_days
from tracker.streams import Opening

__all__ = [
    "ANSWERED",
    "INCLUSIVE",
    "NEXT_DAY",
    "RATES",
    "RESPONDED",
    "Case",
    "Reading",
    "counted",
    "first_day",
    "read",
    "selected",
    "stats",
    "tally",
    "tally_all",
]

OLDEST = "oldest_waiting_at"
TIMES = ("handed_over", "feedback_times", "answered_times", "withdrawn_times")
COUNTED = tuple(
    column.name
    for column in Rollup.__table__.columns
    if column.name not in ("library_id", "channel", "day", "settled_at", "hours", "topics")
    and column.name not in TIMES[1:]
)
_FIRST, _LAST = EARLIEST.date(), LATEST.date()  # nothing was received before or after
Stretch = tuple[date | None, date | None]  # inclusive local dates; None: without bound

Key = TypeVar("Key", bound=Hashable)

MOST_DAYS = 60  # that one statement tells apart
_ONE_DAY = timedelta(days=1)
_MOST_STRETCHES = 20  # of days counted live; beyond that, one stretch over them all


def stats(
    session: Session,
    library: Library,
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    channel: str | None = None,
    reading: "Reading | None" = None,
) -> dict[str, Any]:
    """All figures of a library for a period, JSON-ready, exactly as DESIGN 4.4 says.

    Without `start` and `end` everything until `at` counts.
    """
    found = tally(
        session,
        library,
        start=start,
        end=end,
        at=at,
        channel=channel,
        keys=lambda name, _: (name,),
        by_day=False,
        reading=reading,
    )
    total = Block(at)
    for block in found.values():
        total.add_block(block)
    tz = zone(library.timezone)
    last_day = end or at.astimezone(tz).date()
    return {
        "library": library.slug,
        "from": (start or first_day(session, library, last_day)).isoformat(),
        "to": last_day.isoformat(),
        "at": utc_text(at),
        "channels": {name: found[name].as_dict() for name in sorted(found)},
        "total": total.as_dict(),
    }


def tally(
    session: Session,
    library: Library,
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    channel: str | None = None,
    keys: Callable[[str, date], Iterable[Key]],
    times: bool = True,
    by_day: bool = True,
    reading: "Reading | None" = None,
) -> dict[Key, Block]:
    """The counts of a period, under the keys that `keys` gives each (channel, local day).

    Settled days come from rollups. `times` adds each consultation's time to answer, which only
    the live estimate and percentiles need. Where the keys do not look at the day, say so by
    `by_day=False`, and the database sums the days. Several figures of one page share what
    `read` has read.
    """
    found: dict[Key, Block] = {}

    def under(name: str, day: date) -> Iterator[Block]:
        for key in keys(name, day):
            if key not in found:
                found[key] = Block(at)
            yield found[key]

    tail = (
        _tail(
            session,
            library,
            start=start,
            end=end,
            at=at,
            channel=channel,
            by_day=by_day,
            times=times,
        )
        if reading is None
        else _Tail(reading.settled, (), (), reading.live)
    )
    summed = settled_rows if by_day else settled_sums
    for row in summed(session, library, tail.settled, channel=channel, columns=COUNTED):
        for block in under(row.channel, row.day):
            block.add_rollup(row)
    if times:
        for row in settled_rows(session, library, tail.settled, channel=channel, columns=TIMES):
            for block in under(row.channel, row.day):
                block.add_times(row)
    tz = zone(library.timezone)
    for counts in tail.counts:
        for block in under(counts["channel"], counts["day"] or at.astimezone(tz).date()):
            block.add_counts(counts)
    for wait in tail.waits:
        for block in under(wait.channel, wait.received_at.astimezone(tz).date()):
            block.add_wait(wait)
    for item in tail.cases:
        for block in under(item.channel, item.received_at.astimezone(tz).date()):
            block.add(item)
    return found


def tally_all(
    session: Session,
    libraries: Sequence[Library],
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
) -> dict[tuple[int, str], Block]:
    """The counts of many libraries for a period, without times, by library id and channel.

    As `tally` of each, in a few statements for all whose settled days have no gap.
    """
    found: dict[tuple[int, str], Block] = {}

    def under(library_id: int, channel: str) -> Block:
        return found.setdefault((library_id, channel), Block(at))

    alike: dict[tuple[str, date, date], list[Library]] = {}
    changed = _changed_since(session, libraries, at)
    settled = settled_spans(session, [library.id for library in libraries], start, end, at)
    for library in libraries:
        span = settled.get(library.id)
        if span is None or library.id in changed:
            for name, block in _plain_tally(session, library, start, end, at).items():
                found[library.id, name] = block
        else:
            alike.setdefault((library.timezone, *span), []).append(library)
    for (_, first, last), group in alike.items():
        sums = _sums([library.id for library in group], first, last)
        for row in session.execute(sums):
            under(row.library_id, row.channel).add_rollup(row)
        outside: list[Stretch] = [(start, first - _ONE_DAY), (last + _ONE_DAY, end)]
        inside = in_stretches(group[0], [s for s in outside if not (s[0] and s[1] and s[0] > s[1])])
        for counts in counting.counts(session, group, inside, at=at):
            under(counts["library_id"], counts["channel"]).add_counts(counts)
    return found


def _plain_tally(
    session: Session, library: Library, start: date | None, end: date | None, at: datetime
) -> dict[str, Block]:
    return tally(
        session,
        library,
        start=start,
        end=end,
        at=at,
        keys=lambda name, _: (name,),
        times=False,
        by_day=False,
    )


def _changed_since(session: Session, libraries: Sequence[Library], at: datetime) -> set[int]:
    """The libraries of which something happened after `at`."""
    ids = [library.id for library in libraries]
    late = (Consultation.library_id.in_(ids), Consultation.last_event_at > at)
    return set(session.scalars(select(Consultation.library_id).where(*late).distinct()))


def _sums(library_ids: Sequence[int], first: date, last: date) -> Select[Any]:
    return (
        select(Rollup.library_id, Rollup.channel, *_summed())
        .where(
            Rollup.library_id.in_(library_ids),
            Rollup.channel != WHOLE_DAY,
            Rollup.day.between(first, last),
        )
        .group_by(Rollup.library_id, Rollup.channel)
    )


class _Tail(NamedTuple):
    """A period by where its counts come from; no consultation is in two of them."""

    settled: list[date]  # days whose rollups count
    counts: Iterable[Mapping[str, Any]]  # counted by the database
    waits: Iterable[Any]  # the times that belong to these counts
    cases: Iterable[Case]  # to be counted one by one


def _tail(
    session: Session,
    library: Library,
    *,
    start: date | None,
    end: date | None,
    at: datetime,
    channel: str | None,
    by_day: bool,
    times: bool,
) -> _Tail:
    settled, stretches = _divided(session, library, start=start, end=end, at=at)
    earlier = _earlier(session, library, start=start, end=end, at=at, channel=channel)
    days = _days_in(stretches) if by_day else []
    if days is None:
        rows = _rows(session, library, stretches, at=at, channel=channel)
        return _Tail(settled, (), (), chain(rows, earlier))
    if not stretches:
        return _Tail(settled, (), (), earlier)
    inside = in_stretches(library, stretches)
    if channel is not None:
        inside = and_(inside, Consultation.channel == channel)
    counts = counting.counts(session, [library], inside, at=at, days=days)
    waits = counting.waits(session, library, inside, at=at) if times else ()
    return _Tail(settled, counts, waits, earlier)


def _days_in(stretches: list[Stretch]) -> list[date] | None:
    """The days of the stretches, unless they are too many for one statement to tell apart."""
    days: list[date] = []
    for first, last in stretches:
        if first is None or last is None or (last - first).days + len(days) >= MOST_DAYS:
            return None
        days += [first + timedelta(days=count) for count in range((last - first).days + 1)]
    return days


@dataclass(frozen=True, slots=True)
class Reading:
    """What several figures of one period share: the settled days, and all other cases."""

    settled: list[date]
    live: tuple[Case, ...]


def read(
    session: Session,
    library: Library,
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    channel: str | None = None,
) -> Reading:
    """Read a period once, for figures that are then asked with the same period."""
    settled, live = _settled_and_live(
        session, library, None, start=start, end=end, at=at, channel=channel
    )
    return Reading(settled, tuple(live))


def counted(
    session: Session,
    library: Library,
    column: str,
    *,
    start: date | None,
    end: date | None,
    at: datetime,
    channel: str | None,
    reading: Reading | None,
) -> Iterator[Any]:
    """Rollups of settled days with the column, and cases of the others."""
    settled, live = _settled_and_live(
        session, library, reading, start=start, end=end, at=at, channel=channel
    )
    yield from settled_rows(session, library, settled, channel=channel, columns=[column])
    yield from live


def _settled_and_live(
    session: Session,
    library: Library,
    reading: Reading | None,
    *,
    start: date | None,
    end: date | None,
    at: datetime,
    channel: str | None,
) -> tuple[list[date], Iterable[Case]]:
    """The days that rollups count; of the others, and of what has changed since, the cases."""
    if reading is not None:
        return reading.settled, reading.live
    settled, live = _divided(session, library, start=start, end=end, at=at)
    return settled, chain(
        _rows(session, library, live, at=at, channel=channel),
        _earlier(session, library, start=start, end=end, at=at, channel=channel),
    )


def selected(
    session: Session,
    library: Library,
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    channel: str | None = None,
    only: ColumnElement[bool] | None = None,
) -> Iterator[Case]:
    """The consultations received in the period, each as it was at that instant.

    `only` narrows what is read of those that stand now as they stood then; the others come
    in any case, so that the caller must look at each.
    """
    yield from _rows(session, library, [(start, end)], at=at, channel=channel, only=only)
    yield from _earlier(session, library, start=start, end=end, at=at, channel=channel)


def _rows(
    session: Session,
    library: Library,
    stretches: list[Stretch],
    *,
    at: datetime,
    channel: str | None,
    only: ColumnElement[bool] | None = None,
) -> Iterator[Case]:
    """Rows as they stand, of consultations to which nothing happened after `at`."""
    if not stretches:
        return
    query = _of_library(select(*COLUMNS), library, stretches, channel=channel).where(
        Consultation.received_at <= at, Consultation.last_event_at <= at
    )
    if only is not None:
        query = query.where(only)
    for row in session.execute(query.execution_options(yield_per=5_000)):
        yield Case._make(row)


def _earlier(
    session: Session,
    library: Library,
    *,
    start: date | None,
    end: date | None,
    at: datetime,
    channel: str | None,
) -> Iterator[Case]:
    for item, _ in as_they_were(session, library, start=start, end=end, at=at, channel=channel):
        yield item


def as_they_were(
    session: Session,
    library: Library,
    *,
    start: date | None,
    end: date | None,
    at: datetime,
    channel: str | None,
) -> Iterator[tuple[Case, Facts]]:
    """Consultations to which something happened after `at`, as they were then."""
    tz = zone(library.timezone)
    for opening, facts, due in facts_at(session, library.id, at):
        day = facts.received_at.astimezone(tz).date()
        in_period = (start is None or start <= day) and (end is None or day <= end)
        if in_period and channel in (None, facts.channel):
            yield _case(opening, facts, due), facts


def _case(opening: Opening, facts: Facts, due: datetime | None) -> Case:
    known = {"id": opening.id, "key": opening.key, "next_day_due_at": due}
    return Case._make(
        known[name] if name in known else getattr(facts, name) for name in Case._fields
    )


def _of_library(
    query: Select[Any], library: Library, stretches: list[Stretch], *, channel: str | None
) -> Select[Any]:
    query = query.where(Consultation.library_id == library.id, in_stretches(library, stretches))
    return query if channel is None else query.where(Consultation.channel == channel)


def in_stretches(library: Library, stretches: list[Stretch]) -> ColumnElement[bool]:
    tz = zone(library.timezone)
    parts = []
    for start, end in stretches:
        bounds = []
        if start is not None and start > _FIRST:
            bounds.append(Consultation.received_at >= day_bounds(start, tz)[0])
        if end is not None and end < _LAST:
            bounds.append(Consultation.received_at < day_bounds(end, tz)[1])
        parts.append(and_(True, *bounds))
    return or_(False, *parts)


def _divided(
    session: Session, library: Library, *, start: date | None, end: date | None, at: datetime
) -> tuple[list[date], list[Stretch]]:
    """The days that rollups count, and the stretches that they do not."""
    span = settled_spans(session, [library.id], start, end, at).get(library.id)
    if span is None:  # there is a gap, or nothing
        days = usable_days(session, library, start=start, end=end, at=at)
        live = _live_stretches(session, library, days, start=start, end=end, at=at)
        return _settled_days(days, live), live
    first, last = span
    settled = [first + timedelta(days=count) for count in range((last - first).days + 1)]
    newest = end or at.astimezone(zone(library.timezone)).date()
    oldest = start or first_day(session, library, newest)
    around: list[Stretch] = []
    if oldest < first:
        around.append((oldest, first - _ONE_DAY))
    if last < newest:
        around.append((last + _ONE_DAY, newest))
    return settled, around


def _live_stretches(
    session: Session,
    library: Library,
    days: set[date],
    *,
    start: date | None,
    end: date | None,
    at: datetime,
) -> list[Stretch]:
    """The stretches of days that rollups do not cover."""
    if not days:
        return [(start, end)]
    last = end or at.astimezone(zone(library.timezone)).date()
    first = start or min(first_day(session, library, last), *days)
    stretches: list[Stretch] = []
    open_since = None
    day, last = max(first, _FIRST), min(last, _LAST)
    while day <= last:
        if day in days:
            if open_since is not None:
                stretches.append((open_since, day - timedelta(days=1)))
            open_since = None
        elif open_since is None:
            open_since = day
        day += timedelta(days=1)
    if open_since is not None:
        stretches.append((open_since, last))
    if len(stretches) > _MOST_STRETCHES:
        return [(stretches[0][0], stretches[-1][1])]
    return stretches


def _settled_days(days: set[date], live: list[Stretch]) -> list[date]:
    """Of the days with rollups, those that no live stretch counts."""
    return sorted(
        day
        for day in days
        if not any((s is None or s <= day) and (e is None or day <= e) for s, e in live)
    )


def settled_rows(
    session: Session,
    library: Library,
    days: list[date],
    *,
    channel: str | None,
    columns: Sequence[str],
) -> Iterator[Any]:
    """The rollups of those days by channel: rows of `channel`, `day` and the named columns."""
    wanted = set(days)
    named = [getattr(Rollup, name) for name in columns]
    for row in session.execute(
        _settled(select(Rollup.channel, Rollup.day, *named), library, days, channel=channel)
    ):
        if row.day in wanted:
            yield row


def settled_sums(
    session: Session,
    library: Library,
    days: list[date],
    *,
    channel: str | None,
    columns: Sequence[str],
) -> Iterator[Any]:
    """As `settled_rows`, summed over stretches of days; `day` is the first of each."""
    named = _summed(tuple(columns))
    for run in _runs(days):
        first = func.min(Rollup.day).label("day")
        query = select(Rollup.channel, first, *named).group_by(Rollup.channel)
        yield from session.execute(_settled(query, library, run, channel=channel))


@cache
def _summed(columns: tuple[str, ...] = COUNTED) -> list[ColumnElement[Any]]:
    return [
        (func.min if name == OLDEST else func.sum)(getattr(Rollup, name)).label(name)
        for name in columns
    ]


def _settled(
    query: Select[Any], library: Library, days: list[date], *, channel: str | None
) -> Select[Any]:
    query = query.where(
        Rollup.library_id == library.id,
        Rollup.channel != WHOLE_DAY,
        Rollup.day >= (days[0] if days else date.max),
        Rollup.day <= (days[-1] if days else date.min),
    )
    return query if channel is None else query.where(Rollup.channel == channel)


def _runs(days: list[date]) -> Iterator[list[date]]:
    """Stretches of days without a gap, each as its first and last."""
    run: list[date] = []
    for day in days:
        if run and run[-1] != day - timedelta(days=1):
            yield run
            run = []
        run = [run[0], day] if run else [day]
    if run:
        yield run


def first_day(session: Session, library: Library, fallback: date) -> date:
    first = session.scalar(
        select(func.min(Consultation.received_at)).where(Consultation.library_id == library.id)
    )
    if first is None:
        return fallback
    return min(first.astimezone(zone(library.timezone)).date(), fallback)
