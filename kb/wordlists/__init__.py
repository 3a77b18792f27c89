"""Short lists of words, kept as text so that anyone can read and correct them."""

from functools import cache
from pathlib import Path

_DIRECTORY = Path(__file__).parent


@cache
def wordlist(name: str) -> frozenset[str]:
    """The words of one list; lines that start with # are remarks."""
    lines = (_DIRECTORY / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())
