"""The desk that the actions speak to: each call is one transaction, made by whoever has them."""

from collections.abc import Sequence
from typing import Protocol

from bot.assistants import Answer, Line
from bot.messages import Inbound


class ReferenceDesk(Protocol):
    """One library's desk behind one assistant. Every method may be called from any thread."""

    def take(self, inbound: Inbound, language: str | None) -> Answer:
        """Take one turn with the patron's message."""
        ...

    def hand_over(self, inbound: Inbound, before: Sequence[Line], language: str | None) -> Answer:
        """Give the conversation to the librarians, with what was said before."""
        ...

    def opening_hours(self, inbound: Inbound, language: str | None) -> Answer:
        """The hours from the calendars."""
        ...

    def waiting_replies(self, inbound: Inbound, language: str | None) -> Answer:
        """What librarians have written, or by when they will."""
        ...

    def keep_email(self, patron: str, address: str) -> None:
        """Keep the address to which a late answer goes as well."""
        ...
