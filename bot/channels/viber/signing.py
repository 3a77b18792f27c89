"""Viber's webhook signature: HMAC-SHA256 with the bot's token over the raw body."""

import hashlib
import hmac

HEADER = "x-viber-content-signature"


def signature(auth_token: str, body: bytes) -> str:
    """The header's value for this body."""
    return hmac.new(auth_token.encode(), body, hashlib.sha256).hexdigest()
