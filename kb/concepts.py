"""Finding the thesaurus's concepts in a text, in whichever language they are said."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

from kb.entries import Concept
from kb.pinyin import sounds
from kb.text import fold_marks, has_han, normalise
from kb.thesaurus import shipped_concepts
from kb.words import stem, tokens

_LONGEST_WORDS = 6
_LONGEST_HAN = 10
# Small words that change nothing: "keep the book longer" is "keep my book a bit longer".
_FILLERS = frozenset(
    {"a", "an", "the", "my", "your", "our", "his", "her", "their", "this", "that", "these", "those"}
    | {"some", "any", "bit"}
)
_HAN_FILLERS = str.maketrans("", "", "了的我您你们啊呢吗吧呀哦一下个本这那")


class ConceptIndex:
    """Every wording of every concept, by its words, its characters and its sounds."""

    def __init__(self, concepts: Iterable[Concept], base: "ConceptIndex | None" = None) -> None:
        """`base` is an index that is searched too; it is shared, never changed."""
        self.base = base
        self.concepts = {concept.id: concept for concept in concepts}
        self._stems: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._marked: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._unmarked: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._han: dict[str, set[str]] = defaultdict(set)
        self._sounds: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for concept in self.concepts.values():
            for lang, wordings in concept.says.items():
                for wording in wordings:
                    self._add(concept.id, lang, normalise(wording))
        self._sound_sizes = sorted({len(key) for key in self._sounds})

    def _add(self, concept: str, lang: str, wording: str) -> None:
        if has_han(wording):
            compact = "".join(tokens(wording))
            self._han[compact].add(concept)
            spoken = tuple(sounds(compact))
            if len(spoken) > 1 and len(spoken) == len(compact):
                self._sounds[spoken].add(concept)
            return
        words = tokens(wording)
        if lang != "vi":
            self._stems[_stems(words)].add(concept)
            return
        self._marked[tuple(words)].add(concept)
        folded = tuple(fold_marks(word) for word in words)
        # Without marks a single syllable means five things: "tra" is to return, to look up, tea.
        if len(words) > 1 or folded == tuple(words):
            self._unmarked[folded].add(concept)

    def in_words(self, words: Sequence[str]) -> set[str]:
        """The concepts that English words, or names written in Latin letters, say."""
        own = _in_runs(self._stems, _stems(words))
        return own | self.base.in_words(words) if self.base else own

    def in_vietnamese(self, words: Sequence[str], folded: Sequence[str]) -> set[str]:
        """The concepts that Vietnamese words say, with their marks or wholly without."""
        if list(words) == list(folded):
            own = _in_runs(self._unmarked, tuple(folded))
        else:
            own = _in_runs(self._marked, tuple(words))
        return own | self.base.in_vietnamese(words, folded) if self.base else own

    def in_sounds(self, spelt: Sequence[str]) -> set[str]:
        """The concepts that a text spelt in pinyin says."""
        found: set[str] = set()
        for size in self._sound_sizes:
            for start in range(len(spelt) - size + 1):
                found |= self._sounds.get(tuple(spelt[start : start + size]), set())
        return found | self.base.in_sounds(spelt) if self.base else found

    def in_han(self, run: str) -> set[str]:
        """The concepts that a run of Chinese characters says, small words in between or not."""
        found = self._exactly(run)
        bare = run.translate(_HAN_FILLERS)
        if bare != run:
            found |= self._exactly(bare)
        return found | self.base.in_han(run) if self.base else found

    def terms(self) -> list[str]:
        """Every Chinese and English wording, normalised: what a patron may have meant to type."""
        return [
            normalise(wording)
            for concept in self.concepts.values()
            for lang in ("zh", "en")
            for wording in concept.says.get(lang, ())
        ]

    def _exactly(self, run: str) -> set[str]:
        found: set[str] = set()
        table = self._han
        if not table:
            return found
        for start in range(len(run)):
            for end in range(start + 1, min(start + _LONGEST_HAN, len(run)) + 1):
                hit = table.get(run[start:end])
                if hit:
                    found |= hit
        return found


def _in_runs(table: dict[tuple[str, ...], set[str]], words: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST_WORDS, len(words)) + 1):
            hit = table.get(words[start:end])
            if hit:
                found |= hit
    return found


def _stems(words: Sequence[str]) -> tuple[str, ...]:
    """Stems without the small words, unless almost nothing would be left."""
    bare = [word for word in words if word not in _FILLERS]
    return tuple(stem(word) for word in (bare if len(bare) > 1 else words))


@cache
def shipped_index() -> ConceptIndex:
    """The index of the concepts that come with the product; every library shares it."""
    return ConceptIndex(shipped_concepts())


@cache
def shipped_terms() -> tuple[str, ...]:
    """The shipped concepts' wordings, normalised."""
    return tuple(shipped_index().terms())
