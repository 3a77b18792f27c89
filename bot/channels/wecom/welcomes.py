"""The rights to greet that patrons brought: one each, for seconds, in this process's memory.

Kept nowhere else, because the worker that fetched a patron's coming also greets them; after
a restart the right has long ended.
"""

from datetime import datetime, timedelta
from threading import Lock

# Reported by an SDK's copy of the documents; not tried on a live account.
WELCOME_SECONDS = 20


class Welcomes:
    """Which patrons may be greeted now, with the code that WeCom wants for it."""

    def __init__(self) -> None:
        self._codes: dict[str, tuple[datetime, str]] = {}
        self._lock = Lock()

    def keep(self, patron: str, code: str, *, came_at: datetime) -> None:
        """Remember the right of a patron who came then."""
        with self._lock:
            self._codes[patron] = (came_at + timedelta(seconds=WELCOME_SECONDS), code)

    def take(self, patron: str, *, now: datetime) -> str | None:
        """The code, once, while it is good."""
        with self._lock:
            self._codes = {p: kept for p, kept in self._codes.items() if kept[0] > now}
            _, code = self._codes.pop(patron, (now, None))
            return code
