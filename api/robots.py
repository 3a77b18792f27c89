"""What each kind of alert destination wants to be sent, and what it answers.

Group robots of WeCom, DingTalk and Feishu take a text at an address of their own; DingTalk
and Feishu can ask for a signature. "webhook" is any program that follows Standard Webhooks
(standardwebhooks.com). Pure: nothing here calls anybody.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from api.egress import Answer
from api.errors import BadRequest
from bot.channels.base import SendError, SendFailure

WECOM, DINGTALK, FEISHU, WEBHOOK = "wecom", "dingtalk", "feishu", "webhook"
KINDS = (WECOM, DINGTALK, FEISHU, WEBHOOK)
# A repetition carries the same id, by which the receiver knows it.
REPEATABLE = frozenset({WEBHOOK})
LONGEST_TEXT = {WECOM: 2_048, DINGTALK: 15_000, FEISHU: 15_000}  # bytes of UTF-8
SECRET_MARK = "whsec_"  # noqa: S105 - the standard's prefix, no secret
KEY_BYTES = range(24, 65)  # what the standard allows
TOO_OFTEN = frozenset({45009, 45033, 130101, 410100, 9499, 11232, 11233})
BUSY = frozenset({-1})


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell: a text for people, and data for programs."""

    key: str  # the same on every attempt
    kind: str  # such as consultations.waiting
    text: str
    data: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP POST."""

    url: str
    body: bytes
    headers: Mapping[str, str]


def checked_secret(kind: str, secret: str | None) -> str | None:
    """The secret of a new destination, made where it is ours to make. Raises BadRequest."""
    if kind not in KINDS:
        raise BadRequest(f'There is no destination "{kind}": choose {", ".join(KINDS)}.')
    if kind == WEBHOOK:
        made = secret or SECRET_MARK + base64.b64encode(secrets.token_bytes(32)).decode()
        _key(made)
        return made
    if kind == WECOM and secret:
        raise BadRequest("A WeCom robot has no secret: its address is one.")
    if secret is not None and not (secret.isascii() and secret.isprintable()):
        raise BadRequest("The secret holds letters and digits only.")
    return secret


def call(kind: str, url: str, secret: str | None, message: Message, *, now: datetime) -> Call:
    """The request that tells a destination, signed as it asks."""
    if kind == WEBHOOK:
        return _webhook(url, secret or "", message, now)
    text = _cut(message.text, LONGEST_TEXT[kind])
    if kind == WECOM:
        return _json(url, {"msgtype": "text", "text": {"content": text}})
    if kind == DINGTALK:
        signed = f"{url}&{_dingtalk_signature(secret, now)}" if secret else url
        return _json(signed, {"msgtype": "text", "text": {"content": text}})
    content: dict[str, Any] = {"msg_type": "text", "content": {"text": text}}
    if secret:
        stamp = str(int(now.timestamp()))
        content |= {"timestamp": stamp, "sign": feishu_signature(secret, stamp)}
    return _json(url, content)


def read(kind: str, answer: Answer) -> None:
    """Understand what a destination answered. Raises SendError unless it took the message."""
    if not 200 <= answer.status < 300:
        raise _refused(answer)
    if kind == WEBHOOK:
        return
    try:
        document = json.loads(answer.body)
        code = int(document.get("errcode", document.get("code", document.get("StatusCode"))))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = "the robot's answer cannot be read"
        raise SendError(reason, failure=SendFailure.UNCERTAIN) from error
    if code == 0:
        return
    again = code in TOO_OFTEN or code in BUSY
    failure = SendFailure.RETRY if again else SendFailure.PERMANENT
    raise SendError(f"the robot refused: {code}", failure=failure, code=str(code))


def _refused(answer: Answer) -> SendError:
    """What an HTTP status means for another attempt; a redirect is not followed."""
    again = answer.status in {408, 425, 429} or answer.status >= 500
    after = answer.headers.get("retry-after", "")
    return SendError(
        f"HTTP {answer.status}",
        failure=SendFailure.RETRY if again else SendFailure.PERMANENT,
        code=str(answer.status),
        retry_after=float(after) if after.isascii() and after.isdigit() else None,
    )


def _dingtalk_signature(secret: str, now: datetime) -> str:
    """https://open.dingtalk.com/document/robots/customize-robot-security-settings."""
    stamp = str(int(now.timestamp() * 1000))
    made = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()
    return f"timestamp={stamp}&sign={quote(base64.b64encode(made), safe='')}"


def feishu_signature(secret: str, stamp: str) -> str:
    """https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot: the text is the key."""
    made = hmac.new(f"{stamp}\n{secret}".encode(), b"", hashlib.sha256).digest()
    return base64.b64encode(made).decode()


def webhook_signature(secret: str, key: str, stamp: str, body: bytes) -> str:
    """The signature of Standard Webhooks, version 1, over id, time and body."""
    signed = f"{key}.{stamp}.".encode() + body
    made = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(made).decode()


def _webhook(url: str, secret: str, message: Message, now: datetime) -> Call:
    content = {
        "type": message.kind,
        "timestamp": message.created_at.isoformat(),
        "data": message.data,
    }
    made = _json(url, content)
    stamp = str(int(now.timestamp()))
    headers = {
        **made.headers,
        "webhook-id": message.key,
        "webhook-timestamp": stamp,
        "webhook-signature": webhook_signature(secret, message.key, stamp, made.body),
    }
    return Call(url, made.body, headers)


def _key(secret: str) -> bytes:
    """The bytes that a secret stands for. Raises BadRequest."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_MARK), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in KEY_BYTES:
        raise BadRequest("A webhook's secret is whsec_ and 24 to 64 bytes in Base64.")
    return key


def _json(url: str, content: Mapping[str, Any]) -> Call:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {"content-type": "application/json; charset=utf-8", "user-agent": "refdesk"}
    return Call(url, body, headers)


def _cut(text: str, limit: int) -> str:
    """The text in at most so many bytes, no letter cut in half."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    return raw[: limit - 3].decode(errors="ignore") + "…"
