"""How many questions the business clock answers a second, on one core.

python benchmarks/tracker_clock.py
"""

import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from tracker.clock import Calendar
from tracker.seeds import seed

QUESTIONS = 100_000
SHIFTS = [["08:00", "11:30"], ["14:00", "17:30"]]


def main() -> None:
    dice = random.Random(1)
    weekly = dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), SHIFTS)
    document = seed(
        "CN", tz="Asia/Shanghai", weekly=weekly, years=[2025, 2026], today=date(2026, 11, 1)
    )
    calendar = Calendar.from_document(document)
    first = datetime(2025, 1, 1, tzinfo=UTC)
    starts = [first + timedelta(seconds=dice.randrange(690 * 86_400)) for _ in range(QUESTIONS)]
    ends = [start + timedelta(seconds=dice.randrange(10 * 86_400)) for start in starts]
    pairs = list(zip(starts, ends, strict=True))
    questions: dict[str, Callable[[], object]] = {
        "open_seconds": lambda: [calendar.open_seconds(start, end) for start, end in pairs],
        "open_seconds, one pause": lambda: [
            calendar.open_seconds(start, end, [(start, start + timedelta(hours=1))])
            for start, end in pairs
        ],
        "next_opening_day_due": lambda: [calendar.next_opening_day_due(start) for start in starts],
        "due in 480 minutes": lambda: [calendar.due(start, 480) for start in starts],
        "is_open": lambda: [calendar.is_open(start) for start in starts],
    }
    for name, ask in questions.items():
        started = time.perf_counter()
        ask()
        rate = QUESTIONS / (time.perf_counter() - started)
        sys.stdout.write(f"{name:28s}{rate:>12,.0f} a second\n")


if __name__ == "__main__":
    main()
