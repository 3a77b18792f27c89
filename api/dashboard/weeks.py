"""The rates week by week, as pictures, as tables and as sentences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from markupsafe import Markup
from sqlalchemy.orm import Session

from api.dashboard.figures import Figure, figure
from api.dashboard.period import Selection
from api.rendering import environment
from api.screens import Screen
from tracker.figures import ANSWERED, INCLUSIVE
from tracker.stats import Reading
from tracker.trends import ALL_CHANNELS, by_week, monday

HEADLINES = (INCLUSIVE, ANSWERED)
WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 28
NOTHING = {"within": 0, "matured": 0, "pending": 0, "low": None, "high": None}


@dataclass(frozen=True, slots=True)
class Week:
    """One week from Monday, or what of it lies in the period, and its figures."""

    start: date
    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Point:
    """One week in the picture."""

    x: float
    y: float
    low: float
    high: float
    is_few: bool


Weeks = Mapping[str, Sequence[Week]]  # by channel; "" is all of them


def weekly(session: Session, screen: Screen, selection: Selection, reading: Reading) -> Weeks:
    """The headline rates of each week that the period touches, of each channel and of all."""
    found = by_week(
        session,
        screen.library,
        **selection.seen_at(screen.now),
        reading=reading,
    )
    blocks = {
        (week.channel, week.start): {n: week.counts.shares[n].as_dict() for n in HEADLINES}
        for week in found
    }
    names = sorted({channel for channel, _ in blocks} | {ALL_CHANNELS})
    return {
        name: [
            _week(first, blocks.get((name, first)), selection, name)
            for first in _mondays(selection)
        ]
        for name in names
    }


def _week(first: date, block: Mapping[str, Any] | None, selection: Selection, channel: str) -> Week:
    days = Selection(
        max(first, selection.start),
        min(first + timedelta(days=6), selection.end),
        channel or selection.channel,
    )
    shown = block or dict.fromkeys(HEADLINES, NOTHING)
    return Week(days.start, [figure(shown, name, days) for name in HEADLINES])


def _mondays(selection: Selection) -> Iterable[date]:
    first = monday(selection.start)
    while first <= selection.end:
        yield first
        first += timedelta(days=7)


def described(screen: Screen, weeks: Weeks, *, target: int) -> dict[str, Any]:
    """What the page shows of the weeks: a sentence, two pictures, and both by channel."""
    whole = weeks[ALL_CHANNELS]
    labels = [screen.text(f"metric.{name}") for name in HEADLINES]
    is_any = any(figure.matured for week in whole for figure in week.figures)
    return {
        "summary": _summary(screen, labels, whole) if is_any else screen.text("manage.weeks.none"),
        "series": [
            {
                "label": label,
                "svg": _picture(screen, label, whole, index, target),
                "channels": _channels(screen, weeks, index),
                "small": _small(screen, label, weeks, index, target),
            }
            for index, label in enumerate(labels)
        ],
        "rows": whole,
    }


def _channels(screen: Screen, weeks: Weeks, index: int) -> list[dict[str, Any]]:
    """The table twin of the small pictures: a channel a row, a week a column."""
    return [
        {"name": screen.channel_name(name), "figures": [week.figures[index] for week in found]}
        for name, found in weeks.items()
        if name != ALL_CHANNELS
    ]


def _small(
    screen: Screen, label: str, weeks: Weeks, index: int, target: int
) -> list[dict[str, Any]]:
    return [
        {
            "name": screen.channel_name(name),
            "svg": _picture(screen, f"{screen.channel_name(name)}: {label}", found, index, target),
        }
        for name, found in weeks.items()
        if name != ALL_CHANNELS
    ]


def _summary(screen: Screen, labels: Sequence[str], weeks: Sequence[Week]) -> str:
    return " ".join(_sentence(screen, label, weeks, index) for index, label in enumerate(labels))


def _sentence(screen: Screen, label: str, weeks: Sequence[Week], index: int) -> str:
    told = [
        (week, week.figures[index])
        for week in weeks
        if week.figures[index].matured and not week.figures[index].is_few
    ]
    if len(told) < 2:
        return screen.text("manage.weeks.summary_few", label=label)
    (first_week, first), (last_week, last) = told[0], told[-1]
    return screen.text(
        "manage.weeks.summary",
        label=label,
        first=screen.reader.percent(first.within, first.matured),
        first_day=screen.reader.day(first_week.start),
        last=screen.reader.percent(last.within, last.matured),
        last_day=screen.reader.day(last_week.start),
    )


def _picture(screen: Screen, label: str, weeks: Sequence[Week], index: int, target: int) -> Markup:
    """An inline drawing without styles of its own, so that the page's policy holds."""
    step = (WIDTH - LEFT - RIGHT) / max(len(weeks), 1)
    points = [
        _point(week.figures[index], LEFT + step * (place + 0.5)) for place, week in enumerate(weeks)
    ]
    every = -(-len(weeks) // 8)
    context = {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
        "grid": [(_y(percent), percent) for percent in (0, 25, 50, 75, 100)],
        "target": (_y(target), screen.text("manage.target_line", n=target)),
        "stretches": _stretches(points),
        "points": [point for point in points if point],
        "labels": [
            (round(LEFT + step * (place + 0.5), 1), screen.reader.day(week.start))
            for place, week in enumerate(weeks)
            if place % every == 0
        ],
        "title": screen.text("manage.weeks.chart", label=label, target=target),
    }
    return Markup(environment.get_template("manage/chart.svg").render(context))  # noqa: S704


def _point(figure: Figure, x: float) -> Point | None:
    if not figure.matured:
        return None
    return Point(round(x, 1), _y(figure.percent), _y(figure.low), _y(figure.high), figure.is_few)


def _y(percent: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - percent / 100), 1)


def _stretches(points: Iterable[Point | None]) -> list[dict[str, str]]:
    """Runs of neighbouring weeks with a rate: a line may not bridge a week without one."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [_stretch(run) for run in runs if run]


def _stretch(run: Sequence[Point]) -> dict[str, str]:
    upper = [f"{point.x},{point.high}" for point in run]
    lower = [f"{point.x},{point.low}" for point in reversed(run)]
    line = " ".join(f"{point.x},{point.y}" for point in run)
    return {"band": " ".join([*upper, *lower]), "line": line}
