"""Slips of the keyboard: a word one letter away from a known one, a character that sounds alike."""

from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from kb.pinyin import sounds
from kb.telex import typings
from kb.text import fold_marks, has_vietnamese_letter
from kb.words import is_han, stem, tokens

_SHORTEST = 3
# Characters so common that the pair around them proves nothing.
_COMMON = frozenset(
    "的地得了是时在再有又那哪去拿想像只就和还要也一以已不没我你他她它们这个什么怎样吗呢吧啊呀"
    "写看走说给把被让到从对于试放"
)
_SYLLABLE = 4  # letters from which a Vietnamese word is mended: shorter ones are all alike
_LONG = 8  # letters from which two slips are forgiven


@dataclass(frozen=True, slots=True)
class _Shared:
    """What does not depend on one library's own texts."""

    meant: Counter[str]
    vietnamese: Counter[str]
    known: frozenset[str]
    pairs: frozenset[str]  # of Chinese characters that occur together
    terms: dict[str, list[tuple[str, str]]]


class Spelling:
    """Knows the words and pairs of characters that occur; mends those that almost do."""

    def __init__(
        self, texts: Iterable[str], terms: Iterable[str], others: Iterable[str] = ()
    ) -> None:
        """All normalised: `texts` and `terms` are what one may mean, Chinese only the `terms`.

        What occurs in `others` is known too, and left alone.
        """
        shared = _shared(tuple(terms), tuple(others))
        self._terms = shared.terms
        self._usual_pairs = shared.pairs
        self._meant = Counter(shared.meant)
        self._vietnamese = Counter(shared.vietnamese)
        pairs: set[str] = set()
        for text in texts:
            _learn(text, self._meant, pairs)
            self._vietnamese.update(_vietnamese(text))
        self._known = shared.known.union(self._meant)
        self._own_pairs = frozenset(pairs - shared.pairs)
        self._words = sorted(word for word in self._meant if len(word) >= _SHORTEST)
        self._prepare_vietnamese()
        self._forget()

    def _prepare_vietnamese(self) -> None:
        """Derive what depends on the Vietnamese words that are known."""
        # The most frequent first, so that it stays where two words are typed alike.
        marked = [word for word, _ in self._vietnamese.most_common()]
        self._typed: dict[str, str] = {}
        for word in marked:
            for typed in typings(word):
                self._typed.setdefault(typed, word)
        self._marked = sorted(self._vietnamese)
        self._folded = sorted(set(map(_folded, marked)))
        self._folded_known = frozenset(self._folded)

    def _forget(self) -> None:
        """Forget earlier answers."""
        self.latin = lru_cache(maxsize=4_096)(self._latin)
        self.vietnamese = lru_cache(maxsize=4_096)(self._syllable)

    def extended(self, texts: Sequence[str]) -> "Spelling":
        """The same, with the words of more texts that one may mean."""
        other = copy(self)
        pairs: set[str] = set()
        words: Counter[str] = Counter()
        for text in texts:
            _learn(text, words, pairs)
        other._meant = self._meant.copy()
        other._meant.update(words)
        other._known = self._known.union(words)
        other._own_pairs = self._own_pairs | (pairs - self._usual_pairs)
        long = [word for word in words if len(word) >= _SHORTEST and word not in self._meant]
        other._words = sorted([*self._words, *long])
        marked = [word for text in texts for word in _vietnamese(text)]
        if marked:
            other._vietnamese = self._vietnamese.copy()
            other._vietnamese.update(marked)
            other._prepare_vietnamese()
        other._forget()
        return other

    def _latin(self, word: str) -> str:
        """The word, or the known word that was most likely meant."""
        if len(word) < _SHORTEST or not word.isascii() or not word.isalpha():
            return word
        if (
            word in self._known
            or stem(word) in self._known
            or word.removesuffix("s") in self._known
        ):
            return word
        allowed = 2 if len(word) >= _LONG else 1
        near = extract(word, self._words, scorer=OSA.distance, score_cutoff=allowed, limit=8)
        if not near:
            return self._apart(word)
        # The same first letter first: slips seldom fall on it.
        found: list[tuple[float, bool, int, str]] = [
            (distance, str(other)[0] != word[0], -self._meant[str(other)], str(other))
            for other, distance, _ in near
        ]
        best = min(found)
        return best[-1] if len(word) > _SHORTEST or not best[1] else word

    def _is_usual(self, pair: str) -> bool:
        return pair in self._usual_pairs or pair in self._own_pairs

    def _apart(self, word: str) -> str:
        """Two known words that were typed without the space between them, or the word."""
        cuts = ((word[:at], word[at:]) for at in range(_SHORTEST, len(word) - _SHORTEST + 1))
        known = [cut for cut in cuts if cut[0] in self._meant and cut[1] in self._meant]
        if not known:
            return word
        best = max(known, key=lambda cut: min(self._meant[cut[0]], self._meant[cut[1]]))
        return " ".join(best)

    def _syllable(self, word: str, is_marked: bool) -> str:
        """The Vietnamese word that was most likely meant, in a text with marks or without."""
        known = self._vietnamese if is_marked else self._folded_known
        if word in known or not word.isalpha():
            return word
        if word in self._typed:
            meant = self._typed[word]
            return meant if is_marked else fold_marks(meant)
        if word in self._known or word in self._folded_known or len(word) < _SYLLABLE:
            return word
        among = self._marked if is_marked else self._folded
        near = extract(word, among, scorer=OSA.distance, score_cutoff=1, limit=8)
        found: list[tuple[bool, int, str]] = [
            (str(other)[0] != word[0], -self._vietnamese[str(other)], str(other))
            for other, _, _ in near
        ]
        return min(found)[2] if found else word

    def han(self, run: str) -> str:
        """The run, each character that fits neither neighbour replaced by one of the same sound.

        Only where that makes a library word: patrons pick the wrong character of a sound.
        """
        characters = list(run)
        for at, character in enumerate(run):
            if character in _COMMON:
                continue
            before, after = run[at - 1 : at], run[at + 1 : at + 2]
            if self._is_usual(before + character) or self._is_usual(character + after):
                continue
            for sound in sounds(character):
                meant = self._terms.get(f"1{sound}{before}") or self._terms.get(f"0{sound}{after}")
                if meant and len(meant) == 1:
                    characters[at] = meant[0][1]
        return "".join(characters)


def _learn(text: str, words: Counter[str], pairs: set[str]) -> None:
    for token in tokens(text):
        if is_han(token):
            pairs.update(_pairs(token))
        elif token.isascii() and token.isalpha():
            words[token] += 1


@lru_cache(maxsize=16)
def _shared(terms: tuple[str, ...], others: tuple[str, ...]) -> _Shared:
    """What the same terms and other texts teach; most libraries share it."""
    meant: Counter[str] = Counter()
    pairs: set[str] = set()
    for term in terms:
        _learn(term, meant, pairs)
    found: dict[str, list[tuple[str, str]]] = {}
    for pair in sorted(_pairs_of(terms)):
        for at, sound in enumerate(sounds(pair)):
            found.setdefault(f"{at}{sound}{pair[1 - at]}", []).append((pair, pair[at]))
    known = Counter(meant)
    vietnamese: Counter[str] = Counter()
    for text in others:
        _learn(text, known, pairs)
        vietnamese.update(_vietnamese(text))
    return _Shared(meant, vietnamese, frozenset(known), frozenset(pairs), found)


def _vietnamese(text: str) -> list[str]:
    """The words of a text that is written with Vietnamese marks."""
    if not has_vietnamese_letter(text):
        return []
    return [token for token in tokens(text) if token.isalpha() and not is_han(token)]


@lru_cache(maxsize=32_768)
def _folded(word: str) -> str:
    return fold_marks(word)


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)]


def _pairs_of(terms: Iterable[str]) -> set[str]:
    return {
        pair for term in terms for token in tokens(term) if is_han(token) for pair in _pairs(token)
    }
