"""A library's knowledge, calendars and settings, gathered for one turn of a conversation."""

import threading
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.errors import UnknownLibrary
from bot.desk import Desk
from kb.knowledge import KnowledgeBases
from tracker import clock
from tracker.models import Calendar, Library

Calendars = dict[str, clock.Calendar]


class Desks:
    """Builds desks; calendars are kept until a newer version is saved, whoever saved it."""

    def __init__(self, knowledge: KnowledgeBases, base_url: str) -> None:
        self._knowledge = knowledge
        self._base_url = base_url
        self._lock = threading.Lock()
        self._calendars: dict[int, tuple[int | None, Calendars]] = {}

    def of(self, session: Session, library_id: int, *, now: datetime) -> Desk:
        """The desk of a library as it is now. Raises UnknownLibrary."""
        newest = (
            select(func.max(Calendar.id)).where(Calendar.library_id == library_id).scalar_subquery()
        )
        found = session.execute(select(Library, newest).where(Library.id == library_id)).first()
        if found is None:
            raise UnknownLibrary
        library, newest_id = found
        today = now.astimezone(ZoneInfo(library.timezone)).date()
        return Desk(
            library,
            self._knowledge.of(session, library_id, today=today),
            self._calendars_of(session, library_id, newest_id),
            self._base_url,
        )

    def _calendars_of(self, session: Session, library_id: int, newest_id: int | None) -> Calendars:
        with self._lock:
            kept = self._calendars.get(library_id)
        if kept is not None and kept[0] == newest_id:
            return kept[1]
        rows = session.scalars(
            select(Calendar).where(Calendar.library_id == library_id).order_by(Calendar.version)
        )
        calendars = {row.name: clock.Calendar.from_document(row.document) for row in rows}
        with self._lock:
            self._calendars[library_id] = (newest_id, calendars)
        return calendars
