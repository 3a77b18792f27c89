"""Telegram: a bot's webhook with a secret token, inline keyboards, answers at any time."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

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
    measure,
    member,
    read_settings,
    said,
    said_with_choices,
    same,
    seconds_of,
    send_in_order,
    shorten,
    split,
    status_error,
    trouble,
    unclear,
    words,
)
from bot.channels.telegram import reading
from bot.messages import Received, Reply, WebhookRequest, WebhookResponse

API_BASE = "https://api.telegram.org"
SECRET_HEADER = "x-telegram-bot-api-secret-token"  # noqa: S105 - a header's name
# Documented as 4096 characters; clients count as Telegram's entities do, in UTF-16 units.
TEXT = TextLimit(4096, "utf16")
CALLBACK_BYTES = 64  # documented: of a button's data
# Undocumented: chosen so that a choice's whole label stays readable on a phone.
BUTTONS, LABEL = 10, 64
# Documented nowhere: a webhook that answers within a minute is not repeated.
ACK_SECONDS = 60.0

_BOT_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,100}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")  # what Telegram takes as a secret token
_DONE = WebhookResponse()
_WRONG_TOKEN = {401, 404}


class Telegram:
    """One bot. It translates; it decides nothing."""

    kind: ClassVar[str] = "telegram"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="push",
        signature_covers_body=False,  # a shared secret in a header
        ack_seconds=ACK_SECONDS,
        passive_reply=False,
        pushes=True,
        windows=(Window("message", None, None), Window("follow", None, None)),
        late_reply=("in_window", "email", "idle_until_contact"),
        text=TEXT,
        quick_replies=QuickReplies(max=BUTTONS, label_limit=LABEL),
        idempotent_send=False,
        required_settings=("bot_token", "webhook_secret"),
        secret_settings=("bot_token", "webhook_secret"),
        typing=True,
        optional_settings=("api_base",),
        unverified=(
            "how soon a webhook must answer before Telegram repeats the update",
            "whether 4096 characters of text are counted in UTF-16 units",
        ),
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        """Raises ValueError with a sentence for every setting that is wrong."""
        given = read_settings(self.declaration, settings)
        if not _BOT_TOKEN.fullmatch(given["bot_token"]):
            raise ValueError("The setting bot_token must look like 123456789:AAbbcc….")
        if not _SECRET.fullmatch(given["webhook_secret"]):
            raise ValueError("The setting webhook_secret must be 1–256 of A–Z a–z 0–9 _ -.")
        self.name = name
        self._secret = given["webhook_secret"]
        self._address = f"{given.get('api_base', API_BASE).rstrip('/')}/bot{given['bot_token']}"
        self._http = http

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify by the secret that we gave Telegram, then translate; see bot.channels.base."""
        if request.method != "POST":
            raise Refused("only POST is answered", status=405)
        if not same(self._secret, request.headers.get(SECRET_HEADER, "")):
            raise Refused("the secret token does not match")
        update = json_object(request.body)
        inbound = reading.inbound(update)
        tap = reading.tap_of(update)
        return Received((inbound,) if inbound else (), reply_context={"tap": tap} if tap else {})

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """A tap is answered in the response, so that its button stops glowing."""
        tap = received.reply_context.get("tap")
        if tap is None:
            return _DONE
        answer = {"method": "answerCallbackQuery", "callback_query_id": tap}
        return WebhookResponse(json.dumps(answer).encode(), "application/json")

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send as few messages as hold the reply, the last with its buttons."""
        return send_in_order(_messages(to, reply), self._send)

    def show_typing(self, to: str, *, thread: Mapping[str, str]) -> None:
        """Show that somebody writes, for five seconds."""
        self._ask("sendChatAction", {"chat_id": _chat(to), "action": "typing"})

    def check(self) -> list[str]:
        """Whether the token is a bot's, and whether Telegram reaches our webhook."""
        return trouble(lambda: self._ask("getMe")) or self._webhook_trouble()

    def _send(self, message: Json) -> str | None:
        result = self._ask("sendMessage", message, when_lost=SendFailure.UNCERTAIN)
        number = member(result, "result").get("message_id")
        return None if number is None else str(number)

    def _webhook_trouble(self) -> list[str]:
        try:
            webhook = member(self._ask("getWebhookInfo"), "result")
        except SendError as error:
            return [str(error)]
        if not words(webhook, "url"):
            return ["Telegram has no webhook for this bot yet: see step 3 of the guide."]
        last = shorten(words(webhook, "last_error_message"), 200)
        return [f"Telegram's last delivery to the webhook failed: {last}."] if last else []

    def _ask(
        self,
        method: str,
        body: Json | None = None,
        *,
        when_lost: SendFailure = SendFailure.RETRY,
    ) -> Json:
        response = call(
            self._http,
            "POST",
            f"{self._address}/{method}",
            platform="Telegram",
            when_lost=when_lost,
            body=body or {},
        )
        answer = answered(response)
        if answer.get("ok") is True:
            return answer
        if response.is_success:
            raise unclear("Telegram")
        raise _error(response, answer)


def _messages(to: str, reply: Reply) -> list[Json]:
    buttons = _buttons(reply)
    parts = split(said(reply) if buttons else said_with_choices(reply), TEXT)
    messages: list[Json] = [{"chat_id": _chat(to), "text": part} for part in parts]
    if buttons:
        messages[-1]["reply_markup"] = {"inline_keyboard": buttons}
    return messages


def _buttons(reply: Reply) -> list[list[dict[str, Any]]]:
    """One button a row; none when a choice does not fit one, so that all are written out."""
    too_long = any(measure(c.payload, "bytes") > CALLBACK_BYTES for c in reply.choices)
    if too_long or len(reply.choices) > BUTTONS:
        return []
    return [
        [{"text": shorten(choice.label, LABEL), "callback_data": choice.payload}]
        for choice in reply.choices
    ]


def _chat(to: str) -> int | str:
    return int(to) if to.lstrip("-").isdecimal() and to.isascii() else to


def _error(response: httpx.Response, answer: Json) -> SendError:
    status = response.status_code
    reason = shorten(words(answer, "description"), 200) or "no reason given"
    if status == httpx.codes.TOO_MANY_REQUESTS:
        pause = seconds_of(member(answer, "parameters").get("retry_after"))
        return SendError(
            f"Telegram asks for a pause: {reason}.",
            failure=SendFailure.RETRY,
            code="429",
            retry_after=pause if pause is not None else status_error(response, "").retry_after,
        )
    if status == httpx.codes.FORBIDDEN:
        message = f"The patron has blocked the bot: {reason}."
        return SendError(message, failure=SendFailure.PERMANENT, code="403")
    if status in _WRONG_TOKEN:
        message = "Telegram does not know this bot_token."
        return SendError(message, failure=SendFailure.PERMANENT, code=str(status))
    if status < 500:
        message = f"Telegram refused: {reason} ({status})."
        return SendError(message, failure=SendFailure.PERMANENT, code=str(status))
    return status_error(response, "Telegram")
