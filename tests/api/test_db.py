import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from api.bus import Notice
from api.db import REST_SECONDS, Database
from api.libraries import LibraryExists, add_library
from bot.models import ChannelAccount, Conversation, Outbox, OutboxState
from tracker.models import Library


def some_library(session: Session, slug: str = "north") -> Library:
    return add_library(session, slug, name="North", timezone="Asia/Shanghai", now=NOW)


NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def test_a_transaction_keeps_all_or_nothing(each_database: Database) -> None:
    with each_database.transaction() as session:
        some_library(session)

    with pytest.raises(ZeroDivisionError), each_database.transaction() as session:
        some_library(session, slug=f"south-{1 // 0}")

    with each_database.snapshot() as session:
        assert session.scalars(select(Library.slug)).all() == ["north"]


def test_a_snapshot_cannot_write(each_database: Database) -> None:
    with pytest.raises(DBAPIError), each_database.snapshot() as session:
        some_library(session)


def test_a_snapshot_does_not_see_what_is_committed_after_it_began(
    each_database: Database,
) -> None:
    with each_database.snapshot() as session:
        assert session.scalars(select(Library.slug)).all() == []
        with each_database.transaction() as writing:
            some_library(writing)

        assert session.scalars(select(Library.slug)).all() == []


def test_sixteen_writers_all_get_their_turn(each_database: Database) -> None:
    def write(number: int) -> None:
        for round_ in range(5):
            with each_database.transaction() as session:
                some_library(session, f"library-{number}-{round_}")

    _at_once(write, 16)

    with each_database.snapshot() as session:
        assert len(session.scalars(select(Library.id)).all()) == 80


def test_a_transaction_inside_a_transaction_is_refused_rather_than_waiting_for_ever(
    database: Database,
) -> None:
    with (
        database.transaction(),
        pytest.raises(RuntimeError, match="inside a transaction"),
        database.transaction(),
    ):
        pass


def test_sqlite_is_set_up_so_that_a_commit_is_on_the_disk(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.transaction() as session:
        facts = {
            name: session.connection().exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    database.close()

    assert facts == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_transaction_that_fails_takes_nobody_of_its_group_with_it(database: Database) -> None:
    failed: list[str] = []

    def write(number: int) -> None:
        try:
            with database.transaction() as session:
                some_library(session, f"library-{number}")
                if number % 3 == 0:
                    some_library(session, f"library-{number}")
        except LibraryExists:
            failed.append(f"library-{number}")

    _at_once(write, 30)

    with database.snapshot() as session:
        kept = set(session.scalars(select(Library.slug)))
    assert kept == {f"library-{number}" for number in range(30)} - set(failed)
    assert len(failed) == 10


def test_nobody_is_told_kept_when_the_commit_of_the_group_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(database.engine.dialect, "do_commit", no_space)
    refused: list[str] = []

    def write(number: int) -> None:
        try:
            with database.transaction() as session:
                some_library(session, f"library-{number}")
        except OperationalError as error:
            refused.append(str(error.orig))

    _at_once(write, 8)
    monkeypatch.undo()

    assert refused == ["database or disk is full"] * 8
    with database.transaction() as session:
        assert session.scalars(select(Library.slug)).all() == []


def test_a_connection_that_was_cut_while_it_rested_is_replaced_unseen(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, other = Database(postgres_url), Database(postgres_url)
    with database.transaction() as session:
        some_library(session)
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with other.transaction() as session:
        assert session.scalars(text(cut)).all() == [True]
    later = time.monotonic() + REST_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)

    with database.transaction() as session:
        assert session.scalars(select(Library.slug)).all() == ["north"]
    database.close()
    other.close()


def test_watchers_hear_only_of_what_was_kept(each_database_url: str) -> None:
    heard: list[str] = []

    def hear(*notices: Notice) -> None:
        heard.extend(notice.topic for notice in notices)

    database = Database(each_database_url, publish=hear)
    with database.transaction() as session:
        library = some_library(session)
        account = ChannelAccount(
            library_id=library.id, kind="web", name="web:north", settings={}, created_at=NOW
        )
        session.add(account)
        session.flush()
        talk = Conversation(
            library_id=library.id, account_id=account.id, external_id="p", created_at=NOW
        )
        session.add(talk)
        session.flush()
        talk_id, library_id = talk.id, library.id

    def reply(session: Session, position: int) -> None:
        session.add(
            Outbox(
                library_id=library_id,
                conversation_id=talk_id,
                position=position,
                key=f"k{position}",
                reply={"text": "hello", "kind": "notice"},
                by="bot",
                state=OutboxState.SENT,
                created_at=NOW,
            )
        )
        session.flush()

    heard.clear()
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        reply(session, 1 // 0)
    assert heard == []

    with database.transaction() as session:
        reply(session, 1)
        assert heard == []
    assert heard == [f"conversation:{talk_id}", f"desk:{library_id}"]
    database.close()


def _at_once(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
