"""What is learned from a set of labelled readings, and what it says of a new one.

A kernel logistic regression, kept in its kernel form: a question's likeness to every example,
times the examples' coefficients, gives the odds of every entry. The same likeness names the
nearest phrasing, and the whole index is one inverted file and one small array.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kb.logistic import fit_logistic
from kb.reading import CONCEPT, Reading
from kb.vectors import Floats, Ints, Point, Postings, Space, matrix

C = 20.0
ANSWER_WEIGHT = 0.4  # an answer tells of its entry, less surely than a phrasing does
_DENSE = 5_000  # examples up to which the kernel matrix is held in memory (100 MB)


@dataclass(frozen=True, slots=True)
class Examples:
    """Readings with the number of their entry; background has no entry."""

    phrasings: Sequence[Reading]
    labels: Sequence[int]
    answers: Sequence[Reading] = ()
    answer_labels: Sequence[int] = ()
    background: Sequence[Reading] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a model says of one question."""

    point: Point
    likeness: Floats  # to each example
    scores: Floats  # log-odds of each entry, and last of none
    nearest: Floats  # per entry, the likeness of its nearest phrasing
    background: float  # the likeness of the nearest background question


class Model:
    """Learned coefficients over an inverted index of the examples."""

    def __init__(
        self, space: Space, postings: Postings, labels: Ints, coefficients: Floats, phrasings: int
    ) -> None:
        """The first `phrasings` rows are phrasings, then come answers, then background."""
        self.space = space
        self.postings = postings
        self.labels = labels
        self.coefficients = coefficients
        self.phrasings = phrasings
        self.entries = coefficients.shape[1] - 1
        self.background_from = int(np.searchsorted(labels == self.entries, True))

    @classmethod
    def fit(cls, examples: Examples, entries: int) -> "Model":
        """Learn from examples of entries numbered below `entries`."""
        readings = [*examples.phrasings, *examples.answers, *examples.background]
        space = Space().learn([*examples.phrasings, *examples.background])
        rows = matrix([space.vector(reading) for reading in readings], len(space))
        others = [entries] * len(examples.background)
        labels = np.array([*examples.labels, *examples.answer_labels, *others], np.int32)
        weights = np.ones(len(readings), np.float32)
        begin = len(examples.phrasings)
        weights[begin : begin + len(examples.answers)] = ANSWER_WEIGHT
        coefficients = fit_logistic(_product(rows), labels, entries + 1, c=C, weights=weights)
        return cls(space, Postings.of(rows), labels, coefficients, begin)

    @property
    def nbytes(self) -> int:
        """What the arrays take in memory."""
        kept = self.postings
        arrays = (kept.starts, kept.rows, kept.values, self.coefficients, self.labels)
        return sum(array.nbytes for array in arrays)

    def judge(self, reading: Reading) -> Judgement:
        """Compare a question with every example."""
        return self.judge_point(self.space.vector(reading))

    def judge_point(self, point: Point) -> Judgement:
        """Compare a point of the model's space with every example."""
        likeness = self.postings.likeness(point)
        own = likeness[: self.phrasings]
        nearest = np.zeros(self.entries, np.float32)
        np.maximum.at(nearest, self.labels[: self.phrasings], own)
        background = likeness[self.background_from :]
        return Judgement(
            point,
            likeness,
            likeness @ self.coefficients,
            nearest,
            float(background.max()) if len(background) else 0.0,
        )

    def concept_share(self, reading: Reading, entry: int) -> float:
        """The share of a question's concepts, by rarity, that an entry's examples hold too."""
        shared = whole = 0.0
        for concept in reading.concepts:
            number = self.space.number.get(CONCEPT + concept)
            if number is None:
                whole += 1.0
                continue
            rarity = float(self.space.rarity[number])
            whole += rarity
            rows, _ = self.postings.of_feature(number)
            if (self.labels[rows] == entry).any():
                shared += rarity
        return shared / whole if whole else 0.5

    def contributions(self, point: Point, entry: int) -> Floats:
        """How much each of a question's features speaks for an entry against the average one."""
        lead = self.coefficients[:, entry] - self.coefficients[:, :-1].mean(axis=1)
        found = []
        for number, value in zip(point.numbers, point.values, strict=True):
            rows, values = self.postings.of_feature(number)
            found.append(float(value * (values @ lead[rows])))
        return np.array(found, np.float32)


def _product(rows: Any) -> Callable[[Floats], Floats]:
    """Multiplication with the kernel matrix of the rows, held whole only while it is small."""
    if rows.shape[0] <= _DENSE:
        dense = (rows @ rows.T).toarray()
        return lambda right: dense @ right
    columns = rows.T.tocsr()
    return lambda right: rows @ (columns @ right)
