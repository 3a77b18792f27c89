"""Tell staff that somebody waits: an unwatched desk misses the day.

An alert names channel and times and links to the desk; what the patron wrote stays there.
Each consultation is told of once per reason: when it has waited a while, when it is urgent,
when it is due soon, and when it is overdue. What is told to whom becomes rows of
api/announcements.py in the same transaction, so that nothing is lost while a server is down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.db import insert
from api.letters import letter
from api.models import Staff, StaffAlert
from tracker.fold import DAY
from tracker.models import Consultation, Library
from tracker.queue import waiting

WAITING_MINUTES = 15
SOON_MINUTES = 60
URGENT, WAITING, DUE_SOON, OVERDUE = "urgent", "waiting", "due_soon", "overdue"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One consultation that staff must hear of."""

    consultation_id: int
    reason: str
    channel: str
    received_at: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Letter:
    """One e-mail to one member of staff."""

    to: str
    subject: str
    text: str


def claim(session: Session, library: Library, *, now: datetime) -> list[Waiting]:
    """The consultations that staff have not been told of, which now count as told.

    Of several workers only one gets each of them.
    """
    patience = timedelta(minutes=int(library.settings.get("alert_minutes", WAITING_MINUTES)))
    soon = timedelta(minutes=int(library.settings.get("alert_soon_minutes", SOON_MINUTES)))
    claimed = []
    for consultation in waiting(session, library.id, now=now):
        reason = _reason(consultation, patience, soon, now)
        if reason is not None and _claim(session, consultation, reason, now):
            claimed.append(
                Waiting(
                    consultation.id,
                    reason,
                    consultation.channel,
                    consultation.received_at,
                    consultation.promised_at,
                )
            )
    return claimed


def letters(
    session: Session, library: Library, told: Sequence[Waiting], *, base_url: str
) -> list[Letter]:
    """One e-mail about all of them for each member of staff who wants alerts."""
    people = session.scalars(
        select(Staff)
        .where(Staff.library_id == library.id, Staff.disabled_at.is_(None))
        .order_by(Staff.id)
    )
    return [
        _letter(person, library, told, base_url)
        for person in people
        if person.settings.get("alerts", True)
    ]


def _reason(
    consultation: Consultation, patience: timedelta, soon: timedelta, now: datetime
) -> str | None:
    since = consultation.waiting_since or consultation.received_at
    promised = consultation.promised_at
    if since + DAY < now or (promised is not None and promised < now):
        return OVERDUE
    if consultation.urgent:
        return URGENT
    if since + DAY <= now + soon or (promised is not None and promised <= now + soon):
        return DUE_SOON
    if consultation.assigned_to is None and since + patience <= now:
        return WAITING
    return None


def _claim(session: Session, consultation: Consultation, reason: str, now: datetime) -> bool:
    claimed = session.execute(
        insert(session, StaffAlert)
        .values(
            library_id=consultation.library_id,
            consultation_id=consultation.id,
            reason=reason,
            sent_at=now,
        )
        .on_conflict_do_nothing()
        .returning(StaffAlert.id)
    )
    return claimed.first() is not None


def _letter(person: Staff, library: Library, told: Sequence[Waiting], base_url: str) -> Letter:
    zone = ZoneInfo(library.timezone)
    facts = {"library": library.name, "count": len(told)}
    lines = [line(person.language, each, zone) for each in told]
    return Letter(
        person.email,
        letter(person.language, "waiting_subject", **facts),
        letter(
            person.language,
            "waiting_body",
            lines="\n".join(lines),
            url=f"{base_url}/desk",
            **facts,
        ),
    )


def line(language: str | None, each: Waiting, zone: ZoneInfo) -> str:
    """One waiting consultation in a message: channel and times, never what was asked."""
    received = each.received_at.astimezone(zone)
    facts = {"channel": each.channel, "received": f"{received:%Y-%m-%d %H:%M}"}
    if each.reason == URGENT:
        return letter(language, "waiting_urgent", **facts)
    due = ""
    if each.due_at is not None:
        at = each.due_at.astimezone(zone)
        due = letter(language, "waiting_due", at=f"{at:%Y-%m-%d %H:%M}")
    return letter(language, "waiting_line", due=due, **facts)
