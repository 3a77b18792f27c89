"""The widget: messages come up as JSON, replies go down from our own log (CHANNELS.md 3)."""

import hashlib
import json
import re
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
)
from bot.messages import Inbound, InboundKind, Received, Reply, WebhookRequest, WebhookResponse

MAX_ID = 64  # characters of a client-made message id
MAX_SESSION = 128
_UNSTORABLE = re.compile("[\x00-\x1f\ud800-\udfff]")


def session_patron(session: str) -> str:
    """The patron id that a session stands for; the session itself is kept nowhere.

    Only its name counts: what follows, until when it is valid and in which language, may change.
    """
    name = session.partition(".")[0].partition("-")[0]
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _kept_id(known: str) -> str:
    """A session is kept nowhere: its conversation is known by a hash of it."""
    return session_patron(known) if "." in known else known


class Web:
    """The library's own widget. A session's id is a secret that the server issued."""

    kind: ClassVar[str] = "web"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="socket",
        signature_covers_body=False,
        ack_seconds=30,
        passive_reply=True,
        pushes=True,
        windows=(Window("message", None, None), Window("choice", None, None)),
        late_reply=("in_window", "email"),
        text=TextLimit(None),
        quick_replies=QuickReplies(max=10, label_limit=200),
        idempotent_send=True,
        required_settings=(),
        secret_settings=(),
        stored=True,
        late_only_to_issued=True,
        built_in=True,
        kept_id=_kept_id,
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        self.name = name

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """One message: {session, id, text} or {session, id, payload}.

        Raises Refused with status 400 for anything else.
        """
        fields = _object(request.body)
        patron = session_patron(_text(fields, "session", MAX_SESSION))
        key = f"{patron}:{_text(fields, 'id', MAX_ID)}"  # two widgets may count alike
        payload = fields.get("payload")
        if payload is not None:
            message = Inbound(
                patron,
                str(fields.get("text") or ""),
                key,
                InboundKind.CHOICE,
                payload=_text(fields, "payload", 300),
            )
        else:
            text = _text(fields, "text", None)
            message = Inbound(patron, text, key)
        return Received((message,))

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        body = json.dumps({"messages": [reply.as_dict() for reply in replies]}, ensure_ascii=False)
        return WebhookResponse(body.encode(), "application/json")

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Nothing to do: what is in our log is what the widget shows."""
        return None

    def check(self) -> list[str]:
        return []


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused("the body is not JSON", status=400) from error
    if not isinstance(fields, dict):
        raise Refused("the body must be a JSON object", status=400)
    return fields


def _text(fields: dict[str, Any], name: str, limit: int | None) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Refused(f"“{name}” is missing or empty", status=400)
    if limit is not None and len(value) > limit:
        raise Refused(f"“{name}” is longer than {limit} characters", status=400)
    if limit is not None and _UNSTORABLE.search(value):
        raise Refused(f"“{name}” holds what cannot be stored", status=400)
    return value
