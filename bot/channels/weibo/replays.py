"""The memory that Weibo's requests need: their signature does not cover their body."""

import hashlib
import hmac
from collections import OrderedDict
from datetime import datetime, timedelta
from threading import Lock

KEPT = 20_000  # requests; far more than a library receives in KEPT_FOR
KEPT_FOR = timedelta(minutes=21)  # longer than a timestamp is believed, both ways


class SeenRequests:
    """Which body came under each signature. One per process: several share nothing.

    Weibo's repetition brings the same body and passes; a captured signature under another
    body does not.
    """

    def __init__(self) -> None:
        self._bodies: OrderedDict[str, tuple[datetime, bytes]] = OrderedDict()
        self._lock = Lock()

    def admits(self, signature: str, body: bytes, *, now: datetime) -> bool:
        """Whether this signature is new, or came with the very same body."""
        digest = hashlib.sha256(body).digest()
        with self._lock:
            self._forget(now)
            _, first = self._bodies.setdefault(signature, (now, digest))
        return hmac.compare_digest(first, digest)

    def _forget(self, now: datetime) -> None:
        while self._bodies:
            signature, (at, _) = next(iter(self._bodies.items()))
            if now - at <= KEPT_FOR and len(self._bodies) < KEPT:
                return
            del self._bodies[signature]
