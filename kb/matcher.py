"""Which entry a question asks for, how sure that is, and why.

A kernel logistic regression over words, characters, concepts and sounds, with one more class for
questions that no entry answers; the nearest phrasing checks it. How sure it is comes from what
it does on phrasings that it has not seen (`kb/confidence.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kb.asking import questions
from kb.background import BackgroundQuestion, shipped_background
from kb.concepts import ConceptIndex
from kb.confidence import EVIDENCE, NONE, RIGHT, WRONG, Confidence, evidence
from kb.entries import Concept, Phrasing
from kb.model import Examples, Judgement, Model
from kb.reading import Reading, read
from kb.spelling import Spelling
from kb.text import normalise
from kb.thesaurus import shipped_concepts
from kb.vectors import Floats, blend
from kb.verdict import Candidate, Ranking, Thresholds
from kb.wordlists import wordlist

_SHOWN_FEATURES = 8
_ELLIPTICAL = 80  # characters up to which a message may lean on what was said before
_CONTEXT_WEIGHTS = {"patron": 0.3, "bot": 0.15}
_MANY = 8  # phrasings of an entry in a language from which a quarter of them tells enough


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature of the question, and how much it speaks for the entry."""

    feature: str
    weight: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a question was matched as it was."""

    text: str  # as it was read
    ranking: Ranking
    concepts: tuple[str, ...]
    reasons: tuple[Reason, ...]  # for the likeliest entry, strongest first
    nearest: tuple[tuple[str, str, float], ...]  # entry, its nearest phrasing, likeness 0 to 1


class Matcher:
    """Learns an entry from its phrasings; ranks entries for a question."""

    def __init__(
        self,
        limit: int = 3,
        *,
        concepts: Iterable[Concept] = (),
        background: Sequence[BackgroundQuestion] | None = None,
    ) -> None:
        """`concepts` are a library's own, beside those that are shipped."""
        self.limit = limit
        self.concepts = ConceptIndex([*shipped_concepts(), *concepts])
        self.background = shipped_background() if background is None else background

    def fit(self, phrasings: Iterable[Phrasing], answers: Iterable[Phrasing] = ()) -> "Matcher":
        """Learn the entries; the same phrasings always give the same matcher.

        `answers` are the entries' answers: what they speak of is a hint of what they answer.
        """
        given = tuple(phrasings)
        self.entries_ = tuple(dict.fromkeys(phrasing.entry for phrasing in given))
        number = {entry: at for at, entry in enumerate(self.entries_)}
        self.phrasings_ = tuple(sorted(given, key=lambda phrasing: number[phrasing.entry]))
        told = [answer for answer in answers if answer.entry in number]
        self.examples_ = Examples(
            [read(phrasing.text, self.concepts) for phrasing in self.phrasings_],
            [number[phrasing.entry] for phrasing in self.phrasings_],
            [read(answer.text, self.concepts) for answer in told],
            [number[answer.entry] for answer in told],
            [read(question.text, self.concepts) for question in self.background],
        )
        self.spelling_ = self._learn_spelling()
        self.model_ = Model.fit(self.examples_, len(self.entries_))
        self.confidence_ = self._learn_confidence()
        self.thresholds_: Thresholds = self.confidence_.thresholds
        return self

    def _learn_spelling(self) -> Spelling:
        terms = [
            normalise(wording)
            for concept in self.concepts.concepts.values()
            for lang in ("zh", "en")
            for wording in concept.says.get(lang, ())
        ]
        texts = [reading.text for reading in self.examples_.phrasings]
        others = [reading.text for reading in self.examples_.background]
        everyday = [*wordlist("english"), *wordlist("english_common")]
        return Spelling(texts, terms, [*others, *everyday])

    def _learn_confidence(self) -> Confidence:
        """See how the matcher does on phrasings and background that were kept from it."""
        seen: list[list[float]] = []
        outcomes: list[int] = []
        for kept, held in self._folds():
            model = Model.fit(kept, len(self.entries_))
            tests = [*zip(held.phrasings, held.labels, strict=True)]
            tests += [(reading, len(self.entries_)) for reading in held.background]
            for reading, label in tests:
                judgement = model.judge(reading)
                seen.append(evidence(model, reading, judgement))
                outcomes.append(_outcome(label, int(judgement.scores[:-1].argmax()), model.entries))
        return Confidence.learn(np.array(seen, np.float32).reshape(-1, EVIDENCE), outcomes)

    def _folds(self) -> Iterator[tuple[Examples, Examples]]:
        """Parts to learn from and parts to be tested on, every entry in both."""
        turns = _turns(self.phrasings_)
        if not turns or max(turns) == 0:
            return
        many = len(turns) >= _MANY * sum(turn == 0 for turn in turns)
        parts, folds = (4, 1) if many else (2, 2)
        for fold in range(folds):
            held = [turn % parts == fold for turn in turns]
            outside = [at % parts == fold for at in range(len(self.examples_.background))]
            yield (
                _part(self.examples_, held, outside, wanted=False),
                _part(self.examples_, held, outside, wanted=True),
            )

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
    ) -> tuple[Ranking, Reading, Judgement]:
        reading = read(text, self.concepts, self.spelling_)
        judgement = self.model_.judge(reading)
        ranking = self._ranking(reading, judgement)
        if context and ranking.top < self.thresholds_.sure and len(reading.text) <= _ELLIPTICAL:
            reading, judgement = self._in_context(reading, judgement, context)
            ranking = self._ranking(reading, judgement)
        return ranking, reading, judgement

    def _ranking(self, reading: Reading, judgement: Judgement) -> Ranking:
        if not self.entries_ or not len(judgement.point.numbers):
            return Ranking((), 1.0)
        outcome = self.confidence_.outcome(evidence(self.model_, reading, judgement))
        return _ranking(self.entries_, judgement.scores[:-1], outcome, self.limit)

    def _in_context(
        self, reading: Reading, judgement: Judgement, context: Sequence[tuple[str, str]]
    ) -> tuple[Reading, Judgement]:
        """The question together with what was said last: "and on Sunday?" alone says little."""
        last = dict(context)  # the last turn of each
        parts = [(judgement.point, 1.0)]
        concepts = set(reading.concepts)
        for role, weight in _CONTEXT_WEIGHTS.items():
            if role in last:
                said = read(last[role], self.concepts, self.spelling_)
                parts.append((self.model_.space.vector(said), weight))
                concepts |= set(said.concepts) if role == "patron" else set()
        whole = replace(reading, concepts=tuple(sorted(concepts)))
        return whole, self.model_.judge_point(blend(parts))

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
        ranking, reading, judgement = self._judge(text, context)
        if not ranking.candidates:
            return Explanation(reading.text, ranking, reading.concepts, (), ())
        return Explanation(
            reading.text,
            ranking,
            reading.concepts,
            self._reasons(judgement, ranking.candidates[0].entry),
            self._nearest(judgement, ranking),
        )

    def _reasons(self, judgement: Judgement, entry: str) -> tuple[Reason, ...]:
        share = self.model_.contributions(judgement.point, self.entries_.index(entry))
        names = self.model_.space.names()
        strongest = np.argsort(-share, kind="stable")[:_SHOWN_FEATURES]
        return tuple(
            Reason(names[judgement.point.numbers[at]], round(float(share[at]), 4))
            for at in strongest
            if share[at] > 0
        )

    def _nearest(
        self, judgement: Judgement, ranking: Ranking
    ) -> tuple[tuple[str, str, float], ...]:
        found = []
        labels = self.model_.labels[: self.model_.phrasings]
        for candidate in ranking.candidates:
            own = np.flatnonzero(labels == self.entries_.index(candidate.entry))
            best = int(own[judgement.likeness[own].argmax()])
            likeness = round(float(judgement.likeness[best]), 4)
            found.append((candidate.entry, self.phrasings_[best].text, likeness))
        return tuple(found)


def _outcome(label: int, guess: int, entries: int) -> int:
    if label == entries:
        return NONE
    return RIGHT if guess == label else WRONG


def _part(
    examples: Examples, held: Sequence[bool], outside: Sequence[bool], *, wanted: bool
) -> Examples:
    """The examples that are held out, or those that are not. Answers are never held out."""
    chosen = [at for at, is_held in enumerate(held) if is_held == wanted]
    return Examples(
        [examples.phrasings[at] for at in chosen],
        [examples.labels[at] for at in chosen],
        () if wanted else examples.answers,
        () if wanted else examples.answer_labels,
        [
            reading
            for reading, is_held in zip(examples.background, outside, strict=True)
            if is_held == wanted
        ],
    )


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
