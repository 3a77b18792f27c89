"""What the database counts in one statement is what the figures count one by one."""

import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from api.db import Database
from tests.tracker.direct_sql import direct_counts, integers
from tests.tracker.histories import START, random_history, with_history
from tests.tracker.samples import NOW, desk_document
from tracker.calendars import save_calendar
from tracker.clock import day_bounds, zone
from tracker.dirty import mark_dirty
from tracker.figures import Block
from tracker.history import import_rows
from tracker.models import Library
from tracker.rollups import refresh
from tracker.stats import read, tally, tally_all

LATER = datetime(2026, 6, 1, tzinfo=UTC)


def by_channel_and_day(channel: str, day: date) -> Iterable[tuple[str, date]]:
    return [(channel, day)]


def by_channel(channel: str, _: date) -> Iterable[str]:
    return [channel]


def told(blocks: dict[Any, Block]) -> dict[Any, Any]:
    """Everything that the blocks have counted; of times the order does not matter."""
    return {
        key: {
            **block.as_dict(),
            "times": [
                sorted(getattr(block, name))
                for name in ("answered", "withdrawals", "open", "feedback")
            ],
            "others": (block.excluded_late, block.withdrawn, block.directional, block.unanswered),
        }
        for key, block in blocks.items()
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_database_counts_what_the_figures_count(each_database: Database, seed: int) -> None:
    dice = random.Random(seed)
    with each_database.transaction() as session:
        library = with_history(session, f"c{seed}", count=120)
        for number in range(16):
            if number == 8:  # from here on with rollups
                refresh(session, now=LATER)
            period: dict[str, Any] = {
                "at": START + timedelta(seconds=dice.randrange(20 * 86_400)),
                "start": date(2026, 3, dice.randrange(1, 9)) if dice.random() < 0.6 else None,
                "end": date(2026, 3, dice.randrange(4, 14)) if dice.random() < 0.6 else None,
                "channel": dice.choice((None, "web")),
            }
            one_by_one = read(session, library, **period)
            for keys, by_day in ((by_channel_and_day, True), (by_channel, False)):
                counted = tally(session, library, **period, keys=keys, by_day=by_day)
                expected = tally(
                    session, library, **period, keys=keys, by_day=by_day, reading=one_by_one
                )

                assert told(counted) == told(expected), period


@pytest.mark.parametrize("seed", range(4))
def test_rollups_and_tail_equal_plain_sql(each_database: Database, seed: int) -> None:
    dice = random.Random(seed)
    with each_database.transaction() as session:
        library = Library(slug="demo", name="D", timezone="Asia/Shanghai", created_at=NOW)
        session.add(library)
        session.flush()
        save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
        rows = random_history(f"sql{seed}", count=150, days=12)
        import_rows(session, enumerate(rows, start=1), now=NOW)
        refresh(session, now=START + timedelta(days=9))
        at = START + timedelta(days=17)  # the last days are still young or dirty
        tz = zone(library.timezone)
        for _ in range(6):
            start, end = date(2026, 3, dice.randrange(1, 9)), date(2026, 3, dice.randrange(5, 18))
            channel = dice.choice((None, "web"))
            blocks = tally(
                session,
                library,
                start=start,
                end=end,
                at=at,
                channel=channel,
                keys=by_channel,
                times=False,
                by_day=False,
            )

            assert {name: integers(block) for name, block in blocks.items()} == direct_counts(
                session,
                at=at,
                library_id=library.id,
                begin=day_bounds(start, tz)[0],
                end=day_bounds(end, tz)[1],
                channel=channel,
            )


@pytest.mark.parametrize("seed", range(4))
def test_many_libraries_at_once_equal_each_by_itself(each_database: Database, seed: int) -> None:
    dice = random.Random(seed)
    with each_database.transaction() as session:
        libraries = []
        for number, timezone in enumerate(("Asia/Shanghai", "Asia/Shanghai", "Europe/Berlin")):
            slug = f"l{number}"
            library = Library(slug=slug, name="L", timezone=timezone, created_at=NOW)
            session.add(library)
            session.flush()
            libraries.append(library)
            rows = random_history(f"{slug}-{seed}", count=60)
            given = [{**row, "library": slug} for row in rows]
            import_rows(session, enumerate(given, start=1), now=NOW)
        for number in range(8):
            if number == 4:
                refresh(session, now=LATER)
                mark_dirty(session, libraries[dice.randrange(3)].id, [date(2026, 3, 5)])
            at = START + timedelta(days=dice.choice((3, 9, 20)))
            start = date(2026, 3, dice.randrange(1, 6)) if dice.random() < 0.6 else None
            end = date(2026, 3, dice.randrange(6, 14)) if dice.random() < 0.6 else None
            blocks = tally_all(session, libraries, start=start, end=end, at=at)
            alone = {
                (library.id, name): block
                for library in libraries
                for name, block in tally(
                    session,
                    library,
                    start=start,
                    end=end,
                    at=at,
                    keys=by_channel,
                    times=False,
                    by_day=False,
                ).items()
            }

            assert told(blocks) == told(alone), (start, end, at)
