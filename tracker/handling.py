"""How consultations were handled after the first answer, and by whom.

Next response, resolution, reopening, acceptance, the staffed-minute target, the age of the
backlog, volumes, and each librarian's own view. Definitions: docs/metrics.md.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker import calendars, rates
from tracker.clock import Calendar, Pause
from tracker.counting import UNANSWERED, standing
from tracker.figures import (
    MISSED,
    PENDING,
    PENDING_IN_TIME,
    PENDING_OPEN,
    PERCENTILES,
    WITHIN,
    Block,
    Case,
    is_waiting,
)
from tracker.fold import (
    DAY,
    MICROSECOND,
    EventData,
    Kind,
    Stream,
    arrived,
    by_kind_of,
    ordered,
    patron_messages,
)
from tracker.models import Consultation, Event, Library
from tracker.outcomes import READ_LEVELS, Listed, counted, in_order
from tracker.stats import as_they_were, in_stretches, selected
from tracker.streams import OPENING, Opening, families

VOLUMES = (
    "received",
    "reference",
    "directional",
    "bot_only",
    "handed_over",
    "withdrawn",
    "excluded",
    "excluded_late",
    "reclassified_late",
)
COUNTED = (*VOLUMES, "read", "reopened", "acceptance")  # by the database, in one statement
Tallied = Mapping[str, Counter[str]]  # what `outcomes.counted` has found of these
AGES = (4, 8, 24, 48, 72)  # hours: the bounds of the backlog's age groups
_BATCH = 500
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Instance:
    """One question asked after an answer, and the reply that it got."""

    asked_at: datetime
    replied_at: datetime | None
    pauses: tuple[Pause, ...]

    def waited(self, until: datetime) -> timedelta:
        """Real time from the question to the reply, or to `until`, without the pauses."""
        end = self.replied_at or until
        return end - self.asked_at - paused_between(self.pauses, self.asked_at, end)

    def observed(self, until: datetime) -> timedelta:
        """How long we have looked at it, without the pauses."""
        return until - self.asked_at - paused_between(self.pauses, self.asked_at, until)


def instances(streams: Sequence[Stream]) -> list[Instance]:
    """The questions asked after a first reply; "thanks" asks for nothing.

    Several messages before the next reply are one question, as old as the first of them.
    """
    received = min(stream.opened_at for stream in streams)
    events = ordered(event for stream in streams for event in stream.events)
    by_kind = by_kind_of(events)
    asked = [
        message.at
        for message in patron_messages(by_kind.get(Kind.MESSAGE, ()), by_kind.get(Kind.SPLIT, ()))
        if not (message.data and message.data.get("courtesy"))
    ]
    replies = [event.at for event in arrived(by_kind) if event.at >= received]
    pauses = tuple(pauses_in(events))
    found = []
    for position, reply in enumerate(replies):
        until = replies[position + 1] if position + 1 < len(replies) else None
        first = next((at for at in asked if reply < at and (until is None or at <= until)), None)
        if first is not None:
            found.append(Instance(first, until, pauses))
    return found


def pauses_in(events: Iterable[EventData]) -> Iterator[Pause]:
    """When a librarian waited for the patron: only after a reply, ended by any message."""
    replied, since = False, None
    for event in events:
        if event.kind == Kind.FEEDBACK:
            replied = True
        elif event.kind == Kind.PAUSED and replied and since is None:
            since = event.at
        elif since is not None and (
            event.kind == Kind.RESUMED
            or (event.kind == Kind.MESSAGE and (event.by or "patron") == "patron")
        ):
            yield since, event.at
            since = None
    if since is not None:
        yield since, None


def paused_between(pauses: Iterable[Pause], start: datetime, end: datetime) -> timedelta:
    """How much of a stretch of time the pauses cover; they do not overlap."""
    total = timedelta(0)
    for begin, finish in pauses:
        low, high = max(begin, start), min(finish or end, end)
        total += max(high - low, timedelta(0))
    return total


def next_response(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
    limit: timedelta = DAY,
) -> dict[str, Any]:
    """Of the questions asked after an answer, the share replied to within the limit.

    Counted by the date of the consultation's receipt; matured once the limit has passed,
    pauses not included, whether or not the reply came sooner.
    """
    found = Counter(
        item.outcome
        for item in responses(
            session, library, limit=limit, start=start, end=end, at=at, channel=channel
        )
    )
    return _share(found)


def responses(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
    limit: timedelta = DAY,
) -> list[Listed]:
    """What `next_response` counts: a consultation stands here once for each further question."""
    found = []
    asked_again = Consultation.feedback_at.is_not(None) & (
        (Consultation.last_feedback_at > Consultation.feedback_at)
        | Consultation.waiting_since.is_not(None)
    )
    query = _written_in(library, start=start, end=end, at=at, channel=channel).where(asked_again)
    rows = session.execute(query).all()
    for row, streams in _with_events(session, library, rows, at=at):
        for instance in instances(streams):
            if instance.observed(at) < limit:
                outcome = PENDING_OPEN if instance.replied_at is None else PENDING_IN_TIME
            else:
                in_time = instance.replied_at is not None and instance.waited(at) <= limit
                outcome = WITHIN if in_time else MISSED
            found.append(Listed(row.id, row.key, row.received_at, outcome))
    return in_order(found)


def _share(found: Mapping[str, int]) -> dict[str, Any]:
    matured = found.get(WITHIN, 0) + found.get(MISSED, 0)
    share = rates.wilson(found.get(WITHIN, 0), matured)
    return {
        "within": found.get(WITHIN, 0),
        "matured": matured,
        "pending": sum(found.get(outcome, 0) for outcome in PENDING),
        "rate": share.rate,
        "low": share.low,
        "high": share.high,
    }


def resolution(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
) -> dict[str, Any]:
    """Staffed time from receipt to the last close, without pauses: counts and percentiles.

    `seconds` holds p50, p90, p95 of those closed, in staffed seconds; without a calendar of
    the desk, in real seconds (`clock` says which).
    """
    desks = _Desks(session, library)
    written = _written_in(library, start=start, end=end, at=at, channel=channel)
    paused = _paused(session, library)
    closed: list[tuple[Any, list[Pause]]] = []
    with_events, still_open = [], 0
    for row in session.execute(written):
        if row.closed_at is None:
            still_open += 1
        elif row.id in paused.ids or row.key in paused.merged:
            with_events.append(row)
        else:
            closed.append((row, []))
    for row, streams in _with_events(session, library, with_events, at=at):
        events = ordered(event for stream in streams for event in stream.events)
        closed.append((row, list(pauses_in(events))))
    lengths = sorted(
        _length(desks.of(row.calendar_version), row.received_at, row.closed_at, p)
        for row, p in closed
    )
    return {
        "closed": len(lengths),
        "open": still_open,
        "clock": "staffed" if desks.newest is not None else "real",
        "seconds": {f"p{p}": rates.nearest_rank(lengths, p) for p in PERCENTILES},
    }


class _Desks:
    """The desk's hours by which each consultation is measured; later edits do not move it."""

    def __init__(self, session: Session, library: Library) -> None:
        self._session, self._library = session, library
        self.newest = calendars.calendar(session, library.id)
        self._known: dict[int | None, Calendar | None] = {None: self.newest}

    def of(self, version: int | None) -> Calendar | None:
        """The hours of a version, else those in force; None for a library without a desk."""
        if version is not None and version not in self._known:
            found = calendars.desk_version(self._session, self._library.id, version)
            self._known[version] = found.calendar if found else self.newest
        return self._known[version]


def _length(desk: Calendar | None, start: datetime, end: datetime, pauses: Sequence[Pause]) -> int:
    """Seconds without the pauses, staffed ones where the desk has hours."""
    if desk is not None:
        return desk.open_seconds(start, end, pauses)
    return (end - start - paused_between(pauses, start, end)) // SECOND


class _Paused(NamedTuple):
    """Where a pause may be: only there must events be read."""

    ids: frozenset[int]
    merged: frozenset[str]  # keys of those that others were merged into


def _paused(session: Session, library: Library) -> _Paused:
    paused = select(Event.consultation_id).where(
        Event.library_id == library.id, Event.kind == Kind.PAUSED
    )
    merged = select(Consultation.merged_into).where(
        Consultation.library_id == library.id, Consultation.merged_into.is_not(None)
    )
    return _Paused(
        frozenset(session.scalars(paused.distinct())),
        frozenset(key for key in session.scalars(merged.distinct()) if key is not None),
    )


def reopened(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
    tallied: Tallied | None = None,
) -> dict[str, Any]:
    """Of those first closed at least 7 days ago, the share reopened within 7 days."""
    if tallied is None:
        tallied = counted(
            session, library, ["reopened"], start=start, end=end, at=at, channel=channel
        )
    found = tallied["reopened"]
    share = rates.wilson(found["again"], found.total())
    return {
        "reopened": found["again"],
        "matured": found.total(),
        "rate": share.rate,
        "low": share.low,
        "high": share.high,
    }


def acceptance(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
    tallied: Tallied | None = None,
) -> dict[str, Any]:
    """Of the patrons who said whether a bot answer helped, the share who said yes.

    `answered` counts the consultations with a bot answer and `responded` those in which the
    patron said anything; silence is not acceptance. A no and a later yes count as both.
    """
    if tallied is None:
        tallied = counted(
            session, library, ["acceptance"], start=start, end=end, at=at, channel=channel
        )
    found = tallied["acceptance"]
    accepted, rejected = found["accepted"] + found["both"], found["rejected"] + found["both"]
    share = rates.wilson(accepted, accepted + rejected)
    return {
        "accepted": accepted,
        "rejected": rejected,
        "answered": found.total(),
        "responded": found.total() - found["silent"],
        "rate": share.rate,
        "low": share.low,
        "high": share.high,
    }


def staffed_target(
    session: Session,
    library: Library,
    *,
    minutes: int,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
) -> dict[str, Any]:
    """Of the handed over, the share with feedback within that many staffed minutes.

    None of it without a desk's calendar, or one that is never open.
    """
    judged = staffed_cases(
        session, library, minutes=minutes, start=start, end=end, at=at, channel=channel
    )
    return {"minutes": minutes, **_share(Counter(item.outcome for item in judged))}


def staffed_cases(
    session: Session,
    library: Library,
    *,
    minutes: int,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
) -> list[Listed]:
    """What `staffed_target` counts."""
    desks = _Desks(session, library)
    found = []
    for item, feedback_at, version in _handed_over(
        session, library, start=start, end=end, at=at, channel=channel
    ):
        desk = desks.of(version)
        due = desk.due(item.received_at, minutes) if desk else None
        if due is not None:
            in_time = feedback_at is not None and feedback_at <= due
            if at > due:
                outcome = WITHIN if in_time else MISSED
            else:
                outcome = PENDING_IN_TIME if in_time else PENDING_OPEN
            found.append(item._replace(outcome=outcome))
    return in_order(found)


def _handed_over(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None,
) -> Iterator[tuple[Listed, datetime | None, int | None]]:
    """The handed-over consultations, each with its first feedback and its calendar's version."""
    query = select(
        Consultation.id,
        Consultation.key,
        Consultation.received_at,
        Consultation.feedback_at,
        Consultation.calendar_version,
    ).where(
        Consultation.library_id == library.id,
        Consultation.excluded_at.is_(None),
        Consultation.handed_over,
        in_stretches(library, [(start, end)]),
        *standing(at),
    )
    if channel is not None:
        query = query.where(Consultation.channel == channel)
    for row in session.execute(query):
        yield Listed(row[0], row[1], row[2], "handed_over"), row[3], row[4]
    versions = select(Consultation.id, Consultation.calendar_version).where(
        Consultation.library_id == library.id, Consultation.last_event_at > at
    )
    known = {row[0]: row[1] for row in session.execute(versions)}
    for case, _ in as_they_were(session, library, start=start, end=end, at=at, channel=channel):
        if case.counts and case.handed_over:
            item = Listed(case.id, case.key, case.received_at, "handed_over")
            yield item, case.feedback_at, known[case.id]


def backlog_by_age(
    session: Session, library: Library, *, at: datetime, channel: str | None = None
) -> dict[str, list[int]]:
    """By channel, how many wait for a first response, in the age groups that AGES bounds.

    The last group is older than the last bound; a wait of exactly 24 hours is not over it.
    """
    found: dict[str, list[int]] = {}
    for case in waiting_cases(session, library, at=at, channel=channel):
        groups = found.setdefault(case.channel, [0] * (len(AGES) + 1))
        age = at - case.received_at
        groups[sum(age > timedelta(hours=bound) for bound in AGES)] += 1
    return dict(sorted(found.items()))


def waiting_cases(
    session: Session, library: Library, *, at: datetime, channel: str | None = None
) -> list[Case]:
    """The consultations that waited for a first response at that instant."""
    cases = selected(session, library, at=at, channel=channel, only=UNANSWERED)
    return [case for case in cases if is_waiting(case)]


def volumes(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
    tallied: Tallied | None = None,
) -> dict[str, Any]:
    """Received, reference transactions (ARL, NISO Z39.7), directional, excluded.

    Directional questions stay in the rates and out of the reference count. `read` counts
    the READ levels given; `excluded_late` those taken out after 24 hours had been missed.
    """
    if tallied is None:
        figures = (*VOLUMES, "read")
        tallied = counted(session, library, figures, start=start, end=end, at=at, channel=channel)
    levels = tallied["read"]
    return {
        **{name: tallied[name].total() for name in VOLUMES},
        "read": {str(level): n for level in READ_LEVELS if (n := levels[f"read_{level}"])},
    }


def exclusions(
    session: Session, library: Library, *, start: date, end: date, at: datetime
) -> dict[str, int]:
    """How many were excluded, by reason."""
    excluded = Consultation.excluded_at.is_not(None)
    found = selected(session, library, start=start, end=end, at=at, only=excluded)
    reasons = Counter(case.excluded_reason or "unknown" for case in found if not case.counts)
    return dict(sorted(reasons.items()))


def by_librarian(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    librarian: str | None = None,
) -> list[dict[str, Any]]:
    """What each librarian's first feedback did, by name. For the person and the manager only.

    First feedback is credited to its author. `seconds_in_hand` runs from the first
    assignment, since the wait before it belongs to the queue.
    """
    blocks: dict[str, Block] = {}
    in_hand: dict[str, list[int]] = {}
    by = Consultation.feedback_by
    wrote = by.is_not(None) if librarian is None else by == librarian
    for case in selected(session, library, start=start, end=end, at=at, only=wrote):
        author = case.feedback_by
        if author is None or not case.counts or librarian not in (None, author):
            continue
        blocks.setdefault(author, Block(at)).add(case)
        begin = case.first_assigned_at or case.received_at
        if case.feedback_at is not None:
            length = max(case.feedback_at - max(begin, case.received_at), timedelta(0))
            in_hand.setdefault(author, []).append(length // MICROSECOND // 1_000_000)
    return [
        {
            "librarian": name,
            "answered": block.handed_over,
            **block.as_dict(),
            "seconds_in_hand": {
                f"p{p}": rates.nearest_rank(sorted(in_hand[name]), p) for p in PERCENTILES
            },
        }
        for name, block in sorted(blocks.items())
    ]


def _written_in(
    library: Library, *, start: date, end: date, at: datetime, channel: str | None
) -> Any:
    """Handed-over consultations that a librarian wrote in or closed."""
    query = select(
        *OPENING, Consultation.received_at, Consultation.closed_at, Consultation.calendar_version
    ).where(
        Consultation.library_id == library.id,
        Consultation.excluded_at.is_(None),
        Consultation.handed_over,
        Consultation.feedback_at.is_not(None) | Consultation.closed_at.is_not(None),
        in_stretches(library, [(start, end)]),
        Consultation.received_at <= at,
    )
    return query if channel is None else query.where(Consultation.channel == channel)


def _with_events(
    session: Session, library: Library, rows: Sequence[Any], *, at: datetime
) -> Iterator[tuple[Any, list[Stream]]]:
    """The rows with their events until `at`."""
    for begin in range(0, len(rows), _BATCH):
        batch = rows[begin : begin + _BATCH]
        openings = [Opening._make(row[: len(OPENING)]) for row in batch]
        streams = families(session, library.id, openings, until=at)
        for row in batch:
            yield row, streams[row.key]
