"""What an evaluation shows beside its figures: confusions, two curves, a comparison of two runs."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from kb.errors import BadFile
from kb.evaluate import Query
from kb.scores import reliability

_WIDTH, _HEIGHT, _EDGE = 420, 320, 48
_EXAMPLES = 3
# Attributes, not a style element: pages that show these pictures forbid inline styles.
_AXIS = 'stroke="currentColor" fill="none"'
_IDEAL = 'stroke="currentColor" stroke-dasharray="4 4" opacity="0.5" fill="none"'
_CURVE = 'stroke="#1f6feb" stroke-width="2" fill="none"'
_TEXT = 'font-family="system-ui, sans-serif" font-size="12" fill="currentColor"'

Prediction = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Confusion:
    """An entry that is taken for another, how often, and for which questions."""

    right: str
    taken_for: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A question on which two runs differ."""

    text: str
    before: str | None
    after: str | None
    was_right: bool
    is_right: bool


def confusions(queries: Sequence[Query], predictions: Sequence[Prediction]) -> list[Confusion]:
    """Which entries are taken for which, the most frequent first."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for query, prediction in zip(queries, predictions, strict=True):
        best = _best(prediction)
        if query.right and best is not None and best not in query.right:
            right = query.topic or min(query.right)
            found[right, best].append(query.text)
    ordered = sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))
    return [
        Confusion(right, taken, len(texts), tuple(texts[:_EXAMPLES]))
        for (right, taken), texts in ordered
    ]


def compare(
    queries: Sequence[Query], before: Sequence[Prediction], after: Sequence[Prediction]
) -> list[Change]:
    """The questions whose likeliest entry or verdict differs between two runs."""
    changes = []
    for query, old, new in zip(queries, before, after, strict=True):
        if (_best(old), old["verdict"]) != (_best(new), new["verdict"]):
            changes.append(
                Change(
                    query.text,
                    _said(old),
                    _said(new),
                    _is_right(query, old),
                    _is_right(query, new),
                )
            )
    return changes


def reliability_svg(queries: Sequence[Query], predictions: Sequence[Prediction]) -> str:
    """How often the likeliest entry is right, for each probability that was claimed."""
    claimed = [_top(prediction) for prediction in predictions]
    right = [_best(p) in query.right for query, p in zip(queries, predictions, strict=True)]
    bins = [(mean, share) for _, mean, share in reliability(claimed, right)]
    return _chart("Reliability", "probability claimed", "share that was right", bins, ideal=True)


def risk_coverage_svg(queries: Sequence[Query], predictions: Sequence[Prediction]) -> str:
    """How many answers would be wrong, for each share of the questions that is answered."""
    return _chart(
        "Risk and coverage", "share answered", "share wrong", risk_coverage(queries, predictions)
    )


def risk_coverage(
    queries: Sequence[Query], predictions: Sequence[Prediction]
) -> list[tuple[float, float]]:
    """Share answered and share wrong among them, from the surest question to the least sure."""
    order = sorted(range(len(queries)), key=lambda at: -_top(predictions[at]))
    wrong, curve = 0, []
    for count, at in enumerate(order, start=1):
        fine = queries[at].right or queries[at].tolerable
        wrong += _best(predictions[at]) not in fine
        curve.append((count / len(order), wrong / count))
    return curve


def read_predictions(path: Path, queries: Sequence[Query]) -> list[Prediction]:
    """The predictions that an earlier run wrote for the same questions. Raises BadFile."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        found = [json.loads(line) for line in lines if line.strip()]
        texts = [line["text"] for line in found]
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(path, [f"no predictions: {error}"]) from error
    if texts != [query.text for query in queries]:
        raise BadFile(path, ["these are predictions for other questions"])
    return found


def write_report(
    folder: Path,
    queries: Sequence[Query],
    predictions: Sequence[Prediction],
    before: Sequence[Prediction] | None = None,
) -> list[Path]:
    """Confusions, two curves and, beside an earlier run, what changed; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "confusions.json": _json(confusions(queries, predictions)),
        "reliability.svg": reliability_svg(queries, predictions),
        "risk-coverage.svg": risk_coverage_svg(queries, predictions),
    }
    if before is not None:
        texts["changes.json"] = _json(compare(queries, before, predictions))
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _json(rows: Sequence[Confusion] | Sequence[Change]) -> str:
    return json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=1) + "\n"


def _top(prediction: Prediction) -> float:
    candidates = prediction["candidates"]
    return float(candidates[0]["probability"]) if candidates else 0.0


def _best(prediction: Prediction) -> str | None:
    candidates = prediction["candidates"]
    return candidates[0]["entry"] if candidates else None


def _said(prediction: Prediction) -> str | None:
    """The answer that was given, or the verdict where none was."""
    return prediction["entry"] or f"({prediction['verdict']})"


def _is_right(query: Query, prediction: Prediction) -> bool:
    if not query.right:
        return prediction["entry"] is None or prediction["entry"] in query.tolerable
    return _best(prediction) in query.right


def _chart(
    title: str, across: str, up: str, points: Sequence[tuple[float, float]], *, ideal: bool = False
) -> str:
    """A line through points of the unit square, as a picture that a screen reader can name."""
    right, bottom = _WIDTH - _EDGE / 2, _HEIGHT - _EDGE

    def place(x: float, y: float) -> str:
        return f"{_EDGE + x * (right - _EDGE):.1f},{bottom - y * (bottom - _EDGE / 2):.1f}"

    ticks = "".join(
        f'<text x="{place(step / 5, 0).split(",")[0]}" y="{bottom + 16}" text-anchor="middle">'
        f"{step * 20} %</text>"
        f'<text x="{_EDGE - 6}" y="{place(0, step / 5).split(",")[1]}" text-anchor="end">'
        f"{step * 20} %</text>"
        for step in range(6)
    )
    line = " ".join(place(x, y) for x, y in points)
    dots = "".join(
        '<circle fill="#1f6feb" r="3" cx="{}" cy="{}"/>'.format(*place(x, y).split(","))
        for x, y in points
        if len(points) <= 40
    )
    diagonal = f'<polyline {_IDEAL} points="{place(0, 0)} {place(1, 1)}"/>' if ideal else ""
    frame = f"{place(0, 1)} {place(0, 0)} {place(1, 0)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' role="img" {_TEXT}>'
        f"<title>{escape(title)}</title>"
        f'<polyline {_AXIS} points="{frame}"/>{diagonal}{ticks}'
        f'<polyline {_CURVE} points="{line}"/>{dots}'
        f'<text x="{(_EDGE + right) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">'
        f"{escape(across)}</text>"
        f'<text transform="translate(14 {bottom / 2 + 20}) rotate(-90)" text-anchor="middle">'
        f"{escape(up)}</text></svg>"
    )
