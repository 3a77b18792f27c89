"""What a reply must quote: Douyin lets us answer a message, not a person.

It travels with the conversation (Inbound.thread), so that any process may answer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

KEPT_FOR = timedelta(hours=24)  # as long as a message may be answered


@dataclass(frozen=True, slots=True)
class Handle:
    """The newest message of a patron, as a reply must name it."""

    message_id: str
    conversation_id: str
    at: datetime

    def as_thread(self) -> dict[str, str]:
        """In the form that the core keeps with the conversation."""
        return {
            "message_id": self.message_id,
            "conversation_id": self.conversation_id,
            "at": self.at.isoformat(),
        }

    @classmethod
    def of_thread(cls, thread: dict[str, str] | None, *, now: datetime) -> Self | None:
        """The message behind a thread, while it may still be answered."""
        if not thread:
            return None
        handle = cls(
            thread["message_id"], thread["conversation_id"], datetime.fromisoformat(thread["at"])
        )
        return handle if now - handle.at < KEPT_FOR else None
