"""What the database sorts and counts in one statement is what is sorted one by one."""

import random
from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.db import Database
from tests.tracker.histories import START, with_history
from tests.tracker.samples import NOW
from tests.tracker.test_consultations import answered, escalated
from tracker import consultations
from tracker.dirty import mark_dirty
from tracker.figures import RATES
from tracker.handling import VOLUMES
from tracker.models import Consultation, Library
from tracker.outcomes import (
    BACKLOG,
    CLOSED_UNANSWERED,
    Of,
    counted,
    is_asked_for,
    listed,
    outcome_of,
    totals,
)
from tracker.queue import closed_unanswered, count_closed_unanswered, waiting
from tracker.rollups import refresh
from tracker.stats import as_they_were, selected, stats

HOUR = timedelta(hours=1)
FURTHER = ("deflection", BACKLOG, "reopened", "acceptance", "resolution", "read", CLOSED_UNANSWERED)
FIGURES = (*RATES, *VOLUMES, *FURTHER)


@pytest.mark.parametrize("seed", range(3))
def test_lists_and_counts_hold_what_each_consultation_is(
    each_database: Database, seed: int
) -> None:
    dice = random.Random(seed)
    with each_database.transaction() as session:
        library = with_history(session, f"o{seed}", count=150)
        told = {"read_scale": Consultation.id % 9, "directional": Consultation.id % 4 == 0}
        session.execute(update(Consultation).where(Consultation.id % 3 == 0).values(told))
        for number in range(6):
            if number == 3:  # from here on with daily counts
                mark_dirty(session, library.id, [date(2026, 3, day) for day in range(1, 15)])
                refresh(session, now=NOW + timedelta(days=90))
            period: dict[str, Any] = {
                "at": START + timedelta(days=dice.choice((2, 5, 12, 30))),
                "start": date(2026, 3, dice.randrange(1, 6)) if dice.random() < 0.5 else None,
                "end": date(2026, 3, dice.randrange(6, 14)) if dice.random() < 0.5 else None,
                "channel": dice.choice((None, "web")),
            }
            expected = one_by_one(session, library, period)

            together = counted(session, library, FIGURES, **period)

            for figure in FIGURES:
                found = listed(session, library, figure, **period)
                assert {case.key: case.outcome for case in found} == expected[figure], figure
                assert +together[figure] == Counter(expected[figure].values())
                alone = counted(session, library, [figure], **period)
                assert +alone[figure] == +together[figure]
                assert +totals(session, library, figure, **period) == +together[figure]
                outcome = dice.choice([None, "pending", "matured", *expected[figure].values()])
                some = [case for case in found if is_asked_for(case.outcome, outcome)]
                few = listed(session, library, figure, **period, outcome=outcome, limit=7)
                assert few == some[:7], (figure, outcome)


def one_by_one(
    session: Session, library: Library, period: dict[str, Any]
) -> dict[str, dict[str, str]]:
    """By figure, what each consultation is, asked of one after the other."""
    rows: dict[int, Any] = {row.id: row for row in session.scalars(select(Consultation))}
    rows |= {item.id: facts for item, facts in as_they_were(session, library, **period)}
    cases = list(selected(session, library, **period))
    found: dict[str, dict[str, str]] = {figure: {} for figure in FIGURES}
    for figure in FIGURES:
        for case in cases:
            outcome = outcome_of(case, rows[case.id], figure, period["at"])
            if outcome is not None:
                found[figure][case.key] = outcome
    return found


def test_a_list_narrows_to_a_topic_and_to_who_answered(session: Session, library: Library) -> None:
    for number, (by, reason) in enumerate((("lin", None), ("tran", None), ("lin", "spam"))):
        one = escalated(session, library, key=f"c{number}", conversation_id=number)
        answered(session, one, NOW + HOUR, by=by)
        if reason:
            consultations.exclude(session, one, at=NOW, now=NOW, by="lin", reason=reason)
    later = NOW + 60 * HOUR

    of_lin = listed(session, library, "received", at=later, of=Of(by="lin"))
    of_none = listed(session, library, "received", at=later, of=Of(topic=""))
    of_fines = listed(session, library, "received", at=later, of=Of(topic="fines"))

    many = counted(session, library, ["received"], at=later, of=Of(by="lin"))["received"]

    assert [case.key for case in of_lin] == ["c0"]
    assert many.total() == 1
    assert [case.key for case in of_none] == ["c0", "c1"]
    assert of_fines == []


def test_an_unknown_figure_is_refused(session: Session, library: Library) -> None:
    with pytest.raises(ValueError, match="no figure"):
        listed(session, library, "applause", at=NOW)


def test_the_backlog_is_what_waits_at_the_desk_and_what_was_closed_without_a_reply(
    session: Session, library: Library
) -> None:
    now = NOW + 40 * HOUR
    escalated(session, library, key="waits", conversation_id=1)
    closed = escalated(session, library, key="closed", conversation_id=2)
    consultations.close(session, closed, at=NOW + HOUR, now=NOW + HOUR, by="lin")
    done = escalated(session, library, key="done", conversation_id=3)
    answered(session, done, NOW + HOUR)
    consultations.close(session, done, at=NOW + HOUR, now=NOW + HOUR, by="lin")
    held = escalated(session, library, key="held", conversation_id=4)
    answered(session, held, NOW + HOUR, substantive=False)
    spam = escalated(session, library, key="spam", conversation_id=5)
    consultations.exclude(session, spam, at=NOW, now=NOW, by="lin", reason="spam")
    gone = escalated(session, library, key="gone", conversation_id=6)
    consultations.withdraw(session, gone, at=NOW + HOUR, now=NOW + HOUR)

    backlog = stats(session, library, at=now)["total"]["backlog"]
    at_desk = {c.key for c in waiting(session, library.id, now=now) if c.feedback_at is None}
    left = {c.key for c in closed_unanswered(session, library.id)}

    assert at_desk == {"waits"}
    assert left == {"closed"}
    assert backlog["waiting"] == backlog["overdue"] == len(at_desk) + len(left)
    assert {case.key for case in listed(session, library, BACKLOG, at=now)} == at_desk | left
    assert {case.key for case in listed(session, library, CLOSED_UNANSWERED, at=now)} == left
    assert count_closed_unanswered(session, library.id) == 1
