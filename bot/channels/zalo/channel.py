"""Zalo Official Account: signed events, answers within 48 hours, tokens that rotate."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

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
    identifier,
    json_object,
    member,
    read_settings,
    said,
    said_with_choices,
    same,
    send_in_order,
    shorten,
    split,
    status_error,
    trouble,
    unclear,
    words,
)
from bot.channels.zalo import reading
from bot.channels.zalo.access import Access
from bot.channels.zalo.signing import HEADER, PREFIX, signature
from bot.messages import Received, Reply, WebhookRequest, WebhookResponse

API_BASE = "https://openapi.zalo.me"
ACK_SECONDS = 2.0
# Free replies: 8 within 48 hours of the patron's message. Paid ones may follow for 7 days;
# they are not used.
MESSAGE_WINDOW = Window("message", 48 * 3600, 8)
# Reported; the documents were not at hand.
TEXT = TextLimit(2000)
# The form of buttons under a text, and these limits, are reported for the interface's
# resellers; a refusal (BUTTONS_REFUSED) falls back to choices written out.
BUTTONS, LABEL, PAYLOAD = 5, 100, 1000
BUTTONS_REFUSED = {"-201", "-210", "-233"}
TOKEN_REFUSED = -216

_DONE = WebhookResponse()
_RETRY, _CLOSED = SendFailure.RETRY, SendFailure.WINDOW_CLOSED
_PERMANENT = SendFailure.PERMANENT
# -216, -32, -211, -311, -213 and -230 are reported alike by several; the rest by one.
_KNOWN: dict[int, tuple[SendFailure, str, float | None]] = {
    -32: (_RETRY, "too many calls", 60.0),
    -216: (_RETRY, "the access token is not accepted", None),
    -211: (_CLOSED, "the free replies to this patron are used up", None),
    -311: (_CLOSED, "the account's quota is used up", None),
    -213: (_CLOSED, "the patron does not follow the account", None),
    -230: (_CLOSED, "the patron has not written within 7 days", None),
    -201: (_PERMANENT, "the message has another form than Zalo takes", None),
    -210: (_PERMANENT, "the message is too long", None),
    -224: (_PERMANENT, "the account's package does not include this interface", None),
}


class Zalo:
    """One official account. It translates; it decides nothing."""

    kind: ClassVar[str] = "zalo"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="push",
        signature_covers_body=True,
        ack_seconds=ACK_SECONDS,
        passive_reply=False,
        pushes=True,
        windows=(MESSAGE_WINDOW,),
        late_reply=("in_window", "email", "idle_until_contact"),
        text=TEXT,
        quick_replies=QuickReplies(max=BUTTONS, label_limit=LABEL),
        idempotent_send=False,
        required_settings=("app_id", "app_secret", "oa_secret_key", "refresh_token"),
        secret_settings=("app_secret", "oa_secret_key", "refresh_token"),
        optional_settings=("oa_id", "api_base"),
        availability="verified_account",
        unverified=(
            "whether the signature's header starts with mac=",
            "how often, and for how long, an event is repeated",
            "how many free replies a message opens, and whether following opens any",
            "how long a text may be, and the form of buttons under it",
            "how long the refresh token lives",
            "the error codes of sending",
            "that patrons' receipts name our messages by message_id",
        ),
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        """Raises ValueError with a sentence for every setting that is wrong."""
        given = read_settings(self.declaration, settings)
        self.name = name
        self._given = given
        self._base = given.get("api_base", API_BASE).rstrip("/")
        self._http = http
        self._access = Access(given, http=http, tokens=tokens)

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify over the raw bytes, then translate; see bot.channels.base.

        The signed time is the event's own, and Zalo repeats an event for hours: an old one
        is no reason to refuse it. That a message is stored once makes a replay harmless.
        """
        if request.method != "POST":
            raise Refused("only POST is answered", status=405)
        event = json_object(request.body)
        self._verify(request, identifier(event, "timestamp"))
        own = self._given.get("oa_id")
        inbound = reading.inbound(event, own)
        arrived = reading.arrived(event, own)
        return Received((inbound,) if inbound else (), arrived=arrived)

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """An empty 200."""
        return _DONE

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send as few messages as hold the reply. Zalo takes no key of ours."""
        buttons = _buttons(reply)
        if not buttons:
            return self._send_written_out(to, reply)
        messages = _messages(to, said(reply))
        messages[-1]["message"]["attachment"] = {
            "type": "template",
            "payload": {"buttons": buttons},
        }
        try:
            return send_in_order(messages, self._send)
        except SendError as error:
            if error.code not in BUTTONS_REFUSED or len(messages) > 1:
                raise
        return self._send_written_out(to, reply)

    def parts(self, reply: Reply) -> int:
        """How many messages a reply takes; see bot.channels.base.Counting."""
        text = said(reply) if _buttons(reply) else said_with_choices(reply)
        return len(split(text, TEXT))

    def check(self) -> list[str]:
        """Whether Zalo gives an access token, and answers for the account with it."""
        return trouble(
            lambda: self._ask("GET", "/v2.0/oa/getoa", None, when_lost=SendFailure.RETRY)
        )

    def _verify(self, request: WebhookRequest, timestamp: str) -> None:
        expected = signature(
            self._given["app_id"], request.body, timestamp, self._given["oa_secret_key"]
        )
        given = request.headers.get(HEADER, "").removeprefix(PREFIX)
        if not same(expected, given):
            raise Refused("the signature does not match")

    def _send_written_out(self, to: str, reply: Reply) -> str | None:
        return send_in_order(_messages(to, said_with_choices(reply)), self._send)

    def _send(self, message: Json) -> str | None:
        answer = self._ask("POST", "/v3.0/oa/message/cs", message, when_lost=SendFailure.UNCERTAIN)
        return words(member(answer, "data"), "message_id") or None

    def _ask(self, method: str, path: str, body: Json | None, *, when_lost: SendFailure) -> Json:
        """Call with the access token, once more with a fresh one when it is refused."""
        token = self._access.token()
        answer = self._ask_with(token, method, path, body, when_lost)
        if answer.get("error") == TOKEN_REFUSED:
            token = self._access.token(stale=token)
            answer = self._ask_with(token, method, path, body, when_lost)
        code = answer.get("error")
        if not isinstance(code, int) or isinstance(code, bool):
            raise unclear("Zalo")
        if code != 0:
            raise _refusal(code, words(answer, "message").replace(token, "…"))
        return answer

    def _ask_with(
        self, token: str, method: str, path: str, body: Json | None, when_lost: SendFailure
    ) -> Json:
        response = call(
            self._http,
            method,
            self._base + path,
            platform="Zalo",
            when_lost=when_lost,
            headers={"access_token": token},
            body=body,
        )
        if not response.is_success:
            raise status_error(response, "Zalo")
        return answered(response)


def _messages(to: str, text: str) -> list[Json]:
    recipient = {"user_id": to}
    return [{"recipient": recipient, "message": {"text": part}} for part in split(text, TEXT)]


def _buttons(reply: Reply) -> list[Json]:
    """Buttons whose tap shows no payload in the chat; none when a choice does not fit one."""
    too_long = any(len(choice.payload) > PAYLOAD for choice in reply.choices)
    if too_long or len(reply.choices) > BUTTONS:
        return []
    return [
        {
            "title": shorten(choice.label, LABEL),
            "type": "oa.query.hide",
            "payload": choice.payload,
        }
        for choice in reply.choices
    ]


def _refusal(code: int, message: str) -> SendError:
    failure, sentence, pause = _KNOWN.get(code, (_PERMANENT, "", None))
    told = sentence or shorten(message, 200) or "no reason given"
    return SendError(
        f"Zalo refused: {told} ({code}).", failure=failure, code=str(code), retry_after=pause
    )
