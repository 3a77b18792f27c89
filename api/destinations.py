"""A library's alert destinations: group robots and programs, with their secrets sealed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from api import egress
from api.crypto import Keyring
from api.errors import BadRequest, NotFound
from api.i18n import LANGUAGES
from api.models import AlertDestination
from api.robots import checked_secret
from tracker.models import Library

LONGEST_NAME = 60


class UnknownDestination(NotFound):
    """There is no alert destination of that name."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Where a destination is reached, and with what secret."""

    url: str
    secret: str | None


def add_destination(
    session: Session,
    library: Library,
    *,
    kind: str,
    name: str,
    url: str,
    secret: str | None,
    language: str,
    wants_digest: bool,
    keyring: Keyring,
    now: datetime,
    allow_private: bool = False,
) -> Opened:
    """Add a destination; returns its address and secret, which are never shown again.

    Raises BadRequest.
    """
    if not 0 < len(name.strip()) <= LONGEST_NAME or not name.isprintable():
        raise BadRequest(f"A name has 1 to {LONGEST_NAME} letters.")
    if language not in LANGUAGES:
        raise BadRequest(f"Languages are {', '.join(LANGUAGES)}.")
    kept = Opened(url.strip(), checked_secret(kind, secret))
    egress.check(kept.url, allow_private=allow_private)
    if _named(session, library, name.strip()) is not None:
        raise BadRequest(f'There is an alert destination "{name.strip()}" already.')
    row = AlertDestination(
        library_id=library.id,
        name=name.strip(),
        kind=kind,
        host=urlsplit(kept.url).hostname or "",
        sealed="",
        language=language,
        wants_digest=wants_digest,
        created_at=now,
    )
    row.sealed = keyring.seal(
        json.dumps({"url": kept.url, "secret": kept.secret}), about=_about(row)
    )
    session.add(row)
    session.flush()
    return kept


def opened(row: AlertDestination, keyring: Keyring) -> Opened:
    """The address and secret of a destination. Raises UnreadableSecret."""
    return Opened(**json.loads(keyring.open(row.sealed, about=_about(row))))


def destinations_of(
    session: Session, library_id: int, *, only_enabled: bool = False
) -> Sequence[AlertDestination]:
    """A library's destinations by name."""
    query = select(AlertDestination).where(AlertDestination.library_id == library_id)
    if only_enabled:
        query = query.where(AlertDestination.disabled_at.is_(None))
    return session.scalars(query.order_by(AlertDestination.name)).all()


def destination_named(session: Session, library: Library, name: str) -> AlertDestination:
    """The destination of that name. Raises UnknownDestination."""
    found = _named(session, library, name)
    if found is None:
        raise UnknownDestination
    return found


def _named(session: Session, library: Library, name: str) -> AlertDestination | None:
    return session.scalar(
        select(AlertDestination).where(
            AlertDestination.library_id == library.id, AlertDestination.name == name
        )
    )


def _about(row: AlertDestination) -> str:
    return f"alert_destination:{row.library_id}:{row.name}"
