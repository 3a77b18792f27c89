"""Daily counts per channel: a cache of the facts, recomputed a whole day at a time.

Every event marks its consultation's local day as dirty in the same transaction; a worker
computes dirty days anew. Nothing is ever added to or subtracted from a count, so that late,
repeated, merged or corrected events cannot make it drift.

A day is *settled* once all its consultations have matured under every clock and the last
event lies behind: after that instant its counts hold until another event marks it dirty.
"""

import random
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Select,
    Text,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import Session

from tracker.clock import day_bounds, within_24h, zone
from tracker.figures import (
    ANSWERED,
    COLUMNS,
    DEFLECTION_MATURITY,
    INCLUSIVE,
    NEXT_DAY,
    RESPONDED,
    Block,
    Case,
)
from tracker.memory import memory_of
from tracker.models import Consultation, DirtyDay, Library, Rollup

WHOLE_DAY = ""  # the channel of the row that says the day was computed; it counts nothing
COUNTS = (
    "received",
    "excluded",
    "excluded_late",
    "withdrawn",
    "directional",
    "handed_over",
    "bot_only",
    "waiting",
    "oldest_waiting_at",
)
TOPIC_COUNTS = ("received", "bot_only", "handed_over", "answered_within")
TICK = timedelta(microseconds=1)
MOST_STRETCHES = 20  # of dirty days that one statement names


def recompute_day(session: Session, library: Library, day: date) -> None:
    """Compute one local day anew from its consultations and clear its marks."""
    session.flush()
    marks = session.scalars(
        select(DirtyDay.id).where(DirtyDay.library_id == library.id, DirtyDay.day == day)
    ).all()
    rows = _computed(session, library, day)
    # Two statements on purpose: in one, PostgreSQL's snapshot still sees the old keys.
    session.execute(delete(Rollup).where(Rollup.library_id == library.id, Rollup.day == day))
    session.execute(insert(Rollup), rows)
    for start in range(0, len(marks), 500):
        session.execute(delete(DirtyDay).where(DirtyDay.id.in_(marks[start : start + 500])))
    memory_of(session).dirty.discard((library.id, day))


def _computed(session: Session, library: Library, day: date) -> list[dict[str, Any]]:
    """The rollup rows of a day, from its consultations."""
    begin, end = day_bounds(day, zone(library.timezone))
    rows = session.execute(
        select(*COLUMNS, Consultation.last_event_at).where(
            Consultation.library_id == library.id,
            Consultation.received_at >= begin,
            Consultation.received_at < end,
        )
    ).all()
    cases = [(Case._make(row[:-1]), row[-1]) for row in rows]
    settled_at = max(
        (_settled(case, last) for case, last in cases), default=end + DEFLECTION_MATURITY
    )
    by_channel: dict[str, list[Case]] = {WHOLE_DAY: []}
    for case, _ in cases:
        by_channel.setdefault(case.channel, []).append(case)
    tz = zone(library.timezone)
    return [
        {
            "library_id": library.id,
            "day": day,
            "channel": channel,
            "settled_at": settled_at,
            **_counts(found, settled_at + TICK),
            "hours": hours(found, tz),
            "topics": topics(found),
        }
        for channel, found in by_channel.items()
    ]


def hours(cases: Iterable[Case], tz: ZoneInfo) -> list[int]:
    """How many were received in each hour of the local clock."""
    counts = [0] * 24
    for case in cases:
        counts[case.received_at.astimezone(tz).hour] += 1
    return counts


def topics(cases: Iterable[Case]) -> dict[str, list[int]]:
    """By topic ("" where none is known), the numbers that TOPIC_COUNTS names."""
    found: dict[str, list[int]] = {}
    for case in cases:
        if case.counts:
            counts = found.setdefault(case.topic or "", [0] * len(TOPIC_COUNTS))
            in_time = within_24h(case.received_at, case.answered_at)
            for position, holds in enumerate(
                (True, not case.handed_over, case.handed_over, case.handed_over and in_time)
            ):
                counts[position] += holds
    return found


def refresh(session: Session, *, now: datetime, limit: int = 100) -> int:
    """Compute up to `limit` dirty days that are over and ripe; returns how many.

    A day younger than three days is left alone: its counts would not be used yet.
    """
    oldest = (now - DEFLECTION_MATURITY - timedelta(days=1)).date()
    dirty = session.execute(
        select(DirtyDay.library_id, DirtyDay.day)
        .where(DirtyDay.day < oldest)
        .distinct()
        .order_by(DirtyDay.day.desc(), DirtyDay.library_id)
        .limit(limit)
    ).all()
    for row in dirty:
        library = session.get_one(Library, row.library_id)
        recompute_day(session, library, row.day)
    return len(dirty)


def usable_days(
    session: Session, library: Library, *, start: date | None, end: date | None, at: datetime
) -> set[date]:
    """The days whose rollups hold at that instant: computed, settled and not dirty."""
    query = select(Rollup.day).where(
        Rollup.library_id == library.id, Rollup.channel == WHOLE_DAY, Rollup.settled_at < at
    )
    marks = select(DirtyDay.day).where(DirtyDay.library_id == library.id).distinct()
    if start is not None:
        query = query.where(Rollup.day >= start)
    if end is not None:
        query = query.where(Rollup.day <= end)
    return set(session.scalars(query)) - set(session.scalars(marks))


def settled_spans(
    session: Session,
    library_ids: Sequence[int],
    start: date | None,
    end: date | None,
    at: datetime,
) -> dict[int, tuple[date, date]]:
    """By library, the first and last of its usable days, where all between are usable too.

    Libraries with a gap, or without such days, are missing.
    """
    dirty = exists().where(DirtyDay.library_id == Rollup.library_id, DirtyDay.day == Rollup.day)
    first, last = func.min(Rollup.day), func.max(Rollup.day)
    query = (
        select(Rollup.library_id, first.label("first"), last.label("last"), func.count())
        .where(
            Rollup.library_id.in_(library_ids),
            Rollup.channel == WHOLE_DAY,
            Rollup.settled_at < at,
            ~dirty,
        )
        .group_by(Rollup.library_id)
    )
    if start is not None:
        query = query.where(Rollup.day >= start)
    if end is not None:
        query = query.where(Rollup.day <= end)
    return {
        row[0]: (row[1], row[2])
        for row in session.execute(query)
        if (row[2] - row[1]).days + 1 == row[3]
    }


def channels_asked(session: Session, libraries: Sequence[Library]) -> set[tuple[int, str]]:
    """By library id, the channels on which anything was ever asked.

    From the rollups, and from the consultations of days that these do not cover: every event
    marks its day.
    """
    ids = [library.id for library in libraries]
    found = {(row[0], row[1]) for row in session.execute(_channels_rolled(ids))}
    for (timezone, stretches), owners in _unrolled(session, libraries).items():
        tz = zone(timezone)
        inside = [
            and_(
                Consultation.received_at >= day_bounds(first, tz)[0],
                Consultation.received_at < day_bounds(last, tz)[1],
            )
            for first, last in stretches
        ]
        fresh = select(Consultation.library_id, Consultation.channel).where(
            Consultation.library_id.in_(owners), or_(False, *inside)
        )
        found |= {(row[0], row[1]) for row in session.execute(fresh.distinct())}
    return found


def _channels_rolled(library_ids: Sequence[int]) -> Select[Any]:
    """By library, the channels of its rollups: from each the next one, a few steps of an index.

    A plain DISTINCT reads every day of every library.
    """
    whole_day = cast(literal(WHOLE_DAY), Text)
    first = select(Library.id.label("library_id"), whole_day.label("channel"))
    asked = first.where(Library.id.in_(library_ids)).cte("asked", recursive=True)
    following = (
        select(func.min(Rollup.channel))
        .where(Rollup.library_id == asked.c.library_id, Rollup.channel > asked.c.channel)
        .scalar_subquery()
    )
    asked = asked.union_all(
        select(asked.c.library_id, following).where(asked.c.channel.is_not(None))
    )
    return select(asked.c.library_id, asked.c.channel).where(asked.c.channel != WHOLE_DAY)


Stretches = tuple[tuple[date, date], ...]  # first and last days


def _unrolled(
    session: Session, libraries: Sequence[Library]
) -> dict[tuple[str, Stretches], list[int]]:
    """By time zone and dirty days, the libraries that have these."""
    marks = (
        select(DirtyDay.library_id, DirtyDay.day)
        .where(DirtyDay.library_id.in_([library.id for library in libraries]))
        .distinct()
        .order_by(DirtyDay.library_id, DirtyDay.day)
    )
    days: dict[int, list[date]] = {}
    for library_id, day in session.execute(marks):
        days.setdefault(library_id, []).append(day)
    found: dict[tuple[str, Stretches], list[int]] = {}
    for library in libraries:
        if library.id in days:
            key = library.timezone, _stretches(days[library.id])
            found.setdefault(key, []).append(library.id)
    return found


def _stretches(days: Sequence[date]) -> Stretches:
    """The days as stretches without a gap; as one with gaps, where they are many."""
    found: list[tuple[date, date]] = []
    for day in days:
        if found and found[-1][1] == day - timedelta(days=1):
            found[-1] = found[-1][0], day
        else:
            found.append((day, day))
    return tuple(found) if len(found) <= MOST_STRETCHES else ((days[0], days[-1]),)


def wrong_days(session: Session, library: Library, days: Iterable[date]) -> list[date]:
    """Those of the days whose rollups differ from their consultations. There should be none.

    Days without rollups, and dirty ones, are not asked about.
    """
    columns = list(Rollup.__table__.columns)
    dirty = set(session.scalars(select(DirtyDay.day).where(DirtyDay.library_id == library.id)))
    found = []
    for day in days:
        rows = session.execute(
            select(*columns).where(Rollup.library_id == library.id, Rollup.day == day)
        ).mappings()
        kept = {row["channel"]: dict(row) for row in rows}
        computed = {row["channel"]: row for row in _computed(session, library, day)}
        if kept and day not in dirty and kept != computed:
            found.append(day)
    return found


def computed_days(session: Session, library: Library) -> Sequence[date]:
    """The days of a library that have rollups, in order."""
    return session.scalars(
        select(Rollup.day)
        .where(Rollup.library_id == library.id, Rollup.channel == WHOLE_DAY)
        .order_by(Rollup.day)
    ).all()


def wrong_in_sample(session: Session, *, seed: str) -> dict[int, list[date]]:
    """By library id, the days of a random sample whose rollups lie: 1 % of all, at least one.

    There should be nothing to find. Whoever calls marks what is found as dirty, so that it is
    computed anew.
    """
    found: dict[int, list[date]] = {}
    for library in session.scalars(select(Library).order_by(Library.id)):
        days = computed_days(session, library)
        dice = random.Random(f"{seed} {library.id}")  # noqa: S311 - no secret
        sample = dice.sample(days, min(len(days), -(-len(days) // 100)))
        wrong = wrong_days(session, library, sorted(sample))
        if wrong:
            found[library.id] = wrong
    return found


def dirty_days(session: Session, library_id: int) -> int:
    """How many days wait to be computed anew."""
    return (
        session.scalar(
            select(func.count(DirtyDay.day.distinct())).where(DirtyDay.library_id == library_id)
        )
        or 0
    )


def _settled(case: Case, last_event_at: datetime) -> datetime:
    moments = [case.received_at + DEFLECTION_MATURITY, last_event_at]
    if case.next_day_due_at is not None:
        moments.append(case.next_day_due_at)
    return max(moments)


def _counts(cases: Iterable[Case], at: datetime) -> dict[str, Any]:
    block = Block(at)
    for case in cases:
        block.add(case)
    return {
        "inclusive_within": block.shares[INCLUSIVE].within,
        "answered_within": block.shares[ANSWERED].within,
        "responded_within": block.shares[RESPONDED].within,
        "next_day_within": block.shares[NEXT_DAY].within,
        "next_day_matured": block.shares[NEXT_DAY].matured,
        "confirmed": block.deflection["confirmed"],
        "presumed": block.deflection["presumed"],
        "abandoned": block.deflection["abandoned"],
        "bot_first": block.deflection["matured"],
        "feedback_times": block.feedback.tobytes(),
        "answered_times": block.answered.tobytes(),
        "withdrawn_times": block.withdrawals.tobytes(),
        **{name: getattr(block, name) for name in COUNTS},
    }
