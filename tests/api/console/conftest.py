"""A question that waits, and a librarian at the desk."""

import json
import uuid
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.db import Database
from tests.api.conftest import Libraries, SignIn, csrf_of
from tests.conftest import StandingClock
from tracker.models import Consultation, Event

LIBRARIAN = "librarian@north"


def patron_asks(client: TestClient, clock: StandingClock, *texts: str) -> str:
    """A patron of the widget who wants a person; returns the session."""
    session: str = client.post("/widget/north/sessions", content=b"{}").json()["session"]
    for text in (*texts, "人工"):
        clock.advance(seconds=1)
        says(client, session, text)
    return session


def says(client: TestClient, session: str, text: str) -> None:
    sent = {"session": session, "id": uuid.uuid4().hex, "text": text}
    assert client.post("/widget/north/messages", content=json.dumps(sent)).status_code == 200


@pytest.fixture
def number(
    client: TestClient, libraries: Libraries, clock: StandingClock, database: Database
) -> int:
    """A consultation that waits."""
    patron_asks(client, clock, "馆藏里有没有我祖父的手稿")
    with database.snapshot() as session:
        return session.scalars(select(Consultation.id).order_by(Consultation.id)).first() or 0


@pytest.fixture
def desk(signed_in: SignIn, number: int) -> TestClient:
    return signed_in(LIBRARIAN)


def send(desk: TestClient, path: str, **fields: Any) -> Any:
    """A form of the desk, with the page's own token."""
    return desk.post(path, data={"csrf": csrf_of(desk, "/desk"), **fields})


def row_of(database: Database, number: int) -> Consultation:
    with database.snapshot() as session:
        return session.get_one(Consultation, number)


def kinds(database: Database, number: int) -> list[str]:
    with database.snapshot() as session:
        return list(
            session.scalars(
                select(Event.kind).where(Event.consultation_id == number).order_by(Event.id)
            )
        )
