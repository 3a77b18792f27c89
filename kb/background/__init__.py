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
    for lang in LANGUAGES:
        path = _DIRECTORY / f"{lang}.yaml"
        kinds = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)["kinds"]  # noqa: S506 (safe)
        for kind, texts in kinds.items():
            for text in texts:
                found.setdefault(text, BackgroundQuestion(kind, lang, text))
    return tuple(found.values())
