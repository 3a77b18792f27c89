"""Wording, one file per language: what the bot says and what it listens for."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

LANGUAGES = ("zh-Hans", "zh-Hant", "en", "vi")


class Phrasebook:
    """The wording of one language; a library may replace single texts."""

    def __init__(self, language: str, texts: Mapping[str, Any]) -> None:
        self.language = language
        self._texts = texts

    def say(self, phrase: str, **facts: object) -> str:
        """The text of a phrase with its facts filled in. Raises KeyError for an unknown one."""
        return str(self._texts[phrase]).format(**facts)

    def words(self, phrase: str) -> list[str]:
        """A phrase that is a list, such as the names of the weekdays, Monday first."""
        return list(self._texts[phrase])

    def has(self, phrase: str) -> bool:
        return phrase in self._texts

    def replaced(self, texts: Mapping[str, str]) -> "Phrasebook":
        """The same wording with a library's own texts in place of some."""
        return Phrasebook(self.language, {**self._texts, **texts}) if texts else self


@cache
def phrasebook(language: str) -> Phrasebook:
    """The shipped wording of zh-Hans, zh-Hant, en or vi."""
    return Phrasebook(language, _read(f"{language}.yaml"))


@cache
def listening() -> dict[str, Any]:
    """The phrases that the bot listens for (hear.yaml)."""
    return _read("hear.yaml")


def _read(name: str) -> dict[str, Any]:
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))
