"""Readings as points in one space: each kind of feature weighed by rarity, then blended.

A text has up to three views: its surface (words, letters, characters), the same surface with
Vietnamese marks, and its meaning (concepts, signs, sound). Each view is scaled by its own
length, so that two texts are compared by the mean of the views that both have.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log
from sys import intern

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from kb.reading import (
    CONCEPT,
    CUE,
    FAMILY,
    HAN,
    MARKED_PIECE,
    MARKED_WORD,
    PIECE,
    SOUND,
    WORD,
    Reading,
)

KINDS = (WORD, PIECE, MARKED_WORD, MARKED_PIECE, HAN, SOUND, CONCEPT, CUE, FAMILY)
_WORD, _PIECE, _MARKED_WORD, _MARKED_PIECE, _HAN, _SOUND, _CONCEPT, _CUE, _FAMILY = range(
    len(KINDS)
)
_PLACE = {kind: place for place, kind in enumerate(KINDS)}
_STRIKING = 4.0  # the length of the cues of a text that shows several
_TELLING = 15.0  # the length of the concepts of a text that is rich in them
_KINDRED = 10.0  # the length of the families of a text that names several
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each view and kind of feature counts; chosen by cross-validation."""

    word: float = 0.4  # words against pieces, within the surface
    marked: float = 0.5  # the view with marks, where there are any
    concept: float = 0.5
    sound: float = 0.05
    cue: float = 0.3
    family: float = 0.5


WEIGHTS = Weights()


class Vocabulary:
    """The features that occur in a set of readings, numbered, each with its kind."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """`names` are features behind the letter of their kind, in the order of their numbers."""
        # Interned: thousands of libraries in one process share most of their features.
        self.number = {intern(name): at for at, name in enumerate(names)}
        self.kinds = np.array([_PLACE[name[0]] for name in names], np.int8)

    def copy(self) -> "Vocabulary":
        """The same features, to which others may be added."""
        other = Vocabulary()
        other.number, other.kinds = dict(self.number), self.kinds
        return other

    def __len__(self) -> int:
        return len(self.number)

    def count(self, readings: Iterable[Reading], *, grow: bool = False) -> "Counts":
        """How often each feature occurs in each reading. With `grow`, new features are added."""
        number = self.number
        numbers, values = array("i"), array("f")
        starts, unknown = array("q", [0]), array("f")
        for reading in readings:
            unknown.append(0.0)
            for kind, counts in reading.counts.items():
                missed = 0
                for feature, count in counts.items():
                    name = kind + feature
                    at = number.get(name, -1)
                    if at < 0:
                        if not grow:
                            missed += 1
                            continue
                        at = number[intern(name)] = len(number)
                    numbers.append(at)
                    values.append(1.0 if count == 1 else 1.0 + log(count))
                if missed and kind in (WORD, HAN):
                    unknown[-1] += missed
            starts.append(len(numbers))
        if grow:
            new = islice(number, len(self.kinds), None)
            more = np.array([_PLACE[name[0]] for name in new], np.int8)
            self.kinds = np.concatenate([self.kinds, more])
        return Counts(
            np.frombuffer(starts, np.int64),
            np.frombuffer(numbers, np.int32) if numbers else np.zeros(0, np.int32),
            np.frombuffer(values, np.float32) if values else np.zeros(0, np.float32),
            np.frombuffer(unknown, np.float32) if unknown else np.zeros(0, np.float32),
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """Features and how often (1 + log) they occur, row after row of a sparse matrix."""

    starts: NDArray[np.int64]
    numbers: Ints
    values: Floats
    unknown: Floats  # per row, words and characters outside the vocabulary

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self) -> Ints:
        """The row of each value."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.starts))

    def take(self, rows: Sequence[int]) -> "Counts":
        """Only these rows, in this order."""
        chosen = np.asarray(rows, np.int64)
        begins, lengths = self.starts[chosen], np.diff(self.starts)[chosen]
        at = _ranges(begins, lengths)
        starts = np.zeros(len(chosen) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        return Counts(starts, self.numbers[at], self.values[at], self.unknown[chosen])


def _ranges(begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """begin, begin + 1, ... for each range, one after another."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.repeat(begins - ends + lengths, lengths) + np.arange(total), np.int64)


@dataclass(frozen=True, slots=True)
class Points:
    """Texts in a space: rows of feature numbers with weights, each of length one."""

    starts: NDArray[np.int64]
    numbers: Ints
    values: Floats
    coverage: Floats  # per row, the share of its words and characters that the space has seen
    dense: Floats  # per row, its place in the dense space of meaning

    def __len__(self) -> int:
        return len(self.starts) - 1

    def matrix(self, width: int) -> sparse.csr_matrix:
        """The points as the rows of a sparse matrix."""
        parts = (self.values, self.numbers, self.starts)
        return sparse.csr_matrix(parts, shape=(len(self), width))


class Space:
    """A vocabulary, and how rare each of its features is among what was learned from."""

    def __init__(self, vocabulary: Vocabulary, rarity: Floats) -> None:
        """A rarity of 0 stands for a feature that was not seen when learning."""
        self.vocabulary = vocabulary
        self.rarity = rarity

    @classmethod
    def learn(cls, vocabulary: Vocabulary, counts: Counts) -> "Space":
        """How rare each feature is: the smoothed logarithm of its share of the rows."""
        seen = np.bincount(counts.numbers, minlength=len(vocabulary.number))
        rarity = np.log((1.0 + len(counts)) / (1.0 + seen)) + 1.0
        return cls(vocabulary, np.where(seen > 0, rarity, 0.0).astype(np.float32))

    def __len__(self) -> int:
        return len(self.rarity)

    def locate(self, readings: Sequence[Reading], dense: Floats) -> Points:
        """Where readings lie in this space. Features it has not seen are left out."""
        return self.place(self.vocabulary.count(readings), dense)

    def place(self, counts: Counts, dense: Floats, weights: Weights = WEIGHTS) -> Points:
        """Where counted texts lie in this space, and in the dense one beside it."""
        rows, kinds = counts.rows(), self.vocabulary.kinds[counts.numbers]
        values = counts.values * self.rarity[counts.numbers]
        cells = rows * len(KINDS) + kinds
        shape = (len(counts), len(KINDS))
        squares = np.bincount(cells, values * values, shape[0] * shape[1])
        values = (
            values * np.sqrt(_scales(squares.astype(float).reshape(shape), weights)).ravel()[cells]
        )
        lengths = np.sqrt(np.bincount(rows, values * values, shape[0]))
        whole = np.sqrt(1.0 + (dense * dense).sum(axis=1))
        values = values / (np.where(lengths > 0, lengths, 1.0) * whole)[rows]
        return Points(
            counts.starts,
            counts.numbers,
            np.asarray(values, np.float32),
            _coverage(counts, rows, kinds, self.rarity[counts.numbers] > 0),
            np.asarray(dense / whole[:, None], np.float32),
        )


def _scales(squares: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """By what the square of each kind is multiplied so that the views count as `weights` says."""
    scales = np.zeros_like(squares)
    marked = np.where(squares[:, _MARKED_WORD] > 0, weights.marked, 0.0)
    han = squares[:, _HAN]
    for share, word, piece in (
        (1.0 - marked, _WORD, _PIECE),
        (marked, _MARKED_WORD, _MARKED_PIECE),
    ):
        for part, kind in ((weights.word, word), (1.0 - weights.word, piece)):
            whole = squares[:, kind] + han
            scale = share * part / np.where(whole > 0, whole, np.inf)
            scales[:, kind] += scale
            scales[:, _HAN] += scale
    sound = squares[:, _SOUND]
    scales[:, _SOUND] = weights.sound / np.where(sound > 0, sound, np.inf)
    # A text full of telling concepts is compared by them; one that holds a single everyday
    # concept is not. Likewise for signs.
    scales[:, _CONCEPT] = weights.concept / np.maximum(squares[:, _CONCEPT], _TELLING**2)
    scales[:, _FAMILY] = weights.family / np.maximum(squares[:, _FAMILY], _KINDRED**2)
    scales[:, _CUE] = weights.cue / np.maximum(squares[:, _CUE], _STRIKING**2)
    return scales


def _coverage(
    counts: Counts, rows: Ints, kinds: NDArray[np.int8], seen: NDArray[np.bool_]
) -> Floats:
    told = (kinds == _WORD) | (kinds == _HAN)
    known = np.bincount(rows[told & seen], minlength=len(counts))
    every = np.bincount(rows[told], minlength=len(counts)) + counts.unknown
    return np.asarray(known / np.where(every > 0, every, 1.0), np.float32)


def blend(points: Points, weights: Sequence[float]) -> Points:
    """The weighted sum of points, brought back to length one; the first tells the coverage."""
    share = np.repeat(np.asarray(weights, np.float32), np.diff(points.starts))
    numbers, inverse = np.unique(points.numbers, return_inverse=True)
    values = np.bincount(inverse, points.values * share, len(numbers))
    dense = np.asarray(weights, np.float32) @ points.dense
    length = float(np.sqrt(values @ values + dense @ dense)) or 1.0
    return Points(
        np.array([0, len(numbers)], np.int64),
        numbers,
        np.asarray(values / length, np.float32),
        points.coverage[:1],
        np.asarray(dense / length, np.float32)[None, :],
    )


@dataclass(frozen=True, slots=True)
class Postings:
    """For each feature, the rows that hold it and with what weight: an inverted index."""

    starts: NDArray[np.int64]
    rows: Ints
    values: Floats
    size: int  # rows in all

    @classmethod
    def of(cls, rows: sparse.csr_matrix) -> "Postings":
        """The index of the rows of a matrix."""
        columns = rows.tocsc()
        columns.sort_indices()
        return cls(
            columns.indptr.astype(np.int64),
            columns.indices.astype(np.int32),
            columns.data.astype(np.float32),
            rows.shape[0],
        )

    def matrix(self) -> sparse.csc_matrix:
        """The rows as those of a sparse matrix; nothing is copied."""
        parts = (self.values, self.rows, self.starts)
        return sparse.csc_matrix(parts, shape=(self.size, len(self.starts) - 1))

    def likeness(self, points: Points) -> Floats:
        """The cosine of each row with each point."""
        if len(points) != 1:
            columns = self.matrix()
            found = points.matrix(columns.shape[1]) @ columns.T
            return np.asarray(found.toarray(), np.float32)
        begins = self.starts[points.numbers]
        lengths = self.starts[points.numbers + 1] - begins
        at = _ranges(begins, lengths)
        shares = self.values[at] * np.repeat(points.values, lengths)
        return np.bincount(self.rows[at], shares, self.size).astype(np.float32)[None, :]

    def of_feature(self, number: int) -> tuple[Ints, Floats]:
        """The rows that hold one feature, and its weight in each."""
        begin, end = self.starts[number], self.starts[number + 1]
        return self.rows[begin:end], self.values[begin:end]
