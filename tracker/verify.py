"""Prove that what is stored is what the events say: fold everything again and compare."""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker.consultations import FACTS
from tracker.fold import fold
from tracker.models import Consultation
from tracker.streams import OPENING, Opening, families

_BATCH = 1_000


class Difference(NamedTuple):
    """One column of one consultation that is not what its events amount to."""

    key: str
    column: str
    stored: object
    folded: object


def differences(session: Session, library_id: int) -> Iterator[Difference]:
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
