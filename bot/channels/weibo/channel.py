"""Sina Weibo: private messages of a verified account, with a passive reply and late answers."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
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
    instant,
    json_object,
    read_settings,
    said_with_choices,
    same,
    seconds_of,
    send_in_order,
    shorten,
    split,
    status_error,
    unclear,
    words,
)
from bot.channels.weibo import reading, shaping
from bot.channels.weibo.signing import signature
from bot.messages import OneBody, Received, Reply, WebhookRequest, WebhookResponse

API_BASE = "https://m.api.weibo.com"
TOKEN_BASE = "https://api.weibo.com"  # noqa: S105 - an address
ACK_SECONDS = 5.0
CLOCK_TOLERANCE = timedelta(minutes=10)
MILLISECONDS = 1000
# Sources of 2013 and 2014 contradict each other: 48 hours without limit, or 72 hours for 3
# messages, or a quota of 99.
MESSAGE_WINDOW = Window("message", 48 * 3600, None)
# Undocumented: no code is known that says "the window is over"; add it here when one is seen.
WINDOW_CLOSED_CODES: frozenset[int] = frozenset()
# Reported: a token made in the console lives about a year.
WARN_BEFORE = timedelta(days=14)
RATE_PAUSE = 600.0  # seconds; the quotas are counted by the hour

_DONE = WebhookResponse()
_BUSY = {10001, 10002, 10003, 10009, 10010, 10011}
_TOO_MANY = {10004, 10022, 10023, 10024}
_TOKEN = {21314, 21315, 21316, 21317, 21327, 21332, 10006, 10013}


class Weibo:
    """One verified account. It translates; it decides nothing."""

    kind: ClassVar[str] = "weibo"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="push",
        signature_covers_body=False,
        ack_seconds=ACK_SECONDS,
        passive_reply=True,
        pushes=True,
        windows=(MESSAGE_WINDOW,),
        late_reply=("in_window", "email", "idle_until_contact"),
        text=shaping.TEXT,
        quick_replies=QuickReplies(),
        idempotent_send=False,
        required_settings=("app_secret", "access_token"),
        secret_settings=("app_secret", "access_token"),
        optional_settings=("uid", "api_base"),
        availability="verified_account",
        unverified=(
            "whether Weibo still admits accounts to its message service",
            "how long, and how often, an account may write after a patron's message",
            "how 300 characters of text are counted",
            "whether repetitions carry the same timestamp and nonce",
            "the error codes of sending",
            "how long the access token lives",
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
        self._token_base = given.get("api_base", TOKEN_BASE).rstrip("/")
        self._http = http

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify, then translate; see bot.channels.base.

        The signature does not cover the body: the core admits it with one body only.
        """
        expected = self._verify(request.query, now)
        if request.method == "GET":
            echo = request.query.get("echostr", "").encode("utf-8", "replace")
            return Received(handshake=WebhookResponse(echo))
        if request.method != "POST":
            raise Refused("only GET and POST are answered", status=405)
        message = json_object(request.body)
        inbound = reading.inbound(message, self._given.get("uid"))
        if inbound is None:
            return Received()
        context = {"patron": inbound.patron, "account": identifier(message, "receiver_id")}
        once = OneBody(expected, hashlib.sha256(request.body).hexdigest())
        return Received((inbound,), reply_context=context, one_body=once)

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """The passive reply, or the empty body that stops Weibo's repetitions."""
        if received.handshake is not None:
            return received.handshake
        text = shaping.passive_text(replies)
        context = received.reply_context
        if not text or not context:
            return _DONE
        body = shaping.passive_json(text, sender=context["account"], receiver=context["patron"])
        return WebhookResponse(body, "application/json; charset=utf-8")

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send as few messages as hold the reply. Weibo takes no key of ours, gives no id."""
        parts = split(said_with_choices(reply), shaping.TEXT)
        return send_in_order(parts, lambda part: self._send(to, part))

    def check(self) -> list[str]:
        """Whether the access token is good, and for how long: sentences of trouble."""
        try:
            answer = self._post(
                f"{self._token_base}/oauth2/get_token_info", {}, when_lost=SendFailure.RETRY
            )
        except SendError as error:
            return [str(error)]
        left = seconds_of(answer.get("expire_in"), at_most=10.0**9)
        if left is not None and left < WARN_BEFORE.total_seconds():
            return [f"The access_token ends in {int(left // 86400)} days: make a new one."]
        return []

    def _verify(self, query: Mapping[str, str], now: datetime) -> str:
        timestamp = query.get("timestamp", "")
        expected = signature(self._given["app_secret"], timestamp, query.get("nonce", ""))
        if not same(expected, query.get("signature", "")):
            raise Refused("the signature does not match")
        signed_at = instant(timestamp, per_second=MILLISECONDS)
        if signed_at is None or abs(signed_at - now) > CLOCK_TOLERANCE:
            raise Refused("the timestamp is more than ten minutes off")
        return expected

    def _send(self, to: str, text: str) -> str | None:
        """The form encodes `data`; by hand only the passive reply must."""
        form = {
            "type": "text",
            "receiver_id": to,
            "data": shaping.data_of(text),
            "save_sender_box": "1",
        }
        answer = self._post(
            f"{self._base}/2/messages/reply.json", form, when_lost=SendFailure.UNCERTAIN
        )
        if answer.get("result") is not True:
            raise unclear("Weibo")
        return None

    def _post(self, address: str, form: Mapping[str, str], *, when_lost: SendFailure) -> Json:
        response = call(
            self._http,
            "POST",
            address,
            platform="Weibo",
            when_lost=when_lost,
            query={"access_token": self._given["access_token"]},
            form=form,
        )
        answer = answered(response)
        code = answer.get("error_code")
        if isinstance(code, int) and not isinstance(code, bool):
            raise self._refusal(code, words(answer, "error"))
        if not response.is_success:
            raise status_error(response, "Weibo")
        return answer

    def _refusal(self, code: int, reason: str) -> SendError:
        failure, pause = SendFailure.PERMANENT, None
        told = shorten(reason.replace(self._given["access_token"], "…"), 200)
        if code in WINDOW_CLOSED_CODES:
            failure = SendFailure.WINDOW_CLOSED
        elif code in _BUSY:
            failure = SendFailure.RETRY
        elif code in _TOO_MANY:
            failure, pause = SendFailure.RETRY, RATE_PAUSE
        elif code in _TOKEN:
            told = "the access_token is wrong or has ended"
        return SendError(
            f"Weibo refused: {told or 'no reason given'} ({code}).",
            failure=failure,
            code=str(code),
            retry_after=pause,
        )
