"""Fetching messages from channels that do not bring them: told, lease, fetch, store.

A webhook's word ("there is something") is a row before it is acknowledged. A worker leases
the row, talks to the channel with no transaction open, and stores messages and cursor in one:
whatever happens in between, the next look begins where the last stored one ended.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from bot import delivery, intake
from bot.channels import CHANNELS
from bot.channels.base import Channel, Pulled, Pulling, SendError
from bot.desk import Desk
from bot.messages import Inbound, Waiting
from bot.models import ChannelAccount, ChannelCursor
from tracker.rows import savepoint

LEASE = timedelta(minutes=3)  # longer than any look with its storing
BACK_OFF = (5, 15, 60, 300)  # seconds before the next look, after so many that failed in a row
TRIES = 5  # looks at a message that the bot stumbles over, before a librarian gets it as it is
_ASKED = {"push_then_pull", "poll"}


@dataclass(frozen=True, slots=True)
class Errand:
    """A leased source, with all that fetching needs and no session behind it."""

    cursor_id: int
    account_id: int
    library_id: int
    source: str
    cursor: str | None
    hint: str | None


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one look."""

    turns: tuple[intake.Turn, ...] = ()
    stumbled: tuple[tuple[Inbound, Exception], ...] = ()  # stored by none of the tries so far
    lost: tuple[tuple[Inbound, Exception], ...] = ()  # given up: not even a librarian gets it


def asked_kinds() -> list[str]:
    """The kinds of channel whose messages must be fetched."""
    return [kind for kind, made in CHANNELS.items() if made.declaration.inbound in _ASKED]


def pulling(channel: Channel) -> Pulling:
    """The channel as one whose messages are fetched."""
    return cast("Pulling", channel)


def told(
    session: Session, account: ChannelAccount, waiting: Iterable[Waiting], *, now: datetime
) -> None:
    """Remember that messages lie ready, so that a worker fetches them at once."""
    for each in waiting:
        row = _locked(session, account, each.source, now=now)
        row.due_at = now
        row.hint = each.hint or row.hint
    session.flush()


def watch(
    session: Session, account: ChannelAccount, sources: Sequence[str], *, now: datetime
) -> None:
    """Look into these sources from now on, told or not."""
    known = select(ChannelCursor.source).where(
        ChannelCursor.library_id == account.library_id, ChannelCursor.account_id == account.id
    )
    for source in set(sources) - set(session.scalars(known)):
        _locked(session, account, source, now=now)
    session.flush()


def lease(session: Session, *, worker: str, now: datetime, limit: int) -> list[Errand]:
    """Take up to `limit` sources that are due. Nobody else looks into them until `store`."""
    free = or_(ChannelCursor.leased_until.is_(None), ChannelCursor.leased_until <= now)
    due = or_(ChannelCursor.due_at <= now, ChannelCursor.leased_until <= now)
    rows = session.scalars(
        select(ChannelCursor)
        .join(ChannelAccount, ChannelAccount.id == ChannelCursor.account_id)
        .where(due, free, ChannelAccount.enabled)
        .order_by(ChannelCursor.due_at, ChannelCursor.id)
        .limit(limit)
        .with_for_update(of=ChannelCursor, skip_locked=True)
    )
    errands = []
    for row in rows:
        row.due_at = None  # a word that comes from now on is about something newer
        row.leased_by, row.leased_until = worker, now + LEASE
        errands.append(
            Errand(row.id, row.account_id, row.library_id, row.source, row.cursor, row.hint)
        )
    return errands


def store(
    session: Session,
    desk: Desk,
    errand: Errand,
    pulled: Pulled,
    *,
    worker: str,
    poll_seconds: float,
    now: datetime,
) -> Stored | None:
    """Store what a look brought, with its cursor; None when the lease had been lost meanwhile.

    Each message has its own savepoint: one that the bot stumbles over holds back the cursor
    and no other message; after five looks a librarian gets it as it is.
    """
    row = _mine(session, errand, worker)
    if row is None:
        return None
    stored = _take_all(session, desk, row, pulled.messages, now=now)
    for news in pulled.undelivered:
        delivery.undelivered(session, row.account, news, now=now)
    row.leased_by = row.leased_until = None
    if stored.stumbled:
        _try_later(row, now)
        return stored
    row.cursor = pulled.cursor or row.cursor
    row.failures = 0
    if row.due_at is None:
        row.due_at = now + timedelta(seconds=0 if pulled.more else poll_seconds)
        row.hint = row.hint if pulled.more else None
    return stored


def failed(
    session: Session, errand: Errand, error: SendError, *, worker: str, now: datetime
) -> None:
    """The channel did not answer, or would not: look again later."""
    row = _mine(session, errand, worker)
    if row is not None:
        row.leased_by = row.leased_until = None
        _try_later(row, now, asked=error.retry_after)


def _take_all(
    session: Session,
    desk: Desk,
    row: ChannelCursor,
    messages: Sequence[Inbound],
    *,
    now: datetime,
) -> Stored:
    turns, stumbled, lost = [], [], []
    last_try = row.failures + 1 >= TRIES
    for inbound in messages:
        try:
            with savepoint(session):
                turns.append(intake.receive(session, desk, row.account, inbound, now=now))
        except OperationalError:  # the database is ill, not the message
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must not wait for it
            if not last_try:
                stumbled.append((inbound, error))
            elif not _handed_over(session, desk, row.account, inbound, now=now):
                lost.append((inbound, error))
    return Stored(tuple(turns), tuple(stumbled), tuple(lost))


def _handed_over(
    session: Session, desk: Desk, account: ChannelAccount, inbound: Inbound, *, now: datetime
) -> bool:
    try:
        with savepoint(session):
            intake.receive_for_librarian(session, desk, account, inbound, now=now)
    except OperationalError:
        raise
    except Exception:  # noqa: BLE001 - the caller reports it, with the message's first failure
        return False
    return True


def _try_later(row: ChannelCursor, now: datetime, *, asked: float | None = None) -> None:
    row.failures += 1
    if row.due_at is None:
        pause = BACK_OFF[min(row.failures, len(BACK_OFF)) - 1]
        row.due_at = now + timedelta(seconds=max(pause, asked or 0))


def _mine(session: Session, errand: Errand, worker: str) -> ChannelCursor | None:
    """The leased row, locked: a look that took too long must not store over a later one."""
    row = session.scalar(
        select(ChannelCursor)
        .where(ChannelCursor.library_id == errand.library_id, ChannelCursor.id == errand.cursor_id)
        .with_for_update(of=ChannelCursor)
        .execution_options(populate_existing=True)
    )
    if row is None or row.leased_by != worker or row.cursor != errand.cursor:
        return None
    return row


def _locked(
    session: Session, account: ChannelAccount, source: str, *, now: datetime
) -> ChannelCursor:
    """The source's row, made when new, locked until the commit."""
    values = {
        "library_id": account.library_id,
        "account_id": account.id,
        "source": source,
        "due_at": now,
        "failures": 0,
    }
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(ChannelCursor).values(**values).on_conflict_do_nothing())
    return session.scalars(
        select(ChannelCursor)
        .where(
            ChannelCursor.library_id == account.library_id,
            ChannelCursor.account_id == account.id,
            ChannelCursor.source == source,
        )
        .with_for_update(of=ChannelCursor)
    ).one()
