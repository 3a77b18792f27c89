"""The forecast speaks only where it has been right more often than the plain rate."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.tracker.samples import NOW
from tracker.forecast import Curve, breach_forecast
from tracker.history import import_rows
from tracker.models import Library

AT = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def history(seed: int, *, count: int, learnable: bool) -> list[dict[str, Any]]:
    """Questions answered within two hours or not before days, or by the toss of a coin."""
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        received = AT - timedelta(hours=dice.randrange(30, 80 * 24))
        quick = dice.random() < 0.8
        hours = dice.uniform(0.1, 0.9) if quick else dice.uniform(30, 90)
        if not learnable:
            hours = 25 if number * 2 < count else 0.5
        answered = received + timedelta(hours=hours)
        events = [{"at": received.isoformat(), "kind": "escalated"}]
        events.append({"at": answered.isoformat(), "kind": "feedback", "by": "lin"})
        rows.append(
            {
                "id": f"c{number}",
                "library": "demo",
                "channel": "wechat",
                "received_at": received.isoformat(),
                "events": events,
            }
        )
    return rows


def waiting(key: str, hours: float) -> dict[str, Any]:
    received = (AT - hours * HOUR).isoformat()
    events = [{"at": received, "kind": "escalated"}]
    plain = {"id": key, "library": "demo", "channel": "wechat", "received_at": received}
    return {**plain, "events": events}


def load(session: Session, rows: list[dict[str, Any]]) -> None:
    import_rows(session, enumerate(rows, start=1), now=NOW)


def test_who_has_waited_past_the_quick_ones_will_hardly_be_answered_in_time(
    session: Session, library: Library
) -> None:
    load(session, [*history(1, count=400, learnable=True), waiting("old", 12), waiting("new", 0)])

    forecast = breach_forecast(session, library, at=AT)

    assert forecast is not None
    assert forecast.brier < forecast.base_brier
    chances = {case.key: chance for case, chance in forecast.cases}
    assert chances["old"] < 0.2
    assert chances["new"] > 0.7
    assert forecast.due == 2
    assert abs(forecast.expected_breaches - sum(1 - c for c in chances.values())) < 1e-12


def test_those_due_after_the_horizon_are_left_out(session: Session, library: Library) -> None:
    load(session, [*history(1, count=400, learnable=True), waiting("old", 12), waiting("new", 0)])

    forecast = breach_forecast(session, library, at=AT, horizon=13 * HOUR)

    assert forecast is not None
    assert [case.key for case, _ in forecast.cases] == ["old"]


def test_without_enough_answers_there_is_no_forecast(session: Session, library: Library) -> None:
    load(session, [*history(1, count=40, learnable=True), waiting("old", 12)])

    assert breach_forecast(session, library, at=AT) is None


def test_a_forecast_that_loses_to_the_base_rate_is_not_shown(
    session: Session, library: Library
) -> None:
    rows = history(2, count=300, learnable=False)
    rows.sort(key=lambda item: item["received_at"])
    for number, item in enumerate(rows):  # first all late, then all early: nothing to learn
        received = datetime.fromisoformat(item["received_at"])
        hours = 20 if number < 150 else 30
        item["events"][1]["at"] = (received + hours * HOUR).isoformat()
    load(session, [*rows, waiting("old", 12)])

    assert breach_forecast(session, library, at=AT) is None


def test_the_curve_is_kaplan_meiers() -> None:
    curve = Curve([2, 4], [3])

    assert [curve.after(time) for time in (1, 2, 3, 4)] == pytest.approx([1.0, 2 / 3, 2 / 3, 0.0])
    assert curve.in_time(2, 4) == 1.0
    assert curve.in_time(4, 9) is None
