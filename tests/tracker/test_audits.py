"""A sample is drawn by chance, the same for the same seed; two raters decide."""

from datetime import date
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.tracker.samples import NOW
from tests.tracker.test_consultations import answered, escalated
from tracker.audits import (
    DrawnAlready,
    NothingToDraw,
    OwnAnswer,
    correct_rate,
    draw,
    keep_sample,
    next_to_rate,
    rate,
    samples,
)
from tracker.models import AnswerSample, Library

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


# --- a sample that is kept -----------------------------------------------------------------


def drawn(session: Session, library: Library, **changes: Any) -> AnswerSample:
    facts = {"name": "2026-03", "size": 4, "seed": "s", "by": "zhao", "now": NOW, **MARCH}
    return keep_sample(session, library, **{**facts, **changes})


def test_a_sample_is_drawn_once_and_does_not_change(session: Session, library: Library) -> None:
    for number in range(6):
        answered(
            session, escalated(session, library, conversation_id=number, key=f"c{number}"), NOW
        )
    sample = drawn(session, library)
    kept = list(sample.consultations)
    for number in range(6, 12):
        answered(
            session, escalated(session, library, conversation_id=number, key=f"c{number}"), NOW
        )

    with pytest.raises(DrawnAlready):
        drawn(session, library, seed="another")

    assert [row.consultations for row in samples(session, library.id)] == [kept]


def test_there_is_no_sample_of_nothing(session: Session, library: Library) -> None:
    escalated(session, library)

    with pytest.raises(NothingToDraw):
        drawn(session, library)


def test_nobody_rates_an_answer_of_their_own(session: Session, library: Library) -> None:
    consultation = escalated(session, library)
    answered(session, consultation, NOW)
    author = consultation.answered_by
    sample = drawn(session, library)
    assert author is not None

    assert next_to_rate(session, sample, rater=author) is None
    assert next_to_rate(session, sample, rater="somebody else") is consultation
    with pytest.raises(OwnAnswer):
        rate(session, consultation, sample=sample.name, rater=author, correct=True, at=NOW)


def test_a_rater_goes_through_the_sample_once(session: Session, library: Library) -> None:
    for number in range(3):
        answered(
            session, escalated(session, library, conversation_id=number, key=f"c{number}"), NOW
        )
    sample = drawn(session, library)

    seen = []
    while (row := next_to_rate(session, sample, rater="r")) is not None:
        seen.append(row.id)
        rate(session, row, sample=sample.name, rater="r", correct=True, at=NOW)

    assert seen == sample.consultations
