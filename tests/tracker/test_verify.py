"""Stored rows are compared with their events, whichever way they came in."""

from datetime import timedelta

from sqlalchemy import update

from api.db import Database
from tests.tracker.histories import random_history
from tests.tracker.samples import NOW
from tests.tracker.test_consultations import answered, escalated
from tracker.history import import_rows
from tracker.models import Consultation, Library, Rollup
from tracker.rollups import refresh
from tracker.verify import Difference, verify


def test_imported_and_recorded_rows_equal_their_folds_until_somebody_meddles(
    each_database: Database,
) -> None:
    with each_database.transaction() as session:
        library = Library(slug="demo", name="D", timezone="Asia/Shanghai", created_at=NOW)
        session.add(library)
        session.flush()
        import_rows(session, enumerate(random_history("verify", count=60), start=1), now=NOW)
        answered(session, escalated(session, library, key="live"), NOW + timedelta(hours=1))
        session.flush()
        refresh(session, now=NOW + timedelta(days=90), limit=1_000)
        sound = verify(session, library)
        assert (sound.is_sound, sound.consultations) == (True, 61)
        assert sound.days > 0

        session.execute(
            update(Consultation).where(Consultation.key == "live").values(answered_by="tran")
        )
        session.execute(update(Rollup).where(Rollup.day == NOW.date()).values(withdrawn=9))

        found = verify(session, library)

        assert not found.is_sound
        assert found.differences == [Difference("live", "answered_by", "tran", "lin")]
        assert (found.differing, found.wrong_days) == (1, [NOW.date()])
