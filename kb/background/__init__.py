"""Questions that no library entry answers: what the matcher must learn to hand to a person."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kb.entries import LANGUAGES

_DIRECTORY = Path(__file__).parent
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class BackgroundQuestion:
    """A question outside every knowledge base, and the kind of thing that it is."""

    kind: str
    lang: str
    text: str


@cache
def shipped_background() -> tuple[BackgroundQuestion, ...]:
    """The questions that come with the product, each once."""
    found: dict[str, BackgroundQuestion] = {}
    for path in sorted(_DIRECTORY.glob("*.yaml")):
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (safe)
        for question in _questions(document, path.stem):
            found.setdefault(question.text, question)
    return tuple(found.values())


def _questions(document: Any, kind: str) -> list[BackgroundQuestion]:
    """The questions of a document: languages and kinds nested in either order, or rows."""
    if isinstance(document, list):
        return [question for row in document for question in _questions(row, kind)]
    if "text" in document:
        return [BackgroundQuestion(document.get("kind", kind), document["lang"], document["text"])]
    kind = document.get("kind", kind)
    found = []
    for name, value in document.items():
        if name in LANGUAGES and isinstance(value, list):
            found += [BackgroundQuestion(kind, name, text) for text in value]
        elif isinstance(value, dict | list) and not _is_texts(value):
            found += _questions(value, name if name != "questions" else kind)
    return found


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
