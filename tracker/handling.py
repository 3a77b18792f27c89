"""How consultations were handled after the first answer, and by whom.

Next response, resolution, reopening, acceptance, the staffed-minute target, the age of the
backlog, volumes, and each librarian's own view. Definitions: docs/metrics.md.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from tracker import calendars, rates
from tracker.clock import Calendar, Pause, day_bounds, zone
from tracker.figures import PERCENTILES, Block, Case, is_waiting
from tracker.fold import DAY, MICROSECOND, EventData, Kind, Stream, ordered, patron_messages
from tracker.models import Consultation, Library
from tracker.stats import selected
from tracker.streams import OPENING, Opening, families

REOPEN_WINDOW = timedelta(days=7)
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
    events = ordered(event for stream in streams for event in stream.events)
    splits = [event for event in events if event.kind == Kind.SPLIT]
    asked = [
        message.at
        for message in patron_messages((e for e in events if e.kind == Kind.MESSAGE), splits)
        if not (message.data and message.data.get("courtesy"))
    ]
    replies = [event.at for event in events if event.kind == Kind.FEEDBACK]
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
    within = matured = pending = 0
    for _, streams in _streams(session, library, start=start, end=end, at=at, channel=channel):
        for instance in instances(streams):
            if instance.observed(at) < limit:
                pending += 1
            else:
                matured += 1
                within += instance.replied_at is not None and instance.waited(at) <= limit
    share = rates.wilson(within, matured)
    return {
        "within": within,
        "matured": matured,
        "pending": pending,
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
    desk = calendars.calendar(session, library.id)
    lengths, still_open = [], 0
    for row, streams in _streams(session, library, start=start, end=end, at=at, channel=channel):
        if row.closed_at is None:
            still_open += 1
            continue
        events = ordered(event for stream in streams for event in stream.events)
        pauses = list(pauses_in(events))
        if desk is not None:
            lengths.append(desk.open_seconds(row.received_at, row.closed_at, pauses))
        else:
            length = row.closed_at - row.received_at
            length -= paused_between(pauses, row.received_at, row.closed_at)
            lengths.append(length // SECOND)
    lengths.sort()
    return {
        "closed": len(lengths),
        "open": still_open,
        "clock": "staffed" if desk is not None else "real",
        "seconds": {f"p{p}": rates.nearest_rank(lengths, p) for p in PERCENTILES},
    }


def reopened(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
) -> dict[str, Any]:
    """Of those first closed at least 7 days ago, the share reopened within 7 days."""
    query = _rows(library, start=start, end=end, at=at, channel=channel).where(
        Consultation.first_closed_at <= at - REOPEN_WINDOW
    )
    again = matured = 0
    for row in session.execute(query):
        matured += 1
        again += (
            row.reopened_at is not None and row.reopened_at <= row.first_closed_at + REOPEN_WINDOW
        )
    share = rates.wilson(again, matured)
    return {
        "reopened": again,
        "matured": matured,
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
) -> dict[str, Any]:
    """Of the patrons who said whether a bot answer helped, the share who said yes.

    `answered` counts the consultations with a bot answer and `responded` those in which the
    patron said anything; silence is not acceptance. A no and a later yes count as both.
    """
    query = _rows(library, start=start, end=end, at=at, channel=channel).where(
        or_(Consultation.bot_at.is_not(None), Consultation.bot_rejected_at.is_not(None))
    )
    accepted = rejected = answered = responded = 0
    for row in session.execute(query):
        answered += 1
        accepted += row.bot_accepted
        rejected += row.bot_rejected_at is not None
        responded += row.bot_accepted or row.bot_rejected_at is not None
    share = rates.wilson(accepted, accepted + rejected)
    return {
        "accepted": accepted,
        "rejected": rejected,
        "answered": answered,
        "responded": responded,
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
    desk = calendars.calendar(session, library.id)
    within = matured = pending = 0
    for case in selected(session, library, start=start, end=end, at=at, channel=channel):
        due = _staffed_due(case, desk, minutes)
        if due is None:
            continue
        if at > due:
            matured += 1
            within += case.feedback_at is not None and case.feedback_at <= due
        else:
            pending += 1
    share = rates.wilson(within, matured)
    return {
        "minutes": minutes,
        "within": within,
        "matured": matured,
        "pending": pending,
        "rate": share.rate,
        "low": share.low,
        "high": share.high,
    }


def _staffed_due(case: Case, desk: Calendar | None, minutes: int) -> datetime | None:
    if desk is None or not case.counts or not case.handed_over:
        return None
    return desk.due(case.received_at, minutes)


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
    cases = selected(session, library, at=at, channel=channel, only=_NO_FEEDBACK)
    return [case for case in cases if is_waiting(case)]


_NO_FEEDBACK = Consultation.feedback_at.is_(None) & Consultation.handed_over


def volumes(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
) -> dict[str, Any]:
    """Received, reference transactions (ARL, NISO Z39.7), directional, excluded by reason.

    Directional questions stay in the rates and out of the reference count. `read` counts
    the READ levels given; `excluded_late` those taken out after 24 hours had been missed.
    """
    block, reasons = Block(at), Counter[str]()
    reference = 0
    for case in selected(session, library, start=start, end=end, at=at, channel=channel):
        block.add(case)
        reference += case.counts and not case.directional
        if not case.counts:
            reasons[case.excluded_reason or "unknown"] += 1
    query = _rows(library, start=start, end=end, at=at, channel=channel)
    rows = session.execute(query).all()
    levels = Counter(row.read_scale for row in rows if row.read_scale is not None)
    return {
        "received": block.received,
        "reference": reference,
        "directional": block.directional,
        "bot_only": block.bot_only,
        "handed_over": block.handed_over,
        "withdrawn": block.withdrawn,
        "excluded": block.excluded,
        "excluded_late": block.excluded_late,
        "reclassified_late": sum(row.reclassified_late for row in rows),
        "excluded_by_reason": dict(sorted(reasons.items())),
        "read": {str(level): levels[level] for level in sorted(levels)},
    }


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
    for case in selected(session, library, start=start, end=end, at=at):
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


def _rows(library: Library, *, start: date, end: date, at: datetime, channel: str | None) -> Any:
    tz = zone(library.timezone)
    query = select(
        *OPENING,
        Consultation.received_at,
        Consultation.closed_at,
        Consultation.first_closed_at,
        Consultation.reopened_at,
        Consultation.bot_accepted,
        Consultation.bot_rejected_at,
        Consultation.read_scale,
        Consultation.reclassified_late,
    ).where(
        Consultation.library_id == library.id,
        Consultation.excluded_at.is_(None),
        Consultation.received_at >= day_bounds(start, tz)[0],
        Consultation.received_at < day_bounds(end, tz)[1],
        Consultation.received_at <= at,
    )
    return query if channel is None else query.where(Consultation.channel == channel)


def _streams(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None,
) -> Iterator[tuple[Any, list[Stream]]]:
    """Handed-over consultations that a librarian wrote in or closed, with their events."""
    query = (
        _rows(library, start=start, end=end, at=at, channel=channel)
        .where(
            or_(Consultation.feedback_at.is_not(None), Consultation.closed_at.is_not(None)),
            Consultation.handed_over,
        )
        .order_by(Consultation.id)
    )
    rows = session.execute(query).all()
    for begin in range(0, len(rows), _BATCH):
        batch = rows[begin : begin + _BATCH]
        openings = [Opening._make(row[: len(OPENING)]) for row in batch]
        streams = families(session, library.id, openings, until=at)
        for row in batch:
            yield row, streams[row.key]
