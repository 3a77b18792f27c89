"""The action server: Rasa calls it, rasa-sdk runs our actions, and its protocol is spoken.

The actions and their executor are rasa-sdk's. Its HTTP server is not used: it answers a
malformed tracker with 500 and echoes the whole request, unpacks any size, and asks for no
token. Rasa keeps silent towards its patron when an action fails, so an action here does not
fail: when the desk cannot be reached, the patron is told.
"""

import asyncio
import json
import secrets
import zlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from rasa_sdk.executor import ActionExecutor, CollectingDispatcher
from rasa_sdk.interfaces import (
    ActionExecutionRejection,
    ActionMissingDomainException,
    ActionNotFoundException,
)
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.types import Receive, Scope, Send

from api import stumbles
from api.accounts import account_named, built_in_account, find_built_in
from api.errors import BadRequest
from api.libraries import default_library
from api.logs import log_problem
from api.state import State
from bot import assistants
from bot.actions import all_actions
from bot.actions.hearing import LANGUAGE_SLOT
from bot.actions.telling import VERDICT
from bot.assistants import Answer, Line, known_language
from bot.channels.base import MAX_IDENTIFIER, storable
from bot.channels.rasa_server import RasaServer
from bot.desk import Desk
from bot.messages import Inbound
from bot.models import ChannelAccount
from bot.phrases import phrasebook
from kb.text import detect_language

BODY_LIMIT = 32 * 1024 * 1024  # Rasa sends the whole conversation with each call
PATHS = {"/webhook", "/actions", "/health"}
_SDK_ERRORS = (ActionExecutionRejection, ActionMissingDomainException, ActionNotFoundException)


Take = Callable[[Session, Desk, ChannelAccount, datetime], Answer]


class SeveralAccounts(BadRequest):
    """The library has several Rasa servers: name one with --account."""


# --- the desk ----------------------------------------------------------------------------


class AccountDesk:
    """A library's desk behind one Rasa server: every call is one transaction."""

    def __init__(self, state: State, account: ChannelAccount) -> None:
        self._state = state
        self._account_id = account.id

    def warm(self) -> None:
        """Learn the library's knowledge now, so that the first patron does not wait for it."""
        self._gather()

    @property
    def token(self) -> str | None:
        """What Rasa must send with each call, as the account is now."""
        with self._state.database.snapshot() as session:
            account = session.get_one(ChannelAccount, self._account_id)
        channel = self._state.channels.of(account)
        return channel.action_token if isinstance(channel, RasaServer) else None

    def take(self, inbound: Inbound, language: str | None) -> Answer:
        return stumbles.or_else(
            lambda: self._with_desk(
                lambda session, desk, account, now: assistants.take(
                    session, desk, account, inbound, language=language, now=now
                )
            ),
            lambda: self.hand_over(inbound, (), language),
        )

    def hand_over(self, inbound: Inbound, before: Sequence[Line], language: str | None) -> Answer:
        return self._with_desk(
            lambda session, desk, account, now: assistants.hand_over(
                session, desk, account, inbound, before, language=language, now=now
            )
        )

    def opening_hours(self, inbound: Inbound, language: str | None) -> Answer:
        return stumbles.or_else(
            lambda: self._with_desk(
                lambda session, desk, account, now: assistants.opening_hours(
                    session, desk, account, inbound, language=language, now=now
                )
            ),
            lambda: self.hand_over(inbound, (), language),
        )

    def waiting_replies(self, inbound: Inbound, language: str | None) -> Answer:
        return self._with_desk(
            lambda session, desk, account, now: assistants.waiting_replies(
                session, desk, account, inbound, language=language, now=now
            )
        )

    def keep_email(self, patron: str, address: str) -> None:
        now = self._state.clock()
        desk, account = self._gather()
        with self._state.database.transaction() as session:
            assistants.keep_email(session, desk, account, patron, address, now=now)

    def _with_desk(self, do: Take) -> Answer:
        """In one transaction, with a desk gathered before it: nobody waits for a refit."""
        desk, account = self._gather()
        with self._state.database.transaction() as session:
            answer = do(session, desk, account, self._state.clock())
        self._state.measures.messages.labels(account.kind).inc()
        return answer

    def _gather(self) -> tuple[Desk, ChannelAccount]:
        with self._state.database.snapshot() as session:
            account = session.get_one(ChannelAccount, self._account_id)
            return (
                self._state.desks.of(session, account.library_id, now=self._state.clock()),
                account,
            )


def account_for(state: State, name: str | None) -> ChannelAccount:
    """The named account; else the default library's only one; else one made for it.

    Raises UnknownAccount, or SeveralAccounts where it is not clear which.
    """
    with state.database.snapshot() as session:
        if name is not None:
            return account_named(session, name, kind=RasaServer.kind)
        library = default_library(session, state.settings.default_library)
        made = find_built_in(session, library, RasaServer.kind)
        added = session.scalars(
            select(ChannelAccount).where(
                ChannelAccount.library_id == library.id,
                ChannelAccount.kind == RasaServer.kind,
                ChannelAccount.id != (made.id if made is not None else 0),
            )
        ).all()
    if len(added) > 1:
        raise SeveralAccounts
    if added:
        return added[0]
    with state.database.transaction() as session:
        return built_in_account(session, library, RasaServer.kind, now=state.clock())


# --- running actions ---------------------------------------------------------------------


class DeskExecutor(ActionExecutor):  # type: ignore[misc]  # rasa_sdk carries no types
    """Runs actions; refuses malformed calls, and leaves no patron without a word."""

    async def run(
        self,
        action_call: dict[str, Any],
        sink: Any = None,
        dispatcher: CollectingDispatcher | None = None,
    ) -> Any:
        """See rasa_sdk. A call that cannot be read is a rejection, which it answers with 400."""
        name = action_call.get("next_action")
        is_unknown = isinstance(name, str) and name not in self.actions
        trouble = None if is_unknown else trouble_with(action_call)
        if trouble is not None:
            raise ActionExecutionRejection(str(name), trouble)
        try:
            return await super().run(action_call, sink, dispatcher)
        except _SDK_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the patron must hear of it
            log_problem("action_failed", error)
            return self._apology(action_call)

    def update_and_return_domain(
        self, payload: dict[str, Any], action_name: str
    ) -> dict[str, Any] | None:
        """The caller's own domain, or none: rasa-sdk would hand out another caller's.

        Rasa 3.6 does not understand the 449 by which rasa-sdk asks for a missing one.
        """
        domain = payload.get("domain")
        return domain if isinstance(domain, dict) else {}

    def _apology(self, action_call: dict[str, Any]) -> Any:
        dispatcher = CollectingDispatcher()
        slots = action_call["tracker"].get("slots") or {}
        named = known_language(str(slots.get(LANGUAGE_SLOT) or ""))
        spoken = named or detect_language(_latest_text(action_call["tracker"]))
        dispatcher.utter_message(text=phrasebook(spoken).say("desk_away"))
        events = [{"event": "slot", "timestamp": None, "name": VERDICT, "value": "none"}]
        return self._create_api_response(events, dispatcher.messages)


def trouble_with(call: dict[str, Any]) -> str | None:
    """Why a call cannot be read, in a sentence; None for one that can."""
    name, tracker = call.get("next_action"), call.get("tracker")
    if name is None or name == "":
        return None  # rasa-sdk answers null
    if not isinstance(name, str):
        return "“next_action” must be the name of an action."
    if not isinstance(tracker, dict):
        return "“tracker” is missing or no object."
    sender = tracker.get("sender_id")
    if not isinstance(sender, str) or not 1 <= len(sender) <= MAX_IDENTIFIER:
        return f"“tracker.sender_id” must be a text of 1–{MAX_IDENTIFIER} characters."
    if storable(sender) != sender:
        return "“tracker.sender_id” must not hold NUL or half a character."
    return _trouble_with_parts(tracker)


def _trouble_with_parts(tracker: dict[str, Any]) -> str | None:
    for part in ("slots", "latest_message", "active_loop"):
        if not isinstance(tracker.get(part, {}), dict | None):
            return f"“tracker.{part}” must be an object."
    events = tracker.get("events", [])
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        return "“tracker.events” must be a list of objects."
    if not all(isinstance(event.get("event"), str) for event in events):
        return "Every event in “tracker.events” must name its kind in “event”."
    if not all(isinstance(each.get("name"), str) for each in events if each["event"] == "slot"):
        return "Every slot event in “tracker.events” must name its slot in “name”."
    entities = (tracker.get("latest_message") or {}).get("entities") or []
    if not isinstance(entities, list) or not all(isinstance(each, dict) for each in entities):
        return "“tracker.latest_message.entities” must be a list of objects."
    return None


def _latest_text(tracker: dict[str, Any]) -> str:
    text = (tracker.get("latest_message") or {}).get("text")
    return text if isinstance(text, str) else ""


def create_executor(desk: AccountDesk) -> DeskExecutor:
    """All actions, each with its desk."""
    executor = DeskExecutor()
    for action in all_actions(desk):
        executor.register_action(action)
    return executor


# --- serving -----------------------------------------------------------------------------


def create_action_app(desk: AccountDesk) -> "ActionServer":
    """The action server as an ASGI application."""
    return ActionServer(create_executor(desk), token=lambda: desk.token)


class ActionServer:
    """rasa-sdk's HTTP protocol: /webhook, /actions and /health, its keys and its statuses."""

    def __init__(self, executor: DeskExecutor, *, token: Callable[[], str | None]) -> None:
        self._executor = executor
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _answer(send, *await self._exchange(scope, receive))

    async def _exchange(self, scope: Scope, receive: Receive) -> tuple[int, Any]:
        try:
            await self._check(scope)
            match scope["path"]:
                case "/health":
                    return 200, {"status": "ok"}
                case "/actions":
                    return 200, [each.model_dump() for each in self._executor.list_actions()]
            return await self._run(await _call(scope, receive))
        except Turned as refusal:
            return refusal.status, {"error": str(refusal)}

    async def _run(self, call: dict[str, Any]) -> tuple[int, Any]:
        """Run the action; what rasa-sdk calls a rejection is 400, an unknown action 404."""
        try:
            result = await self._executor.run(call)
        except ActionExecutionRejection as rejection:
            return 400, {"error": rejection.message, "action_name": rejection.action_name}
        except ActionNotFoundException as unknown:
            return 404, {"error": unknown.message, "action_name": unknown.action_name}
        return 200, result.model_dump() if result else None

    async def _check(self, scope: Scope) -> None:
        """The right address and method, and the token where one is set. Raises Turned."""
        path = scope["path"]
        if path not in PATHS:
            raise Turned(404, "There is nothing at this address.")
        if scope["method"] != ("POST" if path == "/webhook" else "GET"):
            raise Turned(405, "This method is not used here.")
        token = await asyncio.to_thread(self._token) if path == "/webhook" else None
        if token and not secrets.compare_digest(_given_token(scope), token.encode()):
            raise Turned(
                401, "The token is missing or wrong: see action_endpoint in endpoints.yml."
            )


class Turned(Exception):
    """A request is turned away."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def _given_token(scope: Scope) -> bytes:
    """Rasa sends its endpoint's token in the query."""
    query: bytes = scope["query_string"]
    found = parse_qs(query.decode("latin-1")).get("token", [""])
    return found[0].encode()


def _header(scope: Scope, name: bytes) -> bytes:
    found: bytes = next((value for key, value in scope["headers"] if key.lower() == name), b"")
    return found


async def _call(scope: Scope, receive: Receive) -> dict[str, Any]:
    """The JSON object that was sent, unpacked. Raises Turned."""
    if _header(scope, b"content-length").isdigit():
        _check_size(int(_header(scope, b"content-length")))
    packed, more = bytearray(), True
    while more:
        message = await receive()
        packed += message.get("body", b"")
        _check_size(len(packed))
        more = message.get("more_body", False)
    body = bytes(packed)
    if _header(scope, b"content-encoding") == b"deflate":
        body = _inflated(body)
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Turned(400, "Invalid body request")  # rasa-sdk's words
    return found


def _check_size(size: int) -> None:
    if size > BODY_LIMIT:
        raise Turned(413, f"The call is larger than {BODY_LIMIT // 2**20} MB.")


def _inflated(body: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(body, BODY_LIMIT)
    except zlib.error:
        raise Turned(400, "The body is not compressed as its header says.") from None
    if unpacking.unconsumed_tail:
        _check_size(BODY_LIMIT + 1)
    return plain


async def _answer(send: Send, status: int, content: Any) -> None:
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
