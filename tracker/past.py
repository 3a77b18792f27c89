"""Consultations as they were at an earlier instant, folded from the events until then."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker import calendars
from tracker.fold import Facts, fold
from tracker.models import Consultation
from tracker.streams import OPENING, Opening, families

_BATCH = 1_000


def facts_at(
    session: Session, library_id: int, at: datetime
) -> Iterator[tuple[Opening, Facts, datetime | None]]:
    """Those to which something happened after `at`, as of `at`, with their next-day due.

    What was received only later is not among them.
    """
    desks: dict[int, calendars.DeskCalendar | None] = {}
    last = 0
    while True:
        rows = session.execute(
            select(*OPENING, Consultation.calendar_version)
            .where(
                Consultation.library_id == library_id,
                Consultation.last_event_at > at,
                Consultation.opened_at <= at,
                Consultation.id > last,
            )
            .order_by(Consultation.id)
            .limit(_BATCH)
        ).all()
        if not rows:
            return
        last = rows[-1].id
        openings = [Opening._make(row[:4]) for row in rows]
        streams = families(session, library_id, openings, until=at)
        for opening, row in zip(openings, rows, strict=True):
            facts = fold(streams[opening.key])
            version = row.calendar_version
            if version is not None and version not in desks:
                desks[version] = calendars.desk_version(session, library_id, version)
            desk = desks.get(version) if version is not None else None
            due = desk.calendar.next_opening_day_due(facts.received_at) if desk else None
            yield opening, facts, due
