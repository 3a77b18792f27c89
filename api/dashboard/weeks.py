"""The rates week by week, as a picture, as a table and as a sentence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from markupsafe import Markup
from sqlalchemy.orm import Session

from api.dashboard.figures import Figure, figure
from api.dashboard.period import Selection
from api.rendering import environment
from api.screens import Screen
from tracker.figures import ANSWERED, INCLUSIVE, RateCount, judge
from tracker.stats import selected

HEADLINES = (INCLUSIVE, ANSWERED)
WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 28


@dataclass(frozen=True, slots=True)
class Week:
    """One week from Monday, and its figures."""

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


def weekly(session: Session, screen: Screen, selection: Selection) -> list[Week]:
    """The headline rates of each week that the period touches."""
    counts: dict[date, dict[str, RateCount]] = {
        monday: {name: RateCount() for name in HEADLINES} for monday in _mondays(selection)
    }
    cases = selected(
        session,
        screen.library,
        start=selection.start,
        end=selection.end,
        at=screen.now,
        channel=selection.channel,
    )
    for case in cases:
        monday = _monday(screen.reader.local(case.received_at).date())
        for name in HEADLINES:
            counts[monday][name].add(judge(case, name, screen.now))
    return [_week(monday, counts[monday], selection) for monday in counts]


def _week(monday: date, counts: Mapping[str, RateCount], selection: Selection) -> Week:
    days = Selection(
        max(monday, selection.start),
        min(monday + timedelta(days=6), selection.end),
        selection.channel,
    )
    block = {name: count.as_dict() for name, count in counts.items()}
    return Week(days.start, [figure(block, name, days) for name in HEADLINES])


def _mondays(selection: Selection) -> Iterable[date]:
    monday = _monday(selection.start)
    while monday <= selection.end:
        yield monday
        monday += timedelta(days=7)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def described(screen: Screen, weeks: Sequence[Week]) -> dict[str, object]:
    """What the page shows of the weeks."""
    labels = [screen.text(f"metric.{name}") for name in HEADLINES]
    series = [[week.figures[index] for week in weeks] for index in range(len(HEADLINES))]
    return {
        "summary": " ".join(
            _sentence(screen, label, weeks, figures)
            for label, figures in zip(labels, series, strict=True)
        )
        if any(figure.matured for figures in series for figure in figures)
        else screen.text("manage.weeks.none"),
        "series": [
            {"label": label, "svg": _picture(screen, label, weeks, figures)}
            for label, figures in zip(labels, series, strict=True)
        ],
        "rows": weeks,
    }


def _sentence(screen: Screen, label: str, weeks: Sequence[Week], figures: Sequence[Figure]) -> str:
    told = [
        (week, figure)
        for week, figure in zip(weeks, figures, strict=True)
        if figure.matured and not figure.is_few
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


def _picture(
    screen: Screen, label: str, weeks: Sequence[Week], figures: Sequence[Figure]
) -> Markup:
    """An inline drawing without styles of its own, so that the page's policy holds."""
    step = (WIDTH - LEFT - RIGHT) / max(len(weeks), 1)
    points = [
        Point(
            round(LEFT + step * (index + 0.5), 1),
            _y(figure.percent),
            _y(figure.low),
            _y(figure.high),
            figure.is_few,
        )
        if figure.matured
        else None
        for index, figure in enumerate(figures)
    ]
    every = max(1, len(weeks) // 8)
    labels = [
        (round(LEFT + step * (index + 0.5), 1), screen.reader.day(week.start))
        for index, week in enumerate(weeks)
        if index % every == 0
    ]
    context = {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
        "grid": [(_y(percent), percent) for percent in (0, 25, 50, 75, 100)],
        "stretches": _stretches(points),
        "points": [point for point in points if point],
        "labels": labels,
        "title": screen.text("manage.weeks.chart", label=label),
    }
    return Markup(environment.get_template("manage/chart.svg").render(context))  # noqa: S704


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
