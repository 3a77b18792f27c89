"""Rollups equal the direct count, whatever happens, late or twice, and repair themselves."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tests.tracker.histories import START, random_history
from tests.tracker.samples import NOW, desk_document
from tracker import consultations
from tracker.calendars import save_calendar
from tracker.dirty import mark_dirty
from tracker.history import import_rows
from tracker.models import DirtyDay, Library, Rollup
from tracker.outcomes import listed
from tracker.rollups import (
    channels_asked,
    dirty_days,
    recompute_day,
    refresh,
    usable_days,
    wrong_days,
    wrong_in_sample,
)
from tracker.stats import stats

LATER = datetime(2026, 6, 1, tzinfo=UTC)


def load(session: Session, rows: list[dict[str, Any]]) -> None:
    import_rows(session, enumerate(rows, start=1), now=NOW)


@pytest.mark.parametrize("seed", range(10))
def test_rollups_and_live_tail_equal_the_direct_count(
    session: Session, library: Library, seed: int
) -> None:
    dice = random.Random(seed)
    if seed % 2:
        save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
    load(session, random_history(f"rollup-{seed}", count=80))
    questions = [
        {
            "at": START + timedelta(seconds=dice.randrange(20 * 86_400)),
            "start": date(2026, 3, dice.randrange(1, 9)) if dice.random() < 0.5 else None,
            "end": date(2026, 3, dice.randrange(4, 14)) if dice.random() < 0.5 else None,
            "channel": dice.choice((None, None, "web")),
        }
        for _ in range(12)
    ]
    direct = [stats(session, library, **question) for question in questions]

    assert refresh(session, now=LATER) > 0
    assert dirty_days(session, library.id) == 0
    mark_dirty(session, library.id, [date(2026, 3, dice.randrange(2, 11))])

    assert [stats(session, library, **question) for question in questions] == direct


def test_the_middle_of_a_month_comes_from_rollups(session: Session, library: Library) -> None:
    load(session, random_history("used", count=40))
    refresh(session, now=LATER)

    session.execute(update(Rollup).values(received=Rollup.received + 1))

    total = stats(session, library, at=LATER)["total"]
    assert total["received"] > len(listed(session, library, "received", at=LATER)) == 40


def test_a_day_is_not_used_before_it_has_settled(session: Session, library: Library) -> None:
    load(session, random_history("settling", count=40))
    refresh(session, now=LATER)

    assert usable_days(session, library, start=None, end=None, at=LATER)
    assert not usable_days(session, library, start=None, end=None, at=START + timedelta(days=3))


def test_a_late_event_makes_its_day_dirty_in_the_same_transaction(
    session: Session, library: Library
) -> None:
    consultation = consultations.open_consultation(
        session,
        library,
        channel="web",
        conversation_id=1,
        at=NOW,
        now=NOW,
        text="?",
        language="en",
    )
    refresh(session, now=LATER)
    before = stats(session, library, at=LATER)["total"]

    consultations.feedback(session, consultation, at=NOW, now=LATER, by="lin", text="late news")

    assert dirty_days(session, library.id) == 1
    after = stats(session, library, at=LATER + timedelta(days=1))["total"]
    assert before["answered_within_24h"]["within"] == 0
    assert after["answered_within_24h"]["within"] == 1
    refresh(session, now=LATER)
    assert stats(session, library, at=LATER + timedelta(days=1))["total"] == after


def test_recent_days_wait_for_their_turn(session: Session, library: Library) -> None:
    day = NOW.date()
    mark_dirty(session, library.id, [day])

    assert refresh(session, now=NOW + timedelta(days=2)) == 0
    assert refresh(session, now=NOW + timedelta(days=6)) == 1


def test_computing_a_day_clears_its_marks_and_no_others(session: Session, library: Library) -> None:
    day = NOW.date()
    mark_dirty(session, library.id, [day, day + timedelta(days=1)])
    mark_dirty(session, library.id, [day])

    recompute_day(session, library, day)

    assert session.scalars(select(DirtyDay.day)).all() == [day + timedelta(days=1)]


def test_the_nightly_check_finds_a_rollup_that_lies(session: Session, library: Library) -> None:
    load(session, random_history("nightly", count=30))
    refresh(session, now=LATER)
    days = [date(2026, 3, number) for number in range(2, 11)]

    assert wrong_days(session, library, days) == []
    session.execute(
        update(Rollup).where(Rollup.day == days[2]).values(bot_only=Rollup.bot_only + 1)
    )
    assert wrong_days(session, library, days) == [days[2]]


def test_what_the_nightly_sample_finds_is_repaired(session: Session, library: Library) -> None:
    load(session, random_history("nightly", count=30, days=1))
    refresh(session, now=LATER)
    assert wrong_in_sample(session, seed="2026-06-01") == {}
    session.execute(update(Rollup).values(bot_only=Rollup.bot_only + 1))

    found = wrong_in_sample(session, seed="2026-06-01")
    mark_dirty(session, library.id, found[library.id])

    assert dirty_days(session, library.id) == len(found[library.id]) == 1
    refresh(session, now=LATER)
    assert wrong_days(session, library, found[library.id]) == []


def test_channels_are_known_from_rollups_and_from_what_came_since(
    session: Session, library: Library
) -> None:
    load(session, random_history("channels", count=30, channels=("wechat", "web")))
    asked = {(library.id, "wechat"), (library.id, "web")}
    assert channels_asked(session, [library]) == asked
    refresh(session, now=LATER)
    assert channels_asked(session, [library]) == asked

    new = random_history("later", count=31, channels=("weibo",))[30:]
    load(session, new)

    assert channels_asked(session, [library]) == asked | {(library.id, "weibo")}
