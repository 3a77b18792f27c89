import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.db import Database
from api.libraries import add_library
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

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

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
