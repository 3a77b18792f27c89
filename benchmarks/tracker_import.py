"""How fast history comes in: consultations a second, on SQLite or a given PostgreSQL.

python benchmarks/tracker_import.py [--count 100000] [--url postgresql+psycopg://...]
"""

import argparse
import random
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from json import dumps
from pathlib import Path

from sqlalchemy import create_engine, func, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from tracker.columns import Base
from tracker.history import import_file
from tracker.models import Consultation, Library
from tracker.verify import differences

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CHANNELS = ("wechat", "web", "weibo", "rest")


def line(number: int, dice: random.Random, *, days: int, library: str = "demo") -> str:
    """One believable consultation: half answered by the bot, most of the rest by people."""
    at = NOW - timedelta(seconds=dice.randrange(days * 86_400))
    events = [{"at": at.isoformat(), "kind": "message", "by": "patron", "text": "怎么续借图书？"}]
    bot = dice.random()
    if bot < 0.6:
        answered = (at + timedelta(seconds=1)).isoformat()
        events.append({"at": answered, "kind": "bot_answer", "by": "bot", "entry": "renew-book"})
    if bot > 0.5:
        events.append({"at": (at + timedelta(seconds=9)).isoformat(), "kind": "escalated"})
        if dice.random() < 0.9:
            wait = timedelta(seconds=int(dice.expovariate(1 / 20_000)))
            answered = (at + wait).isoformat()
            events.append(
                {
                    "at": answered,
                    "kind": "feedback",
                    "by": "lin",
                    "substantive": True,
                    "text": "可以",
                }
            )
    row = {
        "id": f"c{number}",
        "library": library,
        "channel": dice.choice(CHANNELS),
        "received_at": at.isoformat(),
        "events": events,
    }
    return dumps(row, ensure_ascii=False)


def write_history(path: Path, count: int, *, days: int = 365, seed: int = 1) -> None:
    """Write a history file, the same for the same seed."""
    dice = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(line(number, dice, days=days) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--url")
    parser.add_argument("--only", choices=("import", "refold"), help="one of the two halves")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(arguments.url or f"sqlite:///{folder}/bench.db")
        if arguments.only != "refold":
            bring_in(engine, Path(folder) / "history.jsonl", arguments.count)
        if arguments.only != "import":
            refold(engine)
        engine.dispose()


def bring_in(engine: Engine, path: Path, count: int) -> None:
    """Import a history of that many into empty tables."""
    write_history(path, count)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Session(engine) as session, session.begin():
        session.add(Library(slug="demo", name="D", timezone="Asia/Shanghai", created_at=NOW))
        session.flush()
        started, used = time.perf_counter(), time.process_time()
        report = import_file(session, path, now=NOW)
        session.flush()
        seconds, used = time.perf_counter() - started, time.process_time() - used
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(
        f"{report.added:,} consultations, {report.events:,} events in {seconds:.1f} s: "
        f"{report.added / seconds:,.0f} a second ({used:.1f} s of our processor time); "
        f"memory grew by {(after - before) // 1024} MB\n"
    )
    sys.stdout.flush()


def refold(engine: Engine) -> None:
    """Fold every consultation's events again and compare each column."""
    with Session(engine) as session:
        started = time.perf_counter()
        wrong = sum(1 for _ in differences(session, 1))
        seconds = time.perf_counter() - started
        count = session.scalar(select(func.count()).select_from(Consultation)) or 0
    sys.stdout.write(
        f"{count:,} folded again: {count / seconds:,.0f} a second, {wrong} columns differ\n"
    )


if __name__ == "__main__":
    main()
