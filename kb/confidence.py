"""How sure the matcher may be: probabilities learned from questions it had not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from kb.logistic import fit_logistic
from kb.model import Judgements, Model
from kb.reading import Glance
from kb.vectors import Floats, Ints
from kb.verdict import Thresholds

RIGHT, WRONG, NONE = 0, 1, 2
_DEFAULT = Path(__file__).parent / "default_confidence.yaml"
MAX_WRONG = 0.05  # wrong answers among the answers given: what is promised
_AIM = 0.9 * MAX_WRONG  # what thresholds aim at: patrons are harder than held-out phrasings
_HIGHEST = 0.95
_LEAD = 5.0  # odds of e^5 are as good as any
_FEW = 40  # held-out questions below which the figures are not worth learning from
_HAN_LETTERS = 2.5  # one character says as much
_OUTSIDE = 0.2  # the share of patrons' questions that no entry answers
NAMES = (
    "odds",
    "lead",
    "none",
    "likeness",
    "hint",
    "background",
    "rival",
    "coverage",
    "concepts shared",
    "concepts",
    "cues",
    "length",
    "chinese",
    "vietnamese",
)
EVIDENCE = len(NAMES)


def length(text: str, lang: str) -> float:
    """How long a text is, in letters; a Chinese character says as much as several."""
    return len(text) * (_HAN_LETTERS if lang == "zh" else 1.0)


def evidence(model: Model, glances: Sequence[Glance], judged: Judgements) -> Floats:
    """What speaks for and against each question's best entry, in the order of NAMES."""
    scores, rows = judged.scores, np.arange(len(glances))
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = np.log(odds / odds.sum(axis=1, keepdims=True) + 1e-6)
    best = scores[:, :-1].argmax(axis=1)
    rivals, others = judged.nearest.copy(), shares[:, :-1].copy()
    rivals[rows, best], others[rows, best] = 0.0, np.log(1e-6)
    top = shares[rows, best]
    concepts = [
        model.concept_share(glance.concepts, int(entry))
        for glance, entry in zip(glances, best, strict=True)
    ]
    found = (
        top,
        np.minimum(_LEAD, top - others.max(axis=1)),
        shares[:, -1],
        judged.nearest[rows, best],
        model.nearest_hint(judged, best),
        judged.background,
        rivals.max(axis=1),
        judged.points.coverage,
        concepts,
        [min(6, len(glance.concepts)) / 6 for glance in glances],
        [glance.cues for glance in glances],
        [log(length(glance.text, glance.lang) + 1) for glance in glances],
        [glance.lang == "zh" for glance in glances],
        [glance.lang == "vi" for glance in glances],
    )
    return np.stack([np.asarray(column, np.float32) for column in found], axis=1)


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
            return cls.default()
        mean, spread = seen.mean(axis=0), seen.std(axis=0) + 1e-6
        rows = _rows(seen, mean, spread)
        targets = np.array(outcomes, np.int32)
        mass = _mass(targets)
        coefficients = fit_logistic(
            lambda right: rows @ (rows.T @ right),
            targets,
            3,
            c=10.0,
            weights=mass,
            steps=200,
            tolerance=1e-4,
        )
        weights = np.asarray(rows.T @ coefficients, np.float32)
        shares = _softmax(rows @ weights)
        thresholds = _thresholds(shares[:, RIGHT], targets == RIGHT, mass)
        return cls(mean, spread, weights, thresholds)

    @classmethod
    def default(cls) -> "Confidence":
        """What many knowledge bases with few phrasings an entry have taught: for those like them.

        Held-out phrasings of their own say too little: one author words them alike, and a model
        that lacks some of few is not the one that will answer.
        """
        document = yaml.safe_load(_DEFAULT.read_text(encoding="utf-8"))
        return cls(
            np.array(document["mean"], np.float32),
            np.array(document["spread"], np.float32),
            np.array(document["weights"], np.float32),
            Thresholds(document["sure"], document["offer"]),
        )

    def as_document(self) -> dict[str, Any]:
        """In a form that JSON can hold."""
        return {
            "names": list(NAMES),
            "mean": np.round(self.mean.astype(float), 5).tolist(),
            "spread": np.round(self.spread.astype(float), 5).tolist(),
            "weights": np.round(self.weights.astype(float), 5).tolist(),
            "sure": round(self.thresholds.sure, 4),
            "offer": self.thresholds.offer,
        }

    def outcome(self, seen: Floats) -> tuple[float, float, float]:
        """The probabilities that the best entry is right, that another is, and that none is."""
        rows = _rows(seen, self.mean, self.spread)
        right, wrong, none = map(float, _softmax(rows @ self.weights)[0])
        return right, wrong, none


def _rows(seen: Floats, mean: Floats, spread: Floats) -> Floats:
    ones = np.ones((len(seen), 1), np.float32)
    return np.asarray(np.hstack([(seen - mean) / spread, ones]), np.float32)


def _softmax(scores: Floats) -> Floats:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)


def _mass(outcomes: Ints) -> Floats:
    """Weights that make questions outside as frequent as they are at a desk."""
    mass = np.ones(len(outcomes), np.float32)
    outside = outcomes == NONE
    if outside.any() and not outside.all():
        mass[outside] = _OUTSIDE / (1 - _OUTSIDE) * (~outside).sum() / outside.sum()
    return mass


def _thresholds(right: Floats, was_right: NDArray[np.bool_], mass: Floats) -> Thresholds:
    """The lowest probability from which answers are wrong at most as often as allowed."""
    order = np.argsort(-right, kind="stable")
    share = np.cumsum((~was_right * mass)[order]) / np.cumsum(mass[order])
    allowed = np.flatnonzero(share <= _AIM)
    lowest = float(right[order[allowed[-1]]]) if len(allowed) else _HIGHEST
    return Thresholds(sure=min(_HIGHEST, max(0.5, lowest)))
