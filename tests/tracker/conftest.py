"""A database in memory with one library."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session

from tests.tracker.samples import NOW
from tracker.columns import Base
from tracker.models import Library


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
