"""Notice what time alone brings about: misses, once each, dead ends, and idle consultations."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tracker.consultations import close, deadlines, escalate
from tracker.fold import BOT, Status
from tracker.models import Consultation, Miss
from tracker.queue import DEAD_END

IDLE = "idle"
UNANSWERED = "unanswered"


def mark_next_overdue(session: Session, *, now: datetime) -> list[Miss] | None:
    """Record the missed deadlines of one consultation. None: nothing is left to look at.

    Call it again until it returns None. An empty list means that another worker was faster.
    A deadline is missed once its instant has passed; an answer at that very instant is in time.
    """
    consultation = session.scalars(
        select(Consultation)
        .where(Consultation.next_due_at < now)
        .order_by(Consultation.next_due_at, Consultation.id)
        .limit(1)
    ).first()
    return None if consultation is None else _mark(session, consultation, now=now)


def sweep(session: Session, *, now: datetime, limit: int = 100) -> list[Miss]:
    """Record missed deadlines of up to `limit` consultations; returns the new misses."""
    due = session.scalars(
        select(Consultation)
        .where(Consultation.next_due_at < now)
        .order_by(Consultation.next_due_at, Consultation.id)
        .limit(limit)
    ).all()
    return [miss for consultation in due for miss in _mark(session, consultation, now=now)]


def _mark(session: Session, consultation: Consultation, *, now: datetime) -> list[Miss]:
    """The conditional update decides which of several workers records the misses."""
    seen = consultation.next_due_at
    running = deadlines(consultation)
    passed = [item for item in running if seen is not None and seen <= item[1] < now]
    following = min((due for _, due in running if due >= now), default=None)
    won = session.execute(
        update(Consultation)
        .where(Consultation.id == consultation.id, Consultation.next_due_at == seen)
        .values(next_due_at=following)
        .execution_options(synchronize_session=False)
        .returning(Consultation.id)
    ).first()
    session.expire(consultation, ["next_due_at"])
    if won is None:
        return []
    misses = [
        Miss(
            library_id=consultation.library_id,
            consultation_id=consultation.id,
            clock=clock,
            due_at=due,
            noticed_at=now,
        )
        for clock, due in passed
    ]
    session.add_all(misses)
    session.flush()
    return misses


def close_idle(session: Session, *, now: datetime, limit: int = 100) -> int:
    """Close consultations 24 hours after the bot's last answer; returns how many.

    They close at that instant, however late the worker comes.
    """
    idle = session.scalars(
        select(Consultation)
        .where(Consultation.idle_close_at <= now)
        .order_by(Consultation.idle_close_at, Consultation.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for consultation in idle:
        at = consultation.idle_close_at
        if at is not None:
            close(session, consultation, at=at, now=now, by=BOT, reason=IDLE)
    return len(idle)


def escalate_dead_ends(session: Session, *, now: datetime, limit: int = 100) -> list[Consultation]:
    """Hand over what the bot left without an answer and the patron has let rest for 15 minutes.

    Choices that nobody took, for instance. Returns them, so that the patrons can be told by
    when a librarian answers. The clock has run since the receipt and is not touched. History
    from elsewhere, which has no conversation, stays as it came.
    """
    left = session.scalars(
        select(Consultation)
        .where(
            Consultation.conversation_id.is_not(None),
            Consultation.status == Status.OPEN,
            Consultation.last_event_at <= now - DEAD_END,
        )
        .order_by(Consultation.last_event_at, Consultation.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for consultation in left:
        escalate(session, consultation, at=now, now=now, reason=UNANSWERED)
    return list(left)
