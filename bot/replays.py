"""The memory that all processes share of signatures that do not cover what they came with.

A captured signature is good for as long as its timestamp is believed. Under the body that it
first came with it does nothing new, because a message is stored once; under another body it is
refused.
"""

import hmac
from datetime import datetime, timedelta

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
