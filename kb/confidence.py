"""How sure the matcher may be: probabilities learned from questions it had not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kb.logistic import fit_logistic
from kb.vectors import Floats, Ints
from kb.verdict import Thresholds

EVIDENCE = 6
RIGHT, WRONG, NONE = 0, 1, 2
MAX_WRONG = 0.05  # wrong answers among the answers given
_HIGHEST = 0.95
_LEAD = 5.0  # odds of e^5 are as good as any
_FEW = 40  # held-out questions below which the figures are not worth learning from


def evidence(scores: Floats, likeness: Floats, labels: Ints, coverage: float) -> list[float]:
    """What speaks for the best entry: odds, lead, the best rival, likeness, known words."""
    shifted = scores - scores.max()
    odds = np.exp(shifted)
    shares = odds / odds.sum()
    order = np.argsort(-scores[:-1], kind="stable")[:2]
    top = float(shares[order[0]])
    second = float(shares[order[1]]) if len(order) > 1 else 0.0
    own = likeness[labels == order[0]]
    return [
        float(np.log(top + 1e-6)),
        min(_LEAD, float(np.log(top + 1e-6) - np.log(second + 1e-6))),
        float(np.log(shares[-1] + 1e-6)),
        float(own.max()) if len(own) else 0.0,
        float(likeness.max()) if len(likeness) else 0.0,
        coverage,
    ]


@dataclass(frozen=True, slots=True)
class Confidence:
    """Turns evidence into the probabilities right, wrong and none; and knows when to answer."""

    mean: Floats
    spread: Floats
    weights: Floats  # (evidence + 1) x 3
    thresholds: Thresholds

    @classmethod
    def learn(cls, seen: Floats, outcomes: Sequence[int]) -> "Confidence":
        """From evidence on held-out questions, and what became of each."""
        if len(outcomes) < _FEW:
            return cls.cautious()
        mean, spread = seen.mean(axis=0), seen.std(axis=0) + 1e-6
        rows = _rows(seen, mean, spread)
        targets = np.array(outcomes, np.int32)
        coefficients = fit_logistic(lambda right: rows @ (rows.T @ right), targets, 3, c=10.0)
        weights = np.asarray(rows.T @ coefficients, np.float32)
        shares = _softmax(rows @ weights)
        return cls(mean, spread, weights, _thresholds(shares[:, RIGHT], targets == RIGHT))

    @classmethod
    def cautious(cls) -> "Confidence":
        """Where there is too little to learn from: likeness to a known phrasing decides."""
        weights = np.zeros((EVIDENCE + 1, 3), np.float32)
        weights[1, RIGHT], weights[4, RIGHT], weights[-1, RIGHT] = 1.5, 8.0, -9.0
        zeros, ones = np.zeros(EVIDENCE, np.float32), np.ones(EVIDENCE, np.float32)
        return cls(zeros, ones, weights, Thresholds())

    def outcome(self, seen: Sequence[float]) -> tuple[float, float, float]:
        """The probabilities that the best entry is right, that another is, and that none is."""
        rows = _rows(np.array([seen], np.float32), self.mean, self.spread)
        right, wrong, none = _softmax(rows @ self.weights)[0]
        return float(right), float(wrong), float(none)


def _rows(seen: Floats, mean: Floats, spread: Floats) -> Floats:
    ones = np.ones((len(seen), 1), np.float32)
    return np.asarray(np.hstack([(seen - mean) / spread, ones]), np.float32)


def _softmax(scores: Floats) -> Floats:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)


def _thresholds(right: Floats, was_right: NDArray[np.bool_]) -> Thresholds:
    """The lowest probability from which answers are wrong at most as often as allowed."""
    order = np.argsort(-right, kind="stable")
    wrong = np.cumsum(~was_right[order]) / np.arange(1, len(order) + 1)
    allowed = np.flatnonzero(wrong <= MAX_WRONG)
    lowest = float(right[order[allowed[-1]]]) if len(allowed) else _HIGHEST
    return Thresholds(sure=min(_HIGHEST, max(0.5, lowest)))
