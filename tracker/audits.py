"""Was the answer right? A random sample, two raters, an interval (after ISO 11620)."""

import random
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker import rates
from tracker.clock import day_bounds, zone
from tracker.models import AnswerAudit, Consultation, Library

RATERS = 2


def draw(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    size: int,
    seed: str,
) -> Sequence[Consultation]:
    """A random sample of answered consultations; the same seed draws the same ones."""
    tz = zone(library.timezone)
    ids = session.scalars(
        select(Consultation.id)
        .where(
            Consultation.library_id == library.id,
            Consultation.excluded_at.is_(None),
            Consultation.answered_at.is_not(None) | Consultation.bot_at.is_not(None),
            Consultation.received_at >= day_bounds(start, tz)[0],
            Consultation.received_at < day_bounds(end, tz)[1],
        )
        .order_by(Consultation.id)
    ).all()
    chosen = random.Random(seed).sample(ids, min(size, len(ids)))  # noqa: S311 - no secret
    rows = session.scalars(select(Consultation).where(Consultation.id.in_(chosen))).all()
    order = {identity: place for place, identity in enumerate(chosen)}
    return sorted(rows, key=lambda row: order[row.id])


def rate(
    session: Session,
    consultation: Consultation,
    *,
    sample: str,
    rater: str,
    correct: bool,
    at: datetime,
) -> AnswerAudit:
    """Record one rater's verdict; rating again replaces it."""
    known = session.scalars(
        select(AnswerAudit).where(
            AnswerAudit.consultation_id == consultation.id, AnswerAudit.rater == rater
        )
    ).first()
    audit = known or AnswerAudit(
        library_id=consultation.library_id, consultation_id=consultation.id, rater=rater
    )
    audit.sample, audit.correct, audit.at = sample, correct, at
    session.add(audit)
    session.flush()
    return audit


def correct_rate(session: Session, library_id: int, *, sample: str) -> dict[str, Any]:
    """Of the answers that two raters agree on, the share they call correct.

    `disputed` had two raters who disagree, `half_rated` only one yet; neither counts.
    """
    verdicts: dict[int, list[bool]] = {}
    for audit in session.scalars(
        select(AnswerAudit).where(
            AnswerAudit.library_id == library_id, AnswerAudit.sample == sample
        )
    ):
        verdicts.setdefault(audit.consultation_id, []).append(audit.correct)
    rated = [found for found in verdicts.values() if len(found) >= RATERS]
    agreed = [found[0] for found in rated if len(set(found)) == 1]
    share = rates.wilson(sum(agreed), len(agreed))
    return {
        "correct": sum(agreed),
        "audited": len(agreed),
        "disputed": len(rated) - len(agreed),
        "half_rated": len(verdicts) - len(rated),
        "rate": share.rate,
        "low": share.low,
        "high": share.high,
    }
