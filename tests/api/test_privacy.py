import json
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts import built_in_account
from api.db import Database
from api.privacy import erase_again, erase_patron, forget_old
from api.state import State
from api.webhooks import take_message
from bot.messages import Inbound
from bot.models import Conversation, Inbox, Outbox, Patron
from tests.api.conftest import Libraries
from tests.conftest import StandingClock
from tracker.consultations import close
from tracker.models import Consultation, Event, Library
from tracker.stats import stats
from tracker.verify import verify

CANARY = "canary-7f3a"


def say(state: State, library_id: int, patron: str, text: str) -> None:
    """A patron of the Rasa channel writes."""
    now = state.clock()
    with state.database.transaction() as session:
        desk = state.desks.of(session, library_id, now=now)
        account = built_in_account(session, desk.library, "rasa", now=now)
    message = Inbound(
        patron,
        text,
        f"{patron}:{text}",
        display_name=f"Dr {patron} {CANARY if patron == 'ann' else ''}",
    )
    take_message(state, desk, account, message)


def dump(session: Session) -> str:
    """Everything that is kept, as text."""
    lines = list(session.connection().connection.driver_connection.iterdump())  # type: ignore[union-attr]
    return "\n".join(lines)


@pytest.fixture
def two_patrons(state: State, libraries: Libraries) -> None:
    say(state, libraries.north, "ann", f"{CANARY} where is the map room")
    say(state, libraries.north, "ben", "is there a microfilm reader for old newspapers")


def figures(session: Session, libraries: Libraries, state: State) -> dict[str, object]:
    library = session.get_one(Library, libraries.north)
    return stats(session, library, at=state.clock())["total"]


def test_nothing_personal_is_left_and_the_counts_stay(
    state: State, database: Database, libraries: Libraries, two_patrons: None
) -> None:
    with database.snapshot() as session:
        before = figures(session, libraries, state)

    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        erased = erase_patron(
            session, library, channel="rasa", patron="ann", keyring=state.keyring, now=state.clock()
        )

    assert erased == 1
    with database.snapshot() as session:
        left = dump(session)
        assert CANARY not in left
        assert "'ann'" not in left
        assert "microfilm" in left
        assert figures(session, libraries, state) == before
        assert verify(session, session.get_one(Library, libraries.north)).is_sound
        assert len(session.scalars(select(Patron)).all()) == 1


def test_a_patron_of_the_widget_is_found_by_the_session_that_is_kept_nowhere(
    client: TestClient, state: State, database: Database, libraries: Libraries
) -> None:
    given = client.post("/widget/north/sessions", content=b"{}").json()["session"]
    sent = {"session": given, "id": "a-first-message", "text": CANARY}
    client.post("/widget/north/messages", content=json.dumps(sent))

    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        erased = erase_patron(
            session, library, channel="web", patron=given, keyring=state.keyring, now=state.clock()
        )

    assert erased == 1
    with database.snapshot() as session:
        assert CANARY not in dump(session)


def test_a_patron_of_whom_nothing_is_kept_is_not_found(
    state: State, database: Database, libraries: Libraries, two_patrons: None
) -> None:
    with database.transaction() as session:
        library = session.get_one(Library, libraries.south)
        erased = erase_patron(
            session, library, channel="rasa", patron="ann", keyring=state.keyring, now=state.clock()
        )

    assert erased == 0  # she is a patron of the other library


def test_a_restored_backup_erases_again(
    state: State, database: Database, libraries: Libraries, two_patrons: None
) -> None:
    now = state.clock()
    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        erase_patron(session, library, channel="rasa", patron="ann", keyring=state.keyring, now=now)
    say(state, libraries.north, "ann", f"{CANARY} again, as the backup had it")

    with database.transaction() as session:
        assert erase_again(session, state.keyring) == 1

    with database.snapshot() as session:
        assert CANARY not in dump(session)


def test_words_are_kept_half_a_year_and_open_questions_longer(
    state: State,
    database: Database,
    libraries: Libraries,
    two_patrons: None,
    clock: StandingClock,
) -> None:
    with database.transaction() as session:
        ann = session.scalars(select(Consultation).where(Consultation.title.contains(CANARY))).one()
        close(session, ann, at=clock.now, now=clock.now, by="librarian@north")

    clock.advance(days=179)
    with database.transaction() as session:
        assert forget_old(session, session.get_one(Library, libraries.north), now=clock.now) == 0
    clock.advance(days=2)
    with database.transaction() as session:
        assert forget_old(session, session.get_one(Library, libraries.north), now=clock.now) == 1

    with database.snapshot() as session:
        left = dump(session)
        assert CANARY not in left
        assert "microfilm" in left  # nobody has answered it yet
        assert verify(session, session.get_one(Library, libraries.north)).is_sound
        assert len(session.scalars(select(Conversation)).all()) == 1
        assert len(session.scalars(select(Consultation)).all()) == 2


def test_a_library_may_keep_words_for_a_shorter_time(
    state: State, database: Database, libraries: Libraries, clock: StandingClock
) -> None:
    say(state, libraries.north, "ann", "怎么续借图书")
    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        library.settings = {"retention_days": 7}
        for each in session.scalars(select(Consultation)):
            close(session, each, at=clock.now, now=clock.now, by="bot")
    clock.now += timedelta(days=8)

    with database.transaction() as session:
        forget_old(session, session.get_one(Library, libraries.north), now=clock.now)

    with database.snapshot() as session:
        assert session.scalars(select(Inbox)).all() == []
        assert session.scalars(select(Outbox)).all() == []
        assert {event.text for event in session.scalars(select(Event))} == {None}
