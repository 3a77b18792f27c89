"""The queue: who waits, in which order, and for whom."""

from datetime import timedelta

from sqlalchemy.orm import Session

from tests.tracker.samples import NOW
from tests.tracker.test_consultations import answered, escalated, opened
from tracker import consultations
from tracker.models import Library
from tracker.queue import count_waiting, waiting

HOUR = timedelta(hours=1)


def keys(session: Session, library: Library, **narrowed: object) -> list[str]:
    now = narrowed.pop("now", NOW + 30 * HOUR)
    return [c.key for c in waiting(session, library.id, now=now, **narrowed)]  # type: ignore[arg-type]


def test_urgent_comes_first_then_overdue_then_the_least_time_left(
    session: Session, library: Library
) -> None:
    late = NOW + 29 * HOUR
    escalated(session, library, key="overdue", conversation_id=1)
    escalated(session, library, key="fresh", conversation_id=2, at=late, now=late)
    escalated(session, library, key="older", conversation_id=3, at=late - HOUR, now=late - HOUR)
    urgent = opened(session, library, key="urgent", conversation_id=4, at=late, now=late)
    consultations.escalate(session, urgent, at=late, now=late, reason="danger", urgent=True)

    assert keys(session, library) == ["urgent", "overdue", "older", "fresh"]


def test_a_broken_promise_goes_before_those_with_time_left(
    session: Session, library: Library
) -> None:
    escalated(session, library, key="first", conversation_id=1)
    promised = escalated(session, library, key="promised", conversation_id=2)
    consultations.acknowledge(
        session, promised, at=NOW, now=NOW, text="…", promised_at=NOW + 2 * HOUR
    )

    assert keys(session, library, now=NOW + 3 * HOUR) == ["promised", "first"]


def test_what_nobody_waits_for_is_not_in_the_queue(session: Session, library: Library) -> None:
    done = escalated(session, library, conversation_id=1)
    answered(session, done, NOW + HOUR)
    closed = escalated(session, library, conversation_id=2)
    consultations.close(session, closed, at=NOW, now=NOW, by="lin")
    bot = opened(session, library, conversation_id=3)
    consultations.bot_answer(
        session, bot, at=NOW, now=NOW, text="…", entry="fines", probability=0.9
    )

    assert keys(session, library) == []


def test_a_conversation_that_the_bot_left_without_answer_turns_up(
    session: Session, library: Library
) -> None:
    opened(session, library, key="dead end")

    assert keys(session, library, now=NOW + timedelta(minutes=14)) == []
    assert keys(session, library, now=NOW + timedelta(minutes=15)) == ["dead end"]


def test_mine_and_nobodys_are_apart(session: Session, library: Library) -> None:
    mine = escalated(session, library, key="mine", conversation_id=1)
    escalated(session, library, key="nobodys", conversation_id=2)
    consultations.assign(session, mine, at=NOW, now=NOW, by="lin", to="lin")

    assert keys(session, library, assigned_to="lin") == ["mine"]
    assert keys(session, library, unassigned=True) == ["nobodys"]
    assert len(keys(session, library)) == 2
    assert count_waiting(session, library.id, now=NOW) == {"lin": 1, None: 1}


def test_another_librarys_queue_is_not_ours(session: Session, library: Library) -> None:
    other = Library(slug="north", name="N", timezone="UTC", created_at=NOW)
    session.add(other)
    session.flush()
    escalated(session, other)

    assert keys(session, library) == []
