"""Opening hours and deadlines: the worked cases, a naive oracle, and calendars gone wrong."""

import json
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.tracker.clock_cases import disagreements
from tests.tracker.samples import desk_document, week
from tracker.clock import (
    Calendar,
    day_bounds,
    evaluate_cases,
    first_instant,
    micros,
    parse_instant,
    utc_text,
    within_24h,
)
from tracker.errors import BadCalendar


def wall(*parts: int) -> datetime:
    """A wall time: what a clock shows, without saying where."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


CASES = json.loads((Path(__file__).parent / "cases" / "business_time_cases.json").read_text())
BY_ID = {case["id"]: case for case in CASES["cases"]}
RESULTS = evaluate_cases(CASES)


def without_expectations() -> dict[str, Any]:
    cases = [{k: v for k, v in case.items() if k != "expect"} for case in CASES["cases"]]
    return {**CASES, "cases": cases}


@pytest.mark.parametrize("case", sorted(BY_ID))
def test_every_worked_case_comes_out(case: str) -> None:
    expected = {k: v for k, v in BY_ID[case]["expect"].items() if not k.startswith("naive")}

    assert {name: RESULTS[case][name] for name in expected} == expected


def test_the_evaluation_reads_no_expectations() -> None:
    assert evaluate_cases(without_expectations()) == RESULTS


@pytest.mark.parametrize("case", [c for c in BY_ID if "naive_calendar" in BY_ID[c]])
def test_ignoring_make_up_days_gives_the_wrong_opening_time(case: str) -> None:
    item = BY_ID[case]
    naive = Calendar.from_document(CASES["calendars"][item["naive_calendar"]])

    seconds = naive.open_seconds(
        parse_instant(item["received_at"]), parse_instant(item["answered_at"])
    )

    assert seconds == item["expect"]["naive_open_seconds"] != item["expect"]["open_seconds"]


def test_an_evaluation_needs_a_known_calendar() -> None:
    case = {**CASES["cases"][0], "calendar": "ATLANTIS"}

    with pytest.raises(BadCalendar, match="ATLANTIS"):
        evaluate_cases({**CASES, "cases": [case]})


def test_an_unanswered_case_has_deadlines_but_no_durations() -> None:
    case = {k: v for k, v in BY_ID["BT01"].items() if k not in ("answered_at", "expect")}

    result = evaluate_cases({**CASES, "cases": [case]})["BT01"]

    assert result["next_opening_day_due"] == "2026-03-11T09:00:00Z"
    assert result["open_minutes_due"] == "2026-03-11T00:45:00Z"
    assert result["open_seconds"] is result["elapsed_seconds"] is result["within_24h"] is None
    assert result["within_next_opening_day"] is None


def test_an_answer_before_its_question_is_within_nothing() -> None:
    case = {**BY_ID["BT01"], "answered_at": "2026-03-10T01:14:59Z"}

    result = evaluate_cases({**CASES, "cases": [case]})["BT01"]

    assert result["elapsed_seconds"] == -1
    assert result["open_seconds"] == 0
    assert result["within_24h"] is False
    assert result["within_next_opening_day"] is False


# --- the oracle ---------------------------------------------------------------------


def test_the_clock_agrees_with_a_minute_by_minute_oracle() -> None:
    assert list(disagreements(range(200), questions=5)) == []


# --- single rules -----------------------------------------------------------------------


def test_an_overnight_span_counts_for_the_date_it_starts_on() -> None:
    document = desk_document(
        versions=[{"valid_from": "1990-01-01", "weekly": {"fri": [["20:00", "02:00"]]}}],
        exceptions={"2026-03-14": []},
    )
    calendar = Calendar.from_document(document)
    saturday = parse_instant("2026-03-14T01:00:00+08:00")

    assert calendar.is_open(saturday)
    assert calendar.next_opening_day_due(parse_instant("2026-03-12T12:00:00+08:00")) == (
        parse_instant("2026-03-14T02:00:00+08:00")
    )
    assert calendar.local_date(saturday) == date(2026, 3, 14)


@pytest.mark.parametrize("end", ["02:00", "26:00"])
def test_past_midnight_can_be_written_in_two_ways(end: str) -> None:
    weekly = {"fri": [["20:00", end]]}
    calendar = Calendar.from_document(
        desk_document(versions=[{"valid_from": "1990-01-01", "weekly": weekly}])
    )

    spans = calendar.spans_on(date(2026, 3, 13))

    assert [shut - opened for opened, shut in spans] == [timedelta(hours=6)]


def test_overlapping_spans_count_once_and_the_last_to_shut_ends_the_day() -> None:
    weekly = {"tue": [["08:00", "20:00"], ["09:00", "10:00"]]}
    calendar = Calendar.from_document(
        desk_document(versions=[{"valid_from": "1990-01-01", "weekly": weekly}])
    )
    monday = parse_instant("2026-03-09T12:00:00+08:00")

    assert calendar.open_seconds(monday, monday + timedelta(days=2)) == 12 * 3600
    assert calendar.next_opening_day_due(monday) == parse_instant("2026-03-10T20:00:00+08:00")


def test_round_the_clock_goes_on_over_new_year() -> None:
    weekly = {name: [["00:00", "24:00"]] for name in week()}
    calendar = Calendar.from_document(
        desk_document(tz="UTC", versions=[{"valid_from": "2025-12-30", "weekly": weekly}])
    )
    start = datetime(2025, 12, 31, tzinfo=UTC)

    assert calendar.open_seconds(start, start + timedelta(days=400)) == 400 * 86_400
    assert calendar.due(start, 400 * 1440) == start + timedelta(days=400)
    assert calendar.next_opening(start) == start
    assert not calendar.is_open(datetime(2025, 12, 29, 23, 59, tzinfo=UTC))
    assert calendar.next_opening(datetime(2025, 1, 1, tzinfo=UTC)) == datetime(
        2025, 12, 30, tzinfo=UTC
    )


def test_closing_time_is_told_while_open() -> None:
    calendar = Calendar.from_document(desk_document())

    assert calendar.closes_at(parse_instant("2026-03-10T09:00:00+08:00")) == parse_instant(
        "2026-03-10T17:00:00+08:00"
    )
    assert calendar.closes_at(parse_instant("2026-03-10T17:00:00+08:00")) is None


def test_closing_time_is_found_on_the_other_side_of_new_year() -> None:
    calendar = Calendar.from_document(
        desk_document(
            tz="UTC",
            versions=[{"valid_from": "1990-01-01", "weekly": {"thu": [["20:00", "04:00"]]}}],
        )
    )

    assert calendar.closes_at(datetime(2026, 12, 31, 21, tzinfo=UTC)) == datetime(
        2027, 1, 1, 4, tzinfo=UTC
    )


def test_a_desk_that_opens_only_by_exception_is_found_years_ahead() -> None:
    calendar = Calendar.from_document(
        desk_document(versions=[], exceptions={"2039-05-04": [["10:00", "11:00"]]})
    )
    now = parse_instant("2026-03-10T09:00:00+08:00")
    only = parse_instant("2039-05-04T10:00:00+08:00")

    assert calendar.next_opening(now) == only
    assert calendar.next_opening_day_due(now) == only + timedelta(hours=1)
    assert calendar.due(now, 60) == only + timedelta(hours=1)
    assert calendar.due(now, 61) is None
    assert calendar.next_opening(only + timedelta(hours=1)) is None


def test_a_date_that_clocks_skip_is_no_opening_day() -> None:
    weekly = {name: [["09:00", "17:00"]] for name in week()}
    calendar = Calendar.from_document(
        desk_document(tz="Pacific/Apia", versions=[{"valid_from": "1990-01-01", "weekly": weekly}])
    )
    received = parse_instant("2011-12-29T12:00:00-10:00")

    assert calendar.spans_on(date(2011, 12, 30)) == ()
    assert calendar.next_opening_day_due(received) == parse_instant("2011-12-31T17:00:00+14:00")


def test_due_zero_is_the_start_and_negative_minutes_are_refused() -> None:
    calendar = Calendar.from_document(desk_document())
    night = parse_instant("2026-03-10T03:00:00+08:00")

    assert calendar.due(night, 0) == night
    with pytest.raises(ValueError, match="-1"):
        calendar.due(night, -1)


def test_a_pause_without_end_stops_the_clock_for_good() -> None:
    calendar = Calendar.from_document(desk_document())
    start = parse_instant("2026-03-10T09:00:00+08:00")
    pause = start + timedelta(hours=1)

    assert calendar.open_seconds(start, start + timedelta(hours=5), [(pause, None)]) == 3600
    assert calendar.due(start, 60, [(pause, None)]) == pause
    assert calendar.due(start, 61, [(pause, None)]) is None


def test_a_pause_that_ends_before_it_begins_is_none() -> None:
    calendar = Calendar.from_document(desk_document())
    start = parse_instant("2026-03-10T09:00:00+08:00")
    backwards = [(start + timedelta(hours=2), start + timedelta(hours=1))]

    assert calendar.open_seconds(start, start + timedelta(hours=3), backwards) == 3 * 3600


def test_time_does_not_run_backwards() -> None:
    calendar = Calendar.from_document(desk_document())
    start = parse_instant("2026-03-10T09:00:00+08:00")

    assert calendar.open_seconds(start, start - timedelta(hours=5)) == 0


def test_24_hours_are_in_to_the_second() -> None:
    received = parse_instant("2026-03-10T02:00:00Z")
    day = timedelta(days=1)

    assert within_24h(received, received)
    assert within_24h(received, received + day)
    assert not within_24h(received, received + day + timedelta(microseconds=1))
    assert not within_24h(received, received - timedelta(microseconds=1))
    assert not within_24h(received, None)


def test_a_wall_time_shown_twice_is_the_first_and_one_never_shown_the_next() -> None:
    new_york = ZoneInfo("America/New_York")

    assert first_instant(wall(2026, 11, 1, 1, 30), new_york) == parse_instant(
        "2026-11-01T01:30:00-04:00"
    )
    assert first_instant(wall(2026, 3, 8, 2, 30), new_york) == parse_instant(
        "2026-03-08T03:00:00-04:00"
    )


def test_a_local_day_without_midnight_begins_when_clocks_do() -> None:
    begin, end = day_bounds(date(2026, 4, 24), ZoneInfo("Africa/Cairo"))

    assert begin == parse_instant("2026-04-24T01:00:00+03:00")
    assert end - begin == timedelta(hours=23)


def test_years_not_announced_yet_are_provisional() -> None:
    calendar = Calendar.from_document(desk_document(unconfirmed_years=[2027]))

    assert calendar.is_provisional(parse_instant("2026-12-31T23:00:00Z"))
    assert not calendar.is_provisional(parse_instant("2026-12-31T12:00:00Z"))


def weekly_document(weekly: Any) -> dict[str, Any]:
    return desk_document(versions=[{"valid_from": "1990-01-01", "weekly": weekly}])


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "object"),
        ({}, "tz is missing"),
        (desk_document(tz="+08:00"), "IANA"),
        (desk_document(tz="Mars/Olympus"), "IANA"),
        (desk_document(tz="../../etc/passwd"), "IANA"),
        (desk_document(tz=""), "IANA"),
        (desk_document(versions="daily"), "versions is not a list"),
        (desk_document(versions=[{"valid_from": "1990-01-01"}]), "weekly"),
        (desk_document(versions=[{"weekly": {}}]), "date"),
        (desk_document(versions=[{"valid_from": "tomorrow", "weekly": {}}]), "tomorrow"),
        (desk_document(versions=[{"valid_from": "1990-01-01", "weekly": {"Monday": []}}]), "Mon"),
        (desk_document(exceptions=["2026-01-01"]), "exceptions"),
        (desk_document(exceptions={"2026-02-30": []}), "2026-02-30"),
        (desk_document(exceptions={"2026-01-01": "closed"}), "2026-01-01"),
        (desk_document(exceptions={"2026-01-01": [["08:00"]]}), "pair"),
        (desk_document(exceptions={"2026-01-01": [["8", "17:00"]]}), "08:30"),
        (desk_document(exceptions={"2026-01-01": [["08:61", "17:00"]]}), "08:61"),
        (desk_document(exceptions={"2026-01-01": [["08:00", "49:00"]]}), "49:00"),
        (desk_document(exceptions={"2026-01-01": [["24:00", "25:00"]]}), "before 24:00"),
        (desk_document(exceptions={"2026-01-01": [5]}), "2026-01-01: 5 is not a pair"),
        (desk_document(exceptions={"2026-01-01": ["ab"]}), "'ab' is not a pair"),
        (weekly_document({"wed": 5}), "[(]wed is"),
        (
            desk_document(versions=[{"valid_from": "1990-01-01", "weekly": {"wed": [5]}}]),
            "[(]wed: 5",
        ),
        (
            weekly_document({"x": []}),
            "[(]'x' is not a weekday; use mon, tue, wed, thu, fri, sat, sun[)]",
        ),
        (desk_document(versions=[5]), "[(]a version has valid_from and a weekly table[)]"),
        (desk_document(unconfirmed_years=["2027"]), "numbers"),
    ],
)
def test_a_calendar_that_cannot_be_read_says_why(document: Any, complaint: str) -> None:
    with pytest.raises(BadCalendar, match=complaint):
        Calendar.from_document(document)


@pytest.mark.parametrize(
    "ask", ["is_open", "next_opening", "closes_at", "next_opening_day_due", "local_date"]
)
def test_an_instant_without_offset_is_refused(ask: str) -> None:
    calendar = Calendar.from_document(desk_document())

    with pytest.raises(ValueError, match="offset"):
        getattr(calendar, ask)(wall(2026, 3, 10, 9))


def test_an_instant_needs_its_offset_in_writing_too() -> None:
    with pytest.raises(ValueError, match="offset"):
        parse_instant("2026-03-10T09:00:00")


# --- edges ------------------------------------------------------------------------------


def test_the_machines_own_time_zone_matters_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    calendar = Calendar.from_document(desk_document(tz="UTC"))
    new_year = parse_instant("2026-01-01T09:00:00+00:00")
    answers = [
        calendar.is_open(new_year),
        calendar.next_opening(new_year - timedelta(hours=10)),
        calendar.closes_at(new_year),
    ]
    try:
        monkeypatch.setenv("TZ", "Pacific/Honolulu")
        time.tzset()

        assert evaluate_cases(CASES) == RESULTS
        elsewhere = Calendar.from_document(desk_document(tz="UTC"))
        assert answers == [
            elsewhere.is_open(new_year),
            elsewhere.next_opening(new_year - timedelta(hours=10)),
            elsewhere.closes_at(new_year),
        ]
        assert elsewhere.due(new_year, 0) == new_year
        assert utc_text(elsewhere.due(new_year, 0)) == "2026-01-01T09:00:00Z"
        assert parse_instant("2026-01-01T09:00:00+08:00").tzinfo is UTC
    finally:
        monkeypatch.undo()
        time.tzset()


def test_seconds_are_whole_and_parts_are_dropped() -> None:
    calendar = Calendar.from_document(desk_document())
    opening = parse_instant("2026-03-10T08:30:00+08:00")
    seconds = calendar.open_seconds(opening, opening + timedelta(seconds=1.9))
    case = {**BY_ID["BT01"], "answered_at": "2026-03-10T01:15:02.9Z"}

    elapsed = evaluate_cases({**CASES, "cases": [case]})["BT01"]["elapsed_seconds"]

    assert (seconds, type(seconds)) == (1, int)
    assert (elapsed, type(elapsed)) == (2, int)
    assert type(micros(opening)) is int


def test_what_was_worked_out_is_kept() -> None:
    calendar = Calendar.from_document(desk_document())
    at = parse_instant("2026-03-10T08:30:00+08:00")
    calendar.is_open(at)
    kept = dict(calendar._years), dict(calendar._dates)

    assert calendar.open_seconds(at, at + timedelta(days=3)) == 3 * 8.5 * 3600
    assert [calendar._years[year] is kept[0][year] for year in kept[0]] == [True] * len(kept[0])
    assert all(calendar._dates[day] is spans for day, spans in kept[1].items())


def test_spans_that_touch_are_one() -> None:
    weekly = {"tue": [["08:00", "12:00"], ["12:00", "17:00"]]}
    calendar = Calendar.from_document(
        desk_document(versions=[{"valid_from": "1990-01-01", "weekly": weekly}])
    )

    assert calendar.closes_at(parse_instant("2026-03-10T09:00:00+08:00")) == parse_instant(
        "2026-03-10T17:00:00+08:00"
    )


def test_a_single_open_date_years_ahead_is_found() -> None:
    empty = {"valid_from": "1990-01-01", "weekly": {}}
    spans = [["09:00", "12:00"]]
    calendar = Calendar.from_document(
        desk_document(versions=[empty], exceptions={"2031-05-05": spans})
    )
    now = parse_instant("2026-03-10T09:00:00+08:00")
    then = parse_instant("2031-05-05T09:00:00+08:00")

    assert calendar.next_opening(now) == then
    assert calendar.due(now, 180) == calendar.next_opening_day_due(now) == then + timedelta(hours=3)
    assert calendar.due(now, 181) is None
    assert calendar.next_opening(then + timedelta(hours=3)) is None


def test_several_open_dates_with_years_between_add_up() -> None:
    empty = {"valid_from": "1990-01-01", "weekly": {}}
    spans = [["09:00", "12:00"]]
    exceptions = {"2028-05-05": spans, "2031-05-05": spans, "2036-01-01": []}
    calendar = Calendar.from_document(desk_document(versions=[empty], exceptions=exceptions))
    now = parse_instant("2026-03-10T09:00:00+08:00")

    assert calendar.due(now, 360) == parse_instant("2031-05-05T12:00:00+08:00")
    assert calendar.due(now, 361) is None


def test_a_calendar_without_versions_is_never_open() -> None:
    calendar = Calendar.from_document(desk_document(versions=[]))
    now = parse_instant("2026-03-10T09:00:00+08:00")

    assert calendar.next_opening(now) is None
    assert calendar.due(now, 1) is None
    assert calendar.next_opening_day_due(now) is None
    assert calendar.open_seconds(now, now + timedelta(days=9)) == 0


def test_hours_that_begin_years_from_now_are_waited_for() -> None:
    versions = [
        {"valid_from": "2020-01-01", "weekly": {}},
        {"valid_from": "2028-01-03", "weekly": {}},
        {"valid_from": "2030-01-01", "weekly": {"wed": [["09:00", "12:00"]]}},
        {"valid_from": "2032-01-01", "weekly": {}},
    ]
    calendar = Calendar.from_document(desk_document(versions=versions))
    now = parse_instant("2026-03-10T09:00:00+08:00")
    first = parse_instant("2030-01-02T09:00:00+08:00")

    assert calendar.next_opening(now) == first
    assert calendar.next_opening_day_due(now) == first + timedelta(hours=3)
    assert calendar.due(now, 60) == first + timedelta(hours=1)
    assert calendar.due(now, 105 * 180 + 1) is None
    assert calendar.due(now, 104 * 180) == parse_instant("2031-12-24T12:00:00+08:00")


def test_a_pause_of_no_length_hides_no_other() -> None:
    calendar = Calendar.from_document(desk_document())
    start = parse_instant("2026-03-10T09:00:00+08:00")
    hour = timedelta(hours=1)
    pauses = [(start, start), (start + hour, start), (start + hour, start + 2 * hour)]

    assert calendar.open_seconds(start, start + 3 * hour, pauses) == 2 * 3600
    assert calendar.open_seconds(start, start + 3 * hour, [(start + hour, None)]) == 3600
    assert calendar.due(start, 120, pauses) == start + 3 * hour
    assert calendar.due(start, 120, [(start + hour, None)]) is None


def test_a_pause_still_running_in_a_case_file_has_no_end() -> None:
    pause = ["2026-03-10T01:20:00Z", None]
    case = {**BY_ID["BT01"], "paused_for_patron": [pause]}

    result = evaluate_cases({**CASES, "cases": [case]})["BT01"]

    assert result["open_seconds"] == 5 * 60
    assert result["open_minutes_due"] is None


def test_an_answer_at_the_receipt_or_at_the_last_instant_is_in_time() -> None:
    for answered in (BY_ID["BT01"]["received_at"], "2026-03-11T09:00:00Z"):
        case = {**BY_ID["BT01"], "answered_at": answered}

        result = evaluate_cases({**CASES, "cases": [case]})["BT01"]

        assert result["within_next_opening_day"] is True
    case = {**BY_ID["BT01"], "answered_at": "2026-03-11T09:00:00.000001Z"}
    assert evaluate_cases({**CASES, "cases": [case]})["BT01"]["within_next_opening_day"] is False


def test_negative_lengths_are_refused_and_nothing_is_due_at_once() -> None:
    calendar = Calendar.from_document(desk_document())
    sunday = parse_instant("2026-03-15T09:00:00+08:00")

    with pytest.raises(ValueError, match="-1 minutes is not a length of time"):
        calendar.due(sunday, -1)
    assert calendar.due(sunday, 0) == sunday
    assert calendar.open_seconds(sunday, sunday - timedelta(days=30)) == 0


@pytest.mark.parametrize(
    "text",
    ["8", ":30", "08:", "08:5", "08:300", "aa:30", "08:3x", "08:60", "8:30:00", "-8:30", "48:01"],
)
def test_what_is_no_time_is_refused_with_its_place(text: str) -> None:
    for span in ([text, "17:00"], ["07:00", text]):
        with pytest.raises(BadCalendar, match=f"[(]thu: '{text}' is not a time"):
            Calendar.from_document(weekly_document({"thu": [span]}))


def test_a_span_starts_on_its_date() -> None:
    with pytest.raises(BadCalendar, match=r"[(]thu: a span starts before 24:00, not at 24:00[)]"):
        Calendar.from_document(weekly_document({"thu": [["24:00", "25:00"]]}))


@pytest.mark.parametrize(
    ("span", "minutes"),
    [
        (["00:00", "48:00"], 2_880),
        (["23:59", "24:00"], 1),
        (["08:00", "08:00"], 1_440),
        (["08:01", "08:00"], 1_439),
        (["8:59", "09:00"], 1),
    ],
)
def test_a_span_is_as_long_as_it_says(span: list[str], minutes: int) -> None:
    calendar = Calendar.from_document(weekly_document({"thu": [span]}))
    ((opened, shut),) = calendar.spans_on(date(2026, 3, 12))

    assert shut - opened == timedelta(minutes=minutes)


def test_the_last_version_may_be_the_first_with_hours() -> None:
    versions = [
        {"valid_from": "2020-01-01", "weekly": {}},
        {"valid_from": "2030-01-01", "weekly": {"wed": [["09:00", "12:00"]]}},
    ]
    calendar = Calendar.from_document(desk_document(versions=versions))

    assert calendar.next_opening_day_due(parse_instant("2026-03-10T09:00:00+08:00")) == (
        parse_instant("2030-01-02T12:00:00+08:00")
    )
