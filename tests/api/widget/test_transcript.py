"""A conversation by e-mail, to its own patron only."""

import pytest
from sqlalchemy import select

from api.db import Database
from api.state import State
from bot.models import Outbox, OutboxState
from tests.api.widget.conftest import Patron
from tests.api.widget.test_talk import answered_by_librarian
from tests.conftest import StandingClock


@pytest.fixture
def settings(settings):  # type: ignore[no-untyped-def]
    return settings.model_copy(update={"smtp_host": "mail.example.org", "smtp_from": "d@e.org"})


def letters(database: Database) -> list[Outbox]:
    with database.snapshot() as session:
        found = select(Outbox).where(Outbox.via == "email").order_by(Outbox.id)
        return list(session.scalars(found))


def test_everything_that_was_said_is_in_it(patron: Patron, database: Database) -> None:
    patron.says("怎么续借图书")

    answer = patron.posts("transcript", email="reader@example.org")

    assert answer.status_code == 200
    (letter,) = letters(database)
    text = letter.reply["text"]
    assert text.index("怎么续借图书") < text.index("登录后点“续借”")
    assert "north" in text
    assert "今天10:00" in text
    assert letter.state == OutboxState.NEW


def test_it_is_no_message_of_the_conversation(patron: Patron) -> None:
    patron.says("怎么续借图书")
    patron.posts("transcript", email="reader@example.org")

    assert len(patron.reads()["messages"]) == 2


def test_it_goes_to_the_address_that_we_have(patron: Patron, database: Database) -> None:
    patron.says("人工")
    assert patron.posts("transcript").status_code == 400
    patron.posts("email", email="reader@example.org")

    assert patron.posts("transcript").status_code == 200


def test_a_few_a_day_and_no_more(patron: Patron, clock: StandingClock) -> None:
    patron.says("人工")
    asked = [patron.posts("transcript", email=f"r{n}@example.org").status_code for n in range(4)]

    assert asked == [200, 200, 200, 429]
    clock.advance(hours=25)
    assert patron.posts("transcript").status_code == 200


@pytest.mark.parametrize("address", ["nobody", "a@b", "x@example.org\nBcc: y@z.org", 7])
def test_what_is_no_address_is_refused(patron: Patron, database: Database, address: object) -> None:
    patron.says("人工")

    assert patron.posts("transcript", email=address).status_code == 400
    assert letters(database) == []


def test_a_desk_that_cannot_mail_says_so(
    patron: Patron, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    patron.says("人工")
    monkeypatch.setitem(state.settings.__dict__, "smtp_host", None)

    assert patron.posts("transcript", email="reader@example.org").status_code == 503


def test_the_answer_of_a_librarian_is_in_it_with_their_name(
    patron: Patron, database: Database, clock: StandingClock
) -> None:
    patron.says("人工")
    answered_by_librarian(database, clock, "特藏室有一部。")
    patron.posts("transcript", email="reader@example.org")

    text = letters(database)[-1].reply["text"]
    assert "Lin · " in text
    assert "特藏室有一部。" in text
