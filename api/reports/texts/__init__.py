"""What reports say, one file per language; the metrics' names come from the pages' catalogues."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent


@cache
def _texts(language: str) -> dict[str, str]:
    document = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return dict(_flat(document, ""))


def _flat(branch: dict[Any, Any], prefix: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in branch.items():
        name = f"{prefix}{key}"
        pairs += _flat(value, f"{name}.") if isinstance(value, dict) else [(name, str(value))]
    return pairs


def say(language: str, key: str, **facts: object) -> str:
    """The text of that name in a language. Raises KeyError for an unknown key or fact."""
    found = _texts(language)[key]
    return found.format(**facts) if facts else found


def names(language: str) -> frozenset[str]:
    """All keys of a language's catalogue."""
    return frozenset(_texts(language))
