"""A knowledge base as a Rasa assistant's training data, and an assistant's as a knowledge base.

Written: one retrieval intent `faq/<entry>` with the phrasings of all languages, and one
response `utter_faq/<entry>` with a variation per language. What Rasa has no place for
(category, tags, dates) travels in the intent's metadata, so that nothing is lost on the way
back. The format is that of Rasa Open Source 3 (YAML, version "3.1").

Read: any training files with `nlu` and `responses`, one file or a folder of them. A response
belongs to an intent by Rasa's naming (`faq/x` and `utter_faq/x`, `hours` and `utter_hours`),
or because a rule or story utters it after that intent.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from kb.documents import MAX_KEY, BadDocument, entry_from_document
from kb.entries import LANGUAGES, EntryData, base_language
from kb.errors import BadFile
from kb.text import detect_language

RETRIEVAL = "faq"
SLOT = "language"  # the assistant's slot that chooses a response's language
DEFAULT_CATEGORY = "rasa"
# A conversation's small change, which our bot handles by itself.
SMALL_TALK = frozenset(
    {
        "affirm",
        "bot_challenge",
        "bye",
        "chitchat",
        "deny",
        "goodbye",
        "greet",
        "greeting",
        "hello",
        "mood_great",
        "mood_unhappy",
        "nlu_fallback",
        "no",
        "out_of_scope",
        "stop",
        "thank",
        "thanks",
        "thankyou",
        "yes",
    }
)
OURS = "refdesk_"  # begins the intents of our example assistant that are no questions
_KEPT = ("category", "tags", "url", "valid_from", "valid_until", "review_by", "owner")
_COUNTS = "phrasings"  # in the metadata: how many of the examples are of each language
_ANNOTATION = re.compile(r"\[([^\[\]]*)\](?:\([^()]*\)|\{[^{}]*\})")
_PLACEHOLDER = re.compile(r"\{[a-zA-Z_][\w.-]*\}")
_BULLET = re.compile(r"^\s*-\s*")
_NOT_KEY = re.compile(r"[^a-z0-9]+")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Dumper(yaml.SafeDumper):
    """Writes longer texts as blocks, as people write Rasa's files."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


@dataclass(frozen=True, slots=True)
class Assistant:
    """What an assistant's files hold for us; `left_out` says why an intent gave no entry."""

    entries: tuple[EntryData, ...]
    left_out: tuple[tuple[str, str], ...] = ()


# --- writing -----------------------------------------------------------------------------


def write_rasa(path: Path, entries: Iterable[EntryData]) -> None:
    """Write entries as Rasa training data: intents with examples, and their responses."""
    chosen = list(entries)
    document = {
        "version": "3.1",
        "nlu": [_intent(entry) for entry in chosen],
        "responses": {
            f"utter_{RETRIEVAL}/{entry.id}": _variations(entry) for entry in chosen if entry.answers
        },
    }
    if not document["responses"]:
        del document["responses"]
    text = yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10_000)
    path.write_text(text, encoding="utf-8")


def _intent(entry: EntryData) -> dict[str, Any]:
    kept = {key: value for key, value in entry.as_document().items() if key in _KEPT}
    counts = {lang: len(texts) for lang, texts in entry.questions.items()}
    examples = [_example(text) for texts in entry.questions.values() for text in texts]
    return {
        "intent": f"{RETRIEVAL}/{entry.id}",
        "metadata": {**kept, _COUNTS: counts},
        "examples": "".join(f"- {text}\n" for text in examples),
    }


def _example(text: str) -> str:
    """A phrasing on one line, in which Rasa finds no entity that nobody meant."""
    return re.sub(r"\](?=[({])", "] ", " ".join(text.split()))


def _variations(entry: EntryData) -> list[dict[str, Any]]:
    """One variation per language, and the first of them for whoever has no language yet."""
    chosen = [
        {"condition": [{"type": "slot", "name": SLOT, "value": lang}], "text": text}
        for lang, text in entry.answers.items()
    ]
    return [*chosen, {"text": next(iter(entry.answers.values()))}]


# --- reading -----------------------------------------------------------------------------


def load_rasa(path: Path) -> Assistant:
    """The entries in an assistant's file or folder.

    Raises BadFile for a file that is no YAML, and where no intent at all has an answer.
    """
    documents = [(name, _read(name)) for name in _files(path)]
    intents = _intents(document for _, document in documents)
    answers = _Answers([document for _, document in documents])
    entries: dict[str, EntryData] = {}
    left_out = []
    for name, intent in intents.items():
        try:
            entry = _entry(name, intent, answers.of(name))
        except BadDocument as bad:
            left_out.append((name, "; ".join(bad.reasons)))
            continue
        if entry.id in entries:
            left_out.append((name, f"its name makes the id {entry.id}, which is taken"))
            continue
        entries[entry.id] = entry
    if not entries:
        why = [f"{name}: {reason}" for name, reason in left_out]
        raise BadFile(path, why or ["there is no intent with examples under `nlu`"])
    return Assistant(tuple(entries.values()), tuple(left_out))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.rglob("*.y*ml") if file.suffix in (".yml", ".yaml"))
        if not found:
            raise BadFile(path, ["there is no .yml file in this folder"])
        return found
    return [path]


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506 (safe)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile(path, [f"not readable as YAML: {' '.join(str(error).split())}"]) from error
    return document if isinstance(document, dict) else {}


@dataclass
class _Intent:
    examples: list[str]
    metadata: Mapping[str, Any]


def _intents(documents: Iterable[Mapping[str, Any]]) -> dict[str, _Intent]:
    """Every intent with its examples, however many files they are spread over."""
    found: dict[str, _Intent] = {}
    for document in documents:
        for row in _rows(document.get("nlu")):
            name = row.get("intent")
            if not isinstance(name, str) or not name.strip():
                continue  # synonyms, regular expressions and lookup tables
            intent = found.setdefault(name.strip(), _Intent([], {}))
            intent.examples += _examples(row.get("examples"))
            if isinstance(row.get("metadata"), Mapping):
                intent.metadata = row["metadata"]
    return found


def _rows(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (row for row in value if isinstance(row, Mapping))


def _examples(value: Any) -> list[str]:
    """A block with one example a line, or Rasa's longer form with a `text` each."""
    if isinstance(value, str):
        lines = value.splitlines()
    else:
        lines = [str(row.get("text") or "") for row in _rows(value)]
    plain = (_ANNOTATION.sub(r"\1", _BULLET.sub("", line)).strip() for line in lines)
    return [text for text in plain if text and not text.startswith("/")]


class _Answers:
    """Which response an assistant gives to which intent."""

    def __init__(self, documents: Sequence[Mapping[str, Any]]) -> None:
        self._responses: dict[str, list[Mapping[str, Any]]] = {}
        self._uttered: dict[str, str] = {}
        for document in documents:
            responses = document.get("responses")
            if isinstance(responses, Mapping):
                for name, rows in responses.items():
                    self._responses.setdefault(str(name), []).extend(_rows(rows))
            for told in (*_rows(document.get("rules")), *_rows(document.get("stories"))):
                self._follow(told)

    def _follow(self, told: Mapping[str, Any]) -> None:
        """Remember the first thing that is uttered after each intent."""
        asked: str | None = None
        for step in _rows(told.get("steps")):
            if isinstance(step.get("intent"), str):
                asked = step["intent"]
            action = step.get("action")
            if asked and isinstance(action, str) and action.startswith("utter_"):
                self._uttered.setdefault(asked, action)
                asked = None

    def of(self, intent: str) -> list[Mapping[str, Any]]:
        """The variations of an intent's response; none where the assistant has none."""
        return (
            self._responses.get(f"utter_{intent}")
            or self._responses.get(self._uttered.get(intent, ""))
            or []
        )


def _entry(name: str, intent: _Intent, responses: Sequence[Mapping[str, Any]]) -> EntryData:
    """The entry that an intent and its response make. Raises BadDocument."""
    if name.split("/", 1)[0] in SMALL_TALK:
        raise BadDocument(["small talk, which needs no entry"])
    if name.startswith(OURS):
        raise BadDocument(["a command to refdesk, which needs no entry"])
    answers = _answers(responses)
    if not answers:
        raise BadDocument(["no response with a plain text belongs to it"])
    category = name.split("/", 1)[0] if "/" in name else DEFAULT_CATEGORY
    kept = {key: intent.metadata[key] for key in _KEPT if key in intent.metadata}
    return entry_from_document(
        {
            "category": category,
            **kept,
            "id": _key(name),
            "questions": _counted(intent) or _by_language(intent.examples),
            "answers": answers,
        }
    )


def _counted(intent: _Intent) -> dict[str, list[str]]:
    """The examples by language as we wrote them; none where somebody has edited them since."""
    counts = intent.metadata.get(_COUNTS)
    if not isinstance(counts, Mapping) or not all(
        lang in LANGUAGES and isinstance(count, int) and count >= 0
        for lang, count in counts.items()
    ):
        return {}
    if sum(counts.values()) != len(intent.examples):
        return {}
    left = iter(intent.examples)
    return {lang: list(islice(left, count)) for lang, count in counts.items()}


def _by_language(examples: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in dict.fromkeys(examples):
        found.setdefault(base_language(detect_language(text, fallback="en")), []).append(text)
    return {lang: found[lang] for lang in LANGUAGES if lang in found}


def _answers(responses: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The first text of each language; one that waits for a slot's value cannot be given."""
    found: dict[str, str] = {}
    for row in responses:
        text = row.get("text")
        if not isinstance(text, str) or not text.strip() or _PLACEHOLDER.search(text):
            continue
        lang = _conditional(row)
        if lang is None:
            if text.strip() in found.values():
                continue  # the variation for whoever has no language yet
            lang = base_language(detect_language(text, fallback="en"))
        found.setdefault(lang, text.strip())
    return {lang: found[lang] for lang in LANGUAGES if lang in found}


def _conditional(row: Mapping[str, Any]) -> str | None:
    """The language for which a variation is meant, if it says so."""
    for condition in _rows(row.get("condition")):
        if condition.get("name") == SLOT and condition.get("value") in LANGUAGES:
            return str(condition["value"])
    return None


def _key(name: str) -> str:
    """An entry's id from an intent's name; from its digest where no letter of it can stay."""
    key = _NOT_KEY.sub("-", name.removeprefix(f"{RETRIEVAL}/").lower()).strip("-")[:MAX_KEY]
    if key:
        return key.strip("-")
    return f"intent-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
