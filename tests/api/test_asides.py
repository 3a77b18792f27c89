"""Notes and snoozes: beside the record, never in it."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from api.asides import add_note, notes_of, snooze, snoozed, wake
from api.db import Database
from api.errors import BadRequest
from tests.api.conftest import Libraries
from tests.conftest import MONDAY
from tracker.consultations import add_message, escalate, events_of, open_consultation
from tracker.models import Consultation, Library

HOUR = timedelta(hours=1)
ME = "librarian@north"


@pytest.fixture
def session(database: Database, libraries: Libraries):  # type: ignore[no-untyped-def]
    with database.transaction() as opened:
        yield opened


@pytest.fixture
def consultation(session: Session, libraries: Libraries) -> Consultation:
    opened = open_consultation(
        session,
        session.get_one(Library, libraries.north),
        channel="web",
        conversation_id=None,
        at=MONDAY,
        now=MONDAY,
        text="问题",
        language="zh-Hans",
    )
    escalate(session, opened, at=MONDAY, now=MONDAY, reason="unknown")
    return opened


def test_a_note_is_kept_and_is_no_event(session: Session, consultation: Consultation) -> None:
    before = len(events_of(session, consultation))

    add_note(session, consultation, by=ME, text="  问过采访部。 ", now=MONDAY)

    assert [note.text for note in notes_of(session, consultation)] == ["问过采访部。"]
    assert len(events_of(session, consultation)) == before
    assert consultation.feedback_at is None


@pytest.mark.parametrize("text", ["", "  \n", "x" * 4_001])
def test_an_empty_or_endless_note_is_refused(
    session: Session, consultation: Consultation, text: str
) -> None:
    with pytest.raises(BadRequest):
        add_note(session, consultation, by=ME, text=text, now=MONDAY)


def test_a_snoozed_consultation_comes_back_by_itself(
    session: Session, consultation: Consultation
) -> None:
    snooze(session, consultation, by=ME, until=MONDAY + HOUR, now=MONDAY)

    library_id = consultation.library_id
    assert set(snoozed(session, library_id, now=MONDAY)) == {consultation.id}
    assert snoozed(session, library_id, now=MONDAY + HOUR) == {}


def test_a_second_snooze_replaces_the_first_and_waking_ends_it(
    session: Session, consultation: Consultation
) -> None:
    snooze(session, consultation, by=ME, until=MONDAY + HOUR, now=MONDAY)
    snooze(session, consultation, by=ME, until=MONDAY + 5 * HOUR, now=MONDAY)
    library_id = consultation.library_id
    assert snoozed(session, library_id, now=MONDAY + 2 * HOUR) == {
        consultation.id: MONDAY + 5 * HOUR
    }

    wake(session, consultation)

    assert snoozed(session, library_id, now=MONDAY) == {}


def test_what_the_patron_writes_brings_it_back(
    session: Session, consultation: Consultation
) -> None:
    snooze(session, consultation, by=ME, until=MONDAY + 5 * HOUR, now=MONDAY)

    add_message(session, consultation, at=MONDAY + HOUR, now=MONDAY + HOUR, text="还有一点")

    assert snoozed(session, consultation.library_id, now=MONDAY + 2 * HOUR) == {}


def test_the_past_is_no_time_to_come_back(session: Session, consultation: Consultation) -> None:
    with pytest.raises(BadRequest):
        snooze(session, consultation, by=ME, until=MONDAY, now=MONDAY)
