"""What came after the first answer: next response, resolution, reopening, acceptance, ages."""

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from tests.tracker.samples import NOW, desk_document
from tests.tracker.test_consultations import answered, escalated, opened
from tracker import consultations
from tracker.calendars import save_calendar
from tracker.fold import EventData, Stream
from tracker.handling import (
    acceptance,
    backlog_by_age,
    by_librarian,
    exclusions,
    instances,
    next_response,
    reopened,
    resolution,
    staffed_target,
    volumes,
)
from tracker.models import Consultation, Library

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATER = NOW + 30 * DAY
PERIOD: dict[str, Any] = {"start": date(2026, 3, 1), "end": date(2026, 3, 31), "at": LATER}


def asks(session: Session, consultation: Consultation, at: datetime, **more: Any) -> None:
    consultations.add_message(session, consultation, at=at, now=at, text="周日呢？", **more)


# --- next response -----------------------------------------------------------------------


def test_a_question_after_the_answer_has_a_clock_of_its_own(
    session: Session, library: Library
) -> None:
    consultation = escalated(session, library)
    answered(session, consultation, NOW + HOUR)
    asks(session, consultation, NOW + 2 * HOUR)
    asks(session, consultation, NOW + 3 * HOUR)
    answered(session, consultation, NOW + 26 * HOUR)
    asks(session, consultation, NOW + 27 * HOUR)
    answered(session, consultation, NOW + 52 * HOUR)

    result = next_response(session, library, **PERIOD)

    assert (result["within"], result["matured"], result["pending"]) == (1, 2, 0)


def test_thanks_asks_for_nothing(session: Session, library: Library) -> None:
    consultation = escalated(session, library)
    answered(session, consultation, NOW + HOUR)
    asks(session, consultation, NOW + 2 * HOUR, courtesy=True)

    assert next_response(session, library, **PERIOD)["matured"] == 0


def test_an_early_reply_does_not_mature_sooner(session: Session, library: Library) -> None:
    consultation = escalated(session, library)
    answered(session, consultation, NOW + HOUR)
    asks(session, consultation, NOW + 2 * HOUR)
    answered(session, consultation, NOW + 3 * HOUR)

    early = next_response(session, library, **{**PERIOD, "at": NOW + 25 * HOUR})
    ripe = next_response(session, library, **{**PERIOD, "at": NOW + 26 * HOUR})

    assert (early["matured"], early["pending"]) == (0, 1)
    assert (ripe["within"], ripe["matured"]) == (1, 1)


def test_waiting_for_the_patron_does_not_count_against_the_reply() -> None:
    events = [
        EventData("message", NOW, "patron"),
        EventData("feedback", NOW + HOUR, "lin"),
        EventData("message", NOW + 2 * HOUR, "patron"),
        EventData("paused", NOW + 3 * HOUR, "lin"),
        EventData("paused", NOW + 4 * HOUR, "lin"),
        EventData("resumed", NOW + 33 * HOUR, "lin"),
        EventData("feedback", NOW + 34 * HOUR, "lin"),
    ]

    (instance,) = instances([Stream("c", NOW, "web", events)])

    assert instance.waited(LATER) == 2 * HOUR


def test_a_pause_before_the_first_reply_stops_nothing() -> None:
    events = [
        EventData("paused", NOW, "lin"),
        EventData("feedback", NOW + HOUR, "lin"),
        EventData("message", NOW + 2 * HOUR, "patron"),
    ]

    (instance,) = instances([Stream("c", NOW, "web", events)])

    assert instance.observed(NOW + 4 * HOUR) == 2 * HOUR


# --- resolution and reopening ------------------------------------------------------------


def test_resolution_is_staffed_time_to_the_last_close_without_pauses(
    session: Session, library: Library
) -> None:
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
    consultation = escalated(session, library)  # 09:15
    answered(session, consultation, NOW + HOUR)
    consultations.close(session, consultation, at=NOW + HOUR, now=NOW + HOUR, by="lin")
    consultations.reopen(session, consultation, at=NOW + 2 * HOUR, now=NOW + 2 * HOUR, by="lin")
    pause, resume = NOW + 3 * HOUR, NOW + 4 * HOUR
    consultations.pause(session, consultation, at=pause, now=pause, by="lin")
    consultations.resume(session, consultation, at=resume, now=resume, by="lin")
    consultations.close(session, consultation, at=NOW + DAY, now=NOW + DAY, by="lin")
    escalated(session, library, conversation_id=2)

    result = resolution(session, library, **PERIOD)

    staffed = int((timedelta(hours=7, minutes=45) + timedelta(minutes=45) - HOUR).total_seconds())
    assert (result["closed"], result["open"], result["clock"]) == (1, 0, "staffed")
    assert result["seconds"]["p50"] == staffed
    assert consultation.first_closed_at == NOW + HOUR


def test_without_a_desk_resolution_is_real_time(session: Session, library: Library) -> None:
    consultation = escalated(session, library)
    answered(session, consultation, NOW + HOUR)
    consultations.close(session, consultation, at=NOW + DAY, now=NOW + DAY, by="lin")

    result = resolution(session, library, **PERIOD)

    assert (result["clock"], result["seconds"]["p95"]) == ("real", 86_400)


def closed_and_reopened(
    session: Session, library: Library, after: timedelta | None, number: int
) -> None:
    consultation = escalated(session, library, conversation_id=number)
    answered(session, consultation, NOW + HOUR)
    at = NOW + 2 * HOUR
    consultations.close(session, consultation, at=at, now=at, by="lin")
    if after is not None:
        consultations.reopen(session, consultation, at=at + after, now=at + after, by="lin")


def test_reopening_counts_within_seven_days_of_the_first_close(
    session: Session, library: Library
) -> None:
    week = 7 * DAY
    for number, after in enumerate((None, DAY, week, week + timedelta(seconds=1))):
        closed_and_reopened(session, library, after, number)

    result = reopened(session, library, **PERIOD)

    assert (result["reopened"], result["matured"]) == (2, 4)
    assert reopened(session, library, **{**PERIOD, "at": NOW + 3 * DAY})["matured"] == 0


# --- the bot -----------------------------------------------------------------------------


def bot_case(session: Session, library: Library, number: int, *kinds: str) -> None:
    consultation = opened(session, library, conversation_id=number)
    for step, kind in enumerate(kinds, start=1):
        at = NOW + timedelta(minutes=step)
        if kind == "answer":
            consultations.bot_answer(
                session, consultation, at=at, now=at, text="…", entry="fines", probability=0.9
            )
        elif kind == "yes":
            consultations.bot_accepted(session, consultation, at=at, now=at)
        else:
            consultations.bot_rejected(session, consultation, at=at, now=at, cause="no")


def test_silence_is_not_acceptance(session: Session, library: Library) -> None:
    for number, kinds in enumerate(
        (("answer",), ("answer", "yes"), ("answer", "no"), ("answer", "no", "answer", "yes"))
    ):
        bot_case(session, library, number, *kinds)

    result = acceptance(session, library, **PERIOD)

    assert (result["accepted"], result["rejected"]) == (2, 2)
    assert (result["answered"], result["responded"]) == (4, 3)
    assert result["rate"] == 0.5


# --- staffed minutes, ages, volumes, librarians -------------------------------------------


def test_an_answer_out_of_hours_costs_no_staffed_minute(session: Session, library: Library) -> None:
    night = NOW + timedelta(hours=11)
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
    answered(session, escalated(session, library, at=night, now=night), night + HOUR)
    escalated(session, library, conversation_id=2)

    result = staffed_target(session, library, minutes=60, **PERIOD)

    assert (result["within"], result["matured"]) == (1, 2)
    fresh = staffed_target(session, library, minutes=60, **{**PERIOD, "at": NOW + HOUR})
    assert (fresh["matured"], fresh["pending"]) == (0, 1)


def test_an_edit_of_the_hours_moves_no_staffed_figure_of_what_was_decided(
    session: Session, library: Library
) -> None:
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
    consultation = escalated(session, library)  # Tuesday 09:15
    answered(session, consultation, NOW + 2 * HOUR)
    consultations.close(session, consultation, at=NOW + 2 * HOUR, now=NOW + 2 * HOUR, by="lin")
    day_off = desk_document(exceptions={"2026-03-10": []})

    save_calendar(session, library.id, "desk", day_off, now=LATER, by="test")

    for at in (LATER, NOW + HOUR * 3 / 2):  # today, and looked back from before the reply
        result = staffed_target(session, library, minutes=60, **{**PERIOD, "at": at})
        assert (result["within"], result["matured"]) == (0, 1)
    assert resolution(session, library, **PERIOD)["seconds"]["p50"] == 2 * 3600


def test_without_hours_there_is_no_staffed_target(session: Session, library: Library) -> None:
    escalated(session, library)

    result = staffed_target(session, library, minutes=60, **PERIOD)

    assert (result["matured"], result["pending"], result["rate"]) == (0, 0, None)


def test_the_backlog_is_seen_by_age_at_any_instant(session: Session, library: Library) -> None:
    escalated(session, library, conversation_id=1)
    late = escalated(session, library, conversation_id=2, at=NOW + DAY, now=NOW + DAY)
    answered(session, late, NOW + 3 * DAY)

    assert backlog_by_age(session, library, at=NOW + DAY) == {"wechat": [1, 0, 1, 0, 0, 0]}
    assert backlog_by_age(session, library, at=NOW + DAY + HOUR) == {"wechat": [1, 0, 0, 1, 0, 0]}
    assert backlog_by_age(session, library, at=NOW + 9 * DAY) == {"wechat": [0, 0, 0, 0, 0, 1]}


def test_directional_questions_stay_in_the_rate_and_leave_the_reference_count(
    session: Session, library: Library
) -> None:
    where = escalated(session, library, conversation_id=1)
    consultations.correct(session, where, at=NOW, now=NOW, by="lin", directional=True, read_scale=1)
    spam = escalated(session, library, conversation_id=2)
    consultations.exclude(session, spam, at=NOW, now=NOW, by="lin", reason="spam")
    missed = escalated(session, library, conversation_id=3)
    late = NOW + 2 * DAY
    consultations.exclude(session, missed, at=late, now=late, by="lin", reason="test")

    result = volumes(session, library, **PERIOD)

    assert (result["received"], result["reference"], result["directional"]) == (3, 0, 1)
    assert (result["excluded"], result["excluded_late"], result["handed_over"]) == (2, 1, 1)
    assert exclusions(session, library, **PERIOD) == {"spam": 1, "test": 1}
    assert result["read"] == {"1": 1}


def test_the_first_answer_is_its_authors_and_the_wait_before_it_the_queues(
    session: Session, library: Library
) -> None:
    consultation = escalated(session, library)
    claimed = NOW + 20 * HOUR
    consultations.assign(session, consultation, at=claimed, now=claimed, by="lin", to="lin")
    answered(session, consultation, NOW + 21 * HOUR)
    consultations.feedback(
        session, consultation, at=NOW + 22 * HOUR, now=NOW + 22 * HOUR, by="tran", text="…"
    )

    everyone = by_librarian(session, library, **PERIOD)

    assert [item["librarian"] for item in everyone] == ["lin"]
    assert everyone[0]["seconds_in_hand"]["p50"] == 3600
    assert everyone[0]["seconds_to_feedback"]["p50"] == 21 * 3600
    assert by_librarian(session, library, librarian="tran", **PERIOD) == []
