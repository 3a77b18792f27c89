"""Was the answer right? A random sample, two raters, an interval (after ISO 11620).

A sample is drawn once and kept, so that nobody draws until it pleases. Raters do not see each
other's verdicts, and nobody rates an answer of their own.
"""

import random
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker import rates
from tracker.clock import day_bounds, zone
from tracker.errors import TrackerError
from tracker.models import AnswerAudit, AnswerSample, Consultation, Library

RATERS = 2


class OwnAnswer(TrackerError):
    """Nobody rates an answer of their own."""

    status = 403


class DrawnAlready(TrackerError):
    """There is a sample of that name already; a sample is drawn once."""

    status = 409


class NothingToDraw(TrackerError):
    """No question of this period has been answered."""

    status = 422


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


def keep_sample(
    session: Session,
    library: Library,
    *,
    name: str,
    start: date,
    end: date,
    size: int,
    seed: str,
    by: str,
    now: datetime,
) -> AnswerSample:
    """Draw a sample and keep it under a name. Raises DrawnAlready, NothingToDraw."""
    if sample_named(session, library.id, name) is not None:
        raise DrawnAlready(name)
    drawn = draw(session, library, start=start, end=end, size=size, seed=seed)
    if not drawn:
        raise NothingToDraw
    sample = AnswerSample(
        library_id=library.id,
        name=name,
        start=start,
        end=end,
        consultations=[row.id for row in drawn],
        drawn_at=now,
        by=by,
    )
    session.add(sample)
    session.flush()
    return sample


def samples(session: Session, library_id: int) -> list[AnswerSample]:
    """A library's samples, the latest first."""
    return list(
        session.scalars(
            select(AnswerSample)
            .where(AnswerSample.library_id == library_id)
            .order_by(AnswerSample.id.desc())
        )
    )


def sample_named(session: Session, library_id: int, name: str) -> AnswerSample | None:
    """The sample of that name."""
    return session.scalars(
        select(AnswerSample).where(AnswerSample.library_id == library_id, AnswerSample.name == name)
    ).first()


def next_to_rate(session: Session, sample: AnswerSample, *, rater: str) -> Consultation | None:
    """The next answer that this rater may rate and has not; None at the end."""
    rated = select(AnswerAudit.consultation_id).where(
        AnswerAudit.library_id == sample.library_id, AnswerAudit.rater == rater
    )
    rows = {
        row.id: row
        for row in session.scalars(
            select(Consultation).where(
                Consultation.library_id == sample.library_id,
                Consultation.id.in_(sample.consultations),
                Consultation.id.not_in(rated),
            )
        )
    }
    order = (rows[number] for number in sample.consultations if number in rows)
    return next((row for row in order if not is_own(row, rater)), None)


def is_own(consultation: Consultation, rater: str) -> bool:
    """Whether the rater wrote the answer."""
    return rater in (consultation.answered_by, consultation.feedback_by)


def rate(
    session: Session,
    consultation: Consultation,
    *,
    sample: str,
    rater: str,
    correct: bool,
    at: datetime,
) -> AnswerAudit:
    """Record one rater's verdict; rating again replaces it. Raises OwnAnswer."""
    if is_own(consultation, rater):
        raise OwnAnswer
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
