"""Cutting normalised text into tokens, and words into stems and pieces."""

import re
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
def families() -> dict[str, tuple[str, ...]]:
    """For the stem of an everyday English word, the families of words that it belongs to."""
    found: dict[str, set[str]] = {}
    for line in lines("families_en"):
        members = line.split()
        for member in members:
            found.setdefault(stem(member), set()).add(f"~{members[0]}")
    return {word: tuple(sorted(names)) for word, names in found.items()}


@lru_cache(maxsize=32_768)
def pieces(word: str) -> tuple[str, ...]:
    """The runs of 3 and 4 letters of a word, with its edges marked by spaces."""
    padded = f" {word[:_MAX_WORD]} "
    sizes = range(3, min(4, len(padded)) + 1)
    return tuple(
        padded[start : start + size] for size in sizes for start in range(len(padded) - size + 1)
    )
