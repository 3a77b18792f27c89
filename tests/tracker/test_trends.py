"""Weeks, arrivals and topics: the same from rollups as counted one by one."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.tracker.histories import random_history
from tests.tracker.samples import NOW
from tracker.figures import ANSWERED
from tracker.history import import_rows
from tracker.models import Library
from tracker.rollups import refresh
from tracker.stats import stats
from tracker.trends import arrivals, arrivals_by_day, by_topic, by_week, monday

LATER = datetime(2026, 6, 1, tzinfo=UTC)
PERIOD: dict[str, Any] = {"start": date(2026, 3, 1), "end": date(2026, 3, 31), "at": LATER}


def load(session: Session, rows: list[dict[str, Any]]) -> None:
    import_rows(session, enumerate(rows, start=1), now=NOW)


def row(key: str, received: str, topic: str | None = None, **more: Any) -> dict[str, Any]:
    events = []
    if topic:
        at = (datetime.fromisoformat(received) + timedelta(seconds=1)).isoformat()
        events.append({"at": at, "kind": "bot_answer", "by": "bot", "entry": topic})
    plain = {"id": key, "library": "demo", "channel": "web", "received_at": received}
    return {**plain, "events": events, **more}


def seen(session: Session, library: Library) -> Any:
    weeks = [
        (week.start, week.channel, {n: c.as_dict() for n, c in week.counts.shares.items()})
        for week in by_week(session, library, **PERIOD)
    ]
    return (
        weeks,
        arrivals(session, library, **PERIOD),
        by_topic(session, library, **PERIOD),
        arrivals_by_day(session, library, **PERIOD),
    )


@pytest.mark.parametrize("seed", range(4))
def test_rollups_change_nothing(session: Session, library: Library, seed: int) -> None:
    load(session, random_history(f"trends-{seed}", count=60))
    direct = seen(session, library)

    assert refresh(session, now=LATER)

    assert seen(session, library) == direct


def test_the_weeks_add_up_to_the_period(session: Session, library: Library) -> None:
    load(session, random_history("weeks", count=60))
    total = stats(session, library, **PERIOD)["total"]

    weeks = [week for week in by_week(session, library, **PERIOD) if week.channel == ""]

    assert sum(week.counts.received for week in weeks) == total["received"] == 60
    matured = sum(week.counts.shares[ANSWERED].matured for week in weeks)
    assert matured == total[ANSWERED]["matured"]
    assert all(week.start.weekday() == 0 for week in weeks)


def test_arrivals_follow_the_librarys_clock(session: Session, library: Library) -> None:
    load(session, [row("1", "2026-03-08T23:30:00Z"), row("2", "2026-03-09T07:59:00+08:00")])

    heat = arrivals(session, library, **PERIOD)

    assert heat[0][7] == 2  # Monday, 07:00 to 08:00 in Shanghai
    assert sum(map(sum, heat)) == 2


def test_topics_come_by_how_often_they_are_asked(session: Session, library: Library) -> None:
    load(
        session,
        [
            row("1", "2026-03-09T09:00:00+08:00", "fines"),
            row("2", "2026-03-09T09:00:00+08:00", "renew-book"),
            row("3", "2026-03-10T09:00:00+08:00", "renew-book"),
            row("4", "2026-03-10T09:00:00+08:00"),
        ],
    )

    topics = by_topic(session, library, **PERIOD)

    assert [(item["topic"], item["received"]) for item in topics] == [
        ("renew-book", 2),
        ("", 1),
        ("fines", 1),
    ]
    assert topics[0]["rate"] == 1.0
    assert (topics[1]["handed_over"], topics[1]["answered_within"]) == (1, 0)


def test_a_week_begins_on_monday() -> None:
    assert monday(date(2026, 3, 15)) == monday(date(2026, 3, 9)) == date(2026, 3, 9)
