"""Which entry a question asks for, how sure that is, and why.

A kernel logistic regression over words, characters, concepts and sounds, with one more class for
questions that no entry answers; the nearest phrasing checks it. How sure it is comes from what
it does on phrasings that it has not seen (`kb/confidence.py`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kb.asking import questions
from kb.background import BackgroundQuestion, shipped_background
from kb.concepts import ConceptIndex, shipped_index, shipped_terms
from kb.confidence import (
    NONE,
    RIGHT,
    WRONG,
    Confidence,
    evidence,
    length,
)
from kb.entries import Concept, Phrasing
from kb.explanation import Explanation, Reason
from kb.meaning import WITHOUT, Meaning
from kb.model import Examples, Judgements, Model
from kb.patching import Addition, patched
from kb.reading import MEANING, Glance, Reading, read
from kb.spelling import Spelling
from kb.store import Arrays
from kb.text import normalise
from kb.vectors import Floats, Points, Vocabulary, blend
from kb.verdict import Candidate, Ranking, Thresholds
from kb.wordlists import wordlist

_SHOWN_FEATURES = 8
_BATCH = 2_000  # held-out questions that are compared at a time
_ELLIPTICAL = 80  # characters up to which a message may lean on what was said before
_SHORT = 20.0  # letters, or as much in characters, up to which it may lean with all its weight
_CONTEXT_WEIGHTS = {"patron": 0.6, "bot": 0.18}
_MANY = 12  # phrasings of an entry in a language from which a part of them tells enough
_PARTS = 4


class Matcher:
    """Learns an entry from its phrasings; ranks entries for a question."""

    def __init__(
        self,
        limit: int = 3,
        *,
        concepts: Iterable[Concept] = (),
        background: Sequence[BackgroundQuestion] | None = None,
        meaning: Meaning = WITHOUT,
    ) -> None:
        """`concepts` are a library's own, beside those that are shipped."""
        self.limit = limit
        self.meaning = meaning
        self.own_concepts = tuple(concepts)
        self.concepts = shipped_index()
        if self.own_concepts:
            self.concepts = ConceptIndex(self.own_concepts, shipped_index())
        self.background = shipped_background() if background is None else background

    def fit(self, phrasings: Iterable[Phrasing], hints: Iterable[Phrasing] = ()) -> "Matcher":
        """Learn the entries; the same phrasings always give the same matcher.

        `hints` tell of entries too, less surely than phrasings: their answers, their keys' words.
        """
        number = self._take(phrasings)
        told = [hint for hint in hints if hint.entry in number]
        texts = [*(text.text for text in (*self.phrasings_, *told)), *self._outside()]
        glances: list[Glance] = []
        vocabulary = Vocabulary()
        labels = [number[text.entry] for text in (*self.phrasings_, *told)]
        counts = vocabulary.count(self._reading_through(texts, glances), grow=True)
        examples = Examples(
            vocabulary,
            counts,
            self.meaning.of(glances),
            np.array(labels + [len(number)] * (len(texts) - len(labels)), np.int32),
            len(self.phrasings_),
            len(told),
            len(number),
        )
        known = [glance.text for glance in glances]
        self._texts = known[: len(self.phrasings_)], known[len(labels) :]
        self.spelling_ = self._learn_spelling(*self._texts)
        self.model_ = Model.fit(examples)
        self.confidence_ = self._learn_confidence(examples, glances)
        self.thresholds_: Thresholds = self.confidence_.thresholds
        return self

    def _outside(self) -> list[str]:
        return [question.text for question in self.background]

    def _reading_through(self, texts: Iterable[str], glances: list[Glance]) -> Iterator[Reading]:
        """Read texts one by one, keeping only a glance of each: whole readings are large."""
        for text in texts:
            reading = read(text, self.concepts)
            glances.append(reading.glance())
            yield reading

    def _learn_spelling(self, known: Sequence[str], outside: Sequence[str]) -> Spelling:
        terms = [*shipped_terms(), *ConceptIndex(self.own_concepts).terms()]
        everyday = [*wordlist("english"), *wordlist("english_common")]
        return Spelling(known, terms, [*outside, *everyday])

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """What was learned, as arrays and a document that JSON can hold."""
        arrays, document = self.model_.state()
        confidence = self.confidence_
        arrays |= {
            "mean": confidence.mean,
            "spread": confidence.spread,
            "confidence": confidence.weights,
        }
        document["thresholds"] = [confidence.thresholds.sure, confidence.thresholds.offer]
        document["texts"] = self._texts
        return arrays, document

    def restore(
        self, phrasings: Iterable[Phrasing], arrays: Arrays, document: Mapping[str, Any]
    ) -> "Matcher":
        """Become what a matcher was that had learned the same phrasings."""
        self._take(phrasings)
        self._texts = document["texts"]
        self.spelling_ = self._learn_spelling(*self._texts)
        self.model_ = Model.restore(arrays, document)
        self.confidence_ = Confidence(
            arrays["mean"],
            arrays["spread"],
            arrays["confidence"],
            Thresholds(*document["thresholds"]),
        )
        self.thresholds_ = self.confidence_.thresholds
        return self

    def changed(
        self, phrasings: Iterable[Phrasing], hints: Iterable[Phrasing], keys: Collection[str]
    ) -> "Matcher":
        """A matcher for these phrasings, of which only the entries `keys` differ from mine.

        Quick and nearly as good as learning anew; this matcher stays as it is.
        """
        other = copy(self)
        before = {entry: at for at, entry in enumerate(self.entries_)}
        after = other._take(phrasings)
        told = [hint for hint in hints if hint.entry in keys]
        said = [phrasing for phrasing in other.phrasings_ if phrasing.entry in keys]
        additions = [
            Addition(
                after[key],
                [read(text.text, self.concepts) for text in said if text.entry == key],
                [read(text.text, self.concepts) for text in told if text.entry == key],
            )
            for key in sorted(keys)
            if key in after
        ]
        numbering = [before.get(entry, -1) for entry in other.entries_]
        other.model_ = patched(self.model_, numbering, additions, self.meaning)
        new = [reading.text for addition in additions for reading in addition.phrasings]
        other.spelling_ = self.spelling_.extended(new)
        return other

    def _take(self, phrasings: Iterable[Phrasing]) -> dict[str, int]:
        """Keep the phrasings, entry by entry; number the entries."""
        given = tuple(phrasings)
        self.entries_ = tuple(dict.fromkeys(phrasing.entry for phrasing in given))
        number = {entry: at for at, entry in enumerate(self.entries_)}
        self.phrasings_ = tuple(sorted(given, key=lambda phrasing: number[phrasing.entry]))
        return number

    def _learn_confidence(self, examples: Examples, glances: Sequence[Glance]) -> Confidence:
        """See how the matcher does on phrasings and background that were kept from it."""
        held = self._held_back(examples)
        if held is None:
            return Confidence.default()
        model = Model.fit(examples.take(np.flatnonzero(~held).tolist()))
        asked = np.flatnonzero(held).tolist()
        seen, outcomes = [], []
        for begin in range(0, len(asked), _BATCH):
            batch = asked[begin : begin + _BATCH]
            points = model.space.place(examples.counts.take(batch), examples.dense[batch])
            judged = model.judge(points)
            seen.append(evidence(model, [glances[at] for at in batch], judged))
            guesses = judged.scores[:, :-1].argmax(axis=1)
            outcomes += [
                _outcome(int(examples.labels[at]), int(guess), examples.entries)
                for at, guess in zip(batch, guesses, strict=True)
            ]
        return Confidence.learn(np.concatenate(seen), outcomes)

    def _held_back(self, examples: Examples) -> NDArray[np.bool_] | None:
        """A quarter of the phrasings and of the background; None where phrasings are few."""
        turns = _turns(self.phrasings_)
        if len(turns) < _MANY * sum(turn == 0 for turn in turns) or not turns:
            return None
        never = [-1] * examples.hints
        outside = range(len(examples.labels) - examples.background_from)
        order = np.array([*turns, *never, *outside])
        return np.asarray((order >= 0) & (order % _PARTS == 0))

    is_patchy = True  # after a change, learning anew is always worth while

    @property
    def index_bytes(self) -> int:
        """What the learned arrays take in memory."""
        return self.model_.nbytes

    def rank(
        self, text: str, *, lang: str | None = None, context: Sequence[tuple[str, str]] = ()
    ) -> Ranking:
        """The likeliest entries for a question. `context` holds (role, text), oldest first."""
        ranking = self._judge(text, context)[0]
        return self._with_parts(ranking, text) if not context else ranking

    def _judge(
        self, text: str, context: Sequence[tuple[str, str]] = ()
    ) -> tuple[Ranking, Reading, Judgements]:
        reading = read(text, self.concepts, self.spelling_)
        judged = self.model_.judge(self._locate([reading]))
        ranking = self._ranking(reading, judged)
        if context and ranking.top < self.thresholds_.sure and len(reading.text) <= _ELLIPTICAL:
            leaning = _leaning(reading, ranking)
            reading, judged = self._in_context(reading, context, leaning)
            ranking = self._ranking(reading, judged)
        return ranking, reading, judged

    def _locate(self, readings: Sequence[Reading]) -> Points:
        dense = self.meaning.of([reading.glance() for reading in readings])
        return self.model_.space.locate(readings, dense)

    def _ranking(self, reading: Reading, judged: Judgements) -> Ranking:
        if not self.entries_ or not len(judged.points.numbers):
            return Ranking((), 1.0)
        outcome = self.confidence_.outcome(evidence(self.model_, [reading.glance()], judged))
        return _ranking(self.entries_, judged.scores[0, :-1], outcome, self.limit)

    def _in_context(
        self, reading: Reading, context: Sequence[tuple[str, str]], leaning: float
    ) -> tuple[Reading, Judgements]:
        """The question together with what was said last, as far as it leans on that."""
        last = dict(context)  # the last turn of each
        roles = [role for role in _CONTEXT_WEIGHTS if role in last]
        said = [read(last[role], self.concepts, self.spelling_) for role in roles]
        points = self._locate([reading, *said])
        shares = (_CONTEXT_WEIGHTS[role] * leaning for role in roles)
        whole = blend(points, [1.0, *shares])
        concepts = set(reading.concepts)
        if "patron" in last:
            concepts |= set(said[roles.index("patron")].concepts)
        spoken = replace(reading, concepts=tuple(sorted(concepts)))
        return spoken, self.model_.judge(whole)

    def _with_parts(self, ranking: Ranking, text: str) -> Ranking:
        """The ranking, with one of its own for each question where the message puts two."""
        asked = questions(normalise(text))
        if len(asked) < 2:
            return ranking
        sure: dict[str, Ranking] = {}
        for question in asked:
            part = self._judge(question)[0]
            if part.top >= self.thresholds_.sure:
                sure.setdefault(part.candidates[0].entry, part)
        if len(sure) != 2:
            return ranking
        first, second = sure.values()
        both = (first.candidates[0], second.candidates[0])
        rest = [other for other in ranking.candidates if other.entry not in sure]
        candidates = (*both, *rest)[: max(2, self.limit)]
        return Ranking(candidates, min(first.p_none, second.p_none), (first, second))

    def explain(
        self, text: str, *, lang: str | None = None, context: Sequence[tuple[str, str]] = ()
    ) -> Explanation:
        """Which words and concepts spoke for the likeliest entry, and what lies near."""
        ranking, reading, judged = self._judge(text, context)
        if not ranking.candidates:
            return Explanation(reading.text, ranking, reading.concepts, (), ())
        return Explanation(
            reading.text,
            ranking,
            reading.concepts,
            self._reasons(judged, ranking.candidates[0].entry),
            self._nearest(judged, ranking),
        )

    def _reasons(self, judged: Judgements, entry: str) -> tuple[Reason, ...]:
        share = self.model_.contributions(judged.points, self.entries_.index(entry))
        numbers = judged.points.numbers.tolist()
        names = list(self.model_.space.vocabulary.number)
        meant = self.model_.meaning(judged.points, self.entries_.index(entry))
        found = [(names[number], float(one)) for number, one in zip(numbers, share, strict=True)]
        found.append((MEANING, meant))
        found.sort(key=lambda one: -one[1])
        return tuple(
            Reason(name, round(weight, 4)) for name, weight in found[:_SHOWN_FEATURES] if weight > 0
        )

    def _nearest(self, judged: Judgements, ranking: Ranking) -> tuple[tuple[str, str, float], ...]:
        found = []
        labels = self.model_.labels[: self.model_.phrasings]
        for candidate in ranking.candidates:
            own = np.flatnonzero(labels == self.entries_.index(candidate.entry))
            best = int(own[judged.likeness[0, own].argmax()])
            likeness = round(float(judged.likeness[0, best]), 4)
            found.append((candidate.entry, self.phrasings_[best].text, likeness))
        return tuple(found)


def _leaning(reading: Reading, ranking: Ranking) -> float:
    """How far a question leans on what was said before: "and on Sunday?" alone says little.

    Neither a question that an entry answers is a follow-up, nor one that clearly none does, nor
    one that says a lot.
    """
    doubt = 1.0 - max(ranking.top, ranking.p_none)
    return doubt * min(1.0, _SHORT / max(1.0, length(reading.text, reading.lang)))


def _outcome(label: int, guess: int, entries: int) -> int:
    if label == entries:
        return NONE
    return RIGHT if guess == label else WRONG


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
