"""Rasa's callback channel: {sender, message} in, every reply POSTed by itself to one address."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import httpx

from bot.channels.base import (
    Declaration,
    QuickReplies,
    Refused,
    SendError,
    SendFailure,
    TextLimit,
    TokenStore,
    Window,
    call,
    read_settings,
    same,
    send_in_order,
    status_error,
)
from bot.channels.rasa.channel import Rasa, bot_messages
from bot.messages import Received, Reply, WebhookRequest, WebhookResponse

SUCCESS = WebhookResponse(b"success")
TOKEN_HEADER = "authorization"  # noqa: S105 - a header's name
KEY_HEADER = "idempotency-key"


class RasaCallback:
    """Somebody's server asks, and takes each reply at its own address, late ones too."""

    kind: ClassVar[str] = "rasa_callback"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="push",
        signature_covers_body=False,
        ack_seconds=30,
        passive_reply=False,
        pushes=True,
        windows=(Window("message", None, None),),
        late_reply=("in_window", "email", "idle_until_contact"),
        text=TextLimit(None),
        quick_replies=QuickReplies(max=10, label_limit=200),
        idempotent_send=False,
        required_settings=("url",),
        secret_settings=("token",),
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        """Raises ValueError with a sentence for every setting that is wrong."""
        url = settings.get("url", "")
        given = read_settings(self.declaration, {**settings, "api_base": url or "missing"})
        self.name = name
        self._url = given["url"]
        self._token = given.get("token")
        self._http = http
        self._reader = Rasa(name, {}, http=http, tokens=tokens)

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """One message, as on the REST channel; with a token set, only for its bearer."""
        if request.method != "POST":
            raise Refused("only POST is answered", status=405)
        given = request.headers.get(TOKEN_HEADER, "")
        if self._token and not same(f"Bearer {self._token}", given):
            raise Refused("the token is missing or wrong", status=401)
        return self._reader.receive(request, now=now)

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        return SUCCESS

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """POST each message of the reply by itself. Rasa would log a refusal and go on."""
        return send_in_order(bot_messages(to, [reply]), lambda message: self._post(message, key))

    def check(self) -> list[str]:
        """Nothing can be asked of the address without a message for somebody."""
        return []

    def _post(self, message: dict[str, Any], key: str) -> str | None:
        headers = {KEY_HEADER: key}
        if self._token:
            headers[TOKEN_HEADER] = f"Bearer {self._token}"
        response = call(
            self._http, "POST", self._url, platform="The callback", headers=headers, body=message
        )
        if not response.is_success:
            raise self._error(response)
        return None

    def _error(self, response: httpx.Response) -> SendError:
        if response.is_redirect:
            message = "The callback answered with a redirect, which is not followed."
            return SendError(message, failure=SendFailure.PERMANENT, code="redirect")
        return status_error(response, "The callback")
