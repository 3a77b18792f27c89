"""Sure, unsure or unknown: when the bot answers, when it offers choices, when it calls a person."""

from dataclasses import dataclass
from enum import StrEnum
from math import exp, log

LOWEST, HIGHEST = 0.5, 0.98  # no bot answers below the one, none is silenced above the other


class Verdict(StrEnum):
    """What the bot should do with a question."""

    SURE = "sure"  # answer
    UNSURE = "unsure"  # offer choices, and "none of these"
    UNKNOWN = "unknown"  # hand it to a librarian


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry, and the probability that it is the right one."""

    entry: str
    probability: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The likeliest entries, best first, and the probability that none of all entries is right.

    `parts` holds one ranking for each question, where a message asks two.
    """

    candidates: tuple[Candidate, ...]
    p_none: float
    parts: tuple["Ranking", ...] = ()

    @property
    def top(self) -> float:
        """The probability of the likeliest entry; 0 when there is no entry at all."""
        return self.candidates[0].probability if self.candidates else 0.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which probability the bot answers (`sure`), and from which it offers choices."""

    sure: float = 0.7
    offer: float = 0.2


def leaning(thresholds: Thresholds, lean: float) -> Thresholds:
    """The thresholds of a bot whose answers prove righter, by `lean` log-odds, than it claims."""
    if not lean:
        return thresholds
    odds = log(thresholds.sure / (1 - thresholds.sure)) - lean
    sure = min(HIGHEST, max(LOWEST, 1 / (1 + exp(-odds))))
    return Thresholds(sure, min(thresholds.offer, sure))


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one question, and the reasons in figures."""

    verdict: Verdict
    entries: tuple[str, ...]  # the answer given: one, two for a double question, else none
    candidates: tuple[Candidate, ...]
    p_none: float


def decide(ranking: Ranking, thresholds: Thresholds) -> Decision:
    """The verdict on a ranking.

    Two questions in one message are answered only when both are sure: half an answer would
    close a consultation that is still open.
    """
    entries = _answers(ranking, thresholds)
    if entries:
        verdict = Verdict.SURE
    elif _worth_offering(ranking, thresholds):
        verdict = Verdict.UNSURE
    else:
        verdict = Verdict.UNKNOWN
    return Decision(verdict, entries, ranking.candidates, ranking.p_none)


def _answers(ranking: Ranking, thresholds: Thresholds) -> tuple[str, ...]:
    if len(ranking.parts) == 2:
        if all(part.top >= thresholds.sure for part in ranking.parts):
            return tuple(part.candidates[0].entry for part in ranking.parts)
        return ()
    return (ranking.candidates[0].entry,) if ranking.top >= thresholds.sure else ()


def _worth_offering(ranking: Ranking, thresholds: Thresholds) -> bool:
    offered = sum(candidate.probability for candidate in ranking.candidates[:3])
    return bool(ranking.candidates) and offered >= thresholds.offer
