"""Calendars of a library: versions, promises, and deadlines that no change rewrites."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from tests.tracker.samples import NOW, desk_document, week
from tests.tracker.test_consultations import answered, escalated
from tracker import calendars, consultations
from tracker.calendars import calendar, promise, save_calendar
from tracker.clock import Calendar, parse_instant
from tracker.errors import BadCalendar
from tracker.models import Library
from tracker.stats import NEXT_DAY, stats

DAY = timedelta(days=1)
SHORT = desk_document(versions=[{"valid_from": "1990-01-01", "weekly": week("08:30", "12:00")}])


def test_the_newest_version_is_in_force_and_none_is_lost(
    session: Session, library: Library
) -> None:
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="lin")
    save_calendar(session, library.id, "desk", SHORT, now=NOW + DAY, by="lin")

    current = calendar(session, library.id)
    first = calendars.desk_version(session, library.id, 1)

    assert current is not None
    assert first is not None
    noon = parse_instant("2026-03-10T13:00:00+08:00")
    assert (current.is_open(noon), first.calendar.is_open(noon)) == (False, True)
    assert calendars.desk_version(session, library.id, 3) is None


def test_saving_the_same_calendar_again_makes_no_version(
    session: Session, library: Library
) -> None:
    first = save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="lin")

    assert save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="x") is first


def test_desk_and_building_are_two_calendars(session: Session, library: Library) -> None:
    save_calendar(session, library.id, "building", desk_document(), now=NOW, by="lin")

    assert calendar(session, library.id) is None
    assert calendar(session, library.id, "building") is not None
    assert calendars.names(session, library.id) == ["building"]


def test_a_bad_calendar_is_refused(session: Session, library: Library) -> None:
    with pytest.raises(BadCalendar):
        save_calendar(session, library.id, "desk", {"tz": "+08:00"}, now=NOW, by="lin")

    assert calendars.latest(session, library.id) is None


@pytest.mark.parametrize(
    ("received", "promised"),
    [
        ("2026-03-10T09:15", "2026-03-10T17:00"),  # today, while two staffed hours are left
        ("2026-03-10T15:00", "2026-03-10T17:00"),
        ("2026-03-10T15:01", "2026-03-11T17:00"),
        ("2026-03-10T03:00", "2026-03-10T17:00"),
        ("2026-03-13T18:05", "2026-03-16T17:00"),  # Friday evening: Monday
    ],
)
def test_a_promise_is_the_end_of_a_staffed_day(received: str, promised: str) -> None:
    hours = Calendar.from_document(desk_document())

    assert promise(hours, parse_instant(f"{received}:00+08:00")) == parse_instant(
        f"{promised}:00+08:00"
    )


def test_a_desk_that_is_never_staffed_promises_nothing() -> None:
    assert promise(Calendar.from_document(desk_document(versions=[])), NOW) is None


def next_day(session: Session, library: Library, at: datetime) -> tuple[int, int, int]:
    count = stats(session, library, at=at)["total"][NEXT_DAY]
    return count["within"], count["matured"], count["pending"]


def test_without_a_calendar_nothing_is_counted_by_opening_day(
    session: Session, library: Library
) -> None:
    escalated(session, library)

    count = stats(session, library, at=NOW + 9 * DAY)["total"][NEXT_DAY]

    assert (count["within"], count["matured"], count["pending"]) == (0, 0, 0)
    assert count["rate"] is count["worst"] is count["best"] is None


def test_a_first_calendar_serves_what_was_received_before_it(
    session: Session, library: Library
) -> None:
    answered(session, escalated(session, library), NOW + DAY)

    save_calendar(session, library.id, "desk", desk_document(), now=NOW + 9 * DAY, by="lin")

    assert next_day(session, library, NOW + 9 * DAY) == (1, 1, 0)


def test_a_new_calendar_moves_what_waits_and_nothing_that_was_decided(
    session: Session, library: Library
) -> None:
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="lin")
    met = escalated(session, library, conversation_id=1)
    answered(session, met, parse_instant("2026-03-11T15:00:00+08:00"))
    missed = escalated(session, library, conversation_id=2)
    changed_at = parse_instant("2026-03-12T09:00:00+08:00")
    waits = escalated(session, library, conversation_id=3, at=changed_at, now=changed_at)
    before = met.next_day_due_at

    save_calendar(session, library.id, "desk", SHORT, now=changed_at, by="lin")

    for consultation in (met, missed, waits):
        session.refresh(consultation)
    assert met.next_day_due_at == missed.next_day_due_at == before
    assert waits.next_day_due_at == parse_instant("2026-03-13T12:00:00+08:00")
    assert waits.calendar_version == 2
    assert next_day(session, library, parse_instant("2026-03-12T18:00:00+08:00")) == (1, 2, 1)


def test_a_later_event_keeps_the_deadline_by_the_old_hours(
    session: Session, library: Library
) -> None:
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="lin")
    consultation = escalated(session, library)
    due = consultation.next_day_due_at
    late = NOW + 3 * DAY
    save_calendar(session, library.id, "desk", SHORT, now=late, by="lin")

    consultations.feedback(session, consultation, at=late, now=late, by="lin", text="…")

    assert consultation.next_day_due_at == due
    assert consultation.calendar_version == 1
