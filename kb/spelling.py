"""Slips of the keyboard: a word one letter away from a known one, a character that sounds alike."""

from collections import Counter
from collections.abc import Iterable
from copy import copy
from functools import lru_cache

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from kb.pinyin import sounds
from kb.words import is_han, stem, tokens

_SHORTEST = 3
# Characters so common that the pair around them proves nothing.
_COMMON = frozenset(
    "的地得了是时在再有又那哪去拿想像只就和还要也一以已不没我你他她它们这个什么怎样吗呢吧啊呀"
    "写看走说给把被让到从对于试放"
)
_LONG = 8  # letters from which two slips are forgiven


class Spelling:
    """Knows the words and pairs of characters that occur; mends those that almost do."""

    def __init__(
        self, texts: Iterable[str], terms: Iterable[str], others: Iterable[str] = ()
    ) -> None:
        """All normalised: `texts` and `terms` are what one may mean, Chinese only the `terms`.

        What occurs in `others` is known too, and left alone.
        """
        self._meant: Counter[str] = Counter()
        known_pairs: set[str] = set()
        self._terms: dict[str, list[tuple[str, str]]] = {}
        for text in texts:
            self._learn(text, self._meant, known_pairs)
        for term in terms:
            self._learn(term, self._meant, known_pairs)
        for pair in sorted(known_pairs.intersection(_pairs_of(terms))):
            for at, sound in enumerate(sounds(pair)):
                self._terms.setdefault(f"{at}{sound}{pair[1 - at]}", []).append((pair, pair[at]))
        known = Counter(self._meant)
        for text in others:
            self._learn(text, known, known_pairs)
        self._known, self._known_pairs = frozenset(known), frozenset(known_pairs)
        self._words = sorted(word for word in self._meant if len(word) >= _SHORTEST)
        self.latin = lru_cache(maxsize=4_096)(self._latin)

    def extended(self, texts: Iterable[str]) -> "Spelling":
        """The same, with the words of more texts that one may mean."""
        other = copy(self)
        pairs: set[str] = set()
        words: Counter[str] = Counter()
        for text in texts:
            self._learn(text, words, pairs)
        other._meant = self._meant + words
        other._known = self._known | set(words)
        other._known_pairs = self._known_pairs | pairs
        long = {word for word in words if len(word) >= _SHORTEST}
        other._words = sorted({*self._words, *long})
        other.latin = lru_cache(maxsize=4_096)(other._latin)
        return other

    @staticmethod
    def _learn(text: str, words: Counter[str], pairs: set[str]) -> None:
        for token in tokens(text):
            if is_han(token):
                pairs.update(_pairs(token))
            elif token.isascii() and token.isalpha():
                words[token] += 1

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
            return word
        # The same first letter first: slips seldom fall on it.
        found: list[tuple[float, bool, int, str]] = [
            (distance, str(other)[0] != word[0], -self._meant[str(other)], str(other))
            for other, distance, _ in near
        ]
        best = min(found)
        return best[-1] if len(word) > _SHORTEST or not best[1] else word

    def han(self, run: str) -> str:
        """The run, each character that fits neither neighbour replaced by one of the same sound.

        Only where that makes a library word: patrons pick the wrong character of a sound.
        """
        characters = list(run)
        for at, character in enumerate(run):
            if character in _COMMON:
                continue
            before, after = run[at - 1 : at], run[at + 1 : at + 2]
            if before + character in self._known_pairs or character + after in self._known_pairs:
                continue
            for sound in sounds(character):
                meant = self._terms.get(f"1{sound}{before}") or self._terms.get(f"0{sound}{after}")
                if meant and len(meant) == 1:
                    characters[at] = meant[0][1]
        return "".join(characters)


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)]


def _pairs_of(terms: Iterable[str]) -> set[str]:
    return {
        pair for term in terms for token in tokens(term) if is_han(token) for pair in _pairs(token)
    }
