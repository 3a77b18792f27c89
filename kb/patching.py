"""Changing one entry of a learned model without learning everything again.

The new examples and the old ones nearest to them are learned together, in a small problem of
their own; all others stay as they are. The model is learned anew later, when nobody waits.
What is large (the inverted index, the coefficients) is copied once and never transposed: an
editor waits for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from kb.logistic import fit_logistic
from kb.meaning import Meaning
from kb.model import HINT_WEIGHT, C, Model
from kb.reading import Reading
from kb.vectors import Floats, Ints, Points, Postings, Space

_NEAREST = 50  # old examples that are learned again, because a new entry may attract them
_GONE = -1


@dataclass(frozen=True, slots=True)
class Addition:
    """The phrasings and hints of one entry that is new, or that replaces an old one."""

    entry: int  # its number after the change
    phrasings: Sequence[Reading]
    hints: Sequence[Reading] = ()

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All its texts, the hints last."""
        return (*self.phrasings, *self.hints)


@dataclass(frozen=True, slots=True)
class _Some:
    """Some examples as the columns of a matrix, with their places in the dense space."""

    columns: sparse.csr_matrix  # features x examples
    dense: Floats

    def likeness(self, model: Model) -> Floats:
        """The cosine of each example of a model with each of these."""
        known = self.columns[: len(model.space)]
        held = np.flatnonzero(np.diff(known.indptr))
        found = model.postings.matrix()[:, held] @ known[held].toarray()
        return np.asarray(found + model.dense @ self.dense.T, np.float32)

    def among(self, others: "_Some") -> Floats:
        """The cosine of each of these with each of the others."""
        found = np.asarray((self.columns.T @ others.columns).toarray(), np.float32)
        return found + self.dense @ others.dense.T


@dataclass(frozen=True, slots=True)
class _Change:
    """The examples before a change and, behind them, the new ones."""

    entries: Ints  # per entry after the change, and at last none: its number before; _GONE: fresh
    labels: Ints  # per example, its entry after the change; _GONE: it has none
    kinds: Ints  # per example, 0 for a phrasing, 1 for a hint, 2 for background

    @classmethod
    def of(cls, model: Model, numbering: Sequence[int], additions: Sequence[Addition]) -> "_Change":
        before = np.array([*numbering, model.entries], np.int32)
        before[[addition.entry for addition in additions]] = _GONE
        after = np.full(model.entries + 1, _GONE, np.int32)
        after[before[before >= 0]] = np.flatnonzero(before >= 0)
        labels, kinds = [after[model.labels]], [_kinds(model)]
        for one in additions:
            labels.append(np.full(len(one.readings), one.entry, np.int32))
            kinds.append(
                np.repeat(np.array([0, 1], np.int32), [len(one.phrasings), len(one.hints)])
            )
        return cls(before, np.concatenate(labels), np.concatenate(kinds))

    def order(self) -> Ints:
        """The examples that are left, in a model's order: phrasings by entry, then the others."""
        kept = np.flatnonzero(self.labels >= 0)
        entries = np.where(self.kinds == 0, self.labels, 0)
        found = kept[np.lexsort((kept, entries[kept], self.kinds[kept]))]
        return np.asarray(found, np.int32)


def patched(
    model: Model, numbering: Sequence[int], additions: Sequence[Addition], meaning: Meaning
) -> Model:
    """The model with some entries replaced, added or gone.

    `numbering` gives, for each entry after the change, its number before; -1: it is new. Entries
    of `additions` lose the examples that they had.
    """
    change = _Change.of(model, numbering, additions)
    readings = [reading for one in additions for reading in one.readings]
    space = _grown(model.space, readings)
    points = space.locate(readings, meaning.of([reading.glance() for reading in readings]))
    order = change.order()
    place = np.full(len(change.labels), _GONE, np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    coefficients = _moved(model.coefficients, change.entries, order)
    if readings:
        some, learned = _learned(model, change, points, len(space))
        coefficients[place[some]] = learned
    return Model(
        space,
        _merged(model.postings, points, len(space), place),
        np.concatenate([model.dense, points.dense])[order],
        labels=change.labels[order],
        coefficients=coefficients,
        phrasings=int((change.kinds[order] == 0).sum()),
    )


def _kinds(model: Model) -> Ints:
    kinds = np.full(len(model.labels), 2, np.int32)
    kinds[: model.background_from] = 1
    kinds[: model.phrasings] = 0
    return kinds


def _grown(space: Space, readings: Sequence[Reading]) -> Space:
    """The space with the new features, each as rare as a feature can be."""
    vocabulary = space.vocabulary.copy()
    vocabulary.count(readings, grow=True)
    rarest = float(space.rarity.max(initial=1.0))
    rarity = np.full(len(vocabulary.number), rarest, np.float32)
    known = np.asarray(space.rarity)
    rarity[: len(known)] = np.where(known > 0, known, rarest)
    return Space(vocabulary, rarity)


def _moved(coefficients: Floats, entries: Ints, order: Ints) -> Floats:
    """The coefficients in their new places; fresh entries and examples start from nothing."""
    old = order < len(coefficients)
    moved = np.zeros((len(order), len(entries)), np.float32)
    fresh = entries < 0
    if np.array_equal(entries[~fresh], np.flatnonzero(~fresh)):  # no column moves
        moved[old, : coefficients.shape[1]] = coefficients[order[old], : len(entries)]
    else:
        moved[old] = np.take(coefficients[order[old]], np.where(fresh, 0, entries), axis=1)
    moved[:, fresh] = 0.0
    return moved


def _merged(postings: Postings, points: Points, width: int, place: Ints) -> Postings:
    """The postings of the examples that are left, each in its new place, and of the new ones."""
    rows = place[postings.rows]
    kept = rows >= 0
    ends = np.concatenate([[0], np.cumsum(kept)])[postings.starts]
    ends = np.concatenate([ends, np.full(width + 1 - len(ends), ends[-1])])
    by_feature = np.argsort(points.numbers, kind="stable")
    features = points.numbers[by_feature]
    new = np.repeat(np.arange(len(points)), np.diff(points.starts))[by_feature]
    at = ends[features + 1]
    return Postings(
        ends + np.concatenate([[0], np.cumsum(np.bincount(features, minlength=width))]),
        np.insert(rows[kept], at, place[len(place) - len(points) + new]),
        np.insert(postings.values[kept], at, points.values[by_feature]),
        int((place >= 0).sum()),
    )


def _learned(model: Model, change: _Change, points: Points, width: int) -> tuple[Ints, Floats]:
    """The new examples and the old ones near them, and what coefficients they need."""
    known = len(model.labels)
    is_gone = change.labels[:known] < 0
    new = _Some(points.matrix(width).T.tocsr(), points.dense)
    likeness = new.likeness(model)
    likeness[is_gone] = 0.0
    nearest = np.argsort(-likeness.max(axis=1), kind="stable")[:_NEAREST]
    touched = nearest[~is_gone[nearest]].astype(np.int32)
    old = _Some(_columns(model.postings, touched, width), model.dense[touched])
    between = old.among(new)
    kernel = np.block([[old.among(old), between], [between.T, new.among(new)]])
    fixed = np.hstack([old.likeness(model), likeness])
    fixed[is_gone] = fixed[touched] = 0.0
    # Turned round: what is transposed is copied, and these are few.
    offset = (fixed.T @ model.coefficients)[:, change.entries]
    offset[:, change.entries < 0] = 0.0
    some = np.concatenate([touched, np.arange(known, len(change.labels))]).astype(np.int32)
    return some, fit_logistic(
        lambda right: kernel @ right,
        change.labels[some],
        len(change.entries),
        c=C,
        weights=np.where(change.kinds[some] == 1, HINT_WEIGHT, 1.0).astype(np.float32),
        offset=offset,
    )


def _columns(postings: Postings, examples: Ints, width: int) -> sparse.csr_matrix:
    """Some of the examples as columns, out of an index by feature."""
    place = np.full(postings.size, _GONE, np.int32)
    place[examples] = np.arange(len(examples))
    columns = place[postings.rows]
    at = np.flatnonzero(columns >= 0)
    starts = np.searchsorted(at, postings.starts)
    starts = np.concatenate([starts, np.full(width + 1 - len(starts), len(at))])
    parts = (postings.values[at], columns[at], starts)
    return sparse.csr_matrix(parts, shape=(width, len(examples)))
