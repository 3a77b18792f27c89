"""A probe goes through the front door like a patron's question, and is asked once."""

import threading
from collections.abc import Callable
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.db import Database
from api.egress import Answer
from api.shopper import Shopper
from api.state import State
from bot.channels.base import SendError, SendFailure
from tests.api.conftest import Libraries
from tests.conftest import MONDAY, StandingClock
from tracker.activity import have_channel
from tracker.consortium import probes as probed
from tracker.models import Consultation, Library, Probe
from tracker.probes import plan
from tracker.stats import stats

QUESTION = "贵馆收藏一九三零年代的马帮账本吗？"


class FrontDoor:
    """Carries what the shopper sends to the application, and counts it."""

    def __init__(self, client: TestClient) -> None:
        self.calls: list[str] = []
        self.problem: SendError | None = None
        self._client = client

    def __call__(self, url: str, body: bytes, headers: Any, *, allow_private: bool) -> Answer:
        if self.problem is not None:
            raise self.problem
        path = "/" + url.split("/", 3)[3]
        self.calls.append(path)
        answer = self._client.post(path, content=body, headers=dict(headers))
        return Answer(answer.status_code, {}, answer.content)


@pytest.fixture
def door(client: TestClient) -> FrontDoor:
    return FrontDoor(client)


@pytest.fixture
def shopper(state: State, door: FrontDoor) -> Shopper:
    return Shopper(state, post=door)


@pytest.fixture
def planned(database: Database, libraries: Libraries) -> Callable[[], Probe]:
    """North takes part and has the widget; one probe is planned for the next days."""
    with database.transaction() as session:
        north = session.get_one(Library, libraries.north)
        north.settings = {"consortium": True}
        have_channel(session, north, "web")
        plan(
            session,
            [north],
            channel="web",
            questions=[QUESTION],
            start=date(2026, 11, 23),
            end=date(2026, 11, 25),
            by="tests",
            now=MONDAY,
            random=Random(3),
        )

    def now() -> Probe:
        with database.snapshot() as session:
            return session.scalars(select(Probe)).one()

    return now


def test_it_is_asked_at_its_instant_over_the_widget_and_arrives(
    shopper: Shopper,
    door: FrontDoor,
    planned: Callable[[], Probe],
    database: Database,
    clock: StandingClock,
) -> None:
    clock.now = planned().due_at - timedelta(seconds=1)
    assert shopper.round() == 0

    clock.advance(seconds=1)
    assert shopper.round() == 1
    assert shopper.round() == 0

    assert door.calls == ["/widget/north/sessions", "/widget/north/messages"]
    probe = planned()
    assert probe.state == "found"
    with database.snapshot() as session:
        row = session.get_one(Consultation, probe.consultation_id)
    assert (row.title, row.channel, row.excluded_at) == (QUESTION, "web", None)


def test_after_a_day_it_is_no_part_of_the_librarys_own_rate(
    shopper: Shopper,
    planned: Callable[[], Probe],
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
) -> None:
    clock.now = planned().due_at
    shopper.round()

    clock.advance(hours=24)
    shopper.round()

    assert planned().state == "flagged"
    at = clock.advance(hours=60)
    with database.snapshot() as session:
        library = session.get_one(Library, libraries.north)
        own = stats(session, library, at=at)["total"]
        share = probed(session, at=at, libraries=[library])["web"]
    assert own["bot_inclusive_within_24h"]["matured"] == 0
    assert (own["received"], own["excluded"]) == (1, 1)
    assert (share["numerator"], share["denominator"]) == (0, 1)  # nobody answered


def test_several_workers_ask_it_once(
    state: State, door: FrontDoor, planned: Callable[[], Probe], clock: StandingClock
) -> None:
    clock.now = planned().due_at
    rounds = [Shopper(state, post=door).round for _ in range(4)]

    threads = [threading.Thread(target=each) for each in rounds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert door.calls.count("/widget/north/messages") == 1


def test_a_question_that_could_not_be_asked_says_nothing_about_the_library(
    shopper: Shopper, door: FrontDoor, planned: Callable[[], Probe], clock: StandingClock
) -> None:
    clock.now = planned().due_at
    door.problem = SendError("ConnectError", failure=SendFailure.RETRY)

    shopper.round()

    assert (planned().state, planned().problem) == ("failed", "ConnectError")
