"""Scoring a knowledge base on labelled questions."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kb.errors import BadFile
from kb.knowledge import KnowledgeBase
from kb.scores import auroc, calibration_error, wilson
from kb.verdict import Decision, Verdict


@dataclass(frozen=True, slots=True)
class Query:
    """A labelled question. `right` are the entries that answer it; none: out of scope."""

    text: str
    lang: str | None
    topic: str | None
    kind: str | None = None
    right: frozenset[str] = frozenset()
    tolerable: frozenset[str] = frozenset()  # entries that do no harm, where none is right
    context: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out: the scores, and one prediction per query in the queries' order."""

    scores: dict[str, Any]
    predictions: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Outcome:
    query: Query
    decision: Decision
    rank: int | None  # of the first right candidate, from 1
    milliseconds: float

    @property
    def is_right(self) -> bool:
        """Whether every entry that was answered is right or does no harm."""
        fine = self.query.right or self.query.tolerable
        return bool(self.decision.entries) and set(self.decision.entries) <= fine


def read_queries(path: Path) -> list[Query]:
    """The questions of a JSON-lines file. Raises BadFile, which names every bad line."""
    queries, wrong = [], []
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            queries.append(query_from_document(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            wrong.append(f"line {number}: {error}")
    if wrong:
        raise BadFile(path, wrong)
    return queries


def query_from_document(document: Mapping[str, Any]) -> Query:
    """One line of a queries file; keys that it does not know are ignored."""
    text, topic = document["text"], document.get("topic")
    topics = [one for one in (topic, *(document.get("topics") or ())) if one]
    if not isinstance(text, str):
        raise ValueError("text is not a text")
    return Query(
        text=text,
        lang=document.get("lang"),
        topic=topic,
        kind=document.get("kind"),
        right=frozenset([*topics, *(document.get("also") or ())]) if topics else frozenset(),
        tolerable=frozenset(document.get("tolerable") or ()),
        context=tuple((turn["role"], turn["text"]) for turn in document.get("context") or ()),
    )


def evaluate(
    queries: Sequence[Query],
    knowledge: KnowledgeBase,
    *,
    fit_seconds: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Ask every question and score the answers. The labels are looked at only to score."""
    outcomes = []
    for number, query in enumerate(queries, start=1):
        outcomes.append(_outcome(query, knowledge))
        if progress is not None:
            progress(number)
    scores: dict[str, Any] = {
        **_scores(outcomes),
        "by_language": _grouped(outcomes, lambda query: query.lang),
        "by_kind": _grouped(outcomes, lambda query: query.kind),
        "milliseconds": _times(outcomes),
        "fit_seconds": fit_seconds,
        "index_bytes": knowledge.index_bytes,
        "threshold": knowledge.thresholds.sure,
    }
    return Evaluation(scores, [_prediction(outcome) for outcome in outcomes])


def evaluate_file(
    queries: Path, knowledge: Path, *, progress: Callable[[int], None] | None = None
) -> Evaluation:
    """Fit the knowledge base of one file and score it on the questions of another."""
    asked = read_queries(queries)
    started = time.perf_counter()
    fitted = KnowledgeBase.from_file(knowledge)
    seconds = time.perf_counter() - started
    return evaluate(asked, fitted, fit_seconds=round(seconds, 3), progress=progress)


def write_predictions(path: Path, predictions: Iterable[Mapping[str, Any]]) -> None:
    """One line per query, in the queries' order."""
    lines = (json.dumps(prediction, ensure_ascii=False) for prediction in predictions)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _outcome(query: Query, knowledge: KnowledgeBase) -> _Outcome:
    started = time.perf_counter()
    decision = knowledge.ask(query.text, lang=query.lang, context=query.context)
    milliseconds = (time.perf_counter() - started) * 1000
    ranks = (
        rank
        for rank, candidate in enumerate(decision.candidates, start=1)
        if candidate.entry in query.right
    )
    return _Outcome(query, decision, next(ranks, None), milliseconds)


def _grouped(
    outcomes: Sequence[_Outcome], name: Callable[[Query], str | None]
) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[_Outcome]] = defaultdict(list)
    for outcome in outcomes:
        key = name(outcome.query)
        if key is not None:
            groups[key].append(outcome)
    return {key: _scores(group) for key, group in sorted(groups.items())}


def _scores(outcomes: Sequence[_Outcome]) -> dict[str, Any]:
    inside = [outcome for outcome in outcomes if outcome.query.right]
    outside = [outcome for outcome in outcomes if not outcome.query.right]
    answered = [outcome for outcome in outcomes if outcome.decision.verdict is Verdict.SURE]
    wrong = sum(not outcome.is_right for outcome in answered)
    escalated = [o for o in outside if o.decision.verdict is Verdict.UNKNOWN]
    top = [o.decision.candidates[0].probability if o.decision.candidates else 0.0 for o in outcomes]
    return {
        "queries": len(outcomes),
        "in_scope": len(inside),
        "accuracy_at_1": _share(sum(o.rank == 1 for o in inside), len(inside)),
        "recall_at_3": _share(sum((o.rank or 9) <= 3 for o in inside), len(inside)),
        "mrr": _share(sum(1 / o.rank for o in inside if o.rank), len(inside)),
        "answered": _share(len(answered), len(outcomes)),
        "answered_count": len(answered),
        "wrong_among_answered": _share(wrong, len(answered)),
        "wrong_interval": wilson(wrong, len(answered)),
        "in_scope_answered_rightly": _share(
            sum(o.decision.verdict is Verdict.SURE and o.is_right for o in inside), len(inside)
        ),
        "in_scope_answered_or_offered_rightly": _share(
            sum(_is_helped(o) for o in inside), len(inside)
        ),
        "out_of_scope_escalated": _share(len(escalated), len(outside)),
        "auroc_none": auroc(
            [o.decision.p_none for o in outside], [o.decision.p_none for o in inside]
        ),
        "ece": calibration_error(top, [o.rank == 1 for o in outcomes]),
    }


def _is_helped(outcome: _Outcome) -> bool:
    match outcome.decision.verdict:
        case Verdict.SURE:
            return outcome.is_right
        case Verdict.UNSURE:
            return outcome.rank is not None and outcome.rank <= 3
    return False


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _times(outcomes: Sequence[_Outcome]) -> dict[str, float | None]:
    times = sorted(outcome.milliseconds for outcome in outcomes)
    if not times:
        return {"p50": None, "p99": None}
    return {
        "p50": times[len(times) // 2],
        "p99": times[min(len(times) - 1, len(times) * 99 // 100)],
    }


def _prediction(outcome: _Outcome) -> dict[str, Any]:
    query, decision = outcome.query, outcome.decision
    line: dict[str, Any] = {
        "text": query.text,
        "lang": query.lang,
        "topic": query.topic,
        "verdict": str(decision.verdict),
        "entry": decision.entries[0] if decision.entries else None,
    }
    if len(decision.entries) > 1:
        line["entries"] = list(decision.entries)
    line["candidates"] = [
        {"entry": candidate.entry, "probability": round(candidate.probability, 6)}
        for candidate in decision.candidates
    ]
    line["p_none"] = round(decision.p_none, 6)
    return line
