"""WhatsApp Cloud API: signed webhooks, answers within 24 hours, a template after that."""

import re
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
    TokenStore,
    Window,
    answered,
    call,
    identifier,
    json_object,
    member,
    members,
    read_settings,
    same,
    seconds_of,
    send_in_order,
    shorten,
    status_error,
    trouble,
    unclear,
    words,
)
from bot.channels.whatsapp import reading, shaping
from bot.channels.whatsapp.signing import HEADER, signature
from bot.messages import Received, Reply, WebhookRequest, WebhookResponse

API_BASE = "https://graph.facebook.com"
# Meta retires a version about two years after its release; an older one is answered as the
# oldest living one.
GRAPH_VERSION = "v23.0"
WINDOW_SECONDS = 24 * 3600
# Sources name 3 to 20 seconds; the documents none.
ACK_SECONDS = 3.0
# Reported: one message to the same patron every 6 seconds, with bursts allowed.
PAIR_PAUSE = 6.0
# The button that opens a list of choices; a sign, because it must suit every language.
LIST_LABEL = "☰"

_CHALLENGE = re.compile(r"[!-~]{1,256}")
_DONE = WebhookResponse()
_RETRY, _CLOSED = SendFailure.RETRY, SendFailure.WINDOW_CLOSED
_PERMANENT = SendFailure.PERMANENT
_KNOWN: dict[int, tuple[SendFailure, str, float | None]] = {
    1: (_RETRY, "WhatsApp is unavailable", None),
    2: (_RETRY, "WhatsApp is unavailable", None),
    4: (_RETRY, "the app makes too many calls", 60.0),
    80007: (_RETRY, "the account makes too many calls", 60.0),
    130429: (_RETRY, "too many messages within a second", 1.0),
    131000: (_RETRY, "WhatsApp met an unknown error", None),
    131016: (_RETRY, "WhatsApp is unavailable", None),
    131048: (_RETRY, "WhatsApp slowed this number down, as patrons blocked it", 3600.0),
    131056: (_RETRY, "too many messages to this patron at once", PAIR_PAUSE),
    131047: (_CLOSED, "the patron has not written within 24 hours", None),
    0: (_PERMANENT, "the access_token is not accepted", None),
    10: (_PERMANENT, "the access_token may not send messages", None),
    190: (_PERMANENT, "the access_token has expired or is wrong", None),
    368: (_PERMANENT, "the account is blocked for breaking WhatsApp's policy", None),
    131026: (_PERMANENT, "the patron cannot be reached on WhatsApp", None),
    131030: (_PERMANENT, "a test number writes only to the numbers on its list", None),
    131031: (_PERMANENT, "the account is locked", None),
    131042: (_PERMANENT, "the account's payment method has a problem", None),
    132001: (_PERMANENT, "the template does not exist in this language", None),
    132015: (_PERMANENT, "the template is paused for its quality", None),
    132016: (_PERMANENT, "the template is disabled for its quality", None),
}


class WhatsApp:
    """One business number. It translates; it decides nothing."""

    kind: ClassVar[str] = "whatsapp"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="push",
        signature_covers_body=True,
        ack_seconds=ACK_SECONDS,
        passive_reply=False,
        pushes=True,
        windows=(Window("message", WINDOW_SECONDS, None),),
        # E-mail first: it carries the answer itself, and a template costs.
        late_reply=("in_window", "email", "template", "idle_until_contact"),
        text=shaping.TEXT,
        quick_replies=QuickReplies(max=shaping.ROWS, label_limit=shaping.ROW_MORE),
        idempotent_send=False,
        required_settings=("phone_number_id", "access_token", "app_secret", "verify_token"),
        secret_settings=("access_token", "app_secret", "verify_token"),
        typing=True,
        optional_settings=(
            "template_name",
            "template_language",
            "list_label",
            "graph_version",
            "api_base",
        ),
        availability="verified_account",
        unverified=(
            "how soon a webhook must answer before WhatsApp repeats it",
            "how often one patron may be written to",
            "the form of user ids without a telephone number",
        ),
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        """Raises ValueError with a sentence for every setting that is wrong."""
        given = read_settings(self.declaration, settings, free_text=("list_label",))
        if not given["phone_number_id"].isdecimal():
            raise ValueError("The setting phone_number_id must be Meta's number for the number.")
        if ("template_name" in given) != ("template_language" in given):
            raise ValueError("Give template_name and template_language together.")
        self.name = name
        self._given = given
        self._http = http
        base = given.get("api_base", API_BASE).rstrip("/")
        version = given.get("graph_version", GRAPH_VERSION)
        self._address = f"{base}/{version}/{given['phone_number_id']}"

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify over the raw bytes, then translate; see bot.channels.base.

        WhatsApp signs no time: that a message is stored once is what makes a replay harmless.
        """
        if request.method == "GET":
            return self._handshake(request.query)
        if request.method != "POST":
            raise Refused("only GET and POST are answered", status=405)
        expected = signature(self._given["app_secret"], request.body)
        if not same(expected, request.headers.get(HEADER, "")):
            raise Refused("the signature does not match")
        document = json_object(request.body)
        number = self._given["phone_number_id"]
        undelivered, arrived = reading.news(document, number)
        return Received(
            tuple(reading.inbounds(document, number)), undelivered=undelivered, arrived=arrived
        )

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """The echo of the handshake, else an empty 200."""
        return received.handshake or _DONE

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send as few messages as hold the reply.

        WhatsApp sends a key repeated twice: it only gives it back with the news of delivery.
        """
        label = shorten(self._given.get("list_label", LIST_LABEL), shaping.BUTTON_LABEL)
        messages = shaping.messages(to, reply, list_label=label)
        return send_in_order(messages, lambda message: self._post(_marked(message, key)))

    def announce(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send the approved template that names the question; see base.Announcing. Meta
        charges for it."""
        if "template_name" not in self._given:
            message = "No approved template is set for late answers."
            raise SendError(message, failure=_CLOSED, code="no_template")
        template = shaping.template(
            to,
            reply,
            name=self._given["template_name"],
            language=self._given["template_language"],
        )
        return self._post(template)

    def show_typing(self, to: str, *, thread: Mapping[str, str]) -> None:
        """Show that somebody writes, for 25 seconds; it marks the message as read, too."""
        if "message_id" in thread:
            indicator = {"status": "read", "message_id": thread["message_id"]}
            typing = {"messaging_product": "whatsapp", "typing_indicator": {"type": "text"}}
            self._post({**indicator, **typing}, expects_id=False)

    def check(self) -> list[str]:
        """Whether the token may use the number: sentences of trouble."""
        return trouble(self._number)

    def _handshake(self, query: Mapping[str, str]) -> Received:
        """Asked once, when the callback address is saved in Meta's console."""
        if not same(self._given["verify_token"], query.get("hub.verify_token", "")):
            raise Refused("the verify token does not match")
        challenge = query.get("hub.challenge", "")
        if query.get("hub.mode") != "subscribe" or not _CHALLENGE.fullmatch(challenge):
            raise Refused("this is no handshake", status=400)
        return Received(handshake=WebhookResponse(challenge.encode()))

    def _post(self, message: Json, *, expects_id: bool = True) -> str | None:
        response = call(
            self._http,
            "POST",
            f"{self._address}/messages",
            platform="WhatsApp",
            headers=self._authorization,
            body=message,
        )
        answer = answered(response)
        if not response.is_success or "error" in answer:
            raise self._refusal(response, answer)
        accepted = members(answer, "messages")
        if not expects_id:
            return None
        if not accepted:
            raise unclear("WhatsApp")
        return words(accepted[0], "id") or None

    def _number(self) -> None:
        response = call(
            self._http,
            "GET",
            self._address,
            platform="WhatsApp",
            when_lost=SendFailure.RETRY,
            headers=self._authorization,
            query={"fields": "display_phone_number,verified_name,quality_rating"},
        )
        answer = answered(response)
        if not response.is_success or "error" in answer:
            raise self._refusal(response, answer)
        try:
            identifier(answer, "id")
        except Refused:
            raise unclear("WhatsApp") from None

    @property
    def _authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._given['access_token']}"}

    def _refusal(self, response: httpx.Response, answer: Json) -> SendError:
        error = member(answer, "error")
        code = error.get("code")
        if not isinstance(code, int):
            return (
                status_error(response, "WhatsApp")
                if not response.is_success
                else unclear("WhatsApp")
            )
        unnamed = _RETRY if response.status_code >= 500 else _PERMANENT
        failure, sentence, pause = _KNOWN.get(code, (unnamed, "", None))
        said = sentence or self._redacted(words(error, "message"))
        asked = seconds_of(response.headers.get("retry-after"))
        return SendError(
            f"WhatsApp refused: {said} ({code}).",
            failure=failure,
            code=str(code),
            retry_after=asked if asked is not None else pause,
        )

    def _redacted(self, text: str) -> str:
        text = text.replace(self._given["access_token"], "…")
        return shorten(text, 200) or "no reason given"


def _marked(message: Json, key: str) -> Json:
    """With our key, which comes back with the news of what became of the message."""
    return {**message, "biz_opaque_callback_data": key}
