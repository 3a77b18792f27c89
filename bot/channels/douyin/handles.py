"""What a reply must quote: Douyin lets us answer a message, not a person."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Protocol

KEPT = 50_000  # patrons; far more than write to a library within KEPT_FOR
KEPT_FOR = timedelta(hours=24)  # as long as a message may be answered


@dataclass(frozen=True, slots=True)
class Handle:
    """The newest message of a patron, as a reply must name it."""

    message_id: str
    conversation_id: str
    at: datetime


class Handles(Protocol):
    """Where the handles of the patrons' newest messages are kept."""

    def keep(self, patron: str, handle: Handle) -> None:
        """Remember a patron's message unless a newer one is kept; never raises."""
        ...

    def find(self, patron: str, *, now: datetime) -> Handle | None:
        """The patron's newest message that may still be answered."""
        ...


class MemoryHandles:
    """Keeps them in this process: enough where the web process also sends (embedded)."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Handle] = OrderedDict()
        self._lock = Lock()

    def keep(self, patron: str, handle: Handle) -> None:
        with self._lock:
            kept = self._kept.get(patron)
            if kept is not None and kept.at > handle.at:
                return  # an old message came late, or again
            self._kept[patron] = handle
            self._kept.move_to_end(patron)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def find(self, patron: str, *, now: datetime) -> Handle | None:
        with self._lock:
            handle = self._kept.get(patron)
        return handle if handle is not None and now - handle.at < KEPT_FOR else None
