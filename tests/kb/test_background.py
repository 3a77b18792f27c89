"""The background questions: enough of every kind, each once, none that an entry answers."""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

KB = Path(__file__).parents[2] / "kb"
LANGUAGES = ("zh", "en", "vi")
# Library matters that look like FAQ but that only a person can settle: the hard ones.
HARD = {"account", "holding", "incident", "research", "near"}
EASY = {"general", "chitchat", "gibberish", "abuse", "injection"}


def kinds(language: str) -> dict[str, list[Any]]:
    text = (KB / "background" / f"{language}.yaml").read_text(encoding="utf-8")
    found: dict[str, list[Any]] = yaml.safe_load(text)["kinds"]
    return found


def questions(language: str) -> Iterator[str]:
    for texts in kinds(language).values():
        yield from texts


def bare(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded.strip()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_is_there_and_no_other(language: str) -> None:
    assert set(kinds(language)) == HARD | EASY


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_enough_and_the_hard_kinds_weigh_most(language: str) -> None:
    sizes = {kind: len(texts) for kind, texts in kinds(language).items()}
    assert sum(sizes.values()) >= 590
    assert all(sizes[kind] >= 85 for kind in HARD), sizes
    assert all(sizes[kind] >= 15 for kind in EASY), sizes
    assert sum(sizes[kind] for kind in HARD) >= 2 * sum(sizes[kind] for kind in EASY)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_question_is_a_text_on_one_line(language: str) -> None:
    for text in questions(language):
        assert isinstance(text, str)
        assert text == text.strip() != ""
        assert "\n" not in text


def test_no_question_is_there_twice_in_any_language() -> None:
    counts = Counter(bare(text) for language in LANGUAGES for text in questions(language))
    assert [text for text, count in counts.items() if count > 1] == []


def test_no_question_is_a_phrasing_of_the_starter_knowledge_base() -> None:
    starter = yaml.safe_load((KB / "starter" / "kb.yaml").read_text(encoding="utf-8"))
    answered = {
        bare(text)
        for entry in starter["entries"]
        for texts in entry["questions"].values()
        for text in texts
    }
    found = {text for language in LANGUAGES for text in questions(language)}
    assert {text for text in found if bare(text) in answered} == set()


def test_patrons_write_traditional_characters_and_pinyin_too() -> None:
    texts = list(questions("zh"))
    assert sum(any(c in text for c in "幫請圖書館嗎麼號") for text in texts) >= 15
    assert sum(text.isascii() and " " in text for text in texts) >= 5


def test_some_vietnamese_is_typed_without_marks() -> None:
    texts = [text for kind in HARD for text in kinds("vi")[kind]]
    assert sum(text.isascii() for text in texts) >= 12


def test_account_questions_name_a_person_a_number_or_a_day() -> None:
    telling = sum(any(c.isdigit() for c in text) for text in kinds("en")["account"])
    assert telling >= 25
