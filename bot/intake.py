"""From a verified message to its stored result: once, in order, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bot.channels import CHANNELS
from bot.channels.base import Declaration, Window, measure, said_with_choices
from bot.conversation import AskedAt, take_turn
from bot.desk import Desk
from bot.messages import Inbound, Reply
from bot.models import ChannelAccount, Conversation, Inbox, Outbox, Patron
from bot.outbox import accept, enqueue_at, held
from bot.windows import open_window, opened_windows
from tracker import consultations
from tracker.rows import add, attach, change, columns_of, read

_LOCKED = (
    select(*columns_of(Conversation))  # its account, who asks has in hand
    .where(
        Conversation.library_id == bindparam("library"),
        Conversation.account_id == bindparam("account"),
        Conversation.external_id == bindparam("patron"),
    )
    .with_for_update()
)
_NEW_ON_SQLITE = sqlite.insert(Conversation).on_conflict_do_nothing().returning(Conversation.id)
_NEW_ON_POSTGRESQL = (
    postgresql.insert(Conversation).on_conflict_do_nothing().returning(Conversation.id)
)
_FIRST_DELIVERY = select(Inbox).where(
    Inbox.library_id == bindparam("library"),
    Inbox.account_id == bindparam("account"),
    Inbox.dedupe_key == bindparam("key"),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """The stored result of a message; for a duplicate, of its first delivery."""

    replies: tuple[Reply, ...]
    conversation_id: int
    position: int  # of the patron's message
    consultation_id: int | None
    replied_at: datetime
    duplicate: bool = False


def receive(
    session: Session, desk: Desk, account: ChannelAccount, inbound: Inbound, *, now: datetime
) -> Turn:
    """Store a patron's message, take the turn, and put its replies on their way.

    The conversation's row is locked first, so that its messages are taken one by one and a
    repeated delivery finds the first one's result.
    """
    inbound = _storable(inbound)
    patron = _asker(session, account, inbound)
    conversation = locked_conversation(session, desk, account, patron, now=now)
    first = _first_delivery(session, conversation, inbound)
    if first is not None:
        return _repeated(first)
    declaration = CHANNELS[account.kind].declaration
    if inbound.quiet or _has_had_its_share(session, conversation, declaration, now=now):
        return _keep_quiet(session, desk, account, conversation, inbound, now=now)
    outcome = take_turn(
        session,
        desk,
        conversation,
        inbound,
        channel=account.kind,
        asked_at=question_time(inbound, now),
        now=now,
    )
    opened = opened_windows(declaration, inbound) if conversation.position else ()
    waiting = held(session, conversation) if opened else ()
    released = _release(session, declaration, opened, waiting, now=now)
    has_room = len(released) == len(waiting) and (
        not released or _fit(declaration, (*released, *outcome.replies))
    )
    is_told = has_room or not declaration.passive_reply
    replies = (*released, *(outcome.replies if is_told else ()))
    number = outcome.consultation.id if outcome.consultation is not None else None
    position = _keep(session, conversation, inbound, number, replies=replies, now=now)
    last = _queue_replies(
        session,
        conversation,
        outcome.replies,
        number,
        after=position,
        sent=declaration.stored or (declaration.passive_reply and has_room),
        now=now,
    )
    said = {"state": outcome.state, "language": outcome.language, "position": last}
    change(session, conversation, said | _heard(conversation, declaration, inbound, now=now))
    session.flush()
    return Turn(replies, conversation.id, position, number, replied_at=now)


def receive_for_librarian(
    session: Session, desk: Desk, account: ChannelAccount, inbound: Inbound, *, now: datetime
) -> int | None:
    """Store a message that the bot stumbles over, and hand it to a librarian as it is.

    Returns the consultation's id; None for a message that was stored before.
    """
    inbound = _storable(inbound)
    patron = _asker(session, account, inbound)
    conversation = locked_conversation(session, desk, account, patron, now=now)
    if _first_delivery(session, conversation, inbound) is not None:
        return None
    return _keep_quiet(session, desk, account, conversation, inbound, now=now).consultation_id


def question_time(inbound: Inbound, now: datetime) -> AskedAt:
    """When the question counts as received: the provider's time where it can be believed.

    Outside [receipt - 7 days, receipt + 5 minutes] our own time counts, flagged as suspect
    (METRICS.md section 1).
    """
    return AskedAt(*consultations.receipt(inbound.sent_at, now))


def locked_conversation(
    session: Session,
    desk: Desk,
    account: ChannelAccount,
    external_id: str,
    *,
    now: datetime,
    issued: bool = False,
) -> Conversation:
    """The patron's conversation on this account, made when new, locked until the commit."""
    named = {"library": account.library_id, "account": account.id, "patron": external_id}
    found = read(session, Conversation, _LOCKED, named)
    if found is not None:
        return found
    values = {
        "library_id": account.library_id,
        "account_id": account.id,
        "external_id": external_id,
        "patron_id": None,
        "issued": issued,
        "language": _first_language(desk),
        "position": 0,
        "read_position": 0,
        "state": {},
        "windows": [],
        "thread": {},
        "last_patron_at": None,
        "created_at": now,
    }
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    insert = _NEW_ON_POSTGRESQL if is_postgresql else _NEW_ON_SQLITE
    number = session.connection().scalar(insert, values)
    if number is not None:
        return attach(session, Conversation, {"id": number, **values})
    made = read(session, Conversation, _LOCKED, named)  # by another transaction, just now
    if made is None:
        raise LookupError("a conversation can neither be made nor found")
    return made


def known_patron(conversation: Conversation, *, now: datetime) -> Patron:
    """The person behind a conversation, from the moment that we know anything of them."""
    if conversation.patron is None:
        conversation.patron = Patron(library_id=conversation.library_id, created_at=now)
    return conversation.patron


def _storable(inbound: Inbound) -> Inbound:
    """The message without what no database keeps: NUL and half surrogate pairs."""
    changed: dict[str, Any] = {
        name: kept
        for name in ("patron", "text", "dedupe_key", "payload", "media", "display_name", "original")
        if (given := getattr(inbound, name)) and (kept := _kept(given)) != given
    }
    return replace(inbound, **changed) if changed else inbound


def _kept(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _asker(session: Session, account: ChannelAccount, inbound: Inbound) -> str:
    """Whose conversation it is: of whoever got the reply that it answers, else the sender's."""
    if inbound.answers is None:
        return inbound.patron
    asker = session.scalar(
        select(Conversation.external_id)
        .join(Outbox, Outbox.conversation_id == Conversation.id)
        .where(Outbox.key == inbound.answers, Conversation.account_id == account.id)
    )
    return asker or inbound.patron


def _has_had_its_share(
    session: Session, conversation: Conversation, declaration: Declaration, *, now: datetime
) -> bool:
    """Whether the bot has written so much within the hour that a machine may be at the far end."""
    if declaration.automatic_an_hour is None:
        return False
    written = session.scalar(
        select(func.count()).where(
            Outbox.library_id == conversation.library_id,
            Outbox.conversation_id == conversation.id,
            Outbox.by == "bot",
            Outbox.created_at > now - timedelta(hours=1),
        )
    )
    return (written or 0) >= declaration.automatic_an_hour


def _keep_quiet(
    session: Session,
    desk: Desk,
    account: ChannelAccount,
    conversation: Conversation,
    inbound: Inbound,
    *,
    now: datetime,
) -> Turn:
    """Store a message for the librarians, and answer nothing."""
    declaration = CHANNELS[account.kind].declaration
    asked = question_time(inbound, now)
    consultation = consultations.open_for(session, account.library_id, conversation.id, now=now)
    if consultation is None:
        consultation = consultations.open_consultation(
            session,
            desk.library,
            channel=account.kind,
            conversation_id=conversation.id,
            at=asked.at,
            now=now,
            text=inbound.text,
            language=conversation.language,
            clock_suspect=asked.clock_suspect,
        )
    else:
        consultations.add_message(session, consultation, at=asked.at, now=now, text=inbound.text)
    if consultation.escalated_at is None:
        at = max(now, asked.at)
        consultations.escalate(session, consultation, at=at, now=at, reason="unknown")
    position = _keep(session, conversation, inbound, consultation.id, now=now)
    heard = _heard(conversation, declaration, inbound, now=now)
    change(session, conversation, {"position": position} | heard)
    session.flush()
    return Turn((), conversation.id, position, consultation.id, replied_at=now)


def _first_delivery(session: Session, conversation: Conversation, inbound: Inbound) -> Inbox | None:
    if conversation.position == 0:
        return None
    named = {
        "library": conversation.library_id,
        "account": conversation.account_id,
        "key": inbound.dedupe_key,
    }
    return session.scalar(_FIRST_DELIVERY, named)


def _repeated(first: Inbox) -> Turn:
    return Turn(
        tuple(Reply.from_dict(reply) for reply in first.replies),
        first.conversation_id,
        first.position,
        first.consultation_id,
        replied_at=first.received_at,
        duplicate=True,
    )


def _keep(
    session: Session,
    conversation: Conversation,
    inbound: Inbound,
    consultation_id: int | None,
    *,
    replies: Sequence[Reply] = (),
    now: datetime,
) -> int:
    """Store the message with its result, so that a repeated delivery can be told the same.

    Returns its position.
    """
    if inbound.display_name:
        known_patron(conversation, now=now).display_name = inbound.display_name
    position = conversation.position + 1
    values = {
        "library_id": conversation.library_id,
        "account_id": conversation.account_id,
        "conversation_id": conversation.id,
        "consultation_id": consultation_id,
        "dedupe_key": inbound.dedupe_key,
        "position": position,
        "kind": inbound.kind,
        "text": inbound.text,
        "original": inbound.original,
        "payload": inbound.payload,
        "media": inbound.media,
        "sent_at": inbound.sent_at,
        "received_at": now,
        "replies": [reply.as_dict() for reply in replies],
    }
    add(session, Inbox, values)
    return position


def _heard(
    conversation: Conversation, declaration: Declaration, inbound: Inbound, *, now: datetime
) -> dict[str, Any]:
    """What a conversation's row must say after a patron's message."""
    return {
        "last_patron_at": now,
        "thread": conversation.thread if inbound.thread is None else inbound.thread,
        "windows": open_window(conversation.windows, declaration, inbound, at=now),
    }


def _release(
    session: Session,
    declaration: Declaration,
    opened: Sequence[Window],
    waiting: Sequence[Outbox],
    *,
    now: datetime,
) -> list[Reply]:
    """What waited for this contact goes with the response, and is returned, as far as it fits
    there whole; the rest goes to the worker now, and so does all of it where the channel has no
    such response, or the patron only agreed to be told."""
    may_answer = declaration.passive_reply and not all(window.announces for window in opened)
    with_it: list[Reply] = []
    for number, row in enumerate(waiting):
        row.next_attempt_at = now
        reply = Reply.from_dict(row.reply)
        is_next = len(with_it) == number
        if may_answer and is_next and _fit(declaration, (*with_it, reply)):
            accept(session, row, now=now)
            with_it.append(reply)
    return with_it


def _fit(declaration: Declaration, replies: Sequence[Reply]) -> bool:
    """Whether the one text of a response holds these replies: what is cut off is lost."""
    limit = declaration.text.limit
    text = "\n\n".join(said_with_choices(reply) for reply in replies)
    return limit is None or measure(text, declaration.text.unit) <= limit


def _queue_replies(
    session: Session,
    conversation: Conversation,
    replies: Sequence[Reply],
    consultation_id: int | None,
    *,
    after: int,
    sent: bool,
    now: datetime,
) -> int:
    """What leaves with the response is `sent`; anything else waits for the worker.

    They follow the position `after`; returns that of the last one.
    """
    for position, reply in enumerate(replies, start=after + 1):
        enqueue_at(
            session,
            conversation,
            position,
            reply,
            by="bot",
            now=now,
            consultation_id=consultation_id,
            sent=sent,
        )
    return after + len(replies)


def _first_language(desk: Desk) -> str:
    first = (desk.library.languages or ["zh"])[0]
    return {"zh": "zh-Hans"}.get(first, first)
