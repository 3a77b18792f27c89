"""Missed deadlines are noticed once each, whoever looks and however often."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.db import Database
from tests.tracker.samples import NOW, desk_document
from tests.tracker.test_consultations import answered, escalated, opened
from tracker import consultations
from tracker.calendars import save_calendar
from tracker.models import Consultation, Library, Miss
from tracker.stats import stats
from tracker.sweep import escalate_dead_ends, mark_next_overdue, sweep

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def clocks(session: Session) -> list[str]:
    return list(session.scalars(select(Miss.clock).order_by(Miss.due_at, Miss.clock)))


def test_a_deadline_is_missed_once_its_instant_has_passed(
    session: Session, library: Library
) -> None:
    escalated(session, library)

    assert mark_next_overdue(session, now=NOW + DAY) is None
    misses = mark_next_overdue(session, now=NOW + DAY + SECOND)

    assert misses is not None
    assert [(miss.clock, miss.due_at) for miss in misses] == [("answer", NOW + DAY)]
    assert mark_next_overdue(session, now=NOW + 9 * DAY) is None


def test_every_clock_is_missed_on_its_own(session: Session, library: Library) -> None:
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
    consultation = escalated(session, library)
    consultations.acknowledge(
        session, consultation, at=NOW, now=NOW, text="…", promised_at=NOW + timedelta(hours=2)
    )

    assert [m.clock for m in sweep(session, now=NOW + timedelta(hours=3))] == ["promise"]
    assert [m.clock for m in sweep(session, now=NOW + DAY + SECOND)] == ["answer"]
    assert [m.clock for m in sweep(session, now=NOW + 9 * DAY)] == ["next_day"]
    assert sweep(session, now=NOW + 99 * DAY) == []


def test_a_late_worker_notices_all_at_once(session: Session, library: Library) -> None:
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
    escalated(session, library)
    escalated(session, library, conversation_id=2)

    assert len(sweep(session, now=NOW + 9 * DAY)) == 4
    assert sweep(session, now=NOW + 9 * DAY) == []


def test_a_later_event_does_not_bring_a_miss_back(session: Session, library: Library) -> None:
    consultation = escalated(session, library)
    late = NOW + 2 * DAY
    sweep(session, now=late)

    consultations.add_message(session, consultation, at=late, now=late, text="?")
    consultations.close(session, consultation, at=late, now=late, by="lin")
    consultations.reopen(session, consultation, at=late, now=late, by="lin")

    assert sweep(session, now=late + DAY) == []
    assert clocks(session) == ["answer"]


def test_a_follow_up_has_a_deadline_of_its_own(session: Session, library: Library) -> None:
    consultation = escalated(session, library)
    answered(session, consultation, NOW + timedelta(hours=1))
    asked = NOW + timedelta(hours=2)
    consultations.add_message(session, consultation, at=asked, now=asked, text="周日呢？")

    assert [miss.clock for miss in sweep(session, now=asked + DAY + SECOND)] == ["next_response"]


def test_waiting_for_the_patron_after_a_holding_reply_hides_no_miss(
    session: Session, library: Library
) -> None:
    consultation = escalated(session, library)
    soon = NOW + timedelta(hours=1)
    consultations.feedback(
        session, consultation, at=soon, now=soon, by="lin", text="…", substantive=False
    )
    consultations.pause(session, consultation, at=soon, now=soon, by="lin")

    misses = sweep(session, now=NOW + timedelta(days=2))

    assert [(miss.clock, miss.due_at) for miss in misses] == [("answer", NOW + timedelta(days=1))]


def test_what_was_answered_in_time_is_no_miss(session: Session, library: Library) -> None:
    consultation = escalated(session, library)
    answered(session, consultation, NOW + DAY)

    assert sweep(session, now=NOW + 9 * DAY) == []


def test_a_second_worker_does_not_record_the_same_miss(each_database: Database) -> None:
    with each_database.transaction() as session:
        library = Library(slug="demo", name="D", timezone="Asia/Shanghai", created_at=NOW)
        session.add(library)
        session.flush()
        escalated(session, library)
    slow: dict[str, Any] = {}
    with each_database.transaction() as session:
        slow["seen"] = session.scalars(select(Consultation)).one()
        session.expunge_all()
    with each_database.transaction() as session:
        assert len(sweep(session, now=NOW + 2 * DAY)) == 1

    with each_database.transaction() as session:
        from tracker.sweep import _mark  # noqa: PLC0415 - the slow worker's second half

        assert _mark(session, session.merge(slow["seen"], load=False), now=NOW + 2 * DAY) == []
        assert clocks(session) == ["answer"]


MINUTES = timedelta(minutes=1)


def test_choices_that_nobody_took_go_to_the_librarians_after_a_quarter_of_an_hour(
    session: Session, library: Library
) -> None:
    consultation = opened(session, library)

    assert escalate_dead_ends(session, now=NOW + 14 * MINUTES) == []
    assert escalate_dead_ends(session, now=NOW + 15 * MINUTES) == [consultation]
    assert escalate_dead_ends(session, now=NOW + 16 * MINUTES) == []
    assert consultation.status == "waiting"
    assert consultation.escalated_at == NOW + 15 * MINUTES
    assert consultation.waiting_since == NOW
    event = consultations.events_of(session, consultation)[-1]
    assert (event.kind, event.by, event.data) == ("escalated", "bot", {"reason": "unanswered"})


def test_handing_a_dead_end_over_changes_no_rate(session: Session, library: Library) -> None:
    opened(session, library)
    at = NOW + 3 * DAY
    before = stats(session, library, at=at)

    escalate_dead_ends(session, now=NOW + 2 * DAY)

    after = stats(session, library, at=at)
    assert before["total"] == after["total"]
    assert after["total"]["answered_within_24h"]["within"] == 0
    assert after["total"]["answered_within_24h"]["matured"] == 1


def test_only_what_was_left_without_an_answer_is_handed_over(
    session: Session, library: Library
) -> None:
    bots = opened(session, library, conversation_id=1)
    consultations.bot_answer(
        session, bots, at=NOW, now=NOW, text="…", entry="renew", probability=0.9
    )
    escalated(session, library, conversation_id=2)
    talking = opened(session, library, conversation_id=3)
    later = NOW + 10 * MINUTES
    consultations.add_message(session, talking, at=later, now=later, text="wifi")
    withdrawn = opened(session, library, conversation_id=4)
    consultations.withdraw(session, withdrawn, at=NOW, now=NOW)
    opened(session, library, conversation_id=None)  # history from elsewhere

    assert escalate_dead_ends(session, now=NOW + 20 * MINUTES) == []
    assert escalate_dead_ends(session, now=NOW + 25 * MINUTES) == [talking]


def test_a_later_worker_finds_nothing_left_to_hand_over(each_database: Database) -> None:
    with each_database.transaction() as session:
        library = Library(slug="demo", name="D", timezone="Asia/Shanghai", created_at=NOW)
        session.add(library)
        session.flush()
        opened(session, library)
    with each_database.transaction() as session:
        assert len(escalate_dead_ends(session, now=NOW + DAY)) == 1

    with each_database.transaction() as session:
        assert escalate_dead_ends(session, now=NOW + DAY) == []
