"""Which of those who wait now will have waited too long, judged by how waits have gone before.

The chance of an answer by the due instant is 1 - S(due) / S(age), with Kaplan-Meier's S per
channel and part of the week, or the channel's whole where fewer than 50 were answered. It is
shown only where it has beaten the base rate on consultations that it was not made from.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from tracker.clock import zone
from tracker.figures import Case
from tracker.fold import DAY, MICROSECOND
from tracker.handling import waiting_cases
from tracker.models import Library
from tracker.stats import selected

FEWEST_ANSWERS = 50
HISTORY = timedelta(days=90)
TRIAL_AGES = (timedelta(hours=1), timedelta(hours=4), timedelta(hours=12))
WEEKDAY, WEEKEND, WHOLE_WEEK = "weekday", "weekend", "week"


class Curve:
    """Kaplan-Meier's survival: the share still without an answer after a time."""

    def __init__(self, answered: Iterable[int], waiting: Iterable[int]) -> None:
        """From times to the answer, and times waited so far, in microseconds."""
        times = sorted([(time, 0) for time in answered] + [(time, 1) for time in waiting])
        at_risk, survival = len(times), 1.0
        self.times: list[int] = []
        self.shares: list[float] = []
        for position, (time, censored) in enumerate(times):
            if not censored:
                survival *= 1 - 1 / (at_risk - position)
                self.times.append(time)
                self.shares.append(survival)

    def after(self, time: int) -> float:
        """The share still waiting once that much time has passed."""
        index = bisect_right(self.times, time)
        return self.shares[index - 1] if index else 1.0

    def in_time(self, age: int, due: int) -> float | None:
        """The chance of an answer by `due` for one that has waited `age`; None if unknown."""
        still = self.after(age)
        return 1 - self.after(due) / still if still > 0 else None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The outlook for what waits and is due within the horizon."""

    due: int  # how many are due
    expected_breaches: float
    cases: tuple[tuple[Case, float], ...]  # each with its chance of an answer in time
    brier: float
    base_brier: float  # of always giving the base rate


class _Key(NamedTuple):
    channel: str
    part: str


def breach_forecast(
    session: Session,
    library: Library,
    *,
    at: datetime,
    horizon: timedelta = DAY,
    channel: str | None = None,
) -> Forecast | None:
    """The outlook over the horizon; None where no forecast beats the base rate.

    Learned from consultations of the last 90 days that have matured.
    """
    tz = zone(library.timezone)
    first = (at - HISTORY).astimezone(tz).date()
    past = [
        case
        for case in selected(session, library, start=first, at=at, channel=channel)
        if case.counts and case.handed_over and case.withdrawn_at is None
    ]
    trial = _trial([case for case in past if at - case.received_at >= DAY], tz)
    if trial is None or trial[0] >= trial[1]:
        return None
    curves = _curves(past, tz, at=at)
    outlook = []
    for case in waiting_cases(session, library, at=at, channel=channel):
        due_at = case.received_at + DAY
        if at <= due_at <= at + horizon:
            chance = _chance(curves, case, tz, age=at - case.received_at)
            if chance is not None:
                outlook.append((case, chance))
    return Forecast(
        due=len(outlook),
        expected_breaches=sum(1 - chance for _, chance in outlook),
        cases=tuple(sorted(outlook, key=lambda pair: (pair[1], pair[0].received_at))),
        brier=trial[0],
        base_brier=trial[1],
    )


def _trial(cases: Sequence[Case], tz: ZoneInfo) -> tuple[float, float] | None:
    """Brier scores of the forecast and of the base rate: learn on the older half, try on the
    newer."""
    ordered = sorted(cases, key=lambda case: (case.received_at, case.key))
    middle = len(ordered) // 2
    older, newer = ordered[:middle], ordered[middle:]
    if _answers(older) < FEWEST_ANSWERS or not newer:
        return None
    curves = _curves(older, tz, at=None)
    base = sum(_in_time(case) for case in older) / len(older)
    squares = base_squares = 0.0
    count = 0
    for case in newer:
        for age in TRIAL_AGES:
            answered = case.answered_micros
            if answered is not None and answered <= age // MICROSECOND:
                continue
            chance = _chance(curves, case, tz, age=age)
            if chance is not None:
                count += 1
                squares += (chance - _in_time(case)) ** 2
                base_squares += (base - _in_time(case)) ** 2
    return (squares / count, base_squares / count) if count else None


def _in_time(case: Case) -> bool:
    return case.answered_micros is not None and case.answered_micros <= DAY // MICROSECOND


def _answers(cases: Iterable[Case]) -> int:
    return sum(case.answered_micros is not None for case in cases)


def _part(case: Case, tz: ZoneInfo) -> str:
    return WEEKEND if case.received_at.astimezone(tz).weekday() >= 5 else WEEKDAY


def _curves(cases: Iterable[Case], tz: ZoneInfo, *, at: datetime | None) -> dict[_Key, Curve]:
    """Curves of each channel and part of the week with enough answers, and of each channel."""
    groups: dict[_Key, list[Case]] = {}
    for case in cases:
        for part in (_part(case, tz), WHOLE_WEEK):
            groups.setdefault(_Key(case.channel, part), []).append(case)
    return {
        key: Curve(
            [case.answered_micros for case in group if case.answered_micros is not None],
            [
                (at - case.received_at) // MICROSECOND if at else DAY // MICROSECOND + 1
                for case in group
                if case.answered_micros is None
            ],
        )
        for key, group in groups.items()
        if _answers(group) >= FEWEST_ANSWERS
    }


def _chance(curves: dict[_Key, Curve], case: Case, tz: ZoneInfo, *, age: timedelta) -> float | None:
    for part in (_part(case, tz), WHOLE_WEEK):
        curve = curves.get(_Key(case.channel, part))
        if curve is not None:
            return curve.in_time(age // MICROSECOND, DAY // MICROSECOND)
    return None
