"""Which entry a question asks for, how sure that is, and why.

A kernel logistic regression over words, characters, concepts and sounds, with one more class for
questions that no entry answers; the nearest phrasing checks it. How sure it is comes from what
it does on phrasings that it has not seen (`kb/confidence.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from kb.background import BackgroundQuestion, shipped_background
from kb.concepts import ConceptIndex
from kb.confidence import EVIDENCE, Confidence, evidence
from kb.entries import Concept, Phrasing
from kb.logistic import fit_logistic
from kb.reading import Reading, read
from kb.thesaurus import shipped_concepts
from kb.vectors import Floats, Ints, Point, Space, Weights, matrix
from kb.verdict import Candidate, Ranking, Thresholds

C = 20.0
_DENSE = 4_000  # examples up to which the kernel matrix is held in memory (64 MB)
_SHOWN_FEATURES = 8


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature of the question, and how much it speaks for the entry."""

    feature: str
    weight: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a question was matched as it was."""

    text: str  # as it was read
    ranking: Ranking
    concepts: tuple[str, ...]
    reasons: tuple[Reason, ...]  # for the likeliest entry, strongest first
    nearest: tuple[tuple[str, str, float], ...]  # entry, its nearest phrasing, likeness 0 to 1


class Model:
    """The learned part: a space, its phrasings in it, and a weight per feature and entry."""

    def __init__(
        self, readings: Sequence[Reading], labels: Ints, others: Sequence[Reading], n: int
    ):
        """`labels` numbers each reading's entry below `n`; `others` belong to no entry."""
        self.space = Space(Weights()).learn([*readings, *others])
        everything = [*readings, *others]
        points = [self.space.vector(reading) for reading in everything]
        rows = matrix(points, len(self.space))
        targets = np.concatenate([labels, np.full(len(others), n, np.int32)])
        coefficients = fit_logistic(_kernel(rows), targets, n + 1, c=C)
        self.weights: Floats = np.ascontiguousarray((rows.T @ coefficients), dtype=np.float32)
        self.phrasings = rows[: len(readings)].tocsc()
        self.labels = labels

    def scores(self, point: Point) -> Floats:
        """The log-odds of each entry, and last of "none"."""
        return np.asarray(point.values @ self.weights[point.numbers], np.float32)

    def likeness(self, point: Point) -> Floats:
        """The cosine of each phrasing with the point."""
        columns = self.phrasings[:, point.numbers]
        return np.asarray(columns @ point.values, np.float32)


def _kernel(rows: sparse.csr_matrix):  # type: ignore[no-untyped-def]
    if rows.shape[0] <= _DENSE:
        dense = (rows @ rows.T).toarray()
        return lambda right: dense @ right
    columns = rows.T.tocsr()
    return lambda right: rows @ (columns @ right)


class Matcher:
    """Learns an entry from its phrasings; ranks entries for a question."""

    def __init__(
        self,
        limit: int = 3,
        *,
        concepts: Iterable[Concept] = (),
        background: Sequence[BackgroundQuestion] | None = None,
    ) -> None:
        """`concepts` are a library's own, beside those that are shipped."""
        self.limit = limit
        self.concepts = ConceptIndex([*shipped_concepts(), *concepts])
        self.background = shipped_background() if background is None else background

    def fit(self, phrasings: Iterable[Phrasing]) -> "Matcher":
        """Learn the entries; the same phrasings always give the same matcher."""
        self.phrasings_ = tuple(phrasings)
        self.entries_ = tuple(dict.fromkeys(phrasing.entry for phrasing in self.phrasings_))
        number = {entry: at for at, entry in enumerate(self.entries_)}
        self.labels_ = np.array([number[p.entry] for p in self.phrasings_], np.int32)
        readings = [read(phrasing.text, self.concepts) for phrasing in self.phrasings_]
        others = [read(question.text, self.concepts) for question in self.background]
        self.model_ = Model(readings, self.labels_, others, len(self.entries_))
        self.confidence_ = self._learn_confidence(readings, others)
        self.thresholds_: Thresholds = self.confidence_.thresholds
        return self

    @property
    def index_bytes(self) -> int:
        """What the learned arrays take in memory."""
        kept = self.model_.phrasings
        arrays = (self.model_.weights, kept.data, kept.indices, kept.indptr)
        return sum(array.nbytes for array in arrays)

    def _learn_confidence(
        self, readings: Sequence[Reading], others: Sequence[Reading]
    ) -> Confidence:
        """See how the matcher does on phrasings and background that were kept from it."""
        seen: list[list[float]] = []
        outcomes: list[int] = []
        n = len(self.entries_)
        turns = _turns(self.phrasings_)
        for fold in range(2):
            keep = [at for at in range(len(readings)) if turns[at] % 2 != fold]
            held = [at for at in range(len(readings)) if turns[at] % 2 == fold]
            if not keep or not held:
                continue
            model = Model(
                [readings[at] for at in keep],
                self.labels_[keep],
                [other for at, other in enumerate(others) if at % 2 != fold],
                n,
            )
            tests = [(readings[at], int(self.labels_[at])) for at in held]
            tests += [(other, -1) for at, other in enumerate(others) if at % 2 == fold]
            for reading, label in tests:
                point = model.space.vector(reading)
                scores, likeness = model.scores(point), model.likeness(point)
                seen.append(evidence(scores, likeness, model.labels, point.coverage))
                top = int(scores[:-1].argmax())
                outcomes.append(2 if label < 0 else int(top != label))
        return Confidence.learn(np.array(seen, np.float32).reshape(-1, EVIDENCE), outcomes)

    def rank(
        self, text: str, *, lang: str | None = None, context: Sequence[tuple[str, str]] = ()
    ) -> Ranking:
        """The likeliest entries for a question. `context` holds (role, text), oldest first."""
        ranking, _reading, _point = self._rank(text)
        return ranking

    def _rank(self, text: str) -> tuple[Ranking, Reading, Point]:
        reading = read(text, self.concepts)
        point = self.model_.space.vector(reading)
        if not self.entries_ or not len(point.numbers):
            return Ranking((), 1.0), reading, point
        scores = self.model_.scores(point)
        likeness = self.model_.likeness(point)
        outcome = self.confidence_.outcome(evidence(scores, likeness, self.labels_, point.coverage))
        return _ranking(self.entries_, scores[:-1], outcome, self.limit), reading, point

    def explain(
        self, text: str, *, lang: str | None = None, context: Sequence[tuple[str, str]] = ()
    ) -> Explanation:
        """Which words and concepts spoke for the likeliest entry, and what lies near."""
        ranking, reading, point = self._rank(text)
        if not ranking.candidates:
            return Explanation(reading.text, ranking, reading.concepts, (), ())
        return Explanation(
            reading.text,
            ranking,
            reading.concepts,
            self._reasons(point, ranking.candidates[0].entry),
            self._nearest(point, ranking),
        )

    def _reasons(self, point: Point, entry: str) -> tuple[Reason, ...]:
        column = self.entries_.index(entry)
        weights = self.model_.weights[point.numbers]
        share = point.values * (weights[:, column] - weights[:, :-1].mean(axis=1))
        names = self.model_.space.names()
        strongest = np.argsort(-share, kind="stable")[:_SHOWN_FEATURES]
        return tuple(
            Reason(names[point.numbers[at]], round(float(share[at]), 4))
            for at in strongest
            if share[at] > 0
        )

    def _nearest(self, point: Point, ranking: Ranking) -> tuple[tuple[str, str, float], ...]:
        likeness = self.model_.likeness(point)
        found = []
        for candidate in ranking.candidates:
            own = np.flatnonzero(self.labels_ == self.entries_.index(candidate.entry))
            best = int(own[likeness[own].argmax()])
            found.append(
                (candidate.entry, self.phrasings_[best].text, round(float(likeness[best]), 4))
            )
        return tuple(found)


def _turns(phrasings: Sequence[Phrasing]) -> list[int]:
    """Which of its entry's phrasings in its language each one is, counted from 0."""
    counts: dict[tuple[str, str], int] = {}
    turns = []
    for phrasing in phrasings:
        place = (phrasing.entry, phrasing.lang)
        turns.append(counts.get(place, 0))
        counts[place] = turns[-1] + 1
    return turns


def _ranking(
    entries: Sequence[str], scores: Floats, outcome: tuple[float, float, float], limit: int
) -> Ranking:
    """The best entry gets what is right; the others share what is wrong, by their odds."""
    right, wrong, none = outcome
    order = np.argsort(-scores, kind="stable")[:limit]
    odds = np.exp(scores - scores.max())
    rest = float(odds.sum() - odds[order[0]]) or 1.0
    candidates = [Candidate(entries[order[0]], right)]
    for at in order[1:]:
        share = min(right, wrong * float(odds[at]) / rest)
        candidates.append(Candidate(entries[at], share))
    return Ranking(tuple(candidates), none)
