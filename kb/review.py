"""What patrons and librarians have confirmed, held against the knowledge base as it is now.

Each night every library's knowledge is asked what its patrons asked, and the answers are
compared with what proved right. Editors see which entries are taken for which, how honest the
probabilities are, and what has changed since the night before. The same confirmations move the
probability from which the bot answers: rejected answers raise it, accepted ones may lower it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from kb.evaluate import Evaluation, Query
from kb.models import Knowledge, Review
from kb.reports import compare, confusions

KEPT = 30  # reviews of a library
_PRIOR = 0.5  # how far, in log-odds, patrons are expected to differ from held-out phrasings
_FARTHEST = 1.5


@dataclass(frozen=True, slots=True)
class Verdicted:
    """An answer that the bot gave, how sure it was, and whether it proved right."""

    probability: float
    was_right: bool


def keep_review(
    session: Session,
    library_id: int,
    confirmed: Sequence[Query],
    found: Evaluation,
    *,
    version: int,
    now: datetime,
) -> Review:
    """Keep what came out of asking again, with what differs from the review before.

    Patrons' words stay in the two newest reviews only; of older ones the figures are kept.
    """
    before = latest_reviews(session, library_id)
    old = {line["text"]: line for line in before[0].predictions} if before else {}
    both = [
        (query, old[query.text], new)
        for query, new in zip(confirmed, found.predictions, strict=True)
        if query.text in old
    ]
    changes = compare(
        [query for query, _, _ in both], [was for _, was, _ in both], [new for _, _, new in both]
    )
    made = Review(
        library_id=library_id,
        at=now,
        knowledge_version=version,
        scores=found.scores,
        confusions=[asdict(one) for one in confusions(confirmed, found.predictions)],
        changes=[asdict(change) for change in changes],
        predictions=[
            {**line, "right": sorted(query.right)}
            for query, line in zip(confirmed, found.predictions, strict=True)
        ],
    )
    session.add(made)
    for stale in before[1:]:
        stale.confusions, stale.changes, stale.predictions = [], [], []
    for stale in before[KEPT - 1 :]:
        session.delete(stale)
    session.flush()
    return made


def latest_reviews(session: Session, library_id: int, *, limit: int | None = None) -> list[Review]:
    """A library's reviews, newest first."""
    query = select(Review).where(Review.library_id == library_id).order_by(Review.at.desc())
    return list(session.scalars(query.limit(limit)))


def reviewed_questions(made: Review) -> tuple[list[Query], list[dict[str, Any]]]:
    """The questions of a review and what was predicted for them, to draw curves from."""
    queries = [
        Query(line["text"], line["lang"], line["topic"], right=frozenset(line["right"]))
        for line in made.predictions
    ]
    return queries, list(made.predictions)


def learned_lean(answers: Sequence[Verdicted]) -> float:
    """By how much, in log-odds, the bot's answers prove righter than it claims.

    The likeliest shift under a normal prior around 0: a handful of answers moves it little.
    """
    if not answers:
        return 0.0
    claimed = np.clip([answer.probability for answer in answers], 1e-3, 1 - 1e-3)
    odds, right = np.log(claimed / (1 - claimed)), np.array([a.was_right for a in answers], float)
    lean = 0.0
    for _ in range(50):  # Newton's method on a concave function of one figure
        share = 1 / (1 + np.exp(-(odds + lean)))
        slope = float((right - share).sum()) - lean / _PRIOR**2
        bend = float((share * (1 - share)).sum()) + 1 / _PRIOR**2
        step = slope / bend
        lean += step
        if abs(step) < 1e-6:
            break
    return float(np.clip(lean, -_FARTHEST, _FARTHEST))


def save_lean(session: Session, library_id: int, answers: Sequence[Verdicted]) -> float:
    """Learn from a library's answers from which probability its bot may answer."""
    lean = round(learned_lean(answers), 3)
    knowledge = session.get(Knowledge, library_id)
    if knowledge is None:
        return 0.0
    if knowledge.lean != lean:
        knowledge.lean = lean
        session.flush()
    return lean
