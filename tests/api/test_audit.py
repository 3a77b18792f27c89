from datetime import timedelta

import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from api import audit
from api.db import Database
from api.models import AuditEntry
from tests.conftest import MONDAY


def fill(session: Session, count: int = 6) -> None:
    for number in range(count):
        audit.record(
            session,
            actor="manager@north",
            action="staff.add",
            subject=f"person-{number}",
            library_id=1,
            now=MONDAY + timedelta(seconds=number),
            role="librarian",
        )


def test_an_untouched_log_is_whole(each_database: Database) -> None:
    with each_database.transaction() as session:
        fill(session)

    with each_database.snapshot() as session:
        verdict = audit.verify(session)

    assert verdict.is_intact
    assert verdict.entries == 6


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "somebody else"},
        {"subject": "somebody else"},
        {"action": "staff.list"},
        {"data": {"role": "admin"}},
        {"library_id": 2},
        {"at": MONDAY - timedelta(days=1)},
        {"digest": bytes(32)},
        {"previous": bytes(32)},
    ],
)
def test_every_changed_field_shows(database: Database, change: dict[str, object]) -> None:
    with database.transaction() as session:
        fill(session)
        session.execute(update(AuditEntry).where(AuditEntry.id == 3).values(**change))

    with database.snapshot() as session:
        assert not audit.verify(session).is_intact


@pytest.mark.parametrize("number", [1, 3, 6])
def test_a_removed_entry_shows_with_the_head_that_was_kept_elsewhere(
    database: Database, number: int
) -> None:
    with database.transaction() as session:
        fill(session)
        anchor = audit.head(session)
        session.execute(delete(AuditEntry).where(AuditEntry.id == number))

    with database.snapshot() as session:
        assert not audit.verify(session, anchor=anchor).is_intact


def test_swapped_entries_show(database: Database) -> None:
    with database.transaction() as session:
        fill(session)
        for old, new in ((2, 99), (3, 2), (99, 3)):
            session.execute(update(AuditEntry).where(AuditEntry.id == old).values(id=new))

    with database.snapshot() as session:
        assert audit.verify(session).broken_at == 2


def test_a_log_that_was_written_anew_contradicts_the_head_that_was_kept(
    database: Database,
) -> None:
    with database.transaction() as session:
        fill(session)
        anchor = audit.head(session)
        session.execute(delete(AuditEntry))
        fill(session, 9)
        session.execute(update(AuditEntry).where(AuditEntry.id == 9).values(subject="x"))
        session.execute(delete(AuditEntry).where(AuditEntry.id == 9))

    with database.snapshot() as session:
        rewritten = audit.verify(session, anchor=audit.Head(anchor.number, "0" * 64))

    assert rewritten.broken_at == anchor.number
