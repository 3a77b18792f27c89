"""Rasa's REST channel (CHANNELS.md section 4): {sender, message} in, a list of messages out."""

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import httpx

from bot.channels.base import (
    Declaration,
    QuickReplies,
    Refused,
    TextLimit,
    TokenStore,
    Window,
    opens_chat,
)
from bot.messages import Inbound, InboundKind, Received, Reply, WebhookRequest, WebhookResponse

MAX_SENDER = 255


class Rasa:
    """Rasa's wire format. Anyone may ask; late answers go only to ids that the server issued."""

    kind: ClassVar[str] = "rasa"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="socket",
        signature_covers_body=False,
        ack_seconds=30,
        passive_reply=True,
        pushes=True,
        windows=(Window("message", None, None),),
        late_reply=("in_window", "email"),
        text=TextLimit(None),
        quick_replies=QuickReplies(max=10, label_limit=200),
        idempotent_send=True,
        required_settings=(),
        secret_settings=(),
        stored=True,
        late_only_to_issued=True,
        always_replies=True,
        built_in=True,
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        self.name = name

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """One message, whatever content type the widget claims (old ones say text/plain).

        `metadata.message_id`, where a client sends one, makes a repetition harmless.
        Raises Refused with status 400 for a body that is not {sender, message}.
        """
        fields = _object(request.body)
        sender, message = _text(fields, "sender"), _text(fields, "message")
        if not 1 <= len(sender) <= MAX_SENDER or "\x00" in sender:
            raise Refused(f"“sender” must be 1–{MAX_SENDER} characters without NUL", status=400)
        metadata = fields.get("metadata")
        given = metadata.get("message_id") if isinstance(metadata, dict) else None
        key = str(given)[:200] if given else secrets.token_hex(16)
        kind = InboundKind.FOLLOW if opens_chat(message) else InboundKind.TEXT
        inbound = Inbound(sender, message, f"{sender}:{key}", kind)
        return Received((inbound,), reply_context={"recipient": sender})

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        messages = bot_messages(received.reply_context["recipient"], replies)
        return WebhookResponse(
            json.dumps(messages, ensure_ascii=False).encode(), "application/json"
        )

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Nothing to do: an open Socket.IO session is fed from our own log."""
        return None

    def check(self) -> list[str]:
        return []


def bot_messages(recipient: str, replies: Sequence[Reply]) -> list[dict[str, Any]]:
    """Replies in Rasa's form: exactly the keys that its widgets know.

    Like Rasa 3.6, text without buttons is split where it has a blank line.
    """
    messages: list[dict[str, Any]] = []
    for reply in replies:
        text = f"「{reply.quote}」\n{reply.text}" if reply.quote else reply.text
        if reply.choices:
            buttons = [{"title": c.label, "payload": c.payload} for c in reply.choices]
            messages.append({"recipient_id": recipient, "text": text, "buttons": buttons})
        else:
            parts = [part for part in text.split("\n\n") if part.strip()]
            messages.extend({"recipient_id": recipient, "text": part} for part in parts)
    return messages


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(
            "the body is not JSON; send {“sender”: …, “message”: …}", status=400
        ) from error
    if not isinstance(fields, dict):
        raise Refused("the body must be a JSON object with sender and message", status=400)
    return fields


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise Refused(f"“{name}” is missing or no text", status=400)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Refused(f"“{name}” is not valid Unicode text", status=400) from error
    return value
