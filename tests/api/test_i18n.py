"""Four languages with the same texts, and dates and numbers as their readers write them."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from api.i18n import LANGUAGES, Reader, catalogue, known, negotiate

TEMPLATES = Path(__file__).parents[2] / "api" / "templates"
SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 11, 23, 4, 5, tzinfo=UTC)  # 12:05 in Shanghai


def reader(language: str) -> Reader:
    return Reader(language, SHANGHAI)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_texts_and_names(language: str) -> None:
    def names(text: str) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", text))

    english, other = catalogue("en"), catalogue(language)

    assert set(other) == set(english)
    assert {key: names(text) for key, text in other.items()} == {
        key: names(text) for key, text in english.items()
    }


def test_every_text_that_a_template_names_exists() -> None:
    named = {
        (path.name, key)
        for path in TEMPLATES.rglob("*.html")
        for key in re.findall(r"\bt\('([\w.-]+)'(?! ~)", path.read_text(encoding="utf-8"))
    }

    assert {(name, key) for name, key in named if key not in catalogue("en")} == set()


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("zh-CN", "zh-Hans"),
        ("zh", "zh-Hans"),
        ("zh-TW", "zh-Hant"),
        ("zh-Hant-HK", "zh-Hant"),
        ("en-GB", "en"),
        ("vi-VN", "vi"),
        ("fr", None),
    ],
)
def test_a_tag_is_one_of_our_languages_or_none(tag: str, language: str | None) -> None:
    assert known(tag) == language


def test_what_was_chosen_comes_before_what_the_browser_prefers() -> None:
    assert negotiate("vi", None, "en-GB,en;q=0.9") == "vi"
    assert negotiate(None, None, "fr;q=0.9, en;q=0.8, zh-TW;q=0.85") == "zh-Hant"
    assert negotiate(None, "fr", "xx;q=oops") == "zh-Hans"


@pytest.mark.parametrize(
    ("within", "matured", "shown"),
    [(1, 16, "6.3%"), (6, 35, "17.1%"), (1, 1, "100.0%"), (0, 5, "0.0%"), (0, 0, "–")],
)
def test_a_share_is_rounded_half_up_and_nothing_is_a_dash(
    within: int, matured: int, shown: str
) -> None:
    assert reader("en").percent(within, matured) == shown


def test_vietnamese_readers_see_a_decimal_comma() -> None:
    assert reader("vi").percent(1, 16) == "6,3\N{NO-BREAK SPACE}%"
    assert reader("vi").number(Decimal("1234.5"), 1) == "1.234,5"


@pytest.mark.parametrize(
    ("language", "shown"),
    [("zh-Hans", "11月23日 12:05"), ("en", "23 Nov 12:05"), ("vi", "23/11 12:05")],
)
def test_a_moment_is_on_the_librarys_clock(language: str, shown: str) -> None:
    assert reader(language).moment(NOON) == shown


def test_only_as_much_of_a_date_as_is_needed() -> None:
    later = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    next_year = datetime(2027, 1, 2, 0, 0, tzinfo=UTC)

    assert reader("en").when(NOON, later) == "12:05"
    assert reader("en").when(NOON, next_year) == "23 Nov 2026 12:05"
    assert reader("en").day(date(2026, 11, 3), year=True) == "3 Nov 2026"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (45, "45 s"),
        (60, "1 min"),
        (3_600 * 3 + 60 * 20, "3 h 20 min"),
        (86_400 * 2 + 3_600 * 4 + 59, "2 d 4 h"),
        (86_400, "1 d"),
        (-90, "1 min"),
    ],
)
def test_a_length_of_time_has_its_two_largest_units(seconds: int, shown: str) -> None:
    assert reader("en").span(seconds) == shown


def test_an_unknown_text_is_an_error_not_an_empty_place() -> None:
    with pytest.raises(KeyError):
        reader("en").text("desk.nothing_of_that_name")
