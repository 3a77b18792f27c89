"""What one turn of a conversation must know of the library that it happens in."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

from bot.phrases import Phrasebook, phrasebook
from kb.knowledge import KnowledgeBase
from tracker.clock import Calendar
from tracker.models import Library


@dataclass(frozen=True)
class Desk:
    """A library's knowledge, calendars and settings, as they are now."""

    library: Library
    knowledge: KnowledgeBase
    calendars: Mapping[str, Calendar]  # "desk": staffed hours; "building" and branches: opening
    base_url: str

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.library.timezone)

    @property
    def staffed(self) -> Calendar | None:
        """The hours in which librarians answer; promises come from these."""
        return self.calendars.get("desk")

    @property
    def catalogue_url(self) -> str | None:
        """The catalogue's search address with `{title}` in it, from the library's settings."""
        return self.library.settings.get("catalogue_url")

    def phrases(self, language: str) -> Phrasebook:
        """The wording in a language, with the library's own texts (its crisis line, say)."""
        own = self.library.settings.get("phrases", {}).get(language, {})
        return phrasebook(language).replaced(own)
