"""One pass over a text: its words, characters, concepts and sounds, as countable features."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from kb.concepts import ConceptIndex
from kb.pinyin import sounds, syllables
from kb.text import fold_marks, is_pinyin, normalise
from kb.words import is_han, pieces, stem, tokens

# The kinds of feature. Each is counted apart, because each is weighed apart.
WORD = "w"  # stems of Latin words without marks, alone and in pairs
PIECE = "p"  # 2 to 5 letters within such a word
MARKED_WORD = "W"  # Vietnamese words with their marks
MARKED_PIECE = "P"
HAN = "h"  # one or two Chinese characters
SOUND = "s"  # two syllables
CONCEPT = "c"  # a concept of the thesaurus


@dataclass(slots=True)
class Reading:
    """What one text holds. `counts` maps each kind to its features and how often each occurs."""

    text: str  # normalised
    latin: list[str] = field(default_factory=list)  # words as written
    folded: list[str] = field(default_factory=list)  # the same words without marks
    han: list[str] = field(default_factory=list)  # runs of Chinese characters
    is_pinyin: bool = False
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def has_marks(self) -> bool:
        return MARKED_WORD in self.counts

    @property
    def concepts(self) -> tuple[str, ...]:
        return tuple(self.counts.get(CONCEPT, ()))


def read(
    text: str, concepts: ConceptIndex, *, corrections: Mapping[str, str] | None = None
) -> Reading:
    """Everything countable in a text, the words replaced that `corrections` names."""
    reading = Reading(normalise(text))
    for token in tokens(reading.text):
        if is_han(token):
            reading.han.append(token)
        else:
            word = corrections.get(token, token) if corrections else token
            reading.latin.append(word)
            reading.folded.append(fold_marks(word))
    _count_latin(reading)
    _count_han(reading)
    runs = [*reading.han, "".join(tokens(reading.text))] if reading.latin else reading.han
    _put(
        reading, CONCEPT, concepts.find(reading.latin, reading.folded, runs if reading.han else ())
    )
    if reading.is_pinyin:
        spelt = [syllable for word in reading.folded for syllable in syllables(word) or (word,)]
        _put(reading, CONCEPT, concepts.find_by_sound(spelt))
    return reading


def _count_latin(reading: Reading) -> None:
    if not reading.latin:
        return
    stems = [stem(word) for word in reading.folded]
    _put(reading, WORD, stems)
    _put(reading, WORD, (f"{a} {b}" for a, b in pairwise(stems)))
    for word in reading.folded:
        _put(reading, PIECE, pieces(word))
    if reading.latin != reading.folded:
        _put(reading, MARKED_WORD, reading.latin)
        pairs = pairwise(reading.latin)
        _put(reading, MARKED_WORD, (f"{a} {b}" for a, b in pairs))
        for word in reading.latin:
            _put(reading, MARKED_PIECE, pieces(word))
    elif not reading.han and is_pinyin(reading.folded):
        reading.is_pinyin = True
        spelt = [syllable for word in reading.folded for syllable in syllables(word)]
        _put(reading, SOUND, (f"{a} {b}" for a, b in pairwise(spelt)))


def _count_han(reading: Reading) -> None:
    for run in reading.han:
        _put(reading, HAN, run)
        _put(reading, HAN, (run[at : at + 2] for at in range(len(run) - 1)))
        spoken = sounds(run)
        _put(reading, SOUND, (f"{a} {b}" for a, b in pairwise(spoken)))


def _put(reading: Reading, kind: str, features: Iterable[str]) -> None:
    counts = reading.counts.get(kind)
    for feature in features:
        if counts is None:
            counts = reading.counts[kind] = {}
        counts[feature] = counts.get(feature, 0) + 1
