"""Texts as points of a dense space, where what means the same lies close together.

This view stands beside words, characters and concepts in the same ranker. What comes with the
product are vectors of English words; a sentence model can be set beside them (`kb/sentences.py`).
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from kb.reading import Glance
from kb.vectors import Floats
from kb.wordvectors import english

WEIGHT = 1.0  # of the meaning of the words, against all other views together


class Meaning(Protocol):
    """Gives texts their place in a dense space."""

    @property
    def name(self) -> str:
        """What the learned state depends on: another name, another state."""

    @property
    def width(self) -> int:
        """How many figures a place has."""

    def of(self, texts: Sequence[Glance]) -> Floats:
        """A row for each text, as long as it counts; all zero where it has nothing to say."""


class WordMeaning:
    """The mean of the words' vectors, for texts that are wholly English."""

    name = "words"

    @property
    def width(self) -> int:
        return int(english()[1].shape[1])

    def of(self, texts: Sequence[Glance]) -> Floats:
        """A row for each text."""
        number, rows, usual = english()
        found = np.zeros((len(texts), rows.shape[1]), np.float32)
        for at, text in enumerate(texts):
            known = [number[word] for word in text.english if word in number]
            if known:
                whole = rows[known].sum(axis=0)
                whole = whole / (float(np.sqrt(whole @ whole)) or 1.0) - usual
                found[at] = whole * (WEIGHT**0.5 / (float(np.sqrt(whole @ whole)) or 1.0))
        return found


WORDS = WordMeaning()
