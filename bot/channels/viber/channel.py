"""Viber: signed callbacks, keyboards, answers while the patron is subscribed."""

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
    json_object,
    read_settings,
    said,
    said_with_choices,
    same,
    send_in_order,
    shorten,
    split,
    status_error,
    unclear,
    words,
)
from bot.channels.viber import reading
from bot.channels.viber.signing import HEADER, signature
from bot.messages import Received, Reply, WebhookRequest, WebhookResponse

API_BASE = "https://chatapi.viber.com"
# Documented are 7,000 characters of text and 30 kB of JSON: in bytes the first keeps the second.
TEXT = TextLimit(7000, "bytes")
SENDER_NAME = 28  # characters; documented
# Undocumented: chosen so that a keyboard stays on the screen, and its JSON small.
BUTTONS, LABEL, ACTION = 10, 60, 250
# Undocumented how soon a callback must be answered; it is repeated for about an hour.
ACK_SECONDS = 5.0
# Documented are 100 messages an hour to a patron who does not answer.
QUOTA_PAUSE = 1800.0

_DONE = WebhookResponse()
_RETRY, _CLOSED = SendFailure.RETRY, SendFailure.WINDOW_CLOSED
_PERMANENT = SendFailure.PERMANENT
# From Viber's list of errors; which of them a send may meet was not tried on a live bot.
_KNOWN: dict[int, tuple[SendFailure, str, float | None]] = {
    2: (_PERMANENT, "the auth_token is wrong", None),
    3: (_PERMANENT, "the message has another form than Viber takes", None),
    4: (_PERMANENT, "the message lacks something that Viber wants", None),
    5: (_PERMANENT, "Viber does not know this patron", None),
    6: (_CLOSED, "the patron is not subscribed to the bot", None),
    7: (_PERMANENT, "the bot is blocked", None),
    8: (_PERMANENT, "Viber does not know this bot", None),
    9: (_PERMANENT, "the bot is suspended", None),
    10: (_PERMANENT, "the bot has no webhook", None),
    11: (_PERMANENT, "the patron's device cannot show the message", None),
    12: (_RETRY, "too many messages to a patron who has not answered", QUOTA_PAUSE),
    15: (_PERMANENT, "the bot may not do this", None),
}
_GENERAL_ERROR_ABOVE = 23  # documented: other numbers are general errors


class Viber:
    """One bot. It translates; it decides nothing."""

    kind: ClassVar[str] = "viber"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="push",
        signature_covers_body=True,
        ack_seconds=ACK_SECONDS,
        passive_reply=False,
        pushes=True,
        windows=(Window("message", None, None), Window("follow", None, None)),
        late_reply=("in_window", "email", "idle_until_contact"),
        text=TEXT,
        quick_replies=QuickReplies(max=BUTTONS, label_limit=LABEL),
        idempotent_send=False,
        required_settings=("auth_token",),
        secret_settings=("auth_token",),
        optional_settings=("sender_name", "api_base"),
        availability="paid",
        unverified=(
            "how soon a callback must be answered",
            "what the status codes of sending mean, 6 (not subscribed) before all",
            "how long a button's label and payload may be",
        ),
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        """Raises ValueError with a sentence for every setting that is wrong."""
        given = read_settings(self.declaration, settings, free_text=("sender_name",))
        self.name = name
        self._token = given["auth_token"]
        self._sender = shorten(given.get("sender_name", "Library"), SENDER_NAME)
        self._base = given.get("api_base", API_BASE).rstrip("/")
        self._http = http

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify over the raw bytes, then translate; see bot.channels.base.

        Viber repeats a callback for about an hour, so that its time is no reason to refuse it.
        """
        if request.method != "POST":
            raise Refused("only POST is answered", status=405)
        if not same(signature(self._token, request.body), request.headers.get(HEADER, "")):
            raise Refused("the signature does not match")
        event = json_object(request.body)
        inbound, lost = reading.inbound(event), reading.undelivered(event)
        arrived = reading.arrived(event)
        return Received(
            (inbound,) if inbound else (),
            undelivered=(lost,) if lost else (),
            arrived=(arrived,) if arrived else (),
        )

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """An empty 200, which is also what the event `webhook` wants when it is set up."""
        return _DONE

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send as few messages as hold the reply. Viber takes no key of ours."""
        return send_in_order(self._messages(to, reply), self._send)

    def check(self) -> list[str]:
        """Whether the token is a bot's, and whether Viber knows our webhook."""
        try:
            account = self._ask("get_account_info", {}, when_lost=SendFailure.RETRY)
        except SendError as error:
            return [str(error)]
        if not words(account, "webhook"):
            return ["Viber has no webhook for this bot yet: see step 3 of the guide."]
        return []

    def _messages(self, to: str, reply: Reply) -> list[Json]:
        buttons = _buttons(reply)
        parts = split(said(reply) if buttons else said_with_choices(reply), TEXT)
        messages: list[Json] = [
            {
                "receiver": to,
                "min_api_version": 1,
                "sender": {"name": self._sender},
                "type": "text",
                "text": part,
            }
            for part in parts
        ]
        if buttons:
            messages[-1]["keyboard"] = {
                "Type": "keyboard",
                "DefaultHeight": False,
                "Buttons": buttons,
            }
        return messages

    def _send(self, message: Json) -> str | None:
        answer = self._ask("send_message", message, when_lost=SendFailure.UNCERTAIN)
        token = answer.get("message_token")
        return None if token is None else str(token)

    def _ask(self, what: str, body: Json, *, when_lost: SendFailure) -> Json:
        response = call(
            self._http,
            "POST",
            f"{self._base}/pa/{what}",
            platform="Viber",
            when_lost=when_lost,
            headers={"x-viber-auth-token": self._token},
            body=body,
        )
        if not response.is_success:
            raise status_error(response, "Viber")
        answer = answered(response)
        status = answer.get("status")
        if not isinstance(status, int) or isinstance(status, bool):
            raise unclear("Viber")
        if status != 0:
            raise self._refusal(status, answer)
        return answer

    def _refusal(self, status: int, answer: Json) -> SendError:
        """Viber refuses with HTTP status 200 and a status of its own."""
        unnamed = _RETRY if status > _GENERAL_ERROR_ABOVE else _PERMANENT
        failure, sentence, pause = _KNOWN.get(status, (unnamed, "", None))
        told = words(answer, "status_message").replace(self._token, "…")
        said = sentence or shorten(told, 200) or "no reason given"
        return SendError(
            f"Viber refused: {said} ({status}).",
            failure=failure,
            code=str(status),
            retry_after=pause,
        )


def _buttons(reply: Reply) -> list[Json]:
    """A keyboard's buttons; none when a choice does not fit one, so that all are written out.

    They are silent: the patron's tap shows no payload in the chat.
    """
    too_long = any(len(choice.payload) > ACTION for choice in reply.choices)
    if too_long or len(reply.choices) > BUTTONS:
        return []
    return [
        {
            "Columns": 6,
            "Rows": 1,
            "ActionType": "reply",
            "ActionBody": choice.payload,
            "Text": shorten(choice.label, LABEL),
            "Silent": True,
        }
        for choice in reply.choices
    ]
