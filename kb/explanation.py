"""Why a question was matched as it was, for whoever wonders."""

from dataclasses import dataclass

from kb.verdict import Ranking


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
