"""Opening hours in an answer come from the calendars."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from bot.hours import asked_days, hours_answer
from bot.phrases import phrasebook
from tracker.clock import Calendar

SHANGHAI = ZoneInfo("Asia/Shanghai")
SUNDAY = date(2026, 11, 22)
SUNDAY_NOON = datetime(2026, 11, 22, 4, tzinfo=UTC)
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def calendar(spans, *, closed=(), exceptions=None):
    weekly = {day: ([] if day in closed else spans) for day in WEEK}
    return Calendar.from_document(
        {
            "tz": "Asia/Shanghai",
            "versions": [{"valid_from": "2020-01-01", "weekly": weekly}],
            "exceptions": exceptions or {},
        }
    )


CALENDARS = {
    "building": calendar([["07:30", "22:30"]], exceptions={"2026-11-24": []}),
    "desk": calendar([["08:00", "12:00"], ["14:00", "17:30"]], closed=("sat", "sun")),
}


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("周日开门吗", [22]),
        ("星期一几点关门", [23]),
        ("下周一呢", [30]),
        ("明天呢", [23]),
        ("今晚几点关", [22]),
        ("后天开吗", [24]),
        ("周末开放吗", [22, 28]),
        ("週六開嗎", [28]),
        ("11月30号开吗", [30]),
        ("are you open on Sunday?", [22]),
        ("when do you close tomorrow", [23]),
        ("open Mondays?", [23]),
        ("November 30 hours", [30]),
        ("chủ nhật có mở không", [22]),
        ("thu 7 mo cua khong", [28]),
        ("thứ hai mấy giờ mở", [23]),
        ("ngày mai mở không", [23]),
        ("ngày 30/11 có mở không", [30]),
        ("opening hours", []),
        ("几点开门", []),
    ],
)
def test_the_day_that_a_question_names_is_found(text, days):
    assert asked_days(text, today=SUNDAY) == [date(2026, 11, day) for day in days]


def test_a_past_date_means_next_year():
    assert asked_days("10月1日开吗", today=SUNDAY) == [date(2027, 10, 1)]


def test_a_date_that_does_not_exist_names_no_day():
    assert asked_days("2月30日开吗", today=SUNDAY) == []


def answer(question, language="zh-Hans"):
    return hours_answer(phrasebook(language), CALENDARS, question, now=SUNDAY_NOON, zone=SHANGHAI)


def test_an_open_day_is_quoted_with_the_desk():
    assert answer("周日开门吗") == "今天：主馆7:30–22:30开放。\n服务台当天无人值守。"


def test_a_closed_day_says_when_it_opens_next():
    assert answer("周二开门吗").splitlines() == [
        "周二：主馆不开放。",
        "下次开放：周三07:30。",
        "服务台有人值守：8:00–12:00、14:00–17:30。",
    ]


def test_without_a_day_today_and_the_week_are_told():
    lines = answer("opening hours", "en").splitlines()

    assert lines[0] == "Today: the Main Library is open 7:30–22:30."
    assert lines[-1] == (
        "Opening hours of the Main Library: Monday 7:30–22:30; Tuesday –; "
        "Wednesday–Sunday 7:30–22:30"
    )


def test_without_a_calendar_nothing_is_invented():
    text = hours_answer(phrasebook("vi"), {}, "mấy giờ mở", now=SUNDAY_NOON, zone=SHANGHAI)

    assert text == phrasebook("vi").say("no_calendar")
