"""Texts as points of a dense space, where what means the same lies close together.

A sentence model gives them their places (`kb/sentences.py`); without one there is no such view.
It stands beside words, characters and concepts in the same ranker.
"""

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

from kb.background import shipped_background
from kb.reading import Glance, essence
from kb.sentences import SentenceModel, model_directory
from kb.vectors import Floats

WEIGHT = 4.0  # against all other views together


class Meaning(Protocol):
    """Gives texts their place in a dense space."""

    @property
    def name(self) -> str:
        """What the learned state depends on: another name, another state."""

    def of(self, texts: Sequence[Glance]) -> Floats:
        """A row for each text, as long as it counts; all zero where it has nothing to say."""


class NoMeaning:
    """Texts are compared by words, characters and concepts alone."""

    name = ""

    def of(self, texts: Sequence[Glance]) -> Floats:
        """A row without columns for each text."""
        return np.zeros((len(texts), 0), np.float32)


class SentenceMeaning:
    """A sentence model's vectors, in the languages that it knows."""

    def __init__(self, model: SentenceModel, languages: Collection[str] = ("en",)) -> None:
        self.model = model
        self.languages = frozenset(languages)
        self.name = f"{model.name}:{','.join(sorted(languages))}"
        self._known: dict[str, Floats] = {}  # of the phrasings of the libraries at hand

    def of(self, texts: Sequence[Glance]) -> Floats:
        """A row for each text."""
        mine = [at for at, text in enumerate(texts) if text.lang in self.languages and text.text]
        found = np.zeros((len(texts), self.model.width), np.float32)
        if mine:
            rows = self.encoded([texts[at].text for at in mine])
            for at, row in zip(mine, rows, strict=True):
                found[at] = WEIGHT**0.5 * _away(row, self._usual)
        return found

    def encoded(self, texts: Sequence[str]) -> Floats:
        """The model's own vectors; those at hand are not computed again."""
        missing = list(dict.fromkeys(text for text in texts if text not in self._known))
        fresh = dict(zip(missing, self.model.encode(missing), strict=True)) if missing else {}
        return np.stack([fresh[text] if text in fresh else self._known[text] for text in texts])

    def know(self, vectors: dict[str, Floats]) -> None:
        """Take vectors that were computed before."""
        self._known.update(vectors)

    def knows(self, text: str) -> bool:
        """Whether the vector of a text is at hand."""
        return text in self._known

    @cached_property
    def _usual(self) -> Floats:
        """The mean of ordinary questions, which tells nothing."""
        asked = [
            essence(question.text)
            for question in shipped_background()
            if question.lang in self.languages
        ]
        rows = self.encoded(asked)
        self.know(dict(zip(asked, rows, strict=True)))  # every library learns from them
        return np.asarray(rows.mean(axis=0), np.float32)


WITHOUT = NoMeaning()


def meaning(model: str | None, languages: Collection[str] = ("en",)) -> Meaning:
    """That of a sentence model, if one is named. Raises NoModel."""
    if model is None:
        return WITHOUT
    return SentenceMeaning(SentenceModel(model_directory(model)), languages)


def _unit(row: Floats) -> Floats:
    length = float(np.sqrt(row @ row))
    return np.asarray(row / np.float32(length)) if length else row


def _away(row: Floats, usual: Floats) -> Floats:
    """The direction in which a text differs from usual ones."""
    return _unit(np.asarray(row - usual))
