"""Messages up, history down, and what the patron sets: the read mark, the address, a transcript."""

import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Header, Query, Request
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from api import uploads
from api.accounts import built_in_account
from api.auth import limit_calls
from api.errors import BadRequest, RefdeskError, TooManyAttempts
from api.i18n import catalogue
from api.libraries import library_by_slug
from api.limits import LETTERS
from api.state import State, state_of
from api.widget.foreign import Body, open_router
from api.widget.links import described as linked_places
from api.widget.sessions import (
    KIND,
    Visitor,
    conversation_of,
    own_conversation,
    stream_token,
    visitor_of,
)
from api.widget.transcript import enqueue_transcript, transcripts_since
from bot import linking
from bot.intake import known_patron, locked_conversation, receive
from bot.messages import InboundKind, ReplyKind, WebhookRequest
from bot.models import Conversation, Inbox, Outbox, OutboxState
from tracker.consultations import open_for

TRANSCRIPTS_A_DAY = 3
HISTORY_ELSEWHERE = 50  # messages of each linked conversation
PLACES = 5  # linked conversations that the widget shows
HISTORY = 200  # messages; what is older is in the library's files, not in the corner of a page

_EMAIL = re.compile(r"[^@\s<>\"',;:\\]{1,64}@[^@\s<>\"',;:\\]{1,190}\.[^@\s<>\"',;:\\.]{2,63}")

SHOWN = (
    InboundKind.TEXT,
    InboundKind.CHOICE,
    InboundKind.IMAGE,
    InboundKind.FILE,
    InboundKind.VOICE,
    InboundKind.LOCATION,
)

router = open_router()


class CannotMail(RefdeskError):
    """This desk cannot send e-mail yet."""

    status = 503


@router.post("/widget/{slug}/messages")
def send_message(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """Take one message; the answer is there at once, and so is what was said meanwhile.

    The same id again gives the first result again and stores nothing.
    """
    state = state_of(request)
    now = state.clock()
    with state.database.snapshot() as session:
        library_id = library_by_slug(session, slug).id
    visitor = visitor_of(state, library_id, sent.get("session"), now=now)
    with state.database.transaction() as session:
        desk = state.desks.of(session, library_id, now=now)
        account = built_in_account(session, desk.library, KIND, now=now)
        asked = WebhookRequest("POST", {}, {}, json.dumps(sent).encode())
        inbound = state.channels.of(account).receive(asked, now=now).messages[0]
        conversation = locked_conversation(
            session, desk, account, visitor.patron, now=now, issued=True
        )
        if conversation.position == 0:
            conversation.language = visitor.language
        turn = receive(session, desk, account, inbound, now=now)
        return answer(state, session, visitor, conversation, after=turn.position - 1, now=now)


@router.get("/widget/{slug}/messages")
def read_messages(
    request: Request,
    slug: str,
    session: Annotated[str | None, Query(max_length=200)] = None,
    after: Annotated[int, Query(ge=0)] = 0,
    authorization: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """What was said after a position; the session comes in a header, or in the query."""
    state = state_of(request)
    now = state.clock()
    bearer = (authorization or "").removeprefix("Bearer ") or session
    with state.database.snapshot() as reading:
        library = library_by_slug(reading, slug)
        visitor = visitor_of(state, library.id, bearer, now=now)
        conversation = conversation_of(reading, library.id, visitor.patron)
        return answer(state, reading, visitor, conversation, after=after, now=now)


@router.post("/widget/{slug}/read")
def mark_read(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """Remember up to where the patron has seen the conversation."""
    seq = sent.get("seq")
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0:
        raise BadRequest("“seq” must be a position in the conversation.")
    with own_conversation(request, slug, sent) as (_, conversation):
        seen = min(seq, conversation.position)
        conversation.read_position = max(conversation.read_position, seen)
        return {"read": conversation.read_position}


@router.post("/widget/{slug}/email")
def keep_email(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """Keep the address to which a late answer goes as well."""
    address = _address(sent)
    with own_conversation(request, slug, sent) as (session, conversation):
        known_patron(conversation, now=state_of(request).clock()).email = address
        session.flush()
        return {"email": True}


@router.post("/widget/{slug}/transcript")
def send_transcript(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """Send the conversation to the patron's address: the one given now, else the one we have.

    Raises TooManyAttempts after a few a day: this desk is no way to write to strangers.
    """
    state = state_of(request)
    now = state.clock()
    if state.settings.smtp_host is None:
        raise CannotMail
    limit_calls(request, "letters", LETTERS)
    address = _address(sent) if sent.get("email") else None
    with own_conversation(request, slug, sent) as (session, conversation):
        patron = known_patron(conversation, now=now)
        patron.email = address or patron.email
        if patron.email is None:
            raise BadRequest("“email” is missing.")
        if transcripts_since(session, conversation, now - timedelta(days=1)) >= TRANSCRIPTS_A_DAY:
            raise TooManyAttempts("This conversation has been sent often enough for today.")
        enqueue_transcript(session, conversation, now=now)
        return {"email": True}


def _address(sent: dict[str, Any]) -> str:
    """The address in a request. Raises BadRequest for what is none."""
    address = sent.get("email")
    if not isinstance(address, str) or not _EMAIL.fullmatch(address.strip()):
        raise BadRequest("“email” is no e-mail address.")
    return address.strip()


def answer(
    state: State,
    session: Session,
    visitor: Visitor,
    conversation: Conversation | None,
    *,
    after: int,
    now: datetime,
) -> dict[str, Any]:
    if conversation is None:
        return {"messages": [], "waiting": False, "email": False, "read": 0}
    elsewhere = _said_elsewhere(session, conversation) if after == 0 else []
    return {
        **spoken(session, conversation, after=after, now=now),
        **({"elsewhere": elsewhere} if elsewhere else {}),
        "stream": stream_token(state, visitor, now),
    }


def spoken(
    session: Session, conversation: Conversation, *, after: int, now: datetime
) -> dict[str, Any]:
    """What was said after a position, and what the widget must know beside it."""
    consultation = open_for(session, conversation.library_id, conversation.id, now=now)
    waits = (
        consultation is not None
        and consultation.closed_at is None
        and (consultation.escalated_at is not None or consultation.assigned_to is not None)
    )
    patron = conversation.patron
    return {
        "messages": messages_of(session, conversation, after=after),
        "waiting": waits,
        "email": patron is not None and patron.email is not None,
        "read": conversation.read_position,
        **linked_places(session, conversation),
    }


def _said_elsewhere(session: Session, conversation: Conversation) -> list[dict[str, Any]]:
    """What the same patron said and heard on other channels, the newest of each."""
    if not conversation.state.get(linking.LINKED):
        return []
    names = catalogue(conversation.language)
    found = []
    for other in linking.others(session, conversation)[:PLACES]:
        place = names.get(f"channel.{other.account.kind}", other.account.kind)
        for message in messages_of(session, other, after=0, limit=HISTORY_ELSEWHERE):
            shown = {name: message[name] for name in message if name not in ("id", "choices")}
            found.append({**shown, "seq": f"{other.id}:{message['seq']}", "place": place})
    return found


def messages_of(
    session: Session, conversation: Conversation, *, after: int, limit: int = HISTORY
) -> list[dict[str, Any]]:
    """What patron, bot and librarians said after a position, the newest `limit` of it."""
    start = max(after, conversation.position - limit)
    asked = session.scalars(
        select(Inbox).where(
            Inbox.library_id == conversation.library_id,
            Inbox.conversation_id == conversation.id,
            Inbox.position > start,
            Inbox.kind.in_(SHOWN),
        )
    ).all()
    said = session.scalars(
        select(Outbox).where(
            Outbox.library_id == conversation.library_id,
            Outbox.conversation_id == conversation.id,
            Outbox.position > start,
            or_(Outbox.via.is_(None), Outbox.reply["kind"].as_string() == ReplyKind.LIBRARIAN),
            Outbox.state != OutboxState.DEAD,
        )
    )
    files = uploads.described(session, conversation, [row.media for row in asked if row.media])
    messages = [_of_patron(row, files.get(row.media or "")) for row in asked]
    messages += [_of_desk(row) for row in said]
    return sorted(messages, key=lambda message: message["seq"])


def _of_patron(row: Inbox, file: dict[str, Any] | None) -> dict[str, Any]:
    message = {
        "seq": row.position,
        "id": row.dedupe_key,
        "role": "patron",
        "text": row.text or row.payload or "",
        "at": row.received_at.isoformat(),
    }
    if file is not None:
        message["file"] = {"name": file["name"], "size": file["size"]}
    elif not message["text"]:
        message["text"] = f"[{row.kind}]"
    return message


def _of_desk(row: Outbox) -> dict[str, Any]:
    reply = row.reply
    shown: dict[str, Any] = {
        name: reply[name] for name in ("kind", "text", "choices", "quote", "by") if name in reply
    }
    link = str(reply.get("link", ""))
    if link.startswith(("https://", "http://")) and link not in reply["text"]:
        shown["link"] = link
    return {
        "seq": row.position,
        "role": "librarian" if reply["kind"] == ReplyKind.LIBRARIAN else "bot",
        "at": (row.sent_at or row.created_at).isoformat(),
        **shown,
    }
