"""Ten million consultations on PostgreSQL: rollups and tail beside the direct count in SQL.

    python -m benchmarks.tracker_scale --url postgresql+psycopg://... --build
    python -m benchmarks.tracker_scale --url postgresql+psycopg://...

`--build` empties the database. Rows are made in SQL, in the order of time as real ones come,
with the libraries mixed; they have no events, which no figure of the present reads. Every
figure is checked to be integer-equal to the direct count, and the ratios are of one run.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from tests.tracker.direct_sql import NAMES, direct_counts, integers
from tracker.clock import day_bounds, zone
from tracker.columns import Base
from tracker.consortium import consortium
from tracker.figures import INCLUSIVE
from tracker.models import DirtyDay, Library
from tracker.rollups import recompute_day, refresh
from tracker.stats import stats, tally

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CHANNELS = ("wechat", "web", "weibo", "email")
Result = TypeVar("Result")

ROWS = text("""
INSERT INTO consultation (id, library_id, key, opened_at, opened_channel, clock_suspect,
  received_at, channel, status, handed_over, bot_first, bot_accepted, bot_at, escalated_at,
  feedback_at, feedback_by, answered_at, answered_by, feedback_micros, answered_micros,
  last_feedback_at, last_reply_at, waiting_since, withdrawn_at, excluded_at, excluded_reason,
  excluded_late, reclassified_late, topic, language, urgent, directional, title, last_event_at,
  next_day_due_at, reopen_count, plain, fold_version)
SELECT i, library, 'c' || i, received, channel, false, received, channel,
  CASE WHEN excluded IS NOT NULL THEN 'excluded' WHEN withdrawn IS NOT NULL THEN 'withdrawn'
    WHEN handed AND answered IS NULL THEN 'waiting' ELSE 'answered' END,
  handed, bot IS NOT NULL, NOT handed AND luck[1] < 0.2, bot,
  CASE WHEN handed THEN received + interval '9 seconds' END,
  feedback, CASE WHEN feedback IS NOT NULL THEN 'lin' END,
  answered, CASE WHEN answered IS NOT NULL THEN 'lin' END,
  (extract(epoch FROM feedback - received) * 1000000)::bigint,
  (extract(epoch FROM answered - received) * 1000000)::bigint,
  feedback, greatest(bot, feedback), CASE WHEN handed AND answered IS NULL THEN received END,
  withdrawn, excluded, CASE WHEN excluded IS NOT NULL THEN 'spam' END,
  excluded > received + interval '24 hours'
    AND NOT coalesce(least(answered, CASE WHEN NOT handed THEN bot END)
      <= received + interval '24 hours', false) IS TRUE AND excluded IS NOT NULL,
  false, 'entry-' || i % 60, 'zh-Hans', false, luck[8] < 0.05, 'question ' || i,
  greatest(received, bot, feedback, answered, withdrawn, excluded),
  (date_trunc('day', received AT TIME ZONE 'Asia/Shanghai') + interval '41 hours')
    AT TIME ZONE 'Asia/Shanghai',
  0, true, 1
FROM (
  SELECT *,
    CASE WHEN luck[1] < 0.6 THEN received + interval '1 second' END AS bot,
    CASE WHEN replied <= :now THEN replied END AS feedback,
    CASE WHEN luck[4] < 0.1 THEN CASE WHEN replied + interval '3 hours' <= :now AND luck[4] < 0.07
      THEN replied + interval '3 hours' END WHEN replied <= :now THEN replied END AS answered,
    CASE WHEN handed AND replied IS NULL AND luck[5] < 0.2 THEN
      least(received + luck[6] * interval '20 hours', :now) END AS withdrawn,
    CASE WHEN luck[7] < 0.02 THEN
      least(received + luck[7] * 3000 * interval '1 hour', :now) END AS excluded
  FROM (
    SELECT *, luck[1] >= 0.5 AS handed,
      CASE WHEN luck[1] >= 0.5 AND luck[3] < 0.9
        THEN received + -ln(1 - luck[2]) * interval '20000 seconds' END AS replied,
      1 + floor(luck[9] * :libraries)::int AS library,
      (ARRAY['wechat', 'web', 'weibo', 'email'])[1 + floor(luck[10] * 4)::int] AS channel
    FROM (
      SELECT i, CAST(:now AS timestamptz)
          - (1 - i::float8 / :count) * :days * interval '24 hours' AS received,
        ARRAY[random(), random(), random(), random(), random(), random(), random(), random(),
          random(), random()] AS luck
      FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS i
      OFFSET 0
    ) AS drawn OFFSET 0
  ) AS told OFFSET 0
) AS row
""")
BATCH = 1_000_000


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def build(engine: Engine, *, count: int, libraries: int, days: int) -> None:
    """Make the libraries and their rows; the indexes last, as for any bulk load."""
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    table = Base.metadata.tables["consultation"]
    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    with Session(engine) as session:
        for number in range(1, libraries + 1):
            session.add(
                Library(slug=f"l{number}", name="L", timezone="Asia/Shanghai", created_at=NOW)
            )
            session.flush()
        session.commit()
    started = time.perf_counter()
    with engine.begin() as connection:
        for index in indexes:
            index.drop(connection)
        connection.execute(text("SELECT setseed(0.42)"))
        for first in range(1, count + 1, BATCH):
            given = {"first": first, "last": min(first + BATCH - 1, count), "count": count}
            connection.execute(ROWS, {**given, "now": NOW, "days": days, "libraries": libraries})
    say(f"{count:,} rows made in {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    with engine.begin() as connection:
        for index in indexes:
            index.create(connection)
        connection.execute(text("ANALYZE"))
    say(f"indexed in {time.perf_counter() - started:.0f} s")
    with Session(engine) as session:
        first_day = (NOW - timedelta(days=days)).date()
        marks = [
            {"library_id": number, "day": first_day + timedelta(days=offset)}
            for number in range(1, libraries + 1)
            for offset in range(days + 1)
        ]
        session.execute(insert(DirtyDay), marks)
        session.commit()


def roll(engine: Engine, *, seconds: float) -> None:
    """Compute dirty days; call it again until it says that none is left."""
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        with Session(engine) as session:
            computed = refresh(session, now=NOW, limit=500)
            session.commit()
        done += computed
        if not computed:
            break
    spent = time.perf_counter() - started
    say(f"rollups of {done:,} days: {spent:.0f} s, {spent / max(done, 1) * 1000:.1f} ms a day")
    with Session(engine) as session:
        left = session.scalar(
            select(DirtyDay.id).where(DirtyDay.day < (NOW - timedelta(days=4)).date()).limit(1)
        )
    if left is None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    say("all are computed" if left is None else "not all are computed yet")


def fastest(ask: Callable[[], Result], times: int = 3) -> tuple[Result, float]:
    """The answer and the shortest of some times, in milliseconds."""
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        result = ask()
        spent.append((time.perf_counter() - started) * 1000)
    return result, min(spent)


def measure(engine: Engine) -> None:
    with Session(engine) as session:
        libraries = list(session.scalars(select(Library).order_by(Library.id)))
        measure_all(session, libraries)
        ratios: dict[str, list[tuple[float, float, float]]] = {}
        dice = random.Random(1)
        for library in dice.sample(libraries, min(5, len(libraries))):
            for name, start, end in periods():
                for channel in (None, dice.choice(CHANNELS)):
                    label = f"{name}, {'one channel' if channel else 'all channels'}"
                    ratios.setdefault(label, []).append(
                        compare(session, library, (start, end), channel=channel)
                    )
        for label, found in ratios.items():
            rolled, direct, ratio = (statistics.median(item) for item in zip(*found, strict=True))
            say(f"one library, {label:32s}{rolled:8.1f} ms beside{direct:9.1f} ms: {ratio:.3f}")
        measure_times(session, libraries[0])
        measure_days(session, libraries)
        session.rollback()


def periods() -> Iterable[tuple[str, date | None, date | None]]:
    last = NOW.astimezone(zone("Asia/Shanghai")).date()
    return (
        ("all time", None, None),
        ("two years", last - timedelta(days=730), last),
        ("a year", last - timedelta(days=365), last),
        ("a term", last - timedelta(days=120), last),
        ("a month", last - timedelta(days=30), last),
        ("a month of last year", last - timedelta(days=395), last - timedelta(days=366)),
        ("a week", last - timedelta(days=6), last),
    )


def measure_all(session: Session, libraries: list[Library]) -> None:
    """The consortium's figures: every library and channel."""
    for name, start, end in periods():
        tz = zone("Asia/Shanghai")
        bounds = {
            "begin": day_bounds(start, tz)[0] if start else None,
            "end": day_bounds(end, tz)[1] if end else None,
        }
        found, rolled = fastest(
            lambda start=start, end=end: consortium(
                session, start=start, end=end, at=NOW, libraries=libraries, figure=INCLUSIVE
            )
        )
        counted, direct = fastest(
            lambda bounds=bounds: direct_counts(session, at=NOW, **bounds), times=1
        )
        for channel, share in found["pooled"].items():
            direct_share = counted.get(channel, dict.fromkeys(NAMES, 0))
            expected = direct_share["inclusive_within"], direct_share["inclusive_matured"]
            assert (share["numerator"], share["denominator"]) == expected, (name, channel)
        say(
            f"{len(libraries)} libraries, {name:30s}{rolled:8.1f} ms beside{direct:9.1f} ms: "
            f"{rolled / direct:.3f}"
        )


def compare(
    session: Session,
    library: Library,
    period: tuple[date | None, date | None],
    *,
    channel: str | None,
) -> tuple[float, float, float]:
    """Milliseconds by rollups, by the direct count, and their ratio; the counts are equal."""
    start, end = period
    tz = zone(library.timezone)
    blocks, rolled = fastest(
        lambda: tally(
            session,
            library,
            start=start,
            end=end,
            at=NOW,
            channel=channel,
            keys=lambda name, _: (name,),
            times=False,
            by_day=False,
        )
    )
    expected, direct = fastest(
        lambda: direct_counts(
            session,
            at=NOW,
            library_id=library.id,
            begin=day_bounds(start, tz)[0] if start else None,
            end=day_bounds(end, tz)[1] if end else None,
            channel=channel,
        )
    )
    assert {name: integers(block) for name, block in blocks.items()} == expected
    return rolled, direct, rolled / direct


def measure_times(session: Session, library: Library) -> None:
    """Percentiles and the live estimate, which need every single time."""
    found, rolled = fastest(lambda: stats(session, library, at=NOW))
    percentile = text(
        "SELECT percentile_disc(ARRAY[0.5, 0.9, 0.95]) WITHIN GROUP (ORDER BY "
        "coalesce(feedback_micros, 9223372036854775807)) FROM consultation WHERE library_id = :id "
        "AND excluded_at IS NULL AND handed_over AND received_at <= :old"
    )
    given = {"id": library.id, "old": NOW - timedelta(hours=24)}
    values, direct = fastest(lambda: session.scalar(percentile, given))
    seconds = list(found["total"]["seconds_to_feedback"].values())
    expected = [None if value == 2**63 - 1 else value / 1_000_000 for value in values]
    assert seconds == expected, (seconds, expected)
    say(
        f"one library, all of `refdesk stats`: {rolled:.0f} ms; "
        f"its percentiles alone in SQL: {direct:.0f} ms"
    )


def measure_days(session: Session, libraries: list[Library]) -> None:
    dice = random.Random(2)
    spent = []
    for _ in range(60):
        library, offset = dice.choice(libraries), dice.randrange(10, 1_000)
        day = NOW.date() - timedelta(days=offset)
        session.execute(insert(DirtyDay), [{"library_id": library.id, "day": day}])
        started = time.perf_counter()
        recompute_day(session, library, day)
        session.flush()
        spent.append((time.perf_counter() - started) * 1000)
    say(f"one dirty day, median of {len(spent)}: {statistics.median(spent):.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--roll", type=float, metavar="SECONDS", help="go on computing rollups")
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--libraries", type=int, default=42)
    parser.add_argument("--days", type=int, default=1_060)
    arguments = parser.parse_args()
    # Prepared at once, as statements of a connection that is in use for long are: both sides'.
    engine = create_engine(arguments.url, connect_args={"prepare_threshold": 0})
    if arguments.build:
        build(engine, count=arguments.count, libraries=arguments.libraries, days=arguments.days)
    if arguments.build or arguments.roll:
        roll(engine, seconds=arguments.roll or float("inf"))
    else:
        measure(engine)
    engine.dispose()


if __name__ == "__main__":
    main()
