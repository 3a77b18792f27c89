"""What staff did, in a chain that shows when somebody changed or removed a link.

Each entry's digest covers its own content and the digest before it. `head` is what to write
down elsewhere: with it, even the removal of the newest entries shows.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from api.models import AuditEntry

FIRST = bytes(32)
_POSTGRES_LOCK = 7_305_814  # any number, always the same: one writer of the chain at a time


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry: its number and digest."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the chain found; `broken_at` is the first entry that does not fit."""

    entries: int
    head: Head
    broken_at: int | None = None

    @property
    def is_intact(self) -> bool:
        return self.broken_at is None


def record(
    session: Session,
    *,
    actor: str,
    action: str,
    subject: str,
    now: datetime,
    library_id: int | None = None,
    **data: Any,
) -> AuditEntry:
    """Add one action to the chain. Give no secrets and no patron's words in `data`."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    last = session.scalar(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1))
    entry = AuditEntry(
        id=last.id + 1 if last else 1,
        library_id=library_id,
        at=now,
        actor=actor,
        action=action,
        subject=subject,
        data=data,
        previous=last.digest if last else FIRST,
    )
    entry.digest = _digest(entry)
    session.add(entry)
    session.flush()
    return entry


def head(session: Session) -> Head:
    """The newest entry, to be kept outside this database."""
    last = session.scalar(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1))
    return Head(last.id, last.digest.hex()) if last else Head(0, FIRST.hex())


def verify(session: Session, *, anchor: Head | None = None) -> Verdict:
    """Follow the chain from its first entry; `anchor` is a head that was kept elsewhere."""
    expected, number = FIRST, 0
    for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id)):
        fits = entry.id == number + 1 and entry.previous == expected
        if not fits or entry.digest != _digest(entry) or _contradicts(entry, anchor):
            return Verdict(number, head(session), broken_at=entry.id)
        number, expected = entry.id, entry.digest
    missing = anchor is not None and anchor.number > number
    return Verdict(number, Head(number, expected.hex()), broken_at=number + 1 if missing else None)


def _contradicts(entry: AuditEntry, anchor: Head | None) -> bool:
    return anchor is not None and entry.id == anchor.number and entry.digest.hex() != anchor.digest


def _digest(entry: AuditEntry) -> bytes:
    content = json.dumps(
        [
            entry.id,
            entry.library_id,
            entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
            entry.actor,
            entry.action,
            entry.subject,
            entry.data,
        ],
        ensure_ascii=False,
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(entry.previous + content.encode()).digest()
