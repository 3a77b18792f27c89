"""Changing one entry of a learned model without learning everything again.

The new examples and the old ones nearest to them are learned together, in a small problem of
their own; all others stay as they are. The model is learned anew later, when nobody waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from kb.logistic import fit_logistic
from kb.meaning import Meaning
from kb.model import ANSWER_WEIGHT, C, Model
from kb.reading import Reading
from kb.vectors import Floats, Ints, Postings, Space

_NEAREST = 50  # old examples that are learned again, because a new entry may attract them


@dataclass(frozen=True, slots=True)
class Addition:
    """The phrasings and answers of one entry that is new, or that replaces an old one."""

    entry: int  # its number after the change
    phrasings: Sequence[Reading]
    answers: Sequence[Reading] = ()


@dataclass(frozen=True, slots=True)
class _Rows:
    """Points as a matrix, with their places in the dense space."""

    sparse: sparse.csr_matrix
    dense: Floats

    def __getitem__(self, rows: NDArray[Any]) -> "_Rows":
        return _Rows(self.sparse[rows], self.dense[rows])

    def likeness(self, other: "_Rows") -> Floats:
        """The cosine of each of these with each of the others."""
        found = np.asarray((self.sparse @ other.sparse.T).toarray(), np.float32)
        return found + self.dense @ other.dense.T


def patched(
    model: Model, numbering: Sequence[int], additions: Sequence[Addition], meaning: Meaning
) -> Model:
    """The model with some entries replaced, added or gone.

    `numbering` gives, for each entry after the change, its number before; -1: it is new. Entries
    of `additions` lose the examples that they had.
    """
    replaced = {addition.entry for addition in additions}
    after = np.full(model.entries + 1, -1, np.int32)
    for new, old in enumerate(numbering):
        if old >= 0 and new not in replaced:
            after[old] = new
    entries = len(numbering)
    after[model.entries] = entries
    labels = after[model.labels]
    kept = np.flatnonzero(labels >= 0)
    space = _grown(model.space, additions)
    old_rows = _Rows(_matrix(model.postings, len(space)), model.dense)[kept]
    readings = [reading for one in additions for reading in (*one.phrasings, *one.answers)]
    points = space.locate(readings, meaning.of([reading.glance() for reading in readings]))
    new_rows = _Rows(points.matrix(len(space)), points.dense)
    fresh = np.array(
        [one.entry for one in additions for _ in (*one.phrasings, *one.answers)], np.int32
    )
    is_answer = [
        at >= len(one.phrasings)
        for one in additions
        for at in range(len(one.phrasings) + len(one.answers))
    ]
    coefficients = _moved(model.coefficients[kept], numbering, replaced)
    kinds = np.concatenate([_kinds(model)[kept], np.asarray(is_answer, np.int32)])
    every = np.concatenate([labels[kept], fresh])
    if len(fresh):
        coefficients = _learned(old_rows, new_rows, coefficients, every, kinds)
    order = np.lexsort((np.arange(len(every)), np.where(kinds == 0, every, 0), kinds))
    rows = sparse.vstack([old_rows.sparse, new_rows.sparse]).tocsr()[order]
    return Model(
        space,
        Postings.of(rows),
        np.concatenate([old_rows.dense, new_rows.dense])[order],
        labels=np.asarray(every[order], np.int32),
        coefficients=np.ascontiguousarray(coefficients[order]),
        phrasings=int((kinds == 0).sum()),
    )


def _kinds(model: Model) -> Ints:
    """0 for a phrasing, 1 for an answer, 2 for background."""
    kinds = np.full(len(model.labels), 2, np.int32)
    kinds[: model.background_from] = 1
    kinds[: model.phrasings] = 0
    return kinds


def _grown(space: Space, additions: Sequence[Addition]) -> Space:
    """The space with the new features, each as rare as a feature can be."""
    vocabulary = space.vocabulary.copy()
    readings = [reading for one in additions for reading in (*one.phrasings, *one.answers)]
    vocabulary.count(readings, grow=True)
    rarest = float(space.rarity.max(initial=1.0))
    rarity = np.full(len(vocabulary.number), rarest, np.float32)
    known = np.asarray(space.rarity)
    rarity[: len(known)] = np.where(known > 0, known, rarest)
    return Space(vocabulary, rarity)


def _matrix(postings: Postings, width: int) -> sparse.csr_matrix:
    starts = np.concatenate(
        [postings.starts, np.full(width + 1 - len(postings.starts), postings.starts[-1])]
    )
    parts = (postings.values, postings.rows, starts)
    return sparse.csc_matrix(parts, shape=(postings.size, width)).tocsr()


def _moved(coefficients: Floats, numbering: Sequence[int], replaced: set[int]) -> Floats:
    """The columns in the new order; new and replaced entries start from nothing."""
    before = np.array([*numbering, coefficients.shape[1] - 1])
    fresh = before < 0
    fresh[sorted(replaced)] = True
    moved = np.take(coefficients, np.where(fresh, 0, before), axis=1)  # row by row: as it lies
    moved[:, fresh] = 0.0
    return np.asarray(moved, np.float32)


def _learned(old: _Rows, new: _Rows, coefficients: Floats, labels: Ints, kinds: Ints) -> Floats:
    """The coefficients of all examples, the old ones first, once the new ones are learned."""
    likeness = old.likeness(new)
    touched = np.argsort(-likeness.max(axis=1), kind="stable")[:_NEAREST]
    some = np.concatenate([touched, np.arange(len(likeness), len(labels))])
    rows = _Rows(
        sparse.vstack([old.sparse[touched], new.sparse]).tocsr(),
        np.concatenate([old.dense[touched], new.dense]),
    )
    nothing = np.zeros((len(new.dense), coefficients.shape[1]), np.float32)
    every = np.concatenate([coefficients, nothing])
    every[touched] = 0.0
    kernel = rows.likeness(rows)
    every[some] = fit_logistic(
        lambda right: kernel @ right,
        labels[some],
        every.shape[1],
        c=C,
        weights=np.where(kinds[some] == 1, ANSWER_WEIGHT, 1.0).astype(np.float32),
        # Turned round: what is transposed is copied, and these are few.
        offset=old.likeness(rows).T @ every[: len(likeness)],
    )
    return every
