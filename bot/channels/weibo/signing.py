"""Weibo's signature, as its message service describes it.

It covers the time and a nonce, not the message: SHA-1 is the platform's choice, and so is
that gap. See replays.py for what we do about it.
"""

import hashlib


def signature(app_secret: str, timestamp: str, nonce: str) -> str:
    """The hexadecimal signature of the three parts, sorted."""
    parts = (part.encode("utf-8", "surrogatepass") for part in (app_secret, timestamp, nonce))
    # The flag says only that FIPS builds may compute it; the platform knows no other digest.
    return hashlib.sha1(b"".join(sorted(parts)), usedforsecurity=False).hexdigest()
