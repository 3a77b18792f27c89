"""Rasa's Socket.IO channel: what existing chat widgets speak, with answers that may come late.

A session's id is a secret that we issue: it is signed, and only its holder hears what is said
in it later. A client may ask under a name of its own making as well; it is answered on the
connection that asked, and nothing of it is ever told to another one.

Every reply is read from our own log and sent over each open connection of its session, in its
order; what was said while none was open comes with the next one.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import socketio
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.types import Receive, Scope, Send

from api import stumbles
from api.accounts import built_in_account, find_built_in
from api.bus import Notice, conversation_topic
from api.errors import TooManyAttempts
from api.libraries import default_library
from api.limits import PUBLIC
from api.logs import log_problem
from api.state import State
from bot.assistants import ask_librarian
from bot.channels.base import Refused, identifier
from bot.channels.rasa import Rasa, uttered
from bot.intake import Turn, locked_conversation, receive
from bot.messages import Reply, WebhookRequest
from bot.models import ChannelAccount, Conversation, Outbox, OutboxState
from bot.phrases import phrasebook
from kb.text import detect_language
from tracker.models import Library

PATH = "/socket.io"
SESSIONS = 20  # on one connection
LARGEST = 64 * 1024  # bytes of one packet
SETTLE_SECONDS = 0.02  # one turn makes several notices: look once
SUPPORTED = "Speak Engine.IO 4: socket.io-client 3 or 4, python-socketio 5 or newer."


@dataclass
class Listener:
    """One session on one connection, and how much of it has been sent there."""

    session: str
    conversation_id: int | None = None
    position: int = 0
    is_new: bool = True  # it may have missed something; later it has seen all, from the first word
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None


@dataclass
class Visit:
    """One open connection."""

    address: str
    names: dict[str, str] = field(default_factory=dict)  # what it asked for: what we issued
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)  # its messages, one by one
    listeners: dict[str, Listener] = field(default_factory=dict)


class Sockets:
    """The Socket.IO server of one web process."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._visits: dict[str, Visit] = {}
        self.server = socketio.AsyncServer(
            async_mode="asgi",
            cors_allowed_origins="*",  # origins are checked against the library's settings
            cors_credentials=False,
            max_http_buffer_size=LARGEST,
        )
        self.server.on("connect", self._connect)
        self.server.on("disconnect", self._disconnect)
        self.server.on("session_request", self._session_request)
        self.server.on("user_uttered", self._user_uttered)

    # --- connections ---------------------------------------------------------------------

    async def _connect(self, sid: str, environ: dict[str, Any], _auth: object = None) -> None:
        scope = environ.get("asgi.scope") or {}
        client = scope.get("client") or ("unknown", 0)
        if not await asyncio.to_thread(self._may_ask, environ.get("HTTP_ORIGIN")):
            raise socketio.exceptions.ConnectionRefusedError("This page may not ask here.")
        self._visits[sid] = Visit(str(client[0]))

    def _may_ask(self, origin: str | None) -> bool:
        with self._state.database.snapshot() as session:
            library = default_library(session, self._state.settings.default_library)
            allowed = library.settings.get("allowed_origins", ())
        return origin is None or not allowed or origin in allowed

    async def _disconnect(self, sid: str, *_reason: object) -> None:
        visit = self._visits.pop(sid, None)
        for listener in visit.listeners.values() if visit is not None else ():
            if listener.task is not None:
                listener.task.cancel()

    async def _session_request(self, sid: str, data: object = None, *_more: object) -> None:
        """Confirm a session of ours; a name of the client's own making is given one."""
        visit = self._visits[sid]
        if len(visit.listeners) >= SESSIONS or self._wait(visit):
            await self.server.disconnect(sid)
            return
        wanted = data.get("session_id") if isinstance(data, dict) else None
        known = await asyncio.to_thread(self._find, wanted)
        session = known if known is not None else await asyncio.to_thread(self._issue)
        if isinstance(wanted, str) and known is None:
            visit.names[wanted] = session
        await self.server.emit("session_confirm", session, to=sid)
        self._listen(sid, visit, session)

    # --- messages ------------------------------------------------------------------------

    async def _user_uttered(self, sid: str, data: object = None, *_more: object) -> None:
        """Take a message and answer it; whatever goes wrong, the patron hears of it."""
        visit = self._visits[sid]
        try:
            async with visit.taking:
                await self._answer(sid, visit, data)
        except (Refused, TooManyAttempts) as refusal:
            await self._say(sid, [{"text": str(refusal)}])
        except Exception as error:  # noqa: BLE001 - Socket.IO would only log it
            log_problem("message_not_taken", error)
            text = data.get("message") if isinstance(data, dict) else None
            say = phrasebook(detect_language(text if isinstance(text, str) else ""))
            await self._say(sid, [{"text": say.say("desk_away")}])

    async def _answer(self, sid: str, visit: Visit, data: object) -> None:
        wait = self._wait(visit)
        if wait:
            raise TooManyAttempts(retry_after=wait)
        if not isinstance(data, dict):
            raise Refused("“user_uttered” needs an object with message and session_id", status=400)
        name = self._name(sid, visit, data)
        message = {
            "sender": name,
            "message": data.get("message"),
            "metadata": data.get("metadata") or data.get("customData"),
        }
        issued = await asyncio.to_thread(self._find, name) is not None
        turn = await asyncio.to_thread(self._take, message, issued)
        if not issued or turn.duplicate:
            await self._say(sid, uttered(turn.replies))
            return
        listener = self._listen(sid, visit, name)
        if await self._is_begun(listener):
            await self._send_news(sid, listener)
        if turn.position == 1:
            self._state.bus.publish(Notice(_topic(name), {}))

    def _wait(self, visit: Visit) -> int:
        return self._state.limiter.wait(f"public:{visit.address}", PUBLIC)

    def _name(self, sid: str, visit: Visit, data: dict[str, Any]) -> str:
        """The session that a message belongs to; without one, the connection is its own."""
        if not data.get("session_id"):
            return next(iter(visit.listeners), sid)
        given = identifier(data, "session_id")
        return visit.names.get(given, given)

    def _take(self, message: dict[str, Any], issued: bool) -> Turn:
        state = self._state
        now = state.clock()
        library, account = self._account()
        channel = state.channels.of(account)
        sent = WebhookRequest("POST", {}, {}, json.dumps(message).encode())
        inbound = channel.receive(sent, now=now).messages[0]
        with state.database.snapshot() as session:
            desk = state.desks.of(session, library.id, now=now)

        def taken(how: Callable[..., Turn]) -> Turn:
            with state.database.transaction() as session:
                conversation = locked_conversation(
                    session, desk, account, inbound.patron, now=now, issued=issued
                )
                conversation.issued = conversation.issued or issued
                return how(session, desk, account, inbound, now=now)

        turn = stumbles.or_else(lambda: taken(receive), lambda: taken(ask_librarian))
        if not turn.duplicate:
            state.measures.messages.labels(account.kind).inc()
        return turn

    def _account(self) -> tuple[Library, ChannelAccount]:
        state = self._state
        with state.database.snapshot() as session:
            library = default_library(session, state.settings.default_library)
            account = find_built_in(session, library, Rasa.kind)
        if account is None:
            with state.database.transaction() as session:
                account = built_in_account(session, library, Rasa.kind, now=state.clock())
        return library, account

    # --- sessions ------------------------------------------------------------------------

    def _issue(self) -> str:
        name = secrets.token_hex(16)
        return f"{name}.{self._signature(name)}"

    def _find(self, given: object) -> str | None:
        """The session, if we issued it."""
        if (
            not isinstance(given, str)
            or not given.isascii()
            or "." not in given
            or len(given) > 255
        ):
            return None
        name, _, signature = given.rpartition(".")
        if secrets.compare_digest(signature.encode(), self._signature(name).encode()):
            return given
        return None

    def _signature(self, name: str) -> str:
        with self._state.database.snapshot() as session:
            library = default_library(session, self._state.settings.default_library)
        return self._state.keyring.sign("rasa session", f"{library.id}:{name}")[:40]

    # --- what is said later --------------------------------------------------------------

    def _listen(self, sid: str, visit: Visit, session: str) -> Listener:
        """Send on this connection whatever is said in the session, from what it has not seen."""
        listener = visit.listeners.get(session)
        if listener is None:
            listener = visit.listeners[session] = Listener(session)
            listener.task = asyncio.create_task(self._follow(sid, listener))
        return listener

    async def _follow(self, sid: str, listener: Listener) -> None:
        while not await self._is_begun(listener):
            # Another connection of the session may say its first word.
            async with await self._state.bus.subscribe([_topic(listener.session)]) as notices:
                if not await self._is_begun(listener):
                    await anext(notices)
        topic = conversation_topic(listener.conversation_id or 0)
        async with await self._state.bus.subscribe([topic]) as notices:
            await self._send_news(sid, listener)
            async for notice in notices:
                if notice.data.get("type") == "typing":
                    continue
                await asyncio.sleep(SETTLE_SECONDS)
                await self._send_news(sid, listener)

    async def _is_begun(self, listener: Listener) -> bool:
        """Whether something has been said in the session; from then on its place is known."""
        async with listener.sending:
            if listener.conversation_id is None:
                found = await asyncio.to_thread(self._conversation, listener.session)
                if found is not None:
                    listener.conversation_id, seen = found
                    listener.position = seen if listener.is_new else 0
                listener.is_new = False
            return listener.conversation_id is not None

    async def _send_news(self, sid: str, listener: Listener) -> None:
        if listener.conversation_id is None:
            return
        async with listener.sending:
            try:
                news = await asyncio.to_thread(self._news, listener)
                for position, reply in news:
                    await self._say(sid, uttered([reply]))
                    listener.position = position
                if news:
                    await asyncio.to_thread(self._mark_read, listener)
            except SQLAlchemyError as error:  # the next notice, or connection, brings it
                log_problem("news_not_read", error)

    def _news(self, listener: Listener) -> list[tuple[int, Reply]]:
        with self._state.database.snapshot() as session:
            rows = session.scalars(
                select(Outbox)
                .where(
                    Outbox.conversation_id == listener.conversation_id,
                    Outbox.position > listener.position,
                    Outbox.via.is_(None),
                    Outbox.state == OutboxState.SENT,
                )
                .order_by(Outbox.position)
            ).all()
            return [(row.position, Reply.from_dict(row.reply)) for row in rows]

    def _mark_read(self, listener: Listener) -> None:
        """Remember what was sent, so that it is not sent again after a reload."""
        with self._state.database.snapshot() as session:
            conversation = session.get_one(Conversation, listener.conversation_id)
            if conversation.read_position >= listener.position:
                return
        with self._state.database.transaction() as session:
            conversation = session.get_one(Conversation, listener.conversation_id)
            conversation.read_position = max(conversation.read_position, listener.position)

    def _conversation(self, session_id: str) -> tuple[int, int] | None:
        library, account = self._account()
        with self._state.database.snapshot() as session:
            found = _by_patron(session, library, account, session_id)
            return (found.id, found.read_position) if found is not None else None

    async def _say(self, sid: str, events: list[dict[str, Any]]) -> None:
        for event in events:
            await self.server.emit("bot_uttered", event, to=sid)


class Entrance:
    """Says to old clients why they cannot come in; the others pass."""

    def __init__(self, server: socketio.AsyncServer) -> None:
        self._app = socketio.ASGIApp(server, socketio_path=PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        spoken = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("EIO", ["4"])[-1]
        if spoken == "4":
            await self._app(scope, receive, send)
            return
        prefix = ""
        if scope["type"] == "websocket":
            prefix = "websocket."
            await receive()
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close", "code": 1002, "reason": SUPPORTED})
                return
        body = json.dumps({"code": 5, "message": SUPPORTED}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"access-control-allow-origin", b"*"),
        ]
        await send({"type": f"{prefix}http.response.start", "status": 400, "headers": headers})
        await send({"type": f"{prefix}http.response.body", "body": body})


def install(app: FastAPI, state: State) -> None:
    """Mount the server where Socket.IO's clients look for it."""
    sockets = Sockets(state)
    app.state.sockets = sockets
    app.mount(PATH, Entrance(sockets.server), name="socket.io")


def _topic(session: str) -> str:
    """Where a session's connections hear that its first word was said."""
    return f"rasa-session:{hashlib.sha256(session.encode()).hexdigest()[:32]}"


def _by_patron(
    session: Session, library: Library, account: ChannelAccount, patron: str
) -> Conversation | None:
    return session.scalar(
        select(Conversation).where(
            Conversation.library_id == library.id,
            Conversation.account_id == account.id,
            Conversation.external_id == patron,
        )
    )
