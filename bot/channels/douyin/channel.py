"""Douyin: signed events, replies that quote the message they answer.

Complete, and shipped disabled: Douyin admits no new applicants to this interface.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    member,
    read_settings,
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
from bot.channels.douyin import reading
from bot.channels.douyin.access import API_BASE, Access
from bot.channels.douyin.handles import Handle
from bot.channels.douyin.signing import HEADER, signature
from bot.messages import Received, Reply, WebhookRequest, WebhookResponse

ACK_SECONDS = 5.0
# Reported: about 6 replies to each message, within 24 hours.
MESSAGE_WINDOW = Window("message", 24 * 3600, 6)
# Undocumented; texts of this length are reported to arrive.
TEXT = TextLimit(1000)
# Undocumented: the inner shape of `content`, and its number for text.
TEXT_TYPE = 1
TOKEN_REFUSED = {28001003, 28001008}
TOO_MANY = {28003070: 60.0}  # and the seconds to wait
CLOSED = (
    "Douyin has closed its private-message interface for website apps to new applicants."
    " If Douyin admitted your account, set access_granted=true; see the guide."
)

_DONE = WebhookResponse()


class Douyin:
    """One business account. It translates; it decides nothing."""

    kind: ClassVar[str] = "douyin"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="push",
        signature_covers_body=True,
        ack_seconds=ACK_SECONDS,
        passive_reply=False,
        pushes=True,
        windows=(MESSAGE_WINDOW,),
        late_reply=("in_window", "email", "idle_until_contact"),
        text=TEXT,
        quick_replies=QuickReplies(),
        idempotent_send=False,
        required_settings=("client_key", "client_secret", "open_id", "refresh_token"),
        secret_settings=("client_secret", "refresh_token"),
        optional_settings=("access_granted", "api_base"),
        availability="closed_to_new",
        unverified=(
            "whether the request that sets the address up is signed",
            "the inner shape of a message that we send, and how long its text may be",
            "how many replies a message admits",
            "how long tokens live, and how often the refresh token can be renewed",
        ),
    )

    def __init__(
        self,
        name: str,
        settings: Mapping[str, str],
        *,
        http: httpx.Client,
        tokens: TokenStore,
    ) -> None:
        """Raises ValueError with a sentence for every setting that is wrong."""
        given = read_settings(self.declaration, settings)
        if given.get("access_granted", "false").lower() not in {"true", "false"}:
            raise ValueError("The setting access_granted must be true or false.")
        self.name = name
        self._given = given
        self._is_off = given.get("access_granted", "false").lower() != "true"
        self._base = given.get("api_base", API_BASE).rstrip("/")
        self._http = http
        self._access = Access(given, http=http, tokens=tokens)

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify over the raw bytes, then translate; see bot.channels.base.

        Unverified is whether the set-up request is signed: its number is given back either
        way, which tells a stranger nothing and changes nothing.
        """
        if self._is_off:
            raise Refused(CLOSED)
        if request.method != "POST":
            raise Refused("only POST is answered", status=405)
        event = json_object(request.body)
        number = reading.challenge(event)
        if number is not None:
            body = json.dumps({"challenge": number}).encode()
            return Received(handshake=WebhookResponse(body, "application/json"))
        expected = signature(self._given["client_secret"], request.body)
        if not same(expected, request.headers.get(HEADER, "")):
            raise Refused("the signature does not match")
        message = reading.message(event, self._given["open_id"])
        if message is None:
            return Received()
        written_at = min(message.inbound.sent_at or now, now)
        handle = Handle(message.message_id, message.conversation_id, written_at)
        return Received((replace(message.inbound, thread=handle.as_thread()),))

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """The number of the set-up, else an empty 200."""
        return received.handshake or _DONE

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Answer the patron's newest message. Douyin takes no key of ours."""
        if self._is_off:
            raise SendError(CLOSED, failure=SendFailure.PERMANENT, code="off")
        handle = Handle.of_thread(reply.thread, now=now)
        if handle is None:
            message = "No message of the patron can be answered now: Douyin needs one to quote."
            raise SendError(message, failure=SendFailure.WINDOW_CLOSED, code="no_message")
        return send_in_order(_texts(reply), lambda part: self._send(_body(to, part, handle)))

    def parts(self, reply: Reply) -> int:
        """How many messages a reply takes; see bot.channels.base.Counting."""
        return len(_texts(reply))

    def check(self) -> list[str]:
        """Why the channel is off, or whether Douyin gives an access token."""
        if self._is_off:
            return [CLOSED]
        return trouble(self._access.token)

    def _send(self, body: Json) -> str | None:
        """Send with the access token, once more with a fresh one when it is refused."""
        token = self._access.token()
        answer = self._post(token, body)
        if _code(answer) in TOKEN_REFUSED:
            token = self._access.token(stale=token)
            answer = self._post(token, body)
        code = _code(answer)
        if code is None:
            raise unclear("Douyin")
        if code != 0:
            raise _refusal(code, answer, token)
        return words(member(answer, "data"), "msg_id") or None

    def _post(self, token: str, body: Json) -> Json:
        response = call(
            self._http,
            "POST",
            f"{self._base}/im/send/msg/",
            platform="Douyin",
            headers={"access-token": token},
            query={"open_id": self._given["open_id"]},
            body=body,
        )
        if not response.is_success:
            raise status_error(response, "Douyin")
        return answered(response)


def _texts(reply: Reply) -> list[str]:
    return split(said_with_choices(reply), TEXT)


def _body(to: str, text: str, handle: Handle) -> Json:
    return {
        "msg_id": handle.message_id,
        "conversation_id": handle.conversation_id,
        "to_user_id": to,
        "content": {"msg_type": TEXT_TYPE, "text": {"text": text}},
        "scene": "im_reply_msg",
    }


def _code(answer: Json) -> int | None:
    """The error code, which stands in `data` or in `extra`; 0 is success."""
    codes = [member(answer, name).get("error_code") for name in ("data", "extra")]
    numbers = [code for code in codes if isinstance(code, int) and not isinstance(code, bool)]
    return next((code for code in numbers if code != 0), 0) if numbers else None


def _refusal(code: int, answer: Json, token: str) -> SendError:
    told = words(member(answer, "data"), "description") or words(
        member(answer, "extra"), "description"
    )
    busy = code in TOO_MANY or code in TOKEN_REFUSED
    return SendError(
        f"Douyin refused: {shorten(told.replace(token, '…'), 200) or 'no reason given'} ({code}).",
        failure=SendFailure.RETRY if busy else SendFailure.PERMANENT,
        code=str(code),
        retry_after=TOO_MANY.get(code),
    )
