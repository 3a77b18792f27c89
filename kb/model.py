"""What is learned from a set of labelled readings, and what it says of new ones.

A kernel logistic regression, kept in its kernel form: a question's likeness to every example,
times the examples' coefficients, gives the odds of every entry. The same likeness names the
nearest phrasing, and the whole index is one inverted file and one small array.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from kb.logistic import fit_logistic
from kb.reading import CONCEPT
from kb.store import Arrays
from kb.vectors import Counts, Floats, Ints, Points, Postings, Space, Vocabulary

C = 60.0
HINT_WEIGHT = 0.4  # an answer or a key tells of its entry, less surely than a phrasing does
_DENSE = 5_000  # examples up to which the kernel matrix is held in memory (100 MB)


@dataclass(frozen=True, slots=True)
class Examples:
    """Counted texts with the number of their entry: phrasings, then hints, then background.

    Background belongs to the number after the last entry.
    """

    vocabulary: Vocabulary
    counts: Counts
    dense: Floats
    labels: Ints
    phrasings: int
    hints: int
    entries: int

    @property
    def background_from(self) -> int:
        return self.phrasings + self.hints

    def take(self, rows: Sequence[int]) -> "Examples":
        """Only these rows (ascending)."""
        chosen = np.asarray(rows)
        phrasings = int((chosen < self.phrasings).sum())
        hints = int((chosen < self.background_from).sum()) - phrasings
        return Examples(
            self.vocabulary,
            self.counts.take(rows),
            self.dense[chosen],
            self.labels[chosen],
            phrasings,
            hints,
            self.entries,
        )


@dataclass(frozen=True, slots=True)
class Judgements:
    """What a model says of questions: one row for each."""

    points: Points
    likeness: Floats  # to each example
    scores: Floats  # log-odds of each entry, and last of none
    nearest: Floats  # per entry, the likeness of its nearest phrasing
    background: Floats  # the likeness of the nearest background question


class Model:
    """Learned coefficients over an inverted index of the examples."""

    def __init__(
        self,
        space: Space,
        postings: Postings,
        dense: Floats,
        *,
        labels: Ints,
        coefficients: Floats,
        phrasings: int,
    ) -> None:
        """The first `phrasings` rows are phrasings by entry, then come hints and background."""
        _one_thread()
        self.space = space
        self.postings = postings
        self.dense = dense
        self._with_meaning = np.flatnonzero(dense.any(axis=1))
        self._meanings = np.ascontiguousarray(dense[self._with_meaning])
        self.labels = labels
        self.coefficients = coefficients
        self.phrasings = phrasings
        self.entries = coefficients.shape[1] - 1
        self.background_from = int((labels < self.entries).sum())
        own = labels[:phrasings]
        self._held = np.unique(own)
        self._begins = np.searchsorted(own, self._held)

    @classmethod
    def fit(cls, examples: Examples) -> "Model":
        """Learn from examples."""
        learned = [
            *range(examples.phrasings),
            *range(examples.background_from, len(examples.labels)),
        ]
        space = Space.learn(examples.vocabulary, examples.counts.take(learned))
        points = space.place(examples.counts, examples.dense)
        rows = points.matrix(len(space))
        weights = np.ones(len(examples.labels), np.float32)
        weights[examples.phrasings : examples.background_from] = HINT_WEIGHT
        coefficients = fit_logistic(
            _product(rows, points.dense),
            examples.labels,
            examples.entries + 1,
            c=C,
            weights=weights,
        )
        return cls(
            space,
            Postings.of(rows),
            points.dense,
            labels=examples.labels,
            coefficients=coefficients,
            phrasings=examples.phrasings,
        )

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """What was learned, as arrays and a document that JSON can hold."""
        arrays: Arrays = {
            "starts": self.postings.starts,
            "rows": self.postings.rows,
            "values": self.postings.values,
            "dense": self.dense,
            "rarity": self.space.rarity,
            "labels": self.labels,
            "coefficients": self.coefficients,
        }
        return arrays, {"names": list(self.space.vocabulary.number), "phrasings": self.phrasings}

    @classmethod
    def restore(cls, arrays: Arrays, document: Mapping[str, Any]) -> "Model":
        """The model whose `state` this is."""
        labels = arrays["labels"]
        postings = Postings(arrays["starts"], arrays["rows"], arrays["values"], len(labels))
        space = Space(Vocabulary(document["names"]), arrays["rarity"])
        return cls(
            space,
            postings,
            arrays["dense"],
            labels=labels,
            coefficients=arrays["coefficients"],
            phrasings=document["phrasings"],
        )

    @property
    def nbytes(self) -> int:
        """What the arrays take in memory."""
        kept = self.postings
        arrays = (kept.starts, kept.rows, kept.values, self.dense, self.coefficients, self.labels)
        return sum(array.nbytes for array in arrays)

    def judge(self, points: Points) -> Judgements:
        """Compare points of the model's space with every example."""
        likeness = self.postings.likeness(points)
        if points.dense.any():
            likeness[:, self._with_meaning] += points.dense @ self._meanings.T
        nearest = np.zeros((len(points), self.entries), np.float32)
        if len(self._held):
            own = likeness[:, : self.phrasings]
            nearest[:, self._held] = np.maximum.reduceat(own, self._begins, axis=1)
        background = likeness[:, self.background_from :]
        return Judgements(
            points,
            likeness,
            likeness @ self.coefficients,
            nearest,
            background.max(axis=1, initial=0.0),
        )

    def nearest_hint(self, judged: Judgements, entries: NDArray[np.intp]) -> Floats:
        """For each question and an entry, the likeness of the entry's nearest hint."""
        hints = slice(self.phrasings, self.background_from)
        own = self.labels[hints] == entries[:, None]
        likeness = np.where(own, judged.likeness[:, hints], np.float32(0.0))
        return np.asarray(likeness.max(axis=1, initial=0.0), np.float32)

    def concept_share(self, concepts: Sequence[str], entry: int) -> float:
        """The share of a question's concepts, by rarity, that an entry's examples hold too."""
        shared = whole = 0.0
        for concept in concepts:
            number = self.space.vocabulary.number.get(CONCEPT + concept, -1)
            rarity = float(self.space.rarity[number]) if number >= 0 else 0.0
            whole += rarity or 1.0
            if rarity:
                rows, _ = self.postings.of_feature(number)
                shared += rarity * bool((self.labels[rows] == entry).any())
        return shared / whole if whole else 0.5

    def meaning(self, points: Points, entry: int) -> float:
        """How much the meaning of a question speaks for an entry against the average one."""
        lead = self.coefficients[:, entry] - self.coefficients[:, :-1].mean(axis=1)
        return float((self._meanings @ points.dense[0]) @ lead[self._with_meaning])

    def contributions(self, points: Points, entry: int) -> Floats:
        """How much each feature of a question speaks for an entry against the average one."""
        lead = self.coefficients[:, entry] - self.coefficients[:, :-1].mean(axis=1)
        found = []
        for number, value in zip(points.numbers.tolist(), points.values.tolist(), strict=True):
            rows, values = self.postings.of_feature(number)
            found.append(float(value * (values @ lead[rows])))
        return np.array(found, np.float32)


@cache
def _one_thread() -> None:
    """Let linear algebra run on the thread that calls it, in this process, from now on.

    A question's products are tiny: sharing them between cores costs ten times what it saves,
    most of all on a busy machine.
    """
    threadpool_limits(limits=1, user_api="blas")


def _product(rows: Any, dense: Floats) -> Callable[[Floats], Floats]:
    """Multiplication with the kernel matrix of the rows, held whole only while it is small."""
    if rows.shape[0] <= _DENSE:
        whole = (rows @ rows.T).toarray()
        whole += dense @ dense.T
        return lambda right: whole @ right
    columns = rows.T.tocsr()
    return lambda right: rows @ (columns @ right) + dense @ (dense.T @ right)
