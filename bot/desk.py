"""What one turn of a conversation must know of the library that it happens in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from zoneinfo import ZoneInfo

from bot.hours import HOURS_TAG, hours_answer
from bot.phrases import LANGUAGES, Phrasebook, phrasebook
from kb.entries import EntryData
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

    def is_live(self, entry: EntryData) -> bool:
        """Whether the entry's answer is worked out from the calendars."""
        return HOURS_TAG in entry.tags and bool(self.calendars)

    def answer(self, entry: EntryData, asked: str, *, language: str | None, now: datetime) -> str:
        """What the library answers with this entry now: live facts, else the text as typed."""
        if not self.is_live(entry):
            return entry.answer(language)
        say = self.phrases(language if language in LANGUAGES else LANGUAGES[0])
        return hours_answer(say, self.calendars, asked, now=now, zone=self.zone)
