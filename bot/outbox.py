"""The line of replies of a conversation: put one in, count one that arrived."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from itertools import dropwhile
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from bot.messages import Reply, ReplyKind
from bot.models import Conversation, Outbox, OutboxState
from bot.windows import spend
from tracker import consultations
from tracker.models import Consultation
from tracker.rows import change, store

_IN_LINE = (
    select(Outbox)
    .where(
        Outbox.conversation_id == bindparam("conversation"),
        Outbox.state == OutboxState.NEW,
        Outbox.via.is_(None),
    )
    .order_by(Outbox.position)
)


def enqueue(
    session: Session,
    conversation: Conversation,
    reply: Reply,
    *,
    by: str,
    now: datetime,
    consultation_id: int | None = None,
    substantive: bool = True,
    sent: bool = False,
    via: str | None = None,
) -> Outbox:
    """Put a reply at the end of its conversation's line.

    `sent`: it has gone already, with a response.
    """
    change(session, conversation, {"position": conversation.position + 1})
    return enqueue_at(
        session,
        conversation,
        conversation.position,
        reply,
        by=by,
        now=now,
        consultation_id=consultation_id,
        substantive=substantive,
        sent=sent,
        via=via,
    )


def enqueue_at(
    session: Session,
    conversation: Conversation,
    position: int,
    reply: Reply,
    *,
    by: str,
    now: datetime,
    consultation_id: int | None,
    substantive: bool = True,
    sent: bool = False,
    via: str | None = None,
) -> Outbox:
    """The same in a place that the caller has taken."""
    values: dict[str, Any] = {
        "library_id": conversation.library_id,
        "conversation_id": conversation.id,
        "consultation_id": consultation_id,
        "position": position,
        "key": new_key(),
        "via": via,
        "reply": reply.as_dict(),
        "by": by,
        "substantive": substantive,
        "state": OutboxState.SENT if sent else OutboxState.NEW,
        "attempts": 0,
        "attempt_log": [],
        "next_attempt_at": None if sent else now,
        "created_at": now,
        "sent_at": now if sent else None,
    }
    return store(session, Outbox, values)


def new_key() -> str:
    """A key for one message, the same over all its retries."""
    return uuid.uuid4().hex


def accept(session: Session, row: Outbox, *, now: datetime, provider_id: str | None = None) -> None:
    """The channel accepted a reply. A librarian's is feedback from this instant (METRICS.md)."""
    row.state, row.sent_at, row.provider_id = OutboxState.SENT, now, provider_id
    row.next_attempt_at = None
    if row.consultation_id is None or row.reply["kind"] != ReplyKind.LIBRARIAN:
        return
    consultation = session.get_one(Consultation, row.consultation_id)
    consultations.feedback(
        session,
        consultation,
        at=max(now, consultation.received_at),
        now=now,
        by=row.by,
        text=row.reply["text"],
        substantive=row.substantive,
    )


def accept_pushed(
    session: Session, row: Outbox, *, now: datetime, provider_id: str | None = None
) -> None:
    """The same for a reply that we sent by ourselves: it used up some of the reply window."""
    if row.via is None:
        row.conversation.windows = spend(row.conversation.windows, now=now)
    accept(session, row, now=now, provider_id=provider_id)


def held(session: Session, conversation: Conversation) -> Sequence[Outbox]:
    """Replies that wait for the patron's next contact, with those in line behind them."""
    in_line = session.scalars(_IN_LINE, {"conversation": conversation.id})
    return list(dropwhile(lambda row: row.next_attempt_at is not None, in_line))
