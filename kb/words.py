"""Cutting normalised text into tokens, and words into stems and pieces."""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import snowballstemmer

from kb.wordlists import lines

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_TOKEN = re.compile(rf"[{_HAN}]+|[^\W\d_{_HAN}]+(?:'[^\W\d_{_HAN}]+)*|\d+")
_HAN_START = re.compile(f"[{_HAN}]")
_MAX_WORD = 40
_stemmer: Any = snowballstemmer.stemmer("english")


def tokens(text: str) -> list[str]:
    """The words, numbers and runs of Chinese characters of a normalised text, in order."""
    return _TOKEN.findall(text)


def is_han(token: str) -> bool:
    """Whether a token is a run of Chinese characters."""
    return _HAN_START.match(token) is not None


@lru_cache(maxsize=32_768)
def stem(word: str) -> str:
    """The stem of a word without marks: "renewing" and "renewed" as "renew"."""
    stemmed: str = _stemmer.stemWord(word.removesuffix("'s"))
    return stemmed


@cache
def _families() -> dict[str, tuple[tuple[tuple[str, ...], str], ...]]:
    """By the stem that it begins with: every member of a family, in stems, and the family."""
    found: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for line in lines("families_en"):
        members = line.split()
        for member in members:
            stems = tuple(stem(word) for word in member.split("_"))
            found.setdefault(stems[0], []).append((stems, members[0]))
    return {first: tuple(dict.fromkeys(members)) for first, members in found.items()}


def families(stems: Sequence[str]) -> list[str]:
    """The families of everyday English words that a text names, given its words' stems."""
    known = _families()
    found: dict[str, None] = {}
    for at, first in enumerate(stems):
        for member, family in known.get(first, ()):
            if len(member) == 1 or tuple(stems[at : at + len(member)]) == member:
                found[family] = None
    return list(found)


@lru_cache(maxsize=32_768)
def pieces(word: str) -> tuple[str, ...]:
    """The runs of 3 and 4 letters of a word, with its edges marked by spaces."""
    padded = f" {word[:_MAX_WORD]} "
    sizes = range(3, min(4, len(padded)) + 1)
    return tuple(
        padded[start : start + size] for size in sizes for start in range(len(padded) - size + 1)
    )
