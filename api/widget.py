"""The chat widget: its script, its sessions, its messages up and its events down.

Requests come from foreign pages, so there are no cookies here: a session is a signed token
that only the widget's own storage holds. What it may do is talk in one conversation.
"""

import asyncio
import gzip
import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy import select
from sqlalchemy.orm import Session
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from api.accounts import built_in_account
from api.auth import public
from api.bus import conversation_topic
from api.errors import BadRequest, NotAllowed, NotFound, RefdeskError, TooLarge
from api.i18n import LANGUAGES, catalogue, negotiate
from api.libraries import library_by_slug
from api.rendering import STATIC
from api.state import State, state_of
from bot.channels.base import Refused
from bot.channels.web import session_patron
from bot.intake import locked_conversation, receive
from bot.messages import InboundKind, ReplyKind, WebhookRequest
from bot.models import ChannelAccount, Conversation, Inbox, Outbox, OutboxState, Patron
from tracker.consultations import open_for

KIND = "web"
BODY_BYTES = 32 * 1024
STREAM_LIFE = timedelta(minutes=10)  # of the token in an event stream's address
HEARTBEAT_SECONDS = 15
HISTORY = 200  # messages; what is older is in the library's files, not in the corner of a page
SUGGESTIONS = 3
RETENTION_DAYS = 180
_EMAIL = re.compile(r"[^@\s<>\"',;:\\]{1,64}@[^@\s<>\"',;:\\]{1,190}\.[^@\s<>\"',;:\\.]{2,63}")
OPEN_TO_ALL = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
PREFLIGHT = {
    **OPEN_TO_ALL,
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "86400",
}


class UnknownSession(NotAllowed):
    """This session was not issued here, or is no longer valid."""


class OpenRoute(APIRoute):
    """A route for foreign pages: they may read its answers, refusals included."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response: Response = await handler(request)
            except (RefdeskError, Refused) as refusal:
                response = JSONResponse({"error": str(refusal)}, refusal.status)
            except RequestValidationError:
                response = JSONResponse({"error": "The request is not complete or not right."}, 400)
            response.headers.update(OPEN_TO_ALL)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return answer


router = APIRouter(route_class=OpenRoute, dependencies=[Depends(public)], include_in_schema=False)


# --- the script --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Script:
    """The widget's script with its style and texts in it, ready to be sent."""

    plain: bytes
    packed: bytes
    tag: str


@cache
def script() -> Script:
    """Put the style and the texts of all languages into the script, once per process."""
    texts = {language: _texts(language) for language in LANGUAGES}
    source = (STATIC / "widget.js").read_text(encoding="utf-8")
    style = re.sub(r"\s+", " ", (STATIC / "widget.css").read_text(encoding="utf-8"))
    source = source.replace('"__TEXTS__"', json.dumps(texts, ensure_ascii=False))
    source = source.replace('"__STYLE__"', json.dumps(style, ensure_ascii=False))
    plain = source.encode()
    return Script(plain, gzip.compress(plain, 9, mtime=0), hashlib.sha256(plain).hexdigest()[:16])


def _texts(language: str) -> dict[str, str]:
    found = catalogue(language)
    return {
        key.removeprefix("widget."): text.replace("{days}", str(RETENTION_DAYS))
        for key, text in found.items()
        if key.startswith("widget.")
    }


@router.get("/widget.js")
def widget_script(request: Request) -> Response:
    """The script that a page embeds."""
    made = script()
    headers = {
        "ETag": f'"{made.tag}"',
        "Cache-Control": "public, max-age=300",
        "Vary": "Accept-Encoding",
    }
    if made.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    packed = "gzip" in request.headers.get("accept-encoding", "")
    if packed:
        headers["Content-Encoding"] = "gzip"
    body = made.packed if packed else made.plain
    return Response(body, media_type="text/javascript; charset=utf-8", headers=headers)


# --- sessions ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever holds a session of a library."""

    session: str
    library_id: int
    language: str

    @property
    def patron(self) -> str:
        return session_patron(self.session)


def issue(state: State, library_id: int, language: str) -> str:
    """A new session: a random name, the page's language, and our signature over both."""
    name = f"{secrets.token_hex(16)}.{language}"
    return f"{name}.{_signature(state, library_id, name)}"


def visitor_of(state: State, library_id: int, session: object) -> Visitor:
    """Who holds this session. Raises BadRequest without one, UnknownSession for a foreign one."""
    if not isinstance(session, str) or not session:
        raise BadRequest("“session” is missing.")
    name, _, signature = session.rpartition(".")
    expected = _signature(state, library_id, name)
    if not secrets.compare_digest(signature.encode(), expected.encode()):
        raise UnknownSession
    return Visitor(session, library_id, name.rpartition(".")[2])


def _signature(state: State, library_id: int, name: str) -> str:
    return state.keyring.sign("widget session", f"{library_id}:{name}")[:40]


def _stream_token(state: State, visitor: Visitor, now: datetime) -> str:
    """What may stand in an address: it opens one conversation's events, for ten minutes."""
    until = int((now + STREAM_LIFE).timestamp())
    name = f"{visitor.patron}.{until}"
    return f"{name}.{state.keyring.sign('widget stream', f'{visitor.library_id}:{name}')[:40]}"


def _patron_of_stream(state: State, library_id: int, token: str, now: datetime) -> str:
    name, _, signature = token.rpartition(".")
    expected = state.keyring.sign("widget stream", f"{library_id}:{name}")[:40]
    patron, _, until = name.rpartition(".")
    if not secrets.compare_digest(signature.encode(), expected.encode()):
        raise UnknownSession
    if int(until) < now.timestamp():
        raise UnknownSession("This stream's token is over; ask for the messages to get another.")
    return patron


async def body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent, whatever its content type says.

    Raises TooLarge over 32 KiB, BadRequest for anything else that is no object.
    """
    raw = await request.body()
    if len(raw) > BODY_BYTES:
        raise TooLarge
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    if not isinstance(found, dict):
        raise BadRequest("The body must be a JSON object.")
    return found


Body = Annotated[dict[str, Any], Depends(body)]


@router.options("/widget/{slug}/{rest:path}")
def preflight(slug: str, rest: str) -> Response:
    """Any page may embed the widget; there is nothing here that a cookie would open."""
    return Response(status_code=204, headers=PREFLIGHT)


@router.post("/widget/{slug}/sessions")
def start_session(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """A session for a browser that has none; nothing is stored until it says something."""
    state = state_of(request)
    now = state.clock()
    wanted = sent.get("language")
    language = negotiate(wanted if isinstance(wanted, str) else None)
    with state.database.snapshot() as session:
        library = library_by_slug(session, slug)
        entries = state.desks.of(session, library.id, now=now).knowledge.entries
        favourites = library.settings.get("suggestions") or []
        chosen = [entry for entry in entries if entry.id in favourites] or entries[:SUGGESTIONS]
        return {
            "session": issue(state, library.id, language),
            "name": library.name,
            "suggestions": [entry.title(language) for entry in chosen[:SUGGESTIONS]],
        }


# --- messages ----------------------------------------------------------------------------


@router.post("/widget/{slug}/messages")
def send_message(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """Take one message; the answer is there at once, and so is what was said meanwhile.

    The same id again gives the first result again and stores nothing.
    """
    state = state_of(request)
    now = state.clock()
    with state.database.snapshot() as session:
        library_id = library_by_slug(session, slug).id
    visitor = visitor_of(state, library_id, sent.get("session"))
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
        return _answer(state, session, visitor, conversation, after=turn.position - 1, now=now)


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
        visitor = visitor_of(state, library.id, bearer)
        conversation = _conversation(reading, library.id, visitor.patron)
        return _answer(state, reading, visitor, conversation, after=after, now=now)


@router.post("/widget/{slug}/read")
def mark_read(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """Remember up to where the patron has seen the conversation."""
    seq = sent.get("seq")
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0:
        raise BadRequest("“seq” must be a position in the conversation.")
    with _own_conversation(request, slug, sent) as (_, conversation):
        seen = min(seq, conversation.position)
        conversation.read_position = max(conversation.read_position, seen)
        return {"read": conversation.read_position}


@router.post("/widget/{slug}/email")
def keep_email(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """Keep the address to which a late answer goes as well."""
    address = sent.get("email")
    if not isinstance(address, str) or not _EMAIL.fullmatch(address.strip()):
        raise BadRequest("“email” is no e-mail address.")
    with _own_conversation(request, slug, sent) as (session, conversation):
        patron = conversation.patron
        if patron is None:
            now = state_of(request).clock()
            patron = Patron(library_id=conversation.library_id, created_at=now)
            conversation.patron = patron
        patron.email = address.strip()
        session.flush()
        return {"email": True}


@contextmanager
def _own_conversation(
    request: Request, slug: str, sent: dict[str, Any]
) -> Iterator[tuple[Session, Conversation]]:
    """The visitor's conversation in a transaction. Raises NotFound before the first message."""
    state = state_of(request)
    with state.database.snapshot() as reading:
        library_id = library_by_slug(reading, slug).id
    visitor = visitor_of(state, library_id, sent.get("session"))
    with state.database.transaction() as session:
        conversation = _conversation(session, library_id, visitor.patron)
        if conversation is None:
            raise NotFound("Nothing has been said in this session yet.")
        yield session, conversation


def _conversation(session: Session, library_id: int, patron: str) -> Conversation | None:
    return session.scalar(
        select(Conversation)
        .join(ChannelAccount, ChannelAccount.id == Conversation.account_id)
        .where(
            Conversation.library_id == library_id,
            ChannelAccount.kind == KIND,
            Conversation.external_id == patron,
        )
    )


def _answer(
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
    return {
        **spoken(session, conversation, after=after, now=now),
        "stream": _stream_token(state, visitor, now),
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
        "messages": _messages(session, conversation, after=after),
        "waiting": waits,
        "email": patron is not None and patron.email is not None,
        "read": conversation.read_position,
    }


def _messages(session: Session, conversation: Conversation, *, after: int) -> list[dict[str, Any]]:
    start = max(after, conversation.position - HISTORY)
    asked = session.scalars(
        select(Inbox).where(
            Inbox.library_id == conversation.library_id,
            Inbox.conversation_id == conversation.id,
            Inbox.position > start,
            Inbox.kind.in_((InboundKind.TEXT, InboundKind.CHOICE)),
        )
    )
    said = session.scalars(
        select(Outbox).where(
            Outbox.library_id == conversation.library_id,
            Outbox.conversation_id == conversation.id,
            Outbox.position > start,
            Outbox.via.is_(None),
            Outbox.state != OutboxState.DEAD,
        )
    )
    messages = [_of_patron(row) for row in asked] + [_of_desk(row) for row in said]
    return sorted(messages, key=lambda message: message["seq"])


def _of_patron(row: Inbox) -> dict[str, Any]:
    return {
        "seq": row.position,
        "id": row.dedupe_key,
        "role": "patron",
        "text": row.text or row.payload or "",
        "at": row.received_at.isoformat(),
    }


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


# --- events ------------------------------------------------------------------------------


@router.get("/widget/{slug}/events")
async def events(
    request: Request,
    slug: str,
    token: Annotated[str, Query(max_length=200)],
    after: Annotated[int, Query(ge=0)] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """What is said from now on, as server-sent events; none that was missed is lost.

    No database connection is held while nothing happens.
    """
    state = state_of(request)

    def find() -> int | None:
        with state.database.snapshot() as session:
            library = library_by_slug(session, slug)
            patron = _patron_of_stream(state, library.id, token, state.clock())
            found = _conversation(session, library.id, patron)
            return found.id if found is not None else None

    conversation_id = await run_in_threadpool(find)
    if conversation_id is None:
        return Response(status_code=204)  # tells a browser not to come back by itself
    if last_event_id is not None and last_event_id.isdigit():
        after = max(after, int(last_event_id))
    return EventSourceResponse(
        _events(state, conversation_id, after),
        ping=HEARTBEAT_SECONDS,
        headers={**OPEN_TO_ALL, "Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(state: State, conversation_id: int, after: int) -> AsyncIterator[dict[str, Any]]:
    def news(position: int) -> dict[str, Any]:
        with state.database.snapshot() as session:
            conversation = session.get_one(Conversation, conversation_id)
            return spoken(session, conversation, after=position, now=state.clock())

    async with await state.bus.subscribe([conversation_topic(conversation_id)]) as notices:
        known: bool | None = None
        while True:
            answer = await run_in_threadpool(news, after)
            if answer["messages"] or answer["waiting"] != known:
                known = answer["waiting"]
                after = max([after, *(message["seq"] for message in answer["messages"])])
                yield {"id": str(after), "data": json.dumps(answer, ensure_ascii=False)}
            async for notice in notices:
                if notice.data.get("type") == "typing":
                    yield {"event": "typing", "data": str(notice.data.get("name", ""))}
                    continue
                break
            else:
                return
            await asyncio.sleep(0.02)  # one turn makes several notices: look once
