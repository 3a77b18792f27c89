"""Meta's webhook signature: HMAC-SHA256 with the app's secret over the raw body."""

import hashlib
import hmac

HEADER = "x-hub-signature-256"


def signature(app_secret: str, body: bytes) -> str:
    """The header's value for this body."""
    return "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()
