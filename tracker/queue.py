"""Who takes what next: the consultations that wait for a librarian, most urgent first."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from tracker.counting import CLOSED_UNANSWERED
from tracker.fold import DAY, Status
from tracker.models import Consultation

DEAD_END = timedelta(minutes=15)


def waiting(
    session: Session,
    library_id: int,
    *,
    now: datetime,
    assigned_to: str | None = None,
    unassigned: bool = False,
    limit: int = 500,
) -> Sequence[Consultation]:
    """Consultations that wait for a librarian: urgent, then overdue, then by time left.

    `assigned_to` narrows it to one librarian's, `unassigned` to nobody's. A conversation in
    which the bot found no answer and the patron fell silent 15 minutes ago is here too.
    """
    query = select(Consultation).where(_waits(library_id, now))
    if assigned_to is not None:
        query = query.where(Consultation.assigned_to == assigned_to)
    elif unassigned:
        query = query.where(Consultation.assigned_to.is_(None))
    return session.scalars(
        query.order_by(
            Consultation.urgent.desc(),
            case((_overdue(now), 0), else_=1),
            func.coalesce(Consultation.next_due_at, Consultation.waiting_since),
            Consultation.waiting_since,
            Consultation.id,
        ).limit(limit)
    ).all()


def count_waiting(session: Session, library_id: int, *, now: datetime) -> dict[str | None, int]:
    """How many wait, by the librarian who has them; None is nobody."""
    rows = session.execute(
        select(Consultation.assigned_to, func.count())
        .where(_waits(library_id, now))
        .group_by(Consultation.assigned_to)
    )
    return {row[0]: row[1] for row in rows}


def closed_unanswered(
    session: Session, library_id: int, *, limit: int = 100
) -> Sequence[Consultation]:
    """Closed without a reply, newest first: not at the desk any more, and still unanswered."""
    query = select(Consultation).where(*_closed_unanswered(library_id))
    return session.scalars(query.order_by(Consultation.received_at.desc()).limit(limit)).all()


def count_closed_unanswered(session: Session, library_id: int) -> int:
    """How many were closed without a reply."""
    query = select(func.count()).where(*_closed_unanswered(library_id))
    return session.scalar(query) or 0


def _closed_unanswered(library_id: int) -> tuple[ColumnElement[bool], ...]:
    return Consultation.library_id == library_id, CLOSED_UNANSWERED


def _overdue(now: datetime) -> ColumnElement[bool]:
    return or_(Consultation.waiting_since < now - DAY, Consultation.promised_at < now)


def _waits(library_id: int, now: datetime) -> ColumnElement[bool]:
    return and_(
        Consultation.library_id == library_id,
        Consultation.status.in_((Status.WAITING, Status.OPEN)),  # by the index
        or_(
            Consultation.status == Status.WAITING,
            Consultation.last_event_at <= now - DEAD_END,
        ),
    )
