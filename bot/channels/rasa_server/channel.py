"""A Rasa server (3.6, `rasa run --enable-api`): questions come through our actions, answers
go back as events of the conversation.

Facts below are of Rasa 3.6.21, seen on the wire and in its source.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NoReturn
from urllib.parse import urlsplit

import httpx

from bot.channels.base import (
    Declaration,
    Json,
    QuickReplies,
    Refused,
    SendError,
    SendFailure,
    TextLimit,
    TokenStore,
    Window,
    answered,
    call,
    said,
    shorten,
    status_error,
    words,
)
from bot.channels.rasa_server.payloads import to_rasa
from bot.channels.rasa_server.reading import KEY, messages, was_pushed
from bot.messages import Inbound, Received, Reply, WebhookRequest, WebhookResponse

LATEST = "latest"  # Rasa's name for wherever the patron wrote last
# Rasa cannot write to these by itself: it takes the message and nobody ever sees it.
UNREACHABLE = frozenset({"", "rest", "cmdline"})
REPLY, AUTHOR = "refdesk_reply", "refdesk_author"  # entities of a triggered intent
# Rasa 3.6 does not decode its paths: an id with anything else in it would be another one.
_ADDRESSABLE = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|$))[A-Za-z0-9._~@:!$&'()*+,;=/-]+")
_SWITCH = {"on": True, "off": False}


@dataclass(frozen=True, slots=True)
class Followed:
    """How a conversation stands; all that its patron wrote since Rasa's last restart of it.

    A paused assistant calls no action, so that the tracker is the only way to hear them.
    """

    messages: tuple[Inbound, ...]
    paused: bool


class RasaServer:
    """One assistant. It translates; it decides nothing."""

    kind: ClassVar[str] = "rasa_server"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="actions",  # through the action server; while paused, see follow()
        signature_covers_body=False,
        ack_seconds=30,
        passive_reply=True,
        pushes=True,
        windows=(Window("message", None, None), Window("choice", None, None)),
        late_reply=("in_window", "email", "idle_until_contact"),
        text=TextLimit(None),
        quick_replies=QuickReplies(max=10, label_limit=200),
        idempotent_send=True,  # the tracker tells what it has
        required_settings=("url",),
        secret_settings=("auth_token", "action_token"),
        optional_settings=("output_channel", "trigger_intent", "pause"),
        always_replies=True,
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        """Raises ValueError for a wrong setting.

        Without `url` nothing can be pushed: an assistant that only calls our actions needs
        no account, and its answers wait for the patron's next message.
        """
        given = {key: value.strip() for key, value in settings.items() if value.strip()}
        self.name = name
        self._url = given.get("url", "").rstrip("/")
        if self._url and not _is_safe(self._url):
            raise ValueError(
                "The setting url must be the address of the Rasa server: https://, or http:// "
                "on this machine or in your own network, without a path's end."
            )
        pause = given.get("pause", "on")
        if pause not in _SWITCH:
            raise ValueError("The setting pause must be on or off.")
        self._token = given.get("auth_token")
        self.action_token = given.get("action_token")
        self._output = given.get("output_channel", LATEST)
        self._intent = given.get("trigger_intent")
        # A paused assistant would not act on the intent either.
        self._pauses = _SWITCH[pause] and self._intent is None
        self._http = http

    @property
    def hands_over(self) -> bool:
        """Whether the assistant is to be paused while a librarian has the conversation."""
        return bool(self._url) and self._pauses

    # --- what every channel can do ------------------------------------------------------

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Nothing comes here: Rasa calls the action server."""
        raise Refused("Rasa's questions come through “refdesk actions”", status=404)

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        return WebhookResponse()

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Push a reply into the conversation, or trigger the assistant's own intent with it.

        Asks first where the patron is, because Rasa takes a message for its REST channel and
        drops it; such a reply waits for the patron's next message.
        """
        if not self._url:
            self._cannot("This assistant has no url to push to.")
        if not _ADDRESSABLE.fullmatch(to):
            self._cannot("Rasa's interface cannot name a conversation with such an id.")
        tracker = self._ask("GET", to, "tracker", {"include_events": "AFTER_RESTART"})
        channel = words(tracker, "latest_input_channel")
        if self._output == LATEST and channel in UNREACHABLE:
            self._cannot(f"Rasa cannot write to its channel “{channel or 'unknown'}” by itself.")
        if not was_pushed(tracker, key):
            self._push(to, reply, key)
        return key

    def check(self) -> list[str]:
        """Whether the server answers, has its API open, and takes our token."""
        if not self._url:
            return ["The setting url is missing: answers wait for the patron's next message."]
        try:
            status = answered(self._call("GET", "/status"))
        except SendError as error:
            return [str(error)]
        if not words(status, "model_id"):
            return ["Rasa has loaded no model yet."]
        return []

    # --- handing over -------------------------------------------------------------------

    def follow(self, to: str, *, paused: bool) -> Followed:
        """Pause or resume the assistant where that is not so already. Raises SendError.

        It is not paused where Rasa could not write to the patron by itself: there nobody
        would say a word any more.
        """
        if not _ADDRESSABLE.fullmatch(to):
            return Followed((), paused=False)
        tracker = self._ask("GET", to, "tracker", {"include_events": "AFTER_RESTART"})
        if self._output == LATEST and words(tracker, "latest_input_channel") in UNREACHABLE:
            paused = False
        if bool(tracker.get("paused")) != paused:
            event = {"event": "pause" if paused else "resume"}
            self._ask("POST", to, "tracker/events", {"include_events": "NONE"}, body=event)
        return Followed(tuple(messages(to, tracker)), paused)

    # --- talking to Rasa ----------------------------------------------------------------

    def _push(self, to: str, reply: Reply, key: str) -> None:
        where = {"output_channel": self._output, "include_events": "NONE"}
        if self._intent is not None:
            entities = {REPLY: said(reply), AUTHOR: reply.by or "", KEY: key}
            body: Json = {"name": self._intent, "entities": entities}
            self._ask("POST", to, "trigger_intent", where, body=body)
            return
        buttons = [{"title": c.label, "payload": to_rasa(c.payload)} for c in reply.choices]
        data = {"data": {"buttons": buttons}} if buttons else {}
        event: Json = {"event": "bot", "text": said(reply), "metadata": {KEY: key}, **data}
        where["execute_side_effects"] = "true"
        self._ask("POST", to, "tracker/events", where, body=event)

    def _ask(
        self, method: str, to: str, what: str, query: Mapping[str, str], *, body: Json | None = None
    ) -> Json:
        path = f"/conversations/{to}/{what}"
        return answered(self._call(method, path, query=query, body=body))

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> httpx.Response:
        given = dict(query or {}) | ({"token": self._token} if self._token else {})
        response = call(
            self._http,
            method,
            self._url + path,
            platform="Rasa",
            when_lost=SendFailure.RETRY,  # the tracker tells whether it had arrived
            query=given,
            body=body,
        )
        if response.is_success:
            return response
        raise _error(response)

    def _cannot(self, reason: str) -> NoReturn:
        raise SendError(reason, failure=SendFailure.WINDOW_CLOSED)


def _error(response: httpx.Response) -> SendError:
    """Rasa's refusals; one that speaks of our settings says which."""
    status, reason = response.status_code, shorten(words(answered(response), "message"), 200)
    if status == httpx.codes.UNAUTHORIZED:
        message = "Rasa does not take this auth_token."
        return SendError(message, failure=SendFailure.PERMANENT, code="401")
    if status == httpx.codes.NOT_FOUND:
        message = f"Rasa knows no such address or intent: {reason or 'is --enable-api on?'}"
        return SendError(message, failure=SendFailure.PERMANENT, code="404")
    if status == httpx.codes.CONFLICT:  # no model is loaded yet
        return SendError("Rasa has loaded no model yet.", failure=SendFailure.RETRY, code="409")
    return status_error(response, "Rasa")


def _is_safe(address: str) -> bool:
    """Patrons' words travel there: encrypted, or within a network of our own."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or parts.query or parts.fragment or parts.username:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_ours(host))


def _is_ours(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host  # localhost, or a service of the same compose file
