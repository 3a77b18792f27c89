"""Prove that what is stored is what the events say: fold and count everything again, compare."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker.consultations import FACTS
from tracker.fold import fold
from tracker.models import Consultation, Library
from tracker.rollups import computed_days, wrong_days
from tracker.streams import OPENING, Opening, families

MOST_NAMED = 100  # differences that are named one by one; the others are counted
_BATCH = 1_000


class Difference(NamedTuple):
    """One column of one consultation that is not what its events amount to."""

    key: str
    column: str
    stored: object
    folded: object


@dataclass(slots=True)
class Verdict:
    """What folding and counting a library again has found."""

    consultations: int = 0
    days: int = 0
    differing: int = 0  # columns of consultations
    differences: list[Difference] = field(default_factory=list)  # the first of them
    wrong_days: list[date] = field(default_factory=list)  # whose counts are not their rows'

    @property
    def is_sound(self) -> bool:
        """Whether everything stored is what the events say."""
        return not self.differing and not self.wrong_days


def verify(
    session: Session, library: Library, *, progress: Callable[[int], None] | None = None
) -> Verdict:
    """Fold all events of a library again and count all days again; nothing is changed.

    `progress` is told how many consultations were folded.
    """
    verdict = Verdict()

    def folded(count: int) -> None:
        verdict.consultations += count
        if progress is not None:
            progress(count)

    for difference in differences(session, library.id, progress=folded):
        verdict.differing += 1
        if len(verdict.differences) < MOST_NAMED:
            verdict.differences.append(difference)
    days = computed_days(session, library)
    verdict.days = len(days)
    verdict.wrong_days = wrong_days(session, library, days)
    return verdict


def differences(
    session: Session, library_id: int, *, progress: Callable[[int], None] | None = None
) -> Iterator[Difference]:
    """Every column of a library's consultations that differs from a fold of its events.

    There should be none; reads a thousand consultations at a time.
    """
    columns = [getattr(Consultation, name) for name in FACTS]
    last = 0
    while True:
        rows = session.execute(
            select(*OPENING, *columns)
            .where(Consultation.library_id == library_id, Consultation.id > last)
            .order_by(Consultation.id)
            .limit(_BATCH)
        ).all()
        if not rows:
            return
        last = rows[-1].id
        openings = [Opening._make(row[: len(OPENING)]) for row in rows]
        streams = families(session, library_id, openings)
        for row in rows:
            facts = fold(streams[row.key])
            for name, stored in zip(FACTS, row[len(OPENING) :], strict=True):
                if stored != getattr(facts, name):
                    yield Difference(row.key, name, stored, getattr(facts, name))
        if progress is not None:
            progress(len(rows))
