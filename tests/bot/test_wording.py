"""How facts read in the patron's language."""

from datetime import UTC, date, datetime
from string import Formatter
from zoneinfo import ZoneInfo

import pytest

from bot.phrases import LANGUAGES, phrasebook
from bot.wording import bubble, catalogue_link, dated, entry_link, moment, spans_text

SHANGHAI = ZoneInfo("Asia/Shanghai")
MONDAY_NOON = datetime(2026, 11, 23, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "day", "expected"),
    [
        ("zh-Hans", 23, "今天17:30"),
        ("zh-Hans", 24, "明天17:30"),
        ("zh-Hans", 25, "周三17:30"),
        ("zh-Hant", 25, "週三17:30"),
        ("zh-Hans", 30, "11月30日（周一）17:30"),
        ("en", 23, "today 17:30"),
        ("en", 25, "Wednesday 17:30"),
        ("en", 30, "Monday 30 November 17:30"),
        ("vi", 24, "17:30 ngày mai"),
        ("vi", 25, "17:30 thứ Tư"),
    ],
)
def test_a_promise_is_a_time_as_people_say_it(language, day, expected):
    at = datetime(2026, 11, day, 9, 30, tzinfo=UTC)

    assert moment(phrasebook(language), at, now=MONDAY_NOON, zone=SHANGHAI) == expected


def test_a_date_is_written_in_the_language():
    assert dated(phrasebook("vi"), date(2026, 10, 1)) == "1/10"
    assert dated(phrasebook("zh-Hans"), date(2026, 10, 1)) == "10月1日"


def test_spans_are_wall_times_and_midnight_closes_at_24():
    spans = [
        (datetime(2026, 11, 23, 0, 0, tzinfo=UTC), datetime(2026, 11, 23, 4, 0, tzinfo=UTC)),
        (datetime(2026, 11, 23, 6, 0, tzinfo=UTC), datetime(2026, 11, 23, 16, 0, tzinfo=UTC)),
    ]

    assert spans_text(phrasebook("zh-Hans"), spans, SHANGHAI) == "8:00–12:00、14:00–24:00"


def test_a_short_answer_is_left_alone():
    assert bubble("好的。") == ("好的。", False)


def test_a_long_answer_is_cut_where_a_sentence_ends():
    text, was_cut = bubble("一二三四五。" * 60)

    assert was_cut
    assert text.endswith("。")
    assert 200 < len(text) <= 300


def test_a_long_word_is_cut_hard():
    text, was_cut = bubble("x" * 1000)

    assert (len(text), was_cut) == (301, True)


def test_links_are_quoted():
    assert entry_link("http://h/", "demo", "renew") == "http://h/faq/demo#renew"
    assert catalogue_link("https://opac/?q={title}", "三体 & more") == (
        "https://opac/?q=%E4%B8%89%E4%BD%93%20%26%20more"
    )


def test_every_language_has_every_phrase_with_the_same_facts():
    books = {}
    for language in LANGUAGES:
        book = phrasebook(language)
        books[language] = {
            key: _facts(text) for key, text in book._texts.items() if isinstance(text, str)
        }
    ours = books["zh-Hans"]
    date_parts = {"date", "date_weekday", "day_time"}
    for language, phrases in books.items():
        assert phrases.keys() == ours.keys(), language
        assert {k: v for k, v in phrases.items() if k not in date_parts} == {
            k: v for k, v in ours.items() if k not in date_parts
        }


def _facts(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}
