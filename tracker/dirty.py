"""Mark a library's days whose daily counts are stale."""

from collections.abc import Iterable
from datetime import date

from sqlalchemy import insert
from sqlalchemy.orm import Session

from tracker.memory import memory_of
from tracker.models import DirtyDay

_MARK = insert(DirtyDay)


def mark_dirty(session: Session, library_id: int, days: Iterable[date]) -> None:
    """Say that these days must be computed anew, once in a transaction."""
    marked = memory_of(session).dirty
    new = {(library_id, day) for day in days} - marked
    if new:
        marked |= new
        rows = [{"library_id": library_id, "day": day} for _, day in sorted(new)]
        session.connection().execute(_MARK, rows)
