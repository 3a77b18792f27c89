"""Readings as points in one space: each kind of feature weighed by rarity, then blended.

A text has up to three views: its surface (words, letters, characters), the same surface with
Vietnamese marks, and its meaning (concepts) with its sound. Each view is brought to length one
before they are blended, so that two texts are compared by the mean of the views that both have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from kb.reading import (
    CONCEPT,
    CUE,
    HAN,
    MARKED_PIECE,
    MARKED_WORD,
    PIECE,
    SOUND,
    WORD,
    Reading,
)

_STRIKING = 4.0  # the length of the cues of a text that shows several
_TELLING = 15.0  # the length of the concepts of a text that is rich in them
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each view and kind of feature counts; chosen by cross-validation."""

    word: float = 0.3  # words against pieces, within the surface
    marked: float = 0.5  # the view with marks, where there are any
    concept: float = 0.5
    sound: float = 0.05
    cue: float = 0.3


class Space:
    """The features that occur in a set of readings, numbered, with the weight of their rarity."""

    def __init__(self, weights: Weights | None = None) -> None:
        self.weights = weights or Weights()
        self.number: dict[str, int] = {}
        self.rarity: Floats = np.zeros(0, np.float32)

    def __len__(self) -> int:
        return len(self.number)

    def names(self) -> list[str]:
        """The features by number, each behind the letter of its kind."""
        return list(self.number)

    def learn(self, readings: Sequence[Reading]) -> "Space":
        """Number the features and learn how rare each is."""
        seen: list[int] = []
        for reading in readings:
            for kind, counts in reading.counts.items():
                for feature in counts:
                    name = kind + feature
                    at = self.number.setdefault(name, len(seen))
                    if at == len(seen):
                        seen.append(0)
                    seen[at] += 1
        total = len(readings)
        self.rarity = np.array([log((1 + total) / (1 + n)) + 1 for n in seen], np.float32)
        return self

    def vector(self, reading: Reading) -> "Point":
        """Where a reading lies in this space. Features that the space has not seen are left out."""
        blocks = {kind: self._block(kind, counts) for kind, counts in reading.counts.items()}
        scales = self._scales({kind: block.length for kind, block in blocks.items()})
        numbers = [block.numbers for kind, block in blocks.items() if kind in scales]
        values = [block.values * scales[kind] for kind, block in blocks.items() if kind in scales]
        if not numbers:
            return Point(np.zeros(0, np.int32), np.zeros(0, np.float32), 0.0)
        whole = np.concatenate(values)
        length = sqrt(float(whole @ whole)) or 1.0
        return Point(
            np.concatenate(numbers),
            np.asarray(whole / np.float32(length), np.float32),
            _coverage(blocks),
        )

    def _scales(self, lengths: Mapping[str, float]) -> dict[str, float]:
        """By what each kind is multiplied so that the views count as `weights` says."""
        weights = self.weights
        marked = weights.marked if lengths.get(MARKED_WORD) else 0.0
        squares: dict[str, float] = dict.fromkeys(lengths, 0.0)
        for share, word, piece in (
            (1.0 - marked, WORD, PIECE),
            (marked, MARKED_WORD, MARKED_PIECE),
        ):
            for part, kind in ((weights.word, word), (1.0 - weights.word, piece)):
                length = sqrt(lengths.get(kind, 0.0) ** 2 + lengths.get(HAN, 0.0) ** 2)
                if length and share:
                    for member in (kind, HAN):
                        squares[member] = squares.get(member, 0.0) + share * part / length**2
        if lengths.get(SOUND):
            squares[SOUND] = weights.sound / lengths[SOUND] ** 2
        if lengths.get(CUE):
            squares[CUE] = weights.cue / max(lengths[CUE], _STRIKING) ** 2
        if lengths.get(CONCEPT):
            # A text full of telling concepts is compared by them; one that holds a single
            # everyday concept is not.
            squares[CONCEPT] = weights.concept / max(lengths[CONCEPT], _TELLING) ** 2
        return {kind: sqrt(square) for kind, square in squares.items() if square}

    def _block(self, kind: str, counts: Mapping[str, int]) -> "Block":
        numbers, values, unknown = [], [], 0.0
        number, rarity = self.number, self.rarity
        for feature, count in counts.items():
            at = number.get(kind + feature)
            value = 1.0 + log(count) if count > 1 else 1.0
            if at is None:
                unknown += value
            else:
                numbers.append(at)
                values.append(value * rarity[at])
        known = np.array(values, np.float32)
        return Block(
            np.array(numbers, np.int32), known, sqrt(float(known @ known)), len(numbers), unknown
        )


@dataclass(frozen=True, slots=True)
class Point:
    """A text in a space: feature numbers with weights (of length one together)."""

    numbers: Ints
    values: Floats
    coverage: float  # the share of the text's words and characters that the space has seen


@dataclass(frozen=True, slots=True)
class Block:
    """The features of one kind that a text shares with a space, weighed by rarity."""

    numbers: Ints
    values: Floats
    length: float
    known: int
    unknown: float


def _coverage(blocks: Mapping[str, Block]) -> float:
    known = sum(blocks[kind].known for kind in (WORD, HAN) if kind in blocks)
    unknown = sum(blocks[kind].unknown for kind in (WORD, HAN) if kind in blocks)
    return known / (known + unknown) if known else 0.0


def blend(parts: Sequence[tuple[Point, float]]) -> Point:
    """The weighted sum of points, brought back to length one; the first tells the coverage."""
    total: dict[int, float] = {}
    for point, weight in parts:
        for number, value in zip(point.numbers.tolist(), point.values.tolist(), strict=True):
            total[number] = total.get(number, 0.0) + weight * value
    values = np.fromiter(total.values(), np.float32, len(total))
    length = sqrt(float(values @ values)) or 1.0
    return Point(
        np.fromiter(total, np.int32, len(total)),
        np.asarray(values / np.float32(length), np.float32),
        parts[0][0].coverage,
    )


def matrix(points: Sequence[Point], width: int) -> sparse.csr_matrix:
    """Points as the rows of a sparse matrix."""
    starts = np.zeros(len(points) + 1, np.int64)
    np.cumsum([len(point.numbers) for point in points], out=starts[1:])
    if not points:
        return sparse.csr_matrix((0, width), dtype=np.float32)
    numbers = np.concatenate([point.numbers for point in points])
    values = np.concatenate([point.values for point in points])
    return sparse.csr_matrix((values, numbers, starts), shape=(len(points), width))


@dataclass(frozen=True, slots=True)
class Postings:
    """For each feature, the rows that hold it and with what weight: an inverted index."""

    starts: NDArray[np.int64]
    rows: Ints
    values: Floats
    size: int  # rows in all

    @classmethod
    def of(cls, rows: sparse.csr_matrix) -> "Postings":
        columns = rows.tocsc()
        columns.sort_indices()
        return cls(
            columns.indptr.astype(np.int64),
            columns.indices.astype(np.int32),
            columns.data.astype(np.float32),
            rows.shape[0],
        )

    def likeness(self, point: Point) -> Floats:
        """The cosine of each row with a point."""
        begins = self.starts[point.numbers]
        lengths = self.starts[point.numbers + 1] - begins
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        at = np.repeat(begins - ends + lengths, lengths) + np.arange(total)
        shares = self.values[at] * np.repeat(point.values, lengths)
        return np.bincount(self.rows[at], shares, self.size).astype(np.float32)

    def of_feature(self, number: int) -> tuple[Ints, Floats]:
        """The rows that hold one feature, and its weight in each."""
        begin, end = self.starts[number], self.starts[number + 1]
        return self.rows[begin:end], self.values[begin:end]
