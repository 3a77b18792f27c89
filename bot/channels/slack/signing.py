"""Slack's request signature: HMAC-SHA256 over version, timestamp and raw body."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime

from bot.channels.base import Refused, same

SIGNATURE_HEADER = "x-slack-signature"
TIMESTAMP_HEADER = "x-slack-request-timestamp"
TOLERANCE_SECONDS = 300  # documented
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}")


def signature(signing_secret: str, timestamp: str, body: bytes) -> str:
    """The signature header's value for this body at this time."""
    signed = f"v0:{timestamp}:".encode() + body
    return "v0=" + hmac.new(signing_secret.encode(), signed, hashlib.sha256).hexdigest()


def verify(signing_secret: str, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
    """Raises Refused: 400 for headers that are none of Slack's, 403 for a wrong signature."""
    timestamp, given = headers.get(TIMESTAMP_HEADER, ""), headers.get(SIGNATURE_HEADER, "")
    if not _TIMESTAMP.fullmatch(timestamp) or not _SIGNATURE.fullmatch(given):
        raise Refused("the signature headers are missing or malformed", status=400)
    if abs(int(timestamp) - now.timestamp()) > TOLERANCE_SECONDS:
        raise Refused("the timestamp is more than five minutes off")
    if not same(signature(signing_secret, timestamp, body), given):
        raise Refused("the signature does not match")
