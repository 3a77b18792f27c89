"""One test for each mistake that systems in use today make with this number."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.tracker.samples import NOW, desk_document
from tests.tracker.test_consultations import answered, escalated, opened
from tracker import consultations
from tracker.calendars import save_calendar
from tracker.clock import Calendar, parse_instant
from tracker.errors import BadCalendar
from tracker.figures import ANSWERED, INCLUSIVE, RESPONDED
from tracker.models import Library
from tracker.outcomes import listed
from tracker.stats import stats
from tracker.sweep import sweep

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATER = NOW + 30 * DAY


def total(session: Session, library: Library) -> dict[str, Any]:
    result: dict[str, Any] = stats(session, library, at=LATER)["total"]
    return result


def test_unanswered_ones_are_misses_and_not_in_the_first_hour(
    session: Session, library: Library
) -> None:
    """LibAnswers puts them into its bar of 0 to 1 hour."""
    escalated(session, library)

    result = total(session, library)

    assert (result[ANSWERED]["within"], result[ANSWERED]["matured"]) == (0, 1)
    assert result["seconds_to_feedback"]["p50"] is None


def test_a_bots_reply_is_no_librarians_and_the_clock_runs_on_after_hand_over(
    session: Session, library: Library
) -> None:
    """Chatwoot counts bot replies as responses and times nothing after the hand-over."""
    consultation = opened(session, library)
    consultations.bot_answer(
        session, consultation, at=NOW, now=NOW, text="…", entry="fines", probability=0.8
    )
    consultations.escalate(session, consultation, at=NOW + HOUR, now=NOW + HOUR, reason="person")
    answered(session, consultation, NOW + 5 * HOUR)

    result = total(session, library)

    assert result["seconds_to_feedback"]["p50"] == 5 * 3600
    assert result[INCLUSIVE]["within"] == 1


def test_reopening_neither_erases_nor_invents_a_wait(session: Session, library: Library) -> None:
    """Chatwoot measures a reopened conversation from its first creation: days for minutes."""
    consultation = escalated(session, library)
    answered(session, consultation, NOW + HOUR)
    consultations.close(session, consultation, at=NOW + HOUR, now=NOW + HOUR, by="lin")
    again = NOW + 2 * DAY
    consultations.add_message(session, consultation, at=again, now=again, text="?")
    answered(session, consultation, again + timedelta(minutes=10))

    result = total(session, library)

    assert result["seconds_to_feedback"]["p50"] == 3600
    assert consultation.answered_at == NOW + HOUR


def test_two_ways_to_the_same_total_agree(session: Session, library: Library) -> None:
    """Chatwoot shows different totals, of events or of conversations, on two pages."""
    for number in range(5):
        consultation = escalated(session, library, conversation_id=number)
        for hours in range(number):
            answered(session, consultation, NOW + (hours + 1) * HOUR)

    result = total(session, library)

    behind = listed(session, library, ANSWERED, at=LATER)
    assert result["received"] == result["handed_over"] == len(behind) == 5
    assert sum(case.outcome == "within" for case in behind) == result[ANSWERED]["within"] == 4


def test_an_offset_is_no_time_zone() -> None:
    """Chatwoot keeps a number of hours, which is wrong for half of the year."""
    with pytest.raises(BadCalendar, match="IANA"):
        Calendar.from_document(desk_document(tz="+08:00"))


def test_no_target_fires_after_the_reply(session: Session, library: Library) -> None:
    """Zammad's reply target fires although a librarian has replied."""
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
    consultation = escalated(session, library)
    answered(session, consultation, NOW + HOUR)

    assert sweep(session, now=LATER) == []


def test_a_follow_ups_target_does_not_overrule_the_first_response(
    session: Session, library: Library
) -> None:
    """Zammad's update target overrides the first response's."""
    consultation = escalated(session, library)
    asked = NOW + HOUR
    consultations.add_message(session, consultation, at=asked, now=asked, text="?")

    misses = sweep(session, now=LATER)

    assert [(miss.clock, miss.due_at) for miss in misses] == [("answer", NOW + DAY)]


def test_round_the_clock_loses_no_minute_a_day() -> None:
    """Zammad's 00:00 to 23:59 loses one; ours says 24:00 and means it."""
    names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    versions = [{"valid_from": "1990-01-01", "weekly": {n: [["00:00", "24:00"]] for n in names}}]
    calendar = Calendar.from_document(desk_document(versions=versions))

    assert calendar.open_seconds(NOW, NOW + 7 * DAY) == 7 * 86_400


def test_holidays_close_the_desk() -> None:
    """dbt_zendesk counts holidays as working time."""
    open_on = Calendar.from_document(desk_document())
    closed = Calendar.from_document(desk_document(exceptions={"2026-03-10": []}))
    morning = parse_instant("2026-03-10T08:00:00+08:00")

    assert open_on.open_seconds(morning, morning + DAY) == 8.5 * 3600
    assert closed.open_seconds(morning, morning + DAY) == 0


def test_the_past_keeps_its_own_offset() -> None:
    """dbt_zendesk applies today's daylight saving to last winter."""
    calendar = Calendar.from_document(desk_document(tz="America/New_York"))

    winter = calendar.next_opening(parse_instant("2026-01-13T00:00:00-05:00"))
    summer = calendar.next_opening(parse_instant("2026-07-14T00:00:00-04:00"))

    assert winter == parse_instant("2026-01-13T08:30:00-05:00")
    assert summer == parse_instant("2026-07-14T08:30:00-04:00")


def test_tickets_without_a_reply_stay_in_the_denominator(
    session: Session, library: Library
) -> None:
    """dbt_zendesk drops them."""
    answered(session, escalated(session, library, conversation_id=1), NOW + HOUR)
    escalated(session, library, conversation_id=2)
    opened(session, library, conversation_id=3)  # not even escalated

    result = total(session, library)

    assert result[RESPONDED]["matured"] == result[ANSWERED]["matured"] == 3
    assert result[ANSWERED]["within"] == 1


def test_closing_without_a_reply_is_no_success(session: Session, library: Library) -> None:
    consultation = escalated(session, library)
    consultations.close(session, consultation, at=NOW + HOUR, now=NOW + HOUR, by="lin")

    result = total(session, library)

    assert (result[ANSWERED]["within"], result[ANSWERED]["matured"]) == (0, 1)
    assert result["backlog"]["waiting"] == 1


def test_no_data_is_no_hundred_per_cent(session: Session, library: Library) -> None:
    result = total(session, library)

    for figure in (INCLUSIVE, ANSWERED, RESPONDED):
        assert result[figure]["rate"] is result[figure]["low"] is result[figure]["best"] is None
    assert result["live_estimate"] is None
