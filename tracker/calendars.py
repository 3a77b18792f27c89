"""Keep a library's calendars, each with its versions, and hand them out ready to be asked."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from json import dumps, loads
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from tracker import clock, models
from tracker.clock import zone
from tracker.dirty import mark_dirty
from tracker.fold import GONE
from tracker.memory import memory_of
from tracker.models import Consultation, Library

DESK = "desk"
BUILDING = "building"
_CACHE_SIZE = 256
_BATCH = 5_000
PROMISE_MINUTES = 120  # staffed time that a day must still hold for a promise on that day
_parsed: dict[str, clock.Calendar] = {}  # by digest; documents never change
_NEWEST_DESK = (  # without the document: every consultation that opens asks
    select(models.Calendar.version, models.Calendar.digest)
    .where(models.Calendar.library_id == bindparam("library"), models.Calendar.name == DESK)
    .order_by(models.Calendar.version.desc())
    .limit(1)
)


class DeskCalendar(NamedTuple):
    """The staffed desk's hours and which version of them this is."""

    version: int
    calendar: clock.Calendar


def save_calendar(
    session: Session,
    library_id: int,
    name: str,
    document: Mapping[str, Any],
    *,
    now: datetime,
    by: str,
) -> models.Calendar:
    """Put a new version of a calendar in force.

    A change of the desk's hours moves the deadlines of consultations that still wait and
    are not overdue; what was met or missed stays so. Raises BadCalendar.
    """
    clock.Calendar.from_document(document)
    text = dumps(document, sort_keys=True, ensure_ascii=False)
    digest = sha256(text.encode()).hexdigest()
    newest = latest(session, library_id, name)
    if newest is not None and newest.digest == digest:
        return newest
    row = models.Calendar(
        library_id=library_id,
        name=name,
        version=1 if newest is None else newest.version + 1,
        document=loads(text),
        digest=digest,
        recorded_at=now,
        by=by,
    )
    session.add(row)
    session.flush()
    if name == DESK:
        memory_of(session).desks.pop(library_id, None)
        _move_deadlines(session, library_id, DeskCalendar(row.version, _ready(row)), now=now)
    return row


def latest(session: Session, library_id: int, name: str = DESK) -> models.Calendar | None:
    """The version of a calendar that is in force."""
    return session.scalars(
        select(models.Calendar)
        .where(models.Calendar.library_id == library_id, models.Calendar.name == name)
        .order_by(models.Calendar.version.desc())
        .limit(1)
    ).first()


def calendar(session: Session, library_id: int, name: str = DESK) -> clock.Calendar | None:
    """The calendar in force, ready to be asked; None if the library has none of that name."""
    row = latest(session, library_id, name)
    return None if row is None else _ready(row)


def names(session: Session, library_id: int) -> list[str]:
    """The names of a library's calendars."""
    return list(
        session.scalars(
            select(models.Calendar.name)
            .where(models.Calendar.library_id == library_id)
            .distinct()
            .order_by(models.Calendar.name)
        )
    )


def desk(session: Session, library_id: int) -> DeskCalendar | None:
    """The staffed desk's calendar with its version; None where nobody has entered one."""
    desks = memory_of(session).desks
    if library_id not in desks:
        desks[library_id] = _newest_desk(session, library_id)
    return desks[library_id]


def _newest_desk(session: Session, library_id: int) -> DeskCalendar | None:
    newest = session.connection().execute(_NEWEST_DESK, {"library": library_id}).first()
    if newest is None:
        return None
    known = _parsed.get(newest.digest)
    if known is not None:
        return DeskCalendar(newest.version, known)
    return desk_version(session, library_id, newest.version)


def desk_version(session: Session, library_id: int, version: int) -> DeskCalendar | None:
    """An earlier version of the staffed desk's calendar."""
    row = session.scalars(
        select(models.Calendar).where(
            models.Calendar.library_id == library_id,
            models.Calendar.name == DESK,
            models.Calendar.version == version,
        )
    ).first()
    return None if row is None else DeskCalendar(row.version, _ready(row))


def promise(calendar: clock.Calendar, received_at: datetime) -> datetime | None:
    """By when a librarian will have answered: the end of a staffed day.

    Today's, if at least two staffed hours of today are left; otherwise the next staffed
    day's. None if the desk is never staffed.
    """
    today = calendar.local_date(received_at)
    closing = max((shut for _, shut in calendar.spans_on(today)), default=None)
    if closing is not None and closing > received_at:
        left = calendar.open_seconds(received_at, closing)
        if left >= PROMISE_MINUTES * 60:
            return closing
    return calendar.next_opening_day_due(received_at)


def _ready(row: models.Calendar) -> clock.Calendar:
    known = _parsed.get(row.digest)
    if known is None:
        if len(_parsed) >= _CACHE_SIZE:
            _parsed.clear()
        known = _parsed[row.digest] = clock.Calendar.from_document(row.document)
    return known


def _move_deadlines(
    session: Session, library_id: int, current: DeskCalendar, *, now: datetime
) -> None:
    """Give the new hours to what still waits, and to what was received before any hours."""
    session.flush()
    waiting = (
        Consultation.calendar_version.is_not(None)
        & Consultation.feedback_at.is_(None)
        & Consultation.status.not_in(GONE)
        & (Consultation.next_day_due_at.is_(None) | (Consultation.next_day_due_at > now))
    )
    tz = zone(session.get_one(Library, library_id).timezone)
    last, days = 0, set()
    while True:
        rows = session.execute(
            select(Consultation.id, Consultation.received_at)
            .where(
                Consultation.library_id == library_id,
                Consultation.id > last,
                Consultation.calendar_version.is_(None) | waiting,
            )
            .order_by(Consultation.id)
            .limit(_BATCH)
        ).all()
        if not rows:
            break
        last = rows[-1].id
        days |= {row.received_at.astimezone(tz).date() for row in rows}
        session.execute(
            update(Consultation),
            [
                {
                    "id": row.id,
                    "calendar_version": current.version,
                    "next_day_due_at": current.calendar.next_opening_day_due(row.received_at),
                }
                for row in rows
            ],
        )
    mark_dirty(session, library_id, days)
    session.expire_all()
