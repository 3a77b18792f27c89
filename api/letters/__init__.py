"""What e-mails say, one file per language."""

from functools import cache
from pathlib import Path
from typing import cast

import yaml

DEFAULT = "zh-Hans"


@cache
def _texts(language: str) -> dict[str, str]:
    path = Path(__file__).parent / f"{language}.yaml"
    if not path.is_file():
        return _texts(DEFAULT)
    return cast("dict[str, str]", yaml.safe_load(path.read_text(encoding="utf-8")))


def letter(language: str | None, name: str, **facts: object) -> str:
    """The text of that name in a language, with its facts filled in."""
    return _texts(language or DEFAULT)[name].format(**facts)
