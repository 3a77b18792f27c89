"""With the database down a webhook verifies, keeps, acknowledges; afterwards nothing is missing."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.exc import OperationalError, ProgrammingError
from starlette.testclient import TestClient

from api.accounts import account_named, add_account
from api.app import create_state
from api.db import Database
from api.standby import is_away
from api.state import State
from api.taking import replay
from bot import delivery
from bot.messages import Reply
from bot.models import Inbox, Outbox, OutboxState
from tests.api.conftest import Libraries
from tests.conftest import StandingClock
from tests.fakes.wechat import Call, Credentials, Platform
from tracker.models import Consultation, Library

READER = "oLibQ7m2xReaderA-demo0001"


class Switch:
    """Takes the database away, and brings it back."""

    def __init__(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database, self._patch = state.database, monkeypatch
        self._standby = state.standby

    @contextmanager
    def off(self) -> Iterator[None]:
        def refused(*_: object, **__: object) -> Any:
            raise OperationalError("connect", None, Exception("connection refused"))

        with self._patch.context() as patched:
            for name in ("transaction", "snapshot"):
                patched.setattr(self._database, name, refused)
            yield
        self._standby._away_until = 0.0  # a second has gone by


@pytest.fixture
def switch(state: State, monkeypatch: pytest.MonkeyPatch) -> Switch:
    return Switch(state, monkeypatch)


@pytest.fixture
def platform(clock: StandingClock) -> Platform:
    return Platform(clock, wait=lambda seconds: None)


@pytest.fixture
def reader(platform: Platform, client: TestClient, state: State, libraries: Libraries) -> Any:
    known = Credentials()
    with state.database.transaction() as session:
        add_account(
            session,
            session.get_one(Library, libraries.north),
            kind="wechat",
            name="main",
            values={
                "token": known.token,
                "app_id": known.app_id,
                "encoding_aes_key": known.encoding_aes_key,
                "app_secret": known.app_secret,
            },
            keyring=state.keyring,
            now=state.clock(),
        )
    state.standby.remember()

    def webhook(call: Call) -> tuple[int, bytes]:
        answer = client.request(
            call.method, "/channels/wechat/main", params=call.query, content=call.body
        )
        return answer.status_code, answer.content

    return platform.patron(READER, webhook)


def come_back(state: State) -> int:
    """One round of the thread that replays."""
    return state.standby.replay(lambda record: replay(state, record))


def stored(database: Database) -> list[str]:
    with database.snapshot() as session:
        return list(session.scalars(select(Inbox.text).order_by(Inbox.id)))


def unsent(database: Database) -> list[str]:
    with database.snapshot() as session:
        rows = session.scalars(select(Outbox).where(Outbox.state == OutboxState.NEW))
        return [Reply.from_dict(row.reply).text for row in rows]


def test_what_comes_meanwhile_is_acknowledged_kept_and_answered_later(
    switch: Switch, reader: Any, state: State, clock: StandingClock
) -> None:
    with switch.off():
        for text in ("怎么续借图书", "帮我看看论文选题"):
            exchange = reader.says(text)
            assert (exchange.statuses, exchange.outage) == ((200,), False)
    clock.advance(minutes=10)

    assert come_back(state) == 2
    assert come_back(state) == 0

    assert stored(state.database) == ["怎么续借图书", "帮我看看论文选题"]
    with state.database.snapshot() as session:
        first = session.scalars(select(Consultation).order_by(Consultation.id)).first()
        assert first is not None
        assert (clock() - first.received_at).total_seconds() == 600
    assert any("续借" in text for text in unsent(state.database))


def test_what_comes_after_waits_behind_what_waits(
    switch: Switch, reader: Any, state: State
) -> None:
    with switch.off():
        reader.says("第一个问题怎么办理")
    reader.says("第二个问题怎么办理")
    assert stored(state.database) == []

    come_back(state)
    reader.says("第三个问题怎么办理")

    assert [text[:2] for text in stored(state.database)] == ["第一", "第二", "第三"]


def test_a_repetition_of_what_is_kept_makes_no_second_message(
    switch: Switch, reader: Any, state: State, platform: Platform
) -> None:
    with switch.off():
        platform.lose_answers = 2
        reader.says("怎么续借图书")
    come_back(state)

    assert stored(state.database) == ["怎么续借图书"]


def test_forged_requests_are_refused_meanwhile_too(
    switch: Switch, client: TestClient, reader: Any, platform: Platform, state: State
) -> None:
    forged = platform.call("<xml></xml>")
    forged.query["msg_signature"] = "é" * 40
    with switch.off():
        answer = client.post("/channels/wechat/main", params=forged.query, content=forged.body)
        unknown = client.post("/channels/wechat/other", params=forged.query, content=forged.body)

    assert (answer.status_code, unknown.status_code) == (403, 503)
    assert state.standby.spool.waiting() == []


def test_a_full_disk_is_answered_503_never_a_false_200(
    switch: Switch, reader: Any, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    with switch.off(), monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        exchange = reader.says("怎么续借图书")

    assert set(exchange.statuses) == {503}
    assert come_back(state) == 0
    assert reader.again().statuses == (200,)
    assert stored(state.database) == ["怎么续借图书"]


def test_a_process_that_starts_meanwhile_knows_the_accounts(
    switch: Switch, reader: Any, state: State, clock: StandingClock
) -> None:
    fresh = create_state(state.settings, clock=clock, database=state.database)
    fresh.standby.recall()

    found = fresh.standby.account("wechat", "main")

    assert fresh.channels.of(found).kind == "wechat"
    (path,) = state.settings.spool.glob("accounts.*")
    assert Credentials().app_secret.encode() not in path.read_bytes()
    assert b"wechat" not in path.read_bytes()
    fresh.channels.close()


def test_an_answer_that_waited_for_the_patron_is_pushed_then(
    switch: Switch, reader: Any, state: State, clock: StandingClock
) -> None:
    reader.says("帮我看看论文选题")
    clock.advance(hours=49)
    with state.database.transaction() as session:
        consultation = session.scalars(select(Consultation)).one()
        library = session.get_one(Library, consultation.library_id)
        row = delivery.reply_as_librarian(
            session, library, consultation, by="li@north", name="Li", text="可以", now=clock()
        )
        assert row is not None
        delivery.lease(session, worker="w", now=clock())
        assert row.next_attempt_at is None
    with switch.off():
        reader.says("有人吗")
    come_back(state)

    with state.database.snapshot() as session:
        row = session.get_one(Outbox, row.id)
        assert (row.state, row.next_attempt_at) == (OutboxState.NEW, clock())
        assert session.scalars(select(Consultation.feedback_at)).first() is None


def test_a_message_that_the_bot_stumbles_over_reaches_a_librarian(
    switch: Switch, reader: Any, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    with switch.off():
        reader.says("怎么续借图书")

    def stumbles(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("bot.intake.take_turn", stumbles)
        assert come_back(state) == 1

    with state.database.snapshot() as session:
        assert session.scalars(select(Consultation.escalated_at)).one() is not None


def test_messages_of_an_account_that_was_removed_are_set_aside(
    switch: Switch, reader: Any, state: State
) -> None:
    with switch.off():
        reader.says("怎么续借图书")
    with state.database.transaction() as session:
        session.delete(account_named(session, "main"))

    assert come_back(state) == 0
    assert state.standby.spool.waiting() == []


def test_rasas_clients_are_told_and_heard_too(
    switch: Switch, client: TestClient, libraries: Libraries, state: State
) -> None:
    ask: Callable[[str], Any] = lambda text: client.post(  # noqa: E731
        "/webhooks/rest/webhook", json={"sender": "x", "message": text}
    )
    assert ask("怎么续借图书").status_code == 200
    with switch.off():
        answer = ask("How do I renew a book")
    come_back(state)

    assert answer.status_code == 200
    assert "cannot answer it just now" in answer.json()[0]["text"]
    assert stored(state.database) == ["怎么续借图书", "How do I renew a book"]


def test_what_a_driver_raises_without_a_server_counts_as_away() -> None:
    engine = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(OperationalError) as refused, engine.connect():
        pass

    assert is_away(refused.value)
    assert not is_away(ProgrammingError("select", None, Exception("no such column")))
