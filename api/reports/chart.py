"""One rate week by week as a drawing that pages, PDF and office files can all show.

Colours stand in attributes, because a document has no style sheet of ours; the classes let
a page with one adapt it to a dark screen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

from api.reports.voice import Share, Voice
from tracker.rates import too_few

WIDTH, HEIGHT = 640, 214
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 44
INK, MUTED, GRID, LINE, BAND = "#1c1c1c", "#5b6270", "#dfe3e8", "#0b6b63", "#bfe0dc"
FONTS = {
    "zh-Hans": "Noto Sans S Chinese, Noto Sans CJK SC, sans-serif",
    "zh-Hant": "Noto Sans T Chinese, Noto Sans CJK TC, sans-serif",
}
LATIN = "Noto Sans, sans-serif"
MOST_LABELS = 10


@dataclass(frozen=True, slots=True)
class _Point:
    x: float
    y: float
    low: float
    high: float
    is_few: bool


def drawing(weeks: Mapping[str, Share | None], label: str, voice: Voice) -> str:
    """The weeks of one rate as SVG; None: hidden. A week without a rate interrupts the line."""
    step = (WIDTH - LEFT - RIGHT) / max(len(weeks), 1)
    places = [round(LEFT + step * (index + 0.5), 1) for index in range(len(weeks))]
    points = [_point(x, share) for x, share in zip(places, weeks.values(), strict=True)]
    title = escape(voice.say("chart", label=label))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{title}" '
        f'font-family="{FONTS.get(voice.language, LATIN)}" font-size="11">',
        f"<title>{title}</title>",
        *_grid(voice),
        *_lines(points),
        *(_dot(point) for point in points if point),
        *_labels(places, weeks, voice),
        "</svg>",
    ]
    return "\n".join(parts)


def _point(x: float, share: Share | None) -> _Point | None:
    if share is None or not share["matured"]:
        return None
    return _Point(
        x,
        _y(share["within"] / share["matured"]),
        _y(share["low"]),
        _y(share["high"]),
        too_few(share["matured"]),
    )


def _y(share: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)


def _grid(voice: Voice) -> Iterable[str]:
    for percent in (0, 25, 50, 75, 100):
        y = _y(percent / 100)
        sign = voice.percent_of(percent / 100).replace(voice.reader.number(percent, 1), "")
        yield (
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" '
            f'stroke="{GRID}" stroke-width="1"/>'
        )
        yield _text(LEFT - 6, y + 4, f"{percent}{sign}", "end")


def _lines(points: Sequence[_Point | None]) -> Iterable[str]:
    for run in _runs(points):
        upper = " ".join(f"{point.x},{point.high}" for point in run)
        lower = " ".join(f"{point.x},{point.low}" for point in reversed(run))
        line = " ".join(f"{point.x},{point.y}" for point in run)
        if len(run) == 1:
            point = run[0]
            yield (
                f'<line class="whisker" x1="{point.x}" x2="{point.x}" y1="{point.high}" '
                f'y2="{point.low}" stroke="{BAND}" stroke-width="8"/>'
            )
            continue
        yield f'<polygon class="band" points="{upper} {lower}" fill="{BAND}"/>'
        yield (
            f'<polyline class="line" points="{line}" fill="none" stroke="{LINE}" '
            'stroke-width="2" stroke-linejoin="round"/>'
        )


def _runs(points: Sequence[_Point | None]) -> list[list[_Point]]:
    runs: list[list[_Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _dot(point: _Point) -> str:
    kind, fill = ("dot few", "#ffffff") if point.is_few else ("dot", LINE)
    return (
        f'<circle class="{kind}" cx="{point.x}" cy="{point.y}" r="3.5" fill="{fill}" '
        f'stroke="{LINE}" stroke-width="1.5"/>'
    )


def _labels(
    places: Sequence[float], weeks: Mapping[str, Share | None], voice: Voice
) -> Iterable[str]:
    every = -(-len(weeks) // MOST_LABELS) if weeks else 1
    for index, (x, (day, share)) in enumerate(zip(places, weeks.items(), strict=True)):
        if index % every:
            continue
        yield _text(x, HEIGHT - BOTTOM + 17, voice.reader.day(date.fromisoformat(day)), "middle")
        if share is not None:
            counted = voice.say("chart_n", n=voice.reader.number(share["matured"]))
            yield _text(x, HEIGHT - BOTTOM + 33, counted, "middle", colour=MUTED)


def _text(x: float, y: float, words: str, anchor: str, *, colour: str = INK) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
