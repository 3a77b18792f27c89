"""Douyin's webhook signature: a plain SHA-1 that starts with the app's secret.

Not HMAC, as several public projects have it. A digest that starts with its secret could be
lengthened by a stranger; the platform knows no other, and what is lengthened so is no JSON.
"""

import hashlib

HEADER = "x-douyin-signature"


def signature(client_secret: str, body: bytes) -> str:
    """The header's value for this body."""
    # The flag says only that FIPS builds may compute it.
    return hashlib.sha1(client_secret.encode() + body, usedforsecurity=False).hexdigest()
