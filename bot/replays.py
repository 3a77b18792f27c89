"""The memory that all processes share of signatures that do not cover what they came with.

A captured signature is good for as long as its timestamp is believed. Under the body that it
first came with it does nothing new, because a message is stored once; under another body it is
refused.
"""

import hmac
from collections import OrderedDict
from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bot.messages import OneBody
from bot.models import ChannelAccount, SeenSignature

KEPT_FOR = timedelta(minutes=21)  # longer than any channel believes a timestamp, both ways


def admits(session: Session, account: ChannelAccount, once: OneBody, *, now: datetime) -> bool:
    """Whether this signature is new, or came with the very same body."""
    values = {
        "account_id": account.id,
        "signature": once.signature,
        "digest": once.digest,
        "at": now,
    }
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(SeenSignature).values(**values).on_conflict_do_nothing())
    first = session.scalars(
        select(SeenSignature.digest).where(
            SeenSignature.account_id == account.id, SeenSignature.signature == once.signature
        )
    ).one()
    return hmac.compare_digest(first.encode(), once.digest.encode())


def forget(session: Session, *, now: datetime) -> None:
    """Remove what can be replayed no longer."""
    session.execute(delete(SeenSignature).where(SeenSignature.at < now - KEPT_FOR))


class OwnMemory:
    """The same memory of one process, for when the database is away."""

    def __init__(self, *, kept: int = 20_000) -> None:
        """`kept` signatures at most: far more than a library receives while one is believed."""
        self._digests: OrderedDict[tuple[int, str], tuple[datetime, str]] = OrderedDict()
        self._kept = kept
        self._lock = Lock()

    def admits(self, account: ChannelAccount, once: OneBody, *, now: datetime) -> bool:
        """Whether this signature is new here, or came with the very same body."""
        with self._lock:
            self._forget(now)
            name = (account.id, once.signature)
            _, first = self._digests.setdefault(name, (now, once.digest))
        return hmac.compare_digest(first.encode(), once.digest.encode())

    def _forget(self, now: datetime) -> None:
        while self._digests:
            name, (at, _) = next(iter(self._digests.items()))
            if now - at <= KEPT_FOR and len(self._digests) < self._kept:
                return
            del self._digests[name]
