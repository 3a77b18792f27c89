"""Reports: preliminary until matured, sealed once, and never quietly changed."""

from datetime import date, datetime, timedelta
from json import dumps
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.tracker.samples import NOW, desk_document, week
from tests.tracker.test_consultations import answered, escalated
from tracker import consultations
from tracker.calendars import save_calendar
from tracker.clock import parse_instant
from tracker.figures import ANSWERED, NEXT_DAY
from tracker.models import Library
from tracker.reports import (
    NotFinal,
    NotSealed,
    change,
    final_at,
    month,
    preliminary_note,
    previous,
    report,
    restate,
    seal,
    write_notes,
)

DAY = timedelta(days=1)
MARCH: dict[str, Any] = dict(zip(("start", "end"), month(2026, 3), strict=True))
DONE = parse_instant("2026-04-20T00:00:00Z")


def late_in_march(session: Session, library: Library) -> None:
    at = parse_instant("2026-03-31T15:00:00+08:00")
    answered(session, escalated(session, library, conversation_id=1), NOW + DAY)
    escalated(session, library, conversation_id=2, at=at, now=at)


@pytest.mark.parametrize(
    ("start", "end", "before"),
    [
        ((2026, 3, 1), (2026, 3, 31), ((2026, 2, 1), (2026, 2, 28))),
        ((2026, 1, 1), (2026, 1, 31), ((2025, 12, 1), (2025, 12, 31))),
        ((2026, 1, 1), (2026, 12, 31), ((2025, 1, 1), (2025, 12, 31))),
        ((2026, 3, 9), (2026, 3, 15), ((2026, 3, 2), (2026, 3, 8))),
    ],
)
def test_a_period_is_compared_with_the_one_before(start: Any, end: Any, before: Any) -> None:
    assert previous(date(*start), date(*end)) == (date(*before[0]), date(*before[1]))


def test_a_month_ends_on_its_last_day() -> None:
    assert month(2026, 12) == (date(2026, 12, 1), date(2026, 12, 31))
    assert month(2028, 2)[1] == date(2028, 2, 29)


def test_until_all_has_matured_a_report_is_preliminary(session: Session, library: Library) -> None:
    late_in_march(session, library)
    at = parse_instant("2026-04-01T10:00:00+08:00")

    result = report(session, library, at=at, **MARCH)

    assert result["state"] == "preliminary"
    note = preliminary_note(result)
    assert note is not None
    assert note["pending"] == 1
    assert note["final_at"] == parse_instant("2026-04-04T00:00:00+08:00")
    with pytest.raises(NotFinal):
        seal(session, library, now=at, by="boss", **MARCH)
    dumps(result)


def test_a_holiday_at_the_months_end_makes_final_later(session: Session, library: Library) -> None:
    closed = {f"2026-04-{day:02d}": [] for day in range(1, 11)}
    save_calendar(session, library.id, "desk", desk_document(exceptions=closed), now=NOW, by="lin")
    late_in_march(session, library)

    assert final_at(session, library, **MARCH) == parse_instant("2026-04-13T17:00:01+08:00")


def test_a_sealed_report_keeps_its_figures_and_shows_what_is_new(
    session: Session, library: Library
) -> None:
    late_in_march(session, library)
    seal(session, library, now=DONE, by="boss", **MARCH)
    assert report(session, library, at=DONE, **MARCH)["now"] is None

    spam = consultations.find(session, library.id, key_of(session, library, 2))
    assert spam is not None
    later = DONE + DAY
    consultations.exclude(session, spam, at=later, now=later, by="lin", reason="spam")

    result = report(session, library, at=later, **MARCH)
    assert result["state"] == "sealed"
    assert result["figures"]["stats"]["total"][ANSWERED]["matured"] == 2
    assert result["now"]["stats"]["total"][ANSWERED]["matured"] == 1
    assert seal(session, library, now=later, by="x", **MARCH).number == 1


def key_of(session: Session, library: Library, conversation: int) -> str:
    found = consultations.previous_for(session, library.id, conversation)
    assert found is not None
    return found.key


def test_only_a_restatement_brings_new_hours_into_a_closed_period(
    session: Session, library: Library
) -> None:
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="lin")
    consultation = escalated(session, library)
    answered(session, consultation, parse_instant("2026-03-11T15:00:00+08:00"))
    seal(session, library, now=DONE, by="boss", **MARCH)
    short = desk_document(versions=[{"valid_from": "1990-01-01", "weekly": week("08:30", "12:00")}])
    save_calendar(session, library.id, "desk", short, now=DONE, by="lin")
    assert report(session, library, at=DONE + DAY, **MARCH)["now"] is None

    restate(session, library, now=DONE + DAY, by="boss", reason="wrong hours were entered", **MARCH)

    result = report(session, library, at=DONE + DAY, **MARCH)
    within = [v["figures"]["stats"]["total"][NEXT_DAY]["within"] for v in result["versions"]]
    assert within == [1, 0]
    assert [(v["by"], v["reason"]) for v in result["versions"]] == [
        ("boss", ""),
        ("boss", "wrong hours were entered"),
    ]
    real = [v["figures"]["stats"]["total"][ANSWERED] for v in result["versions"]]
    assert real[0] == real[1]  # 24 hours of real time know no calendar


def test_a_restatement_needs_a_seal_and_a_reason(session: Session, library: Library) -> None:
    with pytest.raises(NotSealed):
        restate(session, library, now=DONE, by="boss", reason="because", **MARCH)
    with pytest.raises(ValueError, match="reason"):
        restate(session, library, now=DONE, by="boss", reason=" ", **MARCH)


def test_notes_carry_over_to_the_next_report(session: Session, library: Library) -> None:
    write_notes(session, library, problems="周末无人", measures="排班", **MARCH)
    april = dict(zip(("start", "end"), month(2026, 4), strict=True))

    result = report(session, library, at=DONE, **april)

    assert (result["problems"], result["measures"]) == ("周末无人", "排班")
    write_notes(session, library, problems="", measures="排班", **april)
    assert report(session, library, at=DONE, **april)["problems"] == ""
    assert report(session, library, at=DONE, **MARCH)["problems"] == "周末无人"


def test_a_difference_is_told_from_chance() -> None:
    small = change({"within": 3, "matured": 4}, {"within": 1, "matured": 4})
    large = change({"within": 300, "matured": 400}, {"within": 100, "matured": 400})

    assert small is not None
    assert large is not None
    assert (small["distinguishable"], small["too_few"]) == (False, True)
    assert (large["distinguishable"], large["too_few"]) == (True, False)
    assert change({"within": 0, "matured": 0}, {"within": 1, "matured": 4}) is None


def test_holidays_not_announced_yet_make_a_report_provisional(
    session: Session, library: Library
) -> None:
    document = desk_document(unconfirmed_years=[2027])
    save_calendar(session, library.id, "desk", document, now=NOW, by="lin")
    january = dict(zip(("start", "end"), month(2027, 1), strict=True))
    at = datetime(2027, 2, 10, tzinfo=NOW.tzinfo)

    assert report(session, library, at=at, **january)["provisional"] is True
    assert report(session, library, at=at, **MARCH)["provisional"] is False
