"""A database in memory with one library, and hours to test by."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session

from tracker.columns import Base
from tracker.models import Library

NOW = datetime(2026, 3, 10, 1, 15, tzinfo=UTC)  # Tuesday, 09:15 in Shanghai


def week(start: str = "08:30", end: str = "17:00") -> dict[str, list[list[str]]]:
    working = {name: [[start, end]] for name in ("mon", "tue", "wed", "thu", "fri")}
    return {**working, "sat": [], "sun": []}


def desk_document(**changes: Any) -> dict[str, Any]:
    document = {
        "tz": "Asia/Shanghai",
        "versions": [{"valid_from": "1990-01-01", "weekly": week()}],
        "exceptions": {},
    }
    return {**document, **changes}


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")

    @event.listens_for(engine, "connect")
    def foreign_keys(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA foreign_keys=ON")

    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def library(session: Session) -> Library:
    library = Library(slug="demo", name="Demo", timezone="Asia/Shanghai", created_at=NOW)
    session.add(library)
    session.flush()
    return library
