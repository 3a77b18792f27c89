"""What librarians keep beside a consultation: notes for colleagues, and when to look again.

Neither is an event: no clock sees them, and no figure changes (METRICS.md section 1).
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.errors import BadRequest
from tracker.columns import Base
from tracker.models import Consultation, Id

LONGEST_NOTE = 4_000


class Note(Base):
    """Something that a librarian wrote for colleagues; the patron never sees it."""

    __tablename__ = "note"
    __table_args__ = (Index(None, "library_id", "consultation_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    consultation_id: Mapped[int] = mapped_column(ForeignKey("consultation.id", ondelete="CASCADE"))
    by: Mapped[str] = mapped_column(Text)  # e-mail address
    text: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class Snooze(Base):
    """A consultation that the queue hides until a time."""

    __tablename__ = "snooze"
    __table_args__ = (
        UniqueConstraint("library_id", "consultation_id"),
        Index(None, "library_id", "until"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    consultation_id: Mapped[int] = mapped_column(ForeignKey("consultation.id", ondelete="CASCADE"))
    by: Mapped[str] = mapped_column(Text)  # e-mail address
    at: Mapped[datetime]
    until: Mapped[datetime]


def add_note(
    session: Session, consultation: Consultation, *, by: str, text: str, now: datetime
) -> Note:
    """Keep a note. Raises BadRequest for an empty or endless one."""
    if not text.strip() or len(text) > LONGEST_NOTE:
        raise BadRequest(f"A note has 1 to {LONGEST_NOTE} characters.")
    note = Note(
        library_id=consultation.library_id,
        consultation_id=consultation.id,
        by=by,
        text=text.strip(),
        at=now,
    )
    session.add(note)
    session.flush()
    return note


def notes_of(session: Session, consultation: Consultation) -> Sequence[Note]:
    """The notes about a consultation, oldest first."""
    return session.scalars(
        select(Note)
        .where(Note.library_id == consultation.library_id, Note.consultation_id == consultation.id)
        .order_by(Note.at, Note.id)
    ).all()


def snooze(
    session: Session, consultation: Consultation, *, by: str, until: datetime, now: datetime
) -> Snooze:
    """Hide a consultation from the queue until a time. Raises BadRequest for a time past."""
    if until <= now:
        raise BadRequest("That time is past.")
    wake(session, consultation)
    row = Snooze(
        library_id=consultation.library_id,
        consultation_id=consultation.id,
        by=by,
        at=now,
        until=until,
    )
    session.add(row)
    session.flush()
    return row


def wake(session: Session, consultation: Consultation) -> None:
    """Show a consultation in the queue again, now."""
    session.execute(
        delete(Snooze).where(
            Snooze.library_id == consultation.library_id,
            Snooze.consultation_id == consultation.id,
        )
    )


def snoozed(session: Session, library_id: int, *, now: datetime) -> dict[int, datetime]:
    """The consultations that the queue hides now, and until when."""
    rows = session.execute(
        select(Snooze.consultation_id, Snooze.until)
        .join(Consultation, Consultation.id == Snooze.consultation_id)
        .where(
            Snooze.library_id == library_id,
            Snooze.until > now,
            Consultation.last_event_at <= Snooze.at,  # whatever happens meanwhile brings it back
        )
    )
    return dict(rows.all())
