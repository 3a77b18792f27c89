"""One pass over a text: its words, characters, concepts and sounds, as countable features."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from kb.asking import without_padding
from kb.concepts import ConceptIndex
from kb.cues import cues
from kb.pinyin import sounds, syllables
from kb.spelling import Spelling
from kb.text import fold_marks, has_vietnamese_letter, is_pinyin, known_words, normalise
from kb.wordlists import replacements
from kb.words import families, is_han, pieces, stem, tokens

# The kinds of feature. Each is counted apart, because each is weighed apart.
WORD = "w"  # stems of Latin words without marks, alone and in pairs, near each other
FAMILY = "f"  # families of everyday English words that stand for each other
PIECE = "p"  # 3 or 4 letters within such a word
MARKED_WORD = "W"  # Vietnamese words with their marks
MARKED_PIECE = "P"
HAN = "h"  # one or two Chinese characters
SOUND = "s"  # two syllables
CONCEPT = "c"  # a concept of the thesaurus, alone and in pairs
CUE = "q"  # a sign that only a person can help
MEANING = "meaning"  # how near the whole text lies, in a space where all words have a place

APART = "_"  # between the words of a pair that has others between
_PAIRED = 10  # concepts of one text of which pairs are made


@dataclass(frozen=True, slots=True)
class Glance:
    """The little of a reading that is worth keeping once it was counted."""

    text: str
    concepts: tuple[str, ...]
    cues: int
    lang: str = "en"  # zh, en or vi: whose words they are


@dataclass(slots=True)
class Reading:
    """What one text holds. `counts` maps each kind to its features and how often each occurs."""

    text: str  # normalised
    latin: list[str] = field(default_factory=list)  # words as written
    folded: list[str] = field(default_factory=list)  # the same words without marks
    han: list[str] = field(default_factory=list)  # runs of Chinese characters
    latin_language: str = "en"  # "vi" where the Latin words are Vietnamese
    is_pinyin: bool = False
    concepts: tuple[str, ...] = ()
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def glance(self) -> Glance:
        """The little of it that is worth keeping."""
        lang = self.lang
        return Glance(self.text, self.concepts, len(self.counts.get(CUE, ())), lang)

    @property
    def lang(self) -> str:
        """The language of the text, Chinese where any of it is."""
        return "zh" if self.han or self.is_pinyin else self.latin_language

    @property
    def spelt(self) -> list[str]:
        """The syllables of a text in pinyin."""
        return [part for word in self.folded for part in syllables(word) or (word,)]


def read(text: str, concepts: ConceptIndex, spelling: Spelling | None = None) -> Reading:
    """Everything countable in a text. With `spelling`, slips of the keyboard are set right."""
    return read_normalised(essence(text), concepts, spelling)


def essence(text: str) -> str:
    """A text as it is read: normalised, without greeting and thanks."""
    return without_padding(normalise(text))


def read_normalised(text: str, concepts: ConceptIndex, spelling: Spelling | None = None) -> Reading:
    """The reading of a text, or of a part of one, that was normalised before."""
    reading = Reading(text)
    latin: list[str] = []
    for token in tokens(text):
        if is_han(token):
            reading.han.append(spelling.han(token) if spelling else token)
        else:
            latin.append(token)
    _recognise(reading, latin, has_vietnamese_letter(text), spelling)
    _count_latin(reading)
    _count_han(reading)
    _count_concepts(reading, concepts)
    _put(reading, CUE, cues(text))
    return reading


def _recognise(
    reading: Reading, latin: list[str], is_marked: bool, spelling: Spelling | None
) -> None:
    """Tell the language of the Latin words; write out what chats shorten."""
    folded = [fold_marks(word) for word in latin]
    if not is_marked and not reading.han and is_pinyin(folded):
        reading.latin, reading.folded, reading.is_pinyin = latin, folded, True
        return
    vietnamese, english = known_words(folded)
    if is_marked or vietnamese > english:
        reading.latin_language = "vi"
        short = replacements("chat_vi")
        latin = [part for word in latin for part in short.get(word, word).split()]
        if spelling:
            latin = [spelling.vietnamese(word, is_marked) for word in latin]
        if not is_marked:
            latin = [fold_marks(word) for word in latin]
    else:
        short = replacements("chat_en")
        latin = [part for word in latin for part in short.get(word, word).split()]
        if spelling:
            latin = [part for word in latin for part in spelling.latin(word).split()]
    reading.latin = latin
    reading.folded = [fold_marks(word) for word in latin]


def _count_latin(reading: Reading) -> None:
    if not reading.latin:
        return
    stems = [stem(word) for word in reading.folded]
    _put(reading, WORD, stems)
    _put(reading, WORD, _pairs(stems))
    if reading.latin_language == "en" and not reading.is_pinyin:
        _put(reading, FAMILY, families(stems))
    for word in reading.folded:
        _put(reading, PIECE, pieces(word))
    if reading.latin != reading.folded:
        _put(reading, MARKED_WORD, reading.latin)
        _put(reading, MARKED_WORD, _pairs(reading.latin))
        for word in reading.latin:
            _put(reading, MARKED_PIECE, pieces(word))
    elif reading.is_pinyin:
        spelt = reading.spelt
        _put(reading, SOUND, (f"{a} {b}" for a, b in pairwise(spelt)))


def _pairs(words: list[str]) -> Iterator[str]:
    """Neighbours, the text's edges among them; and words with one or two others between."""
    for a, b in pairwise(("", *words, "")):
        yield f"{a} {b}"
    for gap in (2, 3):
        for a, b in zip(words, words[gap:], strict=False):
            yield f"{a}{APART}{b}"


def _count_han(reading: Reading) -> None:
    for run in reading.han:
        _put(reading, HAN, run)
        _put(reading, HAN, (run[at : at + 2] for at in range(len(run) - 1)))
        spoken = sounds(run)
        _put(reading, SOUND, (f"{a} {b}" for a, b in pairwise(spoken)))


def _count_concepts(reading: Reading, concepts: ConceptIndex) -> None:
    found: set[str] = set()
    if reading.latin:
        found |= concepts.in_words(reading.latin)
        if reading.latin_language == "vi":
            found |= concepts.in_vietnamese(reading.latin, reading.folded)
    if reading.han:
        runs = reading.han if not reading.latin else [*reading.han, "".join(tokens(reading.text))]
        for run in runs:
            found |= concepts.in_han(run)
    if reading.is_pinyin:
        found |= concepts.in_sounds(reading.spelt)
    reading.concepts = tuple(sorted(found))
    _put(reading, CONCEPT, reading.concepts)
    pairs = combinations(reading.concepts[:_PAIRED], 2)
    _put(reading, CONCEPT, (f"{a}&{b}" for a, b in pairs))


def _put(reading: Reading, kind: str, features: Iterable[str]) -> None:
    counts = reading.counts.get(kind)
    for feature in features:
        if counts is None:
            counts = reading.counts[kind] = {}
        counts[feature] = counts.get(feature, 0) + 1
