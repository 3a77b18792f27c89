"""Finding the thesaurus's concepts in a text, in whichever language they are said."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from kb.entries import Concept
from kb.pinyin import sounds
from kb.text import fold_marks, has_han, normalise
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

    def __init__(self, concepts: Iterable[Concept]) -> None:
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
            self._han[wording.replace(" ", "")].add(concept)
            spoken = tuple(sounds(wording))
            if len(spoken) > 1 and len(spoken) == len(wording):
                self._sounds[spoken].add(concept)
            return
        words = tokens(wording)
        if lang == "vi":
            self._marked[tuple(words)].add(concept)
            self._unmarked[tuple(fold_marks(word) for word in words)].add(concept)
        else:
            self._stems[_stems(fold_marks(word) for word in words)].add(concept)

    def find(self, latin: Sequence[str], folded: Sequence[str], han: Sequence[str]) -> list[str]:
        """The concepts that a text's words and runs of Chinese characters say."""
        found: set[str] = set()
        if latin:
            _find_runs(self._stems, _stems(folded), found)
            if list(latin) == list(folded):
                _find_runs(self._unmarked, folded, found)
            else:
                _find_runs(self._marked, latin, found)
        for run in han:
            self._find_han(run, found)
            bare = run.translate(_HAN_FILLERS)
            if bare != run:
                self._find_han(bare, found)
        return sorted(found)

    def find_by_sound(self, spelt: Sequence[str]) -> list[str]:
        """The concepts that a text spelt in pinyin says."""
        found: set[str] = set()
        for size in self._sound_sizes:
            for start in range(len(spelt) - size + 1):
                found |= self._sounds.get(tuple(spelt[start : start + size]), set())
        return sorted(found)

    def _find_han(self, run: str, found: set[str]) -> None:
        table = self._han
        for start in range(len(run)):
            for end in range(start + 1, min(start + _LONGEST_HAN, len(run)) + 1):
                hit = table.get(run[start:end])
                if hit:
                    found |= hit


def _find_runs(
    table: dict[tuple[str, ...], set[str]], words: Sequence[str], found: set[str]
) -> None:
    words = tuple(words)
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST_WORDS, len(words)) + 1):
            hit = table.get(words[start:end])
            if hit:
                found |= hit


def _stems(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(stem(word) for word in words if word not in _FILLERS)
