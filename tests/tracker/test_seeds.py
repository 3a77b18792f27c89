"""Calendars from public holidays: equal to the worked calendars, and to an independent list."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import chinese_calendar
import pytest

from tests.tracker.samples import desk_document, week
from tracker.clock import Calendar
from tracker.errors import BadCalendar
from tracker.seeds import (
    confirmed,
    countries,
    holiday_names,
    seed,
    unconfirmed,
    with_exception,
    with_holidays,
    with_timetable,
)

CALENDARS = json.loads((Path(__file__).parent / "cases" / "business_time_cases.json").read_text())[
    "calendars"
]
TODAY = date(2026, 11, 22)
SHANGHAI: dict[str, Any] = {"tz": "Asia/Shanghai", "weekly": week(), "today": TODAY}


@pytest.mark.parametrize(
    ("name", "country", "tz"),
    [
        ("CN_WORKDAY", "CN", "Asia/Shanghai"),
        ("CN_LUNCH", "CN", "Asia/Shanghai"),
        ("VN_WORKDAY", "VN", "Asia/Ho_Chi_Minh"),
    ],
)
def test_a_seed_equals_the_worked_calendar(name: str, country: str, tz: str) -> None:
    worked = CALENDARS[name]

    document = seed(
        country,
        tz=tz,
        weekly=worked["versions"][0]["weekly"],
        years=[2025, 2026],
        today=TODAY,
    )

    assert document["exceptions"] == dict(sorted(worked["exceptions"].items()))


def test_hong_kong_keeps_the_general_holidays() -> None:
    document = seed(
        "HK", tz="Asia/Hong_Kong", weekly=week("09:00", "17:00"), years=[2026], today=TODAY
    )

    weekdays = {
        day
        for day in CALENDARS["HK_GENERAL"]["exceptions"]
        if date.fromisoformat(day).weekday() < 5
    }
    assert set(document["exceptions"]) == weekdays
    assert "2026-04-03" in weekdays  # Good Friday is no statutory holiday


def test_china_agrees_with_an_independent_list() -> None:
    document = seed("CN", years=[2024, 2025, 2026], **SHANGHAI)
    calendar = Calendar.from_document(document)

    day = date(2024, 1, 1)
    while day.year < 2027:
        assert bool(calendar.spans_on(day)) == chinese_calendar.is_workday(day), day
        day += timedelta(days=1)


def test_make_up_days_can_have_hours_of_their_own() -> None:
    document = seed("CN", years=[2026], make_up=[["09:00", "12:00"]], **SHANGHAI)

    assert document["exceptions"]["2026-02-14"] == [["09:00", "12:00"]]


def test_a_library_open_on_weekends_closes_on_holidays_only() -> None:
    daily = {name: [["08:00", "22:00"]] for name in week()}

    document = seed("CN", tz="Asia/Shanghai", weekly=daily, years=[2026], today=TODAY)

    assert document["exceptions"]["2026-10-03"] == []  # a Saturday in the golden week
    assert "2026-02-14" not in document["exceptions"]


def test_years_without_a_decree_are_unconfirmed() -> None:
    document = seed("CN", years=[2026, 2027], **SHANGHAI)

    assert 2026 not in document["unconfirmed_years"]
    assert 2027 in document["unconfirmed_years"] or unconfirmed("CN", [2027], today=TODAY) == []
    assert unconfirmed("CN", [2026, 2090], today=TODAY) == [2090]
    assert unconfirmed("FR", [2027, 2028], today=TODAY) == [2028]


@pytest.mark.parametrize(("country", "tz"), [("TW", "Asia/Taipei"), ("DE", "Europe/Berlin")])
def test_any_country_can_be_a_start(country: str, tz: str) -> None:
    document = seed(country, tz=tz, weekly=week(), years=[2026], today=TODAY)

    assert document["exceptions"]["2026-01-01"] == []
    assert country in countries()
    assert holiday_names(country, 2026)[date(2026, 1, 1)]


def test_an_unknown_country_is_refused() -> None:
    with pytest.raises(BadCalendar, match="XX"):
        seed("XX", tz="UTC", weekly=week(), years=[2026], today=TODAY)


def test_a_date_can_be_changed_and_changed_back() -> None:
    day = date(2026, 12, 31)
    document = desk_document()

    half = with_exception(document, day, [["08:30", "12:00"]])
    closed = with_exception(half, day, [])

    assert half["exceptions"] == {"2026-12-31": [["08:30", "12:00"]]}
    assert closed["exceptions"] == {"2026-12-31": []}
    assert with_exception(closed, day, None) == document
    with pytest.raises(BadCalendar):
        with_exception(document, day, [["soon", "later"]])


def test_a_vacations_timetable_holds_from_its_date_on() -> None:
    summer = with_timetable(desk_document(), date(2026, 7, 13), {"mon": [["09:00", "16:00"]]})
    calendar = Calendar.from_document(summer)

    assert calendar.weekly_on(date(2026, 7, 10)) == ((510, 1020),)
    assert calendar.weekly_on(date(2026, 7, 13)) == ((540, 960),)
    assert calendar.weekly_on(date(2026, 7, 14)) == ()
    assert with_timetable(summer, date(2026, 7, 13), None) == desk_document()


def test_a_saturday_that_makes_up_for_a_weekday_keeps_a_weekdays_hours() -> None:
    weekly = {**week(), "sat": [["09:00", "12:00"]]}

    document = seed("CN", tz="Asia/Shanghai", weekly=weekly, years=[2026], today=TODAY)

    assert document["exceptions"]["2026-10-10"] == [["08:30", "17:00"]]
    assert "2026-10-17" not in document["exceptions"]  # an ordinary Saturday


# --- holidays brought into a calendar that is in use ---------------------------------------


def test_holidays_come_into_a_calendar_and_what_a_librarian_set_stays() -> None:
    own = with_exception(desk_document(), date(2026, 10, 2), [["10:00", "12:00"]])

    found = with_holidays(own, "CN", years=[2026, 2027], today=TODAY)

    assert found["exceptions"]["2026-10-01"] == []
    assert found["exceptions"]["2026-10-02"] == [["10:00", "12:00"]]
    assert found["exceptions"]["2026-10-10"] == [["08:30", "17:00"]]
    assert found["unconfirmed_years"] == [2027]


def test_a_short_vacation_week_does_not_open_the_holidays_of_the_term() -> None:
    summer = with_timetable(desk_document(), date(2026, 7, 13), {"mon": [["09:00", "12:00"]]})
    year = with_timetable(summer, date(2026, 9, 1), week())

    found = with_holidays(year, "CN", years=[2026], today=TODAY)

    assert (
        found["exceptions"]
        == with_holidays(desk_document(), "CN", years=[2026], today=TODAY)["exceptions"]
    )
    assert found["exceptions"]["2026-10-01"] == []  # a Thursday: no day of the vacation's week


def test_taking_holidays_again_moves_only_what_came_from_the_list() -> None:
    first = with_holidays(desk_document(), "VN", years=[2026], today=TODAY)
    edited = with_exception(first, date(2026, 4, 30), [["08:00", "10:00"]])

    again = with_holidays(edited, "CN", years=[2026], today=TODAY)

    assert again["exceptions"]["2026-04-30"] == [["08:00", "10:00"]]
    assert "2026-09-02" not in again["exceptions"]  # Viet Nam's, from the list before
    assert again["exceptions"]["2026-10-01"] == []


def test_a_year_is_provisional_until_somebody_confirms_it() -> None:
    open_year = with_holidays(desk_document(), "CN", years=[2027], today=TODAY)

    assert confirmed(open_year, 2027)["unconfirmed_years"] == []
    assert open_year["unconfirmed_years"] == [2027]


def test_a_calendar_without_hours_takes_no_holidays() -> None:
    with pytest.raises(BadCalendar):
        with_holidays({"tz": "Asia/Shanghai", "versions": []}, "CN", years=[2026], today=TODAY)
