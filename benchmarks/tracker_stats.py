"""How long the manager's page waits for its figures: rollups and live tail against counting.

    python benchmarks/tracker_stats.py [--count 1000000] [--url postgresql+psycopg://...]

The last lines are ratios of one run: the direct count in SQL, and one dirty day.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import create_engine, delete, func, select, text
from sqlalchemy.orm import Session
from tracker_import import NOW, bring_in

from tracker.calendars import save_calendar
from tracker.models import Consultation, Library, Rollup
from tracker.rollups import recompute_day, refresh
from tracker.stats import read, stats, tally
from tracker.trends import arrivals, by_topic, by_week

Result = TypeVar("Result")
YEAR = {"start": date(2025, 11, 2), "end": date(2026, 10, 31), "at": NOW}
MONTH = {"start": date(2026, 10, 1), "end": date(2026, 10, 31), "at": NOW}
DIRECT = text(
    "SELECT channel, count(*), sum(CASE WHEN excluded_at IS NULL AND handed_over "
    "AND answered_micros <= 86400000000 THEN 1 ELSE 0 END) "
    "FROM consultation WHERE library_id = :library GROUP BY channel"
)
HOURS = {name: [["08:30", "17:00"]] for name in ("mon", "tue", "wed", "thu", "fri")}


def timed(name: str, ask: Callable[[], Result]) -> tuple[Result, float]:
    started = time.perf_counter()
    result = ask()
    seconds = time.perf_counter() - started
    sys.stdout.write(f"{name:44s}{seconds * 1000:>10.0f} ms\n")
    return result, seconds


def prepare(session: Session) -> Library:
    """Give the desk its hours, and compute every day."""
    library = session.get_one(Library, 1)
    desk = {
        "tz": library.timezone,
        "versions": [{"valid_from": "1990-01-01", "weekly": HOURS}],
        "exceptions": {},
    }
    started = time.perf_counter()
    save_calendar(session, library.id, "desk", desk, now=NOW, by="bench")
    sys.stdout.write(f"a first calendar for all: {time.perf_counter() - started:.1f} s\n")
    started = time.perf_counter()
    days = refresh(session, now=NOW, limit=1_000)
    sys.stdout.write(f"rollups of {days} days: {time.perf_counter() - started:.1f} s\n")
    session.commit()
    return library


def measure(session: Session, library: Library) -> None:
    for label, period in (("year", YEAR), ("month", MONTH)):
        once, total = timed(
            f"read what is not settled, {label}", partial(read, session, library, **period)
        )
        for name, ask in (
            ("stats", stats),
            ("weeks", by_week),
            ("arrivals", arrivals),
            ("topics", by_topic),
        ):
            question = partial(ask, session, library, reading=once, **period)
            _, seconds = timed(f"{name}, {label}", question)
            total += seconds
        sys.stdout.write(f"{'a page of all these, ' + label:44s}{total * 1000:>10.0f} ms\n")
    counts, rolled = timed(
        "rates of the year from rollups and tail", lambda: rates(session, library)
    )
    _, direct = timed("direct count in SQL", lambda: session.execute(DIRECT, {"library": 1}).all())
    day = date(2026, 6, 15)
    samples = []
    for offset in range(25):
        started = time.perf_counter()
        recompute_day(session, library, day + timedelta(days=offset))
        samples.append(time.perf_counter() - started)
    sys.stdout.write(f"one dirty day, median: {statistics.median(samples) * 1000:.0f} ms\n")
    sys.stdout.write(f"rollups and tail take {rolled / direct:.3f} of the direct count\n")
    session.execute(delete(Rollup))
    assert rates(session, library) == counts
    received = session.scalar(select(func.count()).select_from(Consultation))
    assert received is not None
    sys.stdout.write(f"integer-equal to counting {received:,} one by one\n")


def rates(session: Session, library: Library) -> dict[str, list[object]]:
    found = tally(session, library, at=NOW, keys=lambda name, _: (name,), times=False)
    return {
        name: [block.received, block.handed_over, block.excluded]
        + [(c.within, c.matured, c.pending) for c in block.shares.values()]
        for name, block in sorted(found.items())
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--url")
    parser.add_argument("--imported", action="store_true", help="by tracker_import into --url")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(arguments.url or f"sqlite:///{folder}/bench.db")
        if not arguments.imported:
            bring_in(engine, Path(folder) / "history.jsonl", arguments.count)
        with Session(engine, expire_on_commit=False) as session:
            library = prepare(session)
            measure(session, library)
        engine.dispose()


if __name__ == "__main__":
    main()
