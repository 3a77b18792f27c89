"""Rasa's callback channel: {sender, message} in, every reply POSTed by itself to one address."""

import secrets
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
    call,
    identifier,
    json_object,
    member,
    opens_chat,
    read_settings,
    said,
    same,
    send_in_order,
    status_error,
    words,
)
from bot.messages import Inbound, InboundKind, Received, Reply, WebhookRequest, WebhookResponse

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
        address = settings.get("url", "").strip() or "missing"
        try:
            given = read_settings(self.declaration, {**settings, "api_base": address})
        except ValueError as error:
            raise ValueError(str(error).replace("api_base", "url")) from None
        self.name = name
        self._url = given["url"]
        self._token = given.get("token")
        self._http = http

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """One message; with a token set, only from its bearer.

        `metadata.message_id`, where a client sends one, makes a repetition harmless.
        """
        if request.method != "POST":
            raise Refused("only POST is answered", status=405)
        given = request.headers.get(TOKEN_HEADER, "")
        if self._token and not same(f"Bearer {self._token}", given):
            raise Refused("the token is missing or wrong", status=401)
        fields = json_object(request.body)
        sender = identifier(fields, "sender")
        if not isinstance(fields.get("message"), str):
            raise Refused("“message” is missing or no text", status=400)
        key = words(member(fields, "metadata"), "message_id")[:200] or secrets.token_hex(16)
        text = words(fields, "message")
        kind = InboundKind.FOLLOW if opens_chat(text) else InboundKind.TEXT
        return Received((Inbound(sender, text, f"{sender}:{key}", kind),))

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        return SUCCESS

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """POST each message of the reply by itself. Rasa would log a refusal and go on."""
        return send_in_order(_messages(to, reply), lambda message: self._post(message, key))

    def check(self) -> list[str]:
        """Nothing can be asked of the address without a message for somebody."""
        return []

    def _post(self, message: Json, key: str) -> str | None:
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


def _messages(to: str, reply: Reply) -> list[Json]:
    """Rasa's form, with exactly its keys; like Rasa, text without buttons splits at blank lines."""
    if reply.choices:
        buttons = [{"title": c.label, "payload": c.payload} for c in reply.choices]
        return [{"recipient_id": to, "text": said(reply), "buttons": buttons}]
    parts = [part for part in said(reply).split("\n\n") if part.strip()]
    return [{"recipient_id": to, "text": part} for part in parts]
