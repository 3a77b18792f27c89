"""Libraries of more than a thousand entries: an index that needs no training.

Each entry is the sum of its phrasings; features are hashed, so that there is no vocabulary to
load; what occurs in more than one entry in fifty is too common to look up. The best fifty are
then compared phrasing by phrasing. Build, load and change cost what their texts cost, and no more.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from math import log, sqrt
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz
from scipy import sparse

from kb.background import shipped_background
from kb.concepts import ConceptIndex, shipped_index
from kb.confidence import NONE, RIGHT, WRONG, Confidence
from kb.entries import Concept, Phrasing
from kb.explanation import Explanation, Reason
from kb.reading import APART, CONCEPT, HAN, PIECE, WORD, Reading, read
from kb.segment import words
from kb.store import Arrays
from kb.vectors import Floats, Ints
from kb.verdict import Candidate, Ranking, Thresholds

BUCKETS = 1 << 22
COMMON = 0.02  # of all entries: a feature of more of them is not looked up
_SHORTLIST = 50
_COMPARED = 20  # of the shortlist, phrasing by phrasing
_FUZZY = 0.3  # how much the nearest phrasing counts beside the entry as a whole
_KIND_WEIGHTS = {WORD: 0.6, PIECE: 0.5, HAN: 0.7, "j": 0.7, CONCEPT: 0.5}
_SAMPLE = 2_000  # phrasings on which the confidence is learned
_EVIDENCE = 5
_PATCHY = 0.1  # of the entries changed: then the index is built anew


def features(reading: Reading) -> dict[int, float]:
    """The hashed features of a reading, each with its weight before rarity."""
    found: dict[int, float] = {}
    for kind, counts in _kinds(reading):
        weight = _KIND_WEIGHTS[kind]
        for feature, count in counts.items():
            at = crc32((kind + feature).encode()) & (BUCKETS - 1)
            found[at] = found.get(at, 0.0) + weight * (1.0 + log(count))
    return found


def _kinds(reading: Reading) -> Iterable[tuple[str, Mapping[str, int]]]:
    if WORD in reading.counts:
        near = {word: n for word, n in reading.counts[WORD].items() if APART not in word}
        yield WORD, near  # the others would make the index larger by a tenth
    for kind in (PIECE, HAN):
        if kind in reading.counts:
            yield kind, reading.counts[kind]
    if reading.concepts:
        yield CONCEPT, dict.fromkeys(reading.concepts, 1)
    if reading.han:
        yield "j", dict.fromkeys((word for run in reading.han for word in words(run)), 1)


@dataclass(frozen=True, slots=True)
class Segment:
    """An inverted index of entries: for each bucket, the entries that hold it, and how much."""

    starts: NDArray[np.uint32]
    rows: Ints
    values: Floats
    lengths: Floats  # of each entry before it was brought to length one

    @classmethod
    def build(cls, rows: sparse.csr_matrix, rarity: Floats) -> "Segment":
        """From the summed features of each entry."""
        values = rows.data * rarity[rows.indices]
        at = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        lengths = np.sqrt(np.bincount(at, values * values, rows.shape[0]))
        values /= np.where(lengths > 0, lengths, 1.0)[at]
        columns = sparse.csr_matrix((values, rows.indices, rows.indptr), shape=rows.shape).tocsc()
        return cls(
            columns.indptr.astype(np.uint32),
            columns.indices.astype(np.int32),
            columns.data.astype(np.float32),
            lengths.astype(np.float32),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for one in (self.starts, self.rows, self.values, self.lengths))

    def cosines(self, buckets: Ints, values: Floats, most: int) -> Floats:
        """The cosine of each entry with a question; buckets of more than `most` entries skipped."""
        begins = self.starts[buckets].astype(np.int64)
        ends = self.starts[buckets + 1].astype(np.int64)
        rare = ends - begins <= most
        if not rare.any():
            rare[:] = True
        spans = list(zip(begins[rare].tolist(), ends[rare].tolist(), strict=True))
        if not spans:
            return np.zeros(len(self), np.float32)
        starts = np.zeros(len(spans) + 1, np.int32)
        np.cumsum([end - begin for begin, end in spans], out=starts[1:])
        # Set by hand: what SciPy would check costs more than the product.
        looked_up = sparse.csc_matrix((len(self), len(spans)), dtype=np.float32)
        looked_up.data = np.concatenate([self.values[begin:end] for begin, end in spans])
        looked_up.indices = np.concatenate([self.rows[begin:end] for begin, end in spans])
        looked_up.indptr = starts
        return np.asarray(looked_up @ values[rare], np.float32)


class LargeMatcher:
    """Ranks the entries of a large library; the same use as `kb.matcher.Matcher`."""

    def __init__(self, limit: int = 3, *, concepts: Iterable[Concept] = ()) -> None:
        self.limit = limit
        own = tuple(concepts)
        self.concepts = ConceptIndex(own, shipped_index()) if own else shipped_index()

    def fit(self, phrasings: Iterable[Phrasing], hints: Iterable[Phrasing] = ()) -> "LargeMatcher":
        """Index the phrasings. Hints are not indexed: they would double its size."""
        self._take(phrasings)
        rows = self._count(self.entries_)
        seen = np.bincount(rows.indices, minlength=BUCKETS)
        self.rarity_ = (np.log((1.0 + rows.shape[0]) / (1.0 + seen)) + 1.0).astype(np.float32)
        self.segments_: tuple[Segment, ...] = (Segment.build(rows, self.rarity_),)
        self.keys_: tuple[tuple[str, ...], ...] = (self.entries_,)
        self.dead_: frozenset[str] = frozenset()
        self.confidence_ = self._learn_confidence()
        self.thresholds_: Thresholds = self.confidence_.thresholds
        return self

    def _take(self, phrasings: Iterable[Phrasing]) -> None:
        self._texts: dict[str, list[str]] = {}
        for phrasing in phrasings:
            self._texts.setdefault(phrasing.entry, []).append(phrasing.text)

    @property
    def entries_(self) -> tuple[str, ...]:
        """The entries' keys."""
        return tuple(self._texts)

    def _count(self, entries: Sequence[str]) -> sparse.csr_matrix:
        starts, buckets, values = [0], [], []
        for entry in entries:
            total: dict[int, float] = {}
            for text in self._texts[entry]:
                for bucket, value in features(read(text, self.concepts)).items():
                    total[bucket] = total.get(bucket, 0.0) + value
            buckets.append(np.fromiter(total, np.int32, len(total)))
            values.append(np.fromiter(total.values(), np.float32, len(total)))
            starts.append(starts[-1] + len(total))
        parts = (np.concatenate(values), np.concatenate(buckets), np.array(starts))
        return sparse.csr_matrix(parts, shape=(len(entries), BUCKETS))

    @property
    def is_patchy(self) -> bool:
        """Whether so much was changed since the index was built that a new one is due."""
        return len(self.keys_) > 1 and len(self.keys_[1]) > _PATCHY * len(self.keys_[0])

    @property
    def index_bytes(self) -> int:
        """What the index takes."""
        return int(self.rarity_.nbytes) + sum(segment.nbytes for segment in self.segments_)

    def rank(
        self, text: str, *, lang: str | None = None, context: Sequence[tuple[str, str]] = ()
    ) -> Ranking:
        """The likeliest entries for a question. `context` holds (role, text), oldest first."""
        said = [turn for role, turn in context if role == "patron"][-1:]
        return self._judge(" ".join([text, *said]) if len(text) < _SHORTLIST else text)[0]

    def _judge(self, text: str) -> tuple[Ranking, Reading, list[tuple[str, float, str, float]]]:
        reading = read(text, self.concepts)
        found = self._shortlist(reading)
        if not found:
            return Ranking((), 1.0), reading, []
        outcome = self.confidence_.outcome(_evidence(found)[None, :])
        return _ranking(found, outcome, self.limit), reading, found

    def _question(self, reading: Reading) -> tuple[Ints, Floats]:
        own = features(reading)
        buckets = np.fromiter(own, np.int32, len(own))
        values = np.fromiter(own.values(), np.float32, len(own)) * self.rarity_[buckets]
        length = sqrt(float(values @ values)) or 1.0
        return buckets, np.asarray(values / np.float32(length), np.float32)

    def _shortlist(self, reading: Reading) -> list[tuple[str, float, str, float]]:
        """Entry, cosine, nearest phrasing and its likeness, best first."""
        buckets, values = self._question(reading)
        near: list[tuple[float, str]] = []
        for number, (segment, keys) in enumerate(zip(self.segments_, self.keys_, strict=True)):
            cosines = segment.cosines(buckets, values, max(20, int(COMMON * len(keys))))
            best = min(_SHORTLIST, len(cosines))
            near += [
                (float(cosines[at]), keys[at])
                for at in np.argpartition(-cosines, best - 1)[:best]
                if cosines[at] > 0 and (number or keys[at] not in self.dead_)
            ]
        near.sort(key=lambda one: (-one[0], one[1]))
        found = []
        for cosine, key in near[:_COMPARED]:
            texts = self._texts[key]
            likeness = [fuzz.token_sort_ratio(reading.text, one) / 100 for one in texts]
            best = max(range(len(texts)), key=likeness.__getitem__)
            found.append((key, cosine, texts[best], likeness[best]))
        found.sort(key=lambda one: (-(one[1] + _FUZZY * one[3]), one[0]))
        return found

    def explain(
        self, text: str, *, lang: str | None = None, context: Sequence[tuple[str, str]] = ()
    ) -> Explanation:
        """Which words and concepts spoke for the likeliest entry, and what lies near."""
        ranking, reading, found = self._judge(text)
        if not found:
            return Explanation(reading.text, ranking, reading.concepts, (), ())
        mine = {
            kind + feature
            for one in self._texts[found[0][0]]
            for kind, counts in _kinds(read(one, self.concepts))
            for feature in counts
        }
        reasons = [
            Reason(kind + feature, float(self.rarity_[crc32((kind + feature).encode()) % BUCKETS]))
            for kind, counts in _kinds(reading)
            for feature in counts
            if kind + feature in mine
        ]
        reasons.sort(key=lambda reason: (-reason.weight, reason.feature))
        nearest = tuple((key, near, round(likeness, 4)) for key, _, near, likeness in found)
        return Explanation(
            reading.text, ranking, reading.concepts, tuple(reasons[:8]), nearest[: self.limit]
        )

    def changed(self, phrasings: Iterable[Phrasing], keys: Collection[str]) -> "LargeMatcher":
        """A matcher in which the entries `keys` have these phrasings; without any, they are gone.

        What changed since the index was built lives in a second, small one; the first stays.
        """
        other = copy(self)
        other._texts = {key: texts for key, texts in self._texts.items() if key not in keys}
        for phrasing in phrasings:
            other._texts.setdefault(phrasing.entry, []).append(phrasing.text)
        changed = {*keys, *(key for later in self.keys_[1:] for key in later)}
        fresh = tuple(sorted(key for key in changed if key in other._texts))
        other.dead_ = self.dead_ | (changed & self._place.keys())
        other.segments_, other.keys_ = self.segments_[:1], self.keys_[:1]
        if fresh:
            small = Segment.build(other._count(fresh), self.rarity_)
            other.segments_, other.keys_ = (*other.segments_, small), (*other.keys_, fresh)
        return other

    def _learn_confidence(self) -> Confidence:
        """See how sure the index may be: phrasings, each taken out of its entry, and background."""
        known = [(entry, text) for entry, texts in self._texts.items() for text in texts]
        seen, outcomes = [], []
        for entry, text in known[:: max(1, len(known) // _SAMPLE)]:
            if len(self._texts[entry]) > 1:
                found = self._without(entry, text)
                seen.append(_evidence(found))
                outcomes.append(RIGHT if found and found[0][0] == entry else WRONG)
        for question in shipped_background():
            seen.append(_evidence(self._shortlist(read(question.text, self.concepts))))
            outcomes.append(NONE)
        return Confidence.learn(np.array(seen, np.float32).reshape(-1, _EVIDENCE), outcomes)

    def _without(self, entry: str, wording: str) -> list[tuple[str, float, str, float]]:
        """The shortlist for a phrasing as if its entry did not hold it."""
        reading = read(wording, self.concepts)
        held = features(reading)
        rarity = self.rarity_[np.fromiter(held, np.int32, len(held))]
        weighed = np.fromiter(held.values(), np.float32, len(held)) * rarity
        own = float(np.sqrt(weighed @ weighed))
        found = []
        for key, near, _, _ in self._shortlist(reading):
            texts, cosine = self._texts[key], near
            if key == entry:
                whole = float(self.segments_[0].lengths[self._place[key]])
                left = sqrt(max(1e-6, whole**2 - 2 * own * near * whole + own**2))
                cosine = max(0.0, (near * whole - own) / left)
                texts = [text for text in texts if text != wording] or [""]
            likeness = [fuzz.token_sort_ratio(reading.text, one) / 100 for one in texts]
            best = max(range(len(texts)), key=likeness.__getitem__)
            found.append((key, cosine, texts[best], likeness[best]))
        found.sort(key=lambda one: (-(one[1] + _FUZZY * one[3]), one[0]))
        return found

    @property
    def _place(self) -> dict[str, int]:
        if not hasattr(self, "_places"):
            self._places = {key: at for at, key in enumerate(self.keys_[0])}
        return self._places

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """What was learned, as arrays and a document that JSON can hold."""
        first, confidence = self.segments_[0], self.confidence_
        arrays: Arrays = {
            "starts": first.starts,
            "rows": first.rows,
            "values": first.values,
            "lengths": first.lengths,
            "rarity": self.rarity_,
            "mean": confidence.mean,
            "spread": confidence.spread,
            "confidence": confidence.weights,
        }
        thresholds = confidence.thresholds
        return arrays, {"thresholds": [thresholds.sure, thresholds.offer]}

    def restore(
        self, phrasings: Iterable[Phrasing], arrays: Arrays, document: Mapping[str, Any]
    ) -> "LargeMatcher":
        """Become what a matcher was that had indexed the same phrasings."""
        self._take(phrasings)
        parts = (arrays["starts"], arrays["rows"], arrays["values"], arrays["lengths"])
        self.segments_, self.keys_ = (Segment(*parts),), (self.entries_,)
        self.rarity_, self.dead_ = arrays["rarity"], frozenset()
        self.thresholds_ = Thresholds(*document["thresholds"])
        self.confidence_ = Confidence(
            arrays["mean"], arrays["spread"], arrays["confidence"], self.thresholds_
        )
        return self


def _evidence(found: Sequence[tuple[str, float, str, float]]) -> Floats:
    if not found:
        return np.zeros(_EVIDENCE, np.float32)
    _, cosine, _, likeness = found[0]
    second = found[1] if len(found) > 1 else ("", 0.0, "", 0.0)
    return np.array(
        [cosine, likeness, cosine - second[1], likeness - second[3], cosine * likeness], np.float32
    )


def _ranking(
    found: Sequence[tuple[str, float, str, float]],
    outcome: tuple[float, float, float],
    limit: int,
) -> Ranking:
    right, wrong, none = outcome
    odds = np.exp([15.0 * (cosine + _FUZZY * likeness) for _, cosine, _, likeness in found])
    rest = float(odds[1:].sum()) or 1.0
    others = [
        Candidate(found[at][0], min(right, wrong * float(odds[at]) / rest))
        for at in range(1, min(limit, len(found)))
    ]
    return Ranking((Candidate(found[0][0], right), *others), none)
