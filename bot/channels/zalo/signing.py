"""Zalo's webhook signature: a plain SHA-256 that ends with the account's secret.

Not HMAC, and not the app's secret, as some public code has it.
"""

import hashlib

HEADER = "x-zevent-signature"
# The recorded header carries it; reports differ, so that a bare digest is accepted, too.
PREFIX = "mac="


def signature(app_id: str, body: bytes, timestamp: str, oa_secret_key: str) -> str:
    """The digest for this body; `timestamp` as the body names it."""
    parts = (app_id.encode(), body, timestamp.encode(), oa_secret_key.encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()
