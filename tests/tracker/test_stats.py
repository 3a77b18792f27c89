"""The figures: against a slow oracle, at every edge, and as they were at any instant."""

import random
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.tracker.histories import START, random_history
from tests.tracker.samples import NOW, desk_document
from tests.tracker.stats_oracle import expected_stats
from tracker.calendars import save_calendar
from tracker.clock import Calendar
from tracker.history import import_rows
from tracker.models import Library
from tracker.stats import stats


def load(session: Session, rows: list[dict[str, Any]]) -> None:
    import_rows(session, enumerate(rows, start=1), now=NOW)


def row(key: str, received: datetime, *events: tuple[str, float], **more: Any) -> dict[str, Any]:
    """A consultation whose events are (kind, seconds after receipt)."""
    return {
        "id": key,
        "library": "demo",
        "channel": "wechat",
        "received_at": received.isoformat(),
        "events": [
            {"at": (received + timedelta(seconds=seconds)).isoformat(), "kind": kind}
            for kind, seconds in events
        ],
        **more,
    }


@pytest.mark.parametrize("seed", range(12))
def test_every_figure_equals_the_slow_and_obvious_count(
    session: Session, library: Library, seed: int
) -> None:
    dice = random.Random(seed)
    calendar = None
    if seed % 3:
        save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
        calendar = Calendar.from_document(desk_document())
    rows = random_history(f"stats-{seed}", count=60)
    load(session, rows)

    for _ in range(8):
        at = START + timedelta(seconds=dice.randrange(14 * 86_400))
        start = date(2026, 3, dice.randrange(1, 9)) if dice.random() < 0.5 else None
        end = date(2026, 3, dice.randrange(4, 14)) if dice.random() < 0.5 else None
        channel = dice.choice((None, None, "web"))
        result = stats(session, library, start=start, end=end, at=at, channel=channel)
        expected = expected_stats(
            rows,
            library="demo",
            tz="Asia/Shanghai",
            at=at,
            start=start,
            end=end,
            channel=channel,
            calendar=calendar,
        )

        got = {"channels": result["channels"], "total": result["total"]}
        assert_same(got, expected, f"{at} {start} {end} {channel}")


def assert_same(got: Any, expected: Any, where: str) -> None:
    """Equal, with floats to within the tolerance of the rate cases."""
    if isinstance(expected, dict):
        assert got.keys() == expected.keys(), where
        for name, value in expected.items():
            assert_same(got[name], value, f"{where}/{name}")
    elif isinstance(expected, float) and got is not None:
        assert abs(got - expected) <= 1e-9, f"{where}: {got} instead of {expected}"
    else:
        assert got == expected, where
