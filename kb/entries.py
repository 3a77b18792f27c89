"""Entries, phrasings and concepts as plain data, apart from any database."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from kb.text import to_traditional

_KEY_WORD = re.compile(r"[^\W\d_]{2,}")  # "faq-12" is a number, not a hint
LANGUAGES = ("zh", "en", "vi")


def base_language(lang: str | None) -> str:
    """The knowledge base's name of a conversation's language: "zh-Hant" is kept as "zh"."""
    code = (lang or "zh").split("-")[0].lower()
    return code if code in LANGUAGES else "zh"


@dataclass(frozen=True, slots=True)
class EntryData:
    """One question that the library answers: its wordings and its answer, per language."""

    id: str
    category: str
    questions: Mapping[str, tuple[str, ...]]  # at least one; the first is the title
    answers: Mapping[str, str]
    tags: tuple[str, ...] = ()
    url: str | None = None
    valid_from: date | None = None
    valid_until: date | None = None  # the last day on which it holds
    review_by: date | None = None
    owner: str | None = None

    def title(self, lang: str | None = None) -> str:
        """The entry's question in that language, or in the nearest language it has."""
        titles = {code: questions[0] for code, questions in self.questions.items() if questions}
        return _in_language(titles, lang) or self.id

    def answer(self, lang: str | None = None) -> str:
        """The entry's answer in that language, or in the nearest language it has."""
        return _in_language(self.answers, lang)

    @property
    def key_words(self) -> str:
        """The words that an entry's key is made of: "renew books" of "renew-books-2"."""
        return " ".join(_KEY_WORD.findall(self.id))

    def is_valid(self, today: date) -> bool:
        """Whether the entry may be used on that day."""
        begun = self.valid_from is None or self.valid_from <= today
        return begun and (self.valid_until is None or today <= self.valid_until)

    def as_document(self) -> dict[str, Any]:
        """The entry in the form of a knowledge-base file, without its empty fields."""
        document: dict[str, Any] = {
            "id": self.id,
            "category": self.category,
            "questions": {lang: list(texts) for lang, texts in self.questions.items()},
            "answers": dict(self.answers),
            "tags": list(self.tags),
            "url": self.url,
            "valid_from": self.valid_from.isoformat() if self.valid_from else None,
            "valid_until": self.valid_until.isoformat() if self.valid_until else None,
            "review_by": self.review_by.isoformat() if self.review_by else None,
            "owner": self.owner,
        }
        optional = ("tags", "url", "valid_from", "valid_until", "review_by", "owner")
        return {key: value for key, value in document.items() if value or key not in optional}


def _in_language(texts: Mapping[str, str], lang: str | None) -> str:
    wanted = base_language(lang)
    # A Vietnamese reader is better served by English than by Chinese; others likewise.
    for code in (wanted, "en", "zh", "vi"):
        if texts.get(code):
            found = texts[code]
            return to_traditional(found) if code == "zh" and lang == "zh-Hant" else found
    return ""


@dataclass(frozen=True, slots=True)
class Phrasing:
    """One way of asking for an entry."""

    entry: str
    lang: str
    text: str


@dataclass(frozen=True, slots=True)
class Concept:
    """One idea of library service, with the ways in which patrons of each language say it."""

    id: str
    says: Mapping[str, tuple[str, ...]]
    gloss: str = ""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Concept":
        says = {lang: tuple(document.get(lang) or ()) for lang in LANGUAGES}
        return cls(document["id"], says, document.get("gloss", ""))

    def as_document(self) -> dict[str, Any]:
        """The concept in the form of a thesaurus file."""
        says = {lang: list(texts) for lang, texts in self.says.items() if texts}
        return {"id": self.id, "gloss": self.gloss, **says}


def hints(entries: Iterable[EntryData]) -> Iterator[Phrasing]:
    """What tells of each entry beside its phrasings: its answers, and the words of its key."""
    known = tuple(entries)
    named = Counter(entry.key_words for entry in known)
    for entry in known:
        for lang, text in entry.answers.items():
            yield Phrasing(entry.id, lang, text)
        if entry.key_words and named[entry.key_words] == 1:
            yield Phrasing(entry.id, "en", entry.key_words)


def phrasings(entries: Iterable[EntryData]) -> Iterator[Phrasing]:
    """Every phrasing of every entry, in the entries' order."""
    for entry in entries:
        for lang, texts in entry.questions.items():
            for text in texts:
                yield Phrasing(entry.id, lang, text)
