"""What several workers do at the same time happens once, on SQLite and on PostgreSQL."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from api.alerts import claim
from api.db import Database
from tests.tracker.samples import NOW
from tests.tracker.test_consultations import escalated
from tracker.activity import have_channel
from tracker.models import Library, Miss, Probe
from tracker.probes import plan, take_due
from tracker.sweep import sweep

WORKERS = 6
QUESTIONS = 30
LATER = NOW + timedelta(days=2)


@pytest.fixture
def waiting(each_database: Database) -> Database:
    """Thirty questions that nobody has answered for two days."""
    with each_database.transaction() as session:
        library = Library(slug="demo", name="D", timezone="Asia/Shanghai", created_at=NOW)
        session.add(library)
        session.flush()
        for number in range(QUESTIONS):
            escalated(session, library, conversation_id=number, key=f"c{number}")
    return each_database


def together(job: Callable[[], Any]) -> list[Any]:
    """What each of several workers got, who all began at once."""
    results: list[Any] = []
    ready = threading.Barrier(WORKERS)

    def work() -> None:
        ready.wait()
        results.append(job())

    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == WORKERS
    return results


def test_each_miss_is_recorded_exactly_once(waiting: Database) -> None:
    def work() -> int:
        with waiting.transaction() as session:
            return len(sweep(session, now=LATER, limit=QUESTIONS))

    recorded = together(work)

    with waiting.snapshot() as session:
        counts = Counter(session.execute(select(Miss.consultation_id, Miss.clock)).all())
    assert len(counts) == QUESTIONS
    assert set(counts.values()) == {1}
    assert sum(recorded) == QUESTIONS


def test_each_question_is_claimed_for_an_alert_exactly_once(waiting: Database) -> None:
    def work() -> list[int]:
        with waiting.transaction() as session:
            library = session.scalars(select(Library)).one()
            return [each.consultation_id for each in claim(session, library, now=LATER)]

    claimed = Counter(number for found in together(work) for number in found)

    assert len(claimed) == QUESTIONS
    assert set(claimed.values()) == {1}


def test_each_probe_is_asked_exactly_once(each_database: Database) -> None:
    with each_database.transaction() as session:
        libraries = [
            Library(slug=f"l{n}", name="L", timezone="Asia/Shanghai", created_at=NOW)
            for n in range(10)
        ]
        session.add_all(libraries)
        session.flush()
        for library in libraries:
            have_channel(session, library, "web")
        plan(
            session,
            libraries,
            channel="web",
            questions=["?"],
            start=date(2026, 3, 10),
            end=date(2026, 3, 11),
            by="tests",
            now=NOW,
            random=Random(1),
        )

    def work() -> list[int]:
        with each_database.transaction() as session:
            due = take_due(session, channel="web", now=LATER, limit=10)
            return [probe.id for probe in due]

    taken = Counter(number for found in together(work) for number in found)

    assert len(taken) == 10
    assert set(taken.values()) == {1}
    with each_database.snapshot() as session:
        assert set(session.scalars(select(Probe.state))) == {"asked"}
