"""From a document that somebody wrote to an entry, with every mistake named."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from kb.entries import LANGUAGES, Concept, EntryData

_KEY = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MAX_KEY = 100
MAX_QUESTION = 500
MAX_ANSWER = 20_000


class BadDocument(ValueError):
    """A document is no entry; `reasons` says why, one sentence each."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons))


def entry_from_document(document: Any) -> EntryData:
    """The entry that a document describes. Raises BadDocument."""
    if isinstance(document, ValueError):
        raise BadDocument([f"not readable: {document}"])
    if not isinstance(document, Mapping):
        raise BadDocument(["an entry is a set of named fields"])
    wrong: list[str] = []
    entry = EntryData(
        id=_key(document.get("id"), wrong),
        category=_category(document.get("category"), wrong),
        questions=_questions(document.get("questions"), wrong),
        answers=_answers(document.get("answers"), wrong),
        tags=tuple(_texts(document.get("tags"), "tags", wrong)),
        url=_url(document.get("url"), wrong),
        valid_from=_date(document.get("valid_from"), "valid_from", wrong),
        valid_until=_date(document.get("valid_until"), "valid_until", wrong),
        review_by=_date(document.get("review_by"), "review_by", wrong),
        owner=_optional(document.get("owner"), "owner", wrong),
    )
    if entry.valid_from and entry.valid_until and entry.valid_until < entry.valid_from:
        wrong.append("valid_until lies before valid_from")
    if not all(map(_is_storable, _strings(entry.as_document()))):
        wrong.append("a text holds NUL or half of a character, which no database keeps")
    if wrong:
        raise BadDocument(wrong)
    return entry


def _strings(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, Mapping):
        for value in document.values():
            yield from _strings(value)
    elif isinstance(document, Sequence):
        for value in document:
            yield from _strings(value)


def _is_storable(text: str) -> bool:
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text)


def concept_from_document(document: Any) -> Concept:
    """The concept that a document describes. Raises BadDocument."""
    if not isinstance(document, Mapping):
        raise BadDocument(["a concept is a set of named fields"])
    wrong: list[str] = []
    key = _key(document.get("id"), wrong)
    says = {lang: tuple(_texts(document.get(lang), lang, wrong)) for lang in LANGUAGES}
    if not any(says.values()):
        wrong.append("no language says anything for it")
    if wrong:
        raise BadDocument(wrong)
    return Concept(key, says, str(document.get("gloss") or ""))


def _key(value: Any, wrong: list[str]) -> str:
    if isinstance(value, str) and len(value) <= MAX_KEY and _KEY.fullmatch(value):
        return value
    if value in (None, ""):
        wrong.append("id is missing")
    else:
        wrong.append(f"id {str(value)[:40]!r} is not kebab-case (like renew-book)")
    return ""


def _category(value: Any, wrong: list[str]) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    wrong.append("category is missing")
    return ""


def _languages(value: Any, name: str, wrong: list[str]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        wrong.append(f"{name} must name its languages ({', '.join(LANGUAGES)})")
        return {}
    wrong += [
        f"{name}: {lang!r} is not one of {', '.join(LANGUAGES)}"
        for lang in value
        if lang not in LANGUAGES
    ]
    return {lang: value[lang] for lang in LANGUAGES if value.get(lang)}


def _questions(value: Any, wrong: list[str]) -> dict[str, tuple[str, ...]]:
    before = len(wrong)
    questions = {
        lang: tuple(_texts(texts, f"questions.{lang}", wrong))
        for lang, texts in _languages(value, "questions", wrong).items()
    }
    if len(wrong) == before and not any(questions.values()):
        wrong.append("there is no question in any language")
    wrong += [
        f"questions.{lang}: longer than {MAX_QUESTION} characters: {text[:40]}…"
        for lang, texts in questions.items()
        for text in texts
        if len(text) > MAX_QUESTION
    ]
    return {lang: texts for lang, texts in questions.items() if texts}


def _answers(value: Any, wrong: list[str]) -> dict[str, str]:
    answers = {}
    for lang, text in _languages(value, "answers", wrong).items():
        if not isinstance(text, str):
            wrong.append(f"answers.{lang} is not a text")
        elif len(text) > MAX_ANSWER:
            wrong.append(f"answers.{lang} is longer than {MAX_ANSWER} characters")
        elif text.strip():
            answers[lang] = text.strip()
    return answers


def _texts(value: Any, name: str, wrong: list[str]) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list | tuple) or not all(_is_text(text) for text in value):
        wrong.append(f"{name} must be a list of texts")
        return []
    texts = (str(text).strip() for text in value)
    return list(dict.fromkeys(text for text in texts if text))


def _is_text(value: Any) -> bool:
    """YAML reads an unquoted 24 as a number; its writer meant a text. A "no" is not so clear."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _optional(value: Any, name: str, wrong: list[str]) -> str | None:
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    wrong.append(f"{name} is not a text")
    return None


def _url(value: Any, wrong: list[str]) -> str | None:
    url = _optional(value, "url", wrong)
    if url and not url.startswith(("https://", "http://", "/")):
        wrong.append("url must start with https://, http:// or /")
    return url


def _date(value: Any, name: str, wrong: list[str]) -> date | None:
    if value in (None, ""):
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        wrong.append(f"{name} {str(value)[:20]!r} is not a date (like 2026-09-01)")
        return None
