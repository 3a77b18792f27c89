"""A sample is drawn by chance, the same for the same seed; two raters decide."""

from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from tests.tracker.samples import NOW
from tests.tracker.test_consultations import answered, escalated
from tracker.audits import correct_rate, draw, rate
from tracker.models import Library

MARCH: dict[str, Any] = {"start": date(2026, 3, 1), "end": date(2026, 3, 31)}


def test_only_answered_ones_are_drawn_and_the_same_again(
    session: Session, library: Library
) -> None:
    for number in range(8):
        consultation = escalated(session, library, conversation_id=number, key=f"c{number}")
        if number < 6:
            answered(session, consultation, NOW)

    first = [c.key for c in draw(session, library, size=4, seed="2026-03", **MARCH)]

    assert len(set(first)) == 4
    assert set(first) <= {f"c{number}" for number in range(6)}
    assert [c.key for c in draw(session, library, size=4, seed="2026-03", **MARCH)] == first
    assert len(draw(session, library, size=99, seed="x", **MARCH)) == 6


def test_only_what_two_raters_agree_on_counts(session: Session, library: Library) -> None:
    verdicts = {"a": (True, True), "b": (True, False), "c": (False, False), "d": (True,)}
    for number, (key, given) in enumerate(verdicts.items()):
        consultation = escalated(session, library, conversation_id=number, key=key)
        for rater, correct in enumerate(given):
            rate(session, consultation, sample="m", rater=f"r{rater}", correct=correct, at=NOW)

    result = correct_rate(session, library.id, sample="m")

    assert (result["correct"], result["audited"]) == (1, 2)
    assert (result["disputed"], result["half_rated"]) == (1, 1)
    assert result["rate"] == 0.5
    assert correct_rate(session, library.id, sample="other")["rate"] is None


def test_rating_again_replaces_the_verdict(session: Session, library: Library) -> None:
    consultation = escalated(session, library)
    for correct in (True, False):
        rate(session, consultation, sample="m", rater="lin", correct=correct, at=NOW)
    rate(session, consultation, sample="m", rater="tran", correct=False, at=NOW)

    assert correct_rate(session, library.id, sample="m")["correct"] == 0
