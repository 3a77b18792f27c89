"""Messages to robots, programs and staff: written once, sent until they are settled.

A message is a row, made in the transaction that claims what it tells of, so that it exists
exactly once however many workers run. A worker leases it, sends it outside any transaction
and settles it. What certainly did not arrive is sent again; what may have arrived is sent
again only where the receiver knows a repetition by its id.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from api.alerts import Waiting, letters
from api.alerts import line as waiting_line
from api.db import insert
from api.destinations import destinations_of
from api.digests import digest_text
from api.i18n import Reader
from api.letters import DEFAULT, letter
from api.models import AlertDestination, AlertMessage, Role, Staff
from api.robots import REPEATABLE
from bot.channels.base import SendError, SendFailure
from tracker.clock import utc_text, zone
from tracker.models import Library

NEW, SENDING, SENT, UNCERTAIN, DEAD = "new", "sending", "sent", "uncertain", "dead"
WAITING, DIGEST = "consultations.waiting", "library.digest"
MOST_LINES = 10  # of one message; the desk has the rest
LEASE = timedelta(seconds=60)
USEFUL = timedelta(days=3)  # an older message says nothing that still helps
KEPT = timedelta(days=30)
BACK_OFF = (10, 30, 120, 600, 1_800, 3_600)  # seconds
GONE = "410"
DIGEST_HOUR = 8  # local; a library's setting digest_hour replaces it


@dataclass(frozen=True, slots=True)
class Job:
    """One message that a worker has leased."""

    message_id: int
    destination_id: int | None
    email: str | None
    key: str
    kind: str
    subject: str
    text: str
    data: dict[str, Any]
    created_at: datetime


# --- writing -------------------------------------------------------------------------------


def has_listeners(session: Session, library: Library) -> bool:
    """Whether any destination wants to hear."""
    return bool(destinations_of(session, library.id, only_enabled=True))


def announce_waiting(
    session: Session,
    library: Library,
    told: Sequence[Waiting],
    *,
    base_url: str,
    by_email: bool,
    now: datetime,
) -> int:
    """One message about all of them for each destination, and by e-mail for each of staff.

    Returns how many were written.
    """
    if not told:
        return 0
    rows = destinations_of(session, library.id, only_enabled=True)
    once = f"{told[0].reason}:{told[0].consultation_id}"  # claimed once, so named once
    data = _waiting_data(library, told, base_url)
    for row in rows:
        text = _waiting_text(row.language, library, told, base_url)
        _add(session, library, row, once=once, kind=WAITING, text=text, data=data, now=now)
    mails = letters(session, library, told, base_url=base_url) if by_email else []
    for mail in mails:
        _add(
            session,
            library,
            None,
            email=mail.to,
            once=f"{once}:{mail.to}",
            kind=WAITING,
            subject=mail.subject,
            text=mail.text,
            data=data,
            now=now,
        )
    return len(rows) + len(mails)


def _waiting_text(language: str, library: Library, told: Sequence[Waiting], base_url: str) -> str:
    tz = zone(library.timezone)
    lines = [letter(language, "waiting_subject", library=library.name, count=len(told))]
    lines += [waiting_line(language, each, tz) for each in told[:MOST_LINES]]
    if len(told) > MOST_LINES:
        lines.append(letter(language, "waiting_more", count=len(told) - MOST_LINES))
    return "\n".join([*lines, f"{base_url}/desk"])


def _waiting_data(library: Library, told: Sequence[Waiting], base_url: str) -> dict[str, Any]:
    return {
        "library": library.slug,
        "url": f"{base_url}/desk",
        "consultations": [
            {
                "id": each.consultation_id,
                "reason": each.reason,
                "channel": each.channel,
                "received_at": utc_text(each.received_at),
                "promised_at": utc_text(each.due_at),
            }
            for each in told
        ],
    }


def announce_digest(
    session: Session, library: Library, *, base_url: str, by_email: bool, now: datetime
) -> int:
    """Yesterday in a few lines, to managers and to whom it was promised, once a local day.

    Returns how many were written. Nothing before the library's digest hour, nothing about
    a day on which nobody asked and nobody waits.
    """
    local = now.astimezone(zone(library.timezone))
    hour = int(library.settings.get("digest_hour", DIGEST_HOUR))
    if library.settings.get("digest") is False or local.hour < hour:
        return 0
    today = local.date()
    missing = [
        each for each in _readers(session, library, by_email) if not _is_told(session, each, today)
    ]
    return sum(_digest_to(session, each, library, base_url=base_url, now=now) for each in missing)


@dataclass(frozen=True, slots=True)
class _ReaderOf:
    """Somebody who gets the digest."""

    library_id: int
    language: str
    destination: AlertDestination | None = None
    email: str | None = None

    def once(self, today: date) -> str:
        who = self.email if self.destination is None else self.destination.id
        return f"digest:{today.isoformat()}:{who}"


def _readers(session: Session, library: Library, by_email: bool) -> list[_ReaderOf]:
    found = [
        _ReaderOf(library.id, row.language, destination=row)
        for row in destinations_of(session, library.id, only_enabled=True)
        if row.wants_digest
    ]
    if not by_email:
        return found
    people = session.scalars(
        select(Staff)
        .where(
            Staff.library_id == library.id,
            Staff.disabled_at.is_(None),
            Staff.role.in_((Role.MANAGER, Role.ADMIN)),
        )
        .order_by(Staff.id)
    )
    return found + [
        _ReaderOf(library.id, person.language or DEFAULT, email=person.email)
        for person in people
        if person.settings.get("digest", True)
    ]


def _is_told(session: Session, reader: _ReaderOf, today: date) -> bool:
    found = session.scalar(
        select(AlertMessage.id).where(
            AlertMessage.library_id == reader.library_id, AlertMessage.once == reader.once(today)
        )
    )
    return found is not None


def _digest_to(
    session: Session, reader: _ReaderOf, library: Library, *, base_url: str, now: datetime
) -> int:
    language = Reader(reader.language, zone(library.timezone))
    today = language.local(now).date()
    yesterday = today - timedelta(days=1)
    found = digest_text(session, library, language, day=yesterday, base_url=base_url, now=now)
    if found is None:
        return 0
    return _add(
        session,
        library,
        reader.destination,
        email=reader.email,
        once=reader.once(today),
        kind=DIGEST,
        subject=found.subject,
        text=found.text,
        data=found.data,
        now=now,
    )


def _add(
    session: Session,
    library: Library,
    row: AlertDestination | None,
    *,
    once: str,
    kind: str,
    text: str,
    data: dict[str, Any],
    now: datetime,
    subject: str = "",
    email: str | None = None,
) -> int:
    """Keep a message unless it is kept already; returns how many were added."""
    name = once if row is None or kind == DIGEST else f"{once}:{row.id}"
    added = session.execute(
        insert(session, AlertMessage)
        .values(
            library_id=library.id,
            destination_id=row.id if row is not None else None,
            email=email,
            once=name,
            key=f"msg_{secrets.token_hex(12)}",
            kind=kind,
            subject=subject,
            text=text,
            data=data,
            state=NEW,
            attempts=0,
            next_attempt_at=now,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(AlertMessage.id)
    )
    return int(added.first() is not None)


# --- sending -------------------------------------------------------------------------------


def is_anything_due(session: Session, *, now: datetime) -> bool:
    """A look without a lock: most rounds find nothing."""
    return session.scalar(select(AlertMessage.id).where(_is_due(now)).limit(1)) is not None


def lease(session: Session, *, worker: str, now: datetime, limit: int) -> list[Job]:
    """Take messages that are due; no other worker gets them while the lease lasts."""
    _recover(session, now=now)
    ids = session.scalars(
        select(AlertMessage.id)
        .where(AlertMessage.state == NEW, AlertMessage.next_attempt_at <= now)
        .order_by(AlertMessage.next_attempt_at, AlertMessage.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    taken = session.scalars(
        update(AlertMessage)
        .where(AlertMessage.id.in_(ids), AlertMessage.state == NEW)
        .values(
            state=SENDING,
            leased_by=worker,
            leased_until=now + LEASE,
            attempts=AlertMessage.attempts + 1,
        )
        .returning(AlertMessage)
    ).all()
    return [
        Job(
            row.id,
            row.destination_id,
            row.email,
            row.key,
            row.kind,
            row.subject,
            row.text,
            row.data,
            row.created_at,
        )
        for row in sorted(taken, key=lambda row: row.id)
    ]


def settle(
    session: Session, job: Job, problem: SendError | None, *, worker: str, now: datetime
) -> None:
    """Write down what became of a message; nothing if another worker has taken it since."""
    row = session.scalar(
        select(AlertMessage)
        .where(AlertMessage.id == job.message_id, AlertMessage.leased_by == worker)
        .with_for_update()
    )
    if row is None or row.state != SENDING:
        return
    row.leased_by = row.leased_until = None
    row.problem = None if problem is None else str(problem)
    destination = (
        None if row.destination_id is None else session.get(AlertDestination, row.destination_id)
    )
    if destination is not None:
        destination.problem = row.problem
    if problem is None:
        row.state, row.sent_at, row.next_attempt_at = SENT, now, None
    else:
        _after(row, destination, problem, now=now)
    session.flush()


def _after(
    row: AlertMessage, destination: AlertDestination | None, problem: SendError, *, now: datetime
) -> None:
    if destination is not None and problem.code == GONE:
        destination.disabled_at = now  # Standard Webhooks: 410 asks us to stop
    again = problem.failure is SendFailure.RETRY or (
        problem.failure is SendFailure.UNCERTAIN and _is_repeatable(destination)
    )
    pause = BACK_OFF[min(row.attempts, len(BACK_OFF)) - 1]
    next_at = now + timedelta(seconds=max(pause, problem.retry_after or 0))
    if again and next_at - row.created_at <= USEFUL:
        row.state, row.next_attempt_at = NEW, next_at
        return
    row.state = UNCERTAIN if problem.failure is SendFailure.UNCERTAIN else DEAD
    row.next_attempt_at = None


def _is_repeatable(destination: AlertDestination | None) -> bool:
    """Whether the receiver recognises a repetition: by webhook-id, or by Message-ID."""
    return destination is None or destination.kind in REPEATABLE


def _recover(session: Session, *, now: datetime) -> None:
    """A worker that died while sending may have sent: treat it as uncertain."""
    lost = session.scalars(
        select(AlertMessage)
        .where(AlertMessage.state == SENDING, AlertMessage.leased_until <= now)
        .with_for_update(skip_locked=True)
    )
    problem = SendError("the worker stopped while sending", failure=SendFailure.UNCERTAIN)
    for row in lost.all():
        destination = (
            None
            if row.destination_id is None
            else session.get(AlertDestination, row.destination_id)
        )
        row.leased_by = row.leased_until = None
        row.problem = str(problem)
        _after(row, destination, problem, now=now)
    session.flush()


def _is_due(now: datetime) -> Any:
    return or_(
        (AlertMessage.state == NEW) & (AlertMessage.next_attempt_at <= now),
        (AlertMessage.state == SENDING) & (AlertMessage.leased_until <= now),
    )


def forget_old(session: Session, *, now: datetime) -> None:
    """Remove what is settled and old, and give up what nobody needs any more."""
    session.execute(
        update(AlertMessage)
        .where(AlertMessage.state == NEW, AlertMessage.created_at < now - USEFUL)
        .values(state=DEAD, next_attempt_at=None, problem="too old to help")
    )
    session.execute(
        delete(AlertMessage).where(
            AlertMessage.created_at < now - KEPT, AlertMessage.state.in_((SENT, UNCERTAIN, DEAD))
        )
    )
