"""Test questions ("mystery shopper"): planned by chance, asked like any other, flagged after a day.

Staff must not be able to tell a probe while it waits, so it is flagged only when 24 hours
have passed. From then on it is excluded from the library's own rates, as of that very
instant, and counts in the consortium's share of probed libraries (tracker.consortium.probes).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tracker.clock import day_bounds, zone
from tracker.consortium import PROBE, channels_of
from tracker.consultations import exclude, restore
from tracker.errors import TrackerError
from tracker.fold import DAY, TITLE_LENGTH
from tracker.models import Consultation, Library, Probe

PLANNED, ASKED, FOUND, FLAGGED, FAILED = "planned", "asked", "found", "flagged", "failed"
SECOND = timedelta(seconds=1)
EARLY = timedelta(minutes=5)  # by how much a platform's clock may go before ours
LOST_AFTER = timedelta(hours=48)  # a question that has not arrived by then never will
BY = "probe"


class NothingToProbe(TrackerError):
    """No library that takes part has this channel, or there is no question to ask."""

    status = 422


def plan(
    session: Session,
    libraries: Iterable[Library],
    *,
    channel: str,
    questions: Sequence[str],
    start: date,
    end: date,
    by: str,
    now: datetime,
    random: Random,
) -> list[Probe]:
    """One probe for each library with the channel, at any second of its local dates.

    `random` should be one that nobody can foretell. What would lie in the past is drawn
    between now and the end. Raises NothingToProbe.
    """
    asked = [question.strip() for question in questions if question.strip()]
    chosen = [library for library in libraries if channel in channels_of(session, library)]
    if not (asked and chosen):
        raise NothingToProbe
    probes = []
    for library in chosen:
        tz = zone(library.timezone)
        first, last = max(day_bounds(start, tz)[0], now), day_bounds(end, tz)[1]
        if first >= last:
            raise ValueError(f"{end} is over in {library.slug}")
        seconds = random.randrange(max(1, int((last - first).total_seconds())))
        probes.append(
            Probe(
                library_id=library.id,
                channel=channel,
                question=random.choice(asked),
                due_at=(first + seconds * SECOND).astimezone(UTC),
                state=PLANNED,
                by=by,
            )
        )
    session.add_all(probes)
    session.flush()
    return probes


def take_due(session: Session, *, channel: str, now: datetime, limit: int) -> list[Probe]:
    """Planned probes of a channel whose instant has come, which now count as asked.

    The conditional update decides which of several workers asks: a question goes at most once.
    """
    due = select(Probe.id).where(
        Probe.state == PLANNED, Probe.channel == channel, Probe.due_at <= now
    )
    taken = session.scalars(
        update(Probe)
        .where(Probe.id.in_(due.order_by(Probe.due_at).limit(limit)), Probe.state == PLANNED)
        .values(state=ASKED, asked_at=now)
        .returning(Probe)
    )
    return sorted(taken, key=lambda probe: probe.id)


def asked_by_hand(session: Session, probe: Probe, *, now: datetime) -> None:
    """Somebody has sent the question from a telephone. Raises ValueError if that was done."""
    if probe.state != PLANNED:
        raise ValueError(f"probe {probe.id} is {probe.state}")
    probe.state, probe.asked_at = ASKED, now
    session.flush()


def failed(session: Session, probe: Probe, problem: str) -> None:
    """The question could not be asked: the probe says nothing about the library."""
    probe.state, probe.problem = FAILED, problem
    session.flush()


def found(session: Session, probe: Probe, consultation_id: int) -> None:
    """The question has arrived as this consultation."""
    probe.state, probe.consultation_id = FOUND, consultation_id
    session.flush()


def recognise(session: Session, *, now: datetime) -> int:
    """Find what was asked by hand among what has arrived, by its words; returns how many."""
    waiting = session.scalars(select(Probe).where(Probe.state == ASKED).order_by(Probe.id)).all()
    count = 0
    for probe in waiting:
        arrived = _arrived(session, probe)
        if arrived is not None:
            found(session, probe, arrived)
            count += 1
        elif probe.asked_at is not None and now - probe.asked_at > LOST_AFTER:
            failed(session, probe, "the question has not arrived")
    return count


def _arrived(session: Session, probe: Probe) -> int | None:
    if probe.asked_at is None:
        return None
    known = select(Probe.consultation_id).where(
        Probe.library_id == probe.library_id, Probe.consultation_id.is_not(None)
    )
    return session.scalar(
        select(Consultation.id)
        .where(
            Consultation.library_id == probe.library_id,
            Consultation.opened_channel == probe.channel,
            Consultation.opened_at >= probe.asked_at - EARLY,
            Consultation.title == probe.question[:TITLE_LENGTH],
            Consultation.id.not_in(known),
        )
        .order_by(Consultation.opened_at)
        .limit(1)
    )


def flag(session: Session, *, now: datetime) -> int:
    """Take probes that are a day old out of their libraries' own rates; returns how many."""
    rows = session.execute(
        select(Probe, Consultation)
        .join(Consultation, Probe.consultation_id == Consultation.id)
        .where(Probe.state == FOUND, Consultation.received_at <= now - DAY)
        .order_by(Probe.id)
    ).all()
    for probe, consultation in rows:
        _exclude(session, consultation, now=now)
        probe.state = FLAGGED
    session.flush()
    return len(rows)


def _exclude(session: Session, consultation: Consultation, *, now: datetime) -> None:
    """As of the 24th hour, so that it is no exclusion after a miss; a librarian's own
    exclusion before that gives way, because to the patron it was silence."""
    at = consultation.received_at + DAY
    if consultation.excluded_reason == PROBE or consultation.merged_into is not None:
        return
    if consultation.excluded_at is not None:
        if consultation.excluded_at >= at:
            return
        restore(session, consultation, at=at - SECOND, now=now, by=BY)
    exclude(session, consultation, at=at, now=now, by=BY, reason=PROBE)
