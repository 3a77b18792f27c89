"""Short lists of words, kept as text so that anyone can read and correct them."""

from functools import cache
from pathlib import Path

_DIRECTORY = Path(__file__).parent


@cache
def wordlist(name: str) -> frozenset[str]:
    """The words of one list; lines that start with # are remarks."""
    return frozenset(word for line in lines(name) for word in line.split())


@cache
def phraselist(name: str) -> tuple[str, ...]:
    """The phrases of one list, one a line, longest first."""
    return tuple(sorted(lines(name), key=lambda phrase: (-len(phrase), phrase)))


@cache
def replacements(name: str) -> dict[str, str]:
    """A list of pairs: what is typed, a tab, what it stands for."""
    pairs = (line.split("\t") for line in lines(name))
    return {typed: meant for typed, meant in pairs}  # noqa: C416 (names the two)


def lines(name: str) -> list[str]:
    """The lines of one list that are not remarks."""
    written = (_DIRECTORY / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in written if line.strip() and not line.startswith("#")]
