"""Random calendars near the switches of clocks, and where tracker.clock differs from the oracle.

As a command it compares any number of cases: CI runs a thousand, a release 100,000.

    python -m tests.tracker.clock_cases --first 0 --count 25000
"""

import argparse
import random
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from tests.tracker.clock_oracle import MinuteOracle
from tracker.clock import Calendar

SEED = 2026
BEFORE, AFTER = timedelta(days=2), timedelta(days=5)  # what the oracle walks through
SWITCHES = (  # zone, and a local date near which its clocks do something
    ("Asia/Shanghai", date(2026, 2, 14)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Africa/Cairo", date(2026, 4, 24)),
    ("Africa/Cairo", date(2026, 10, 30)),
    ("Asia/Kathmandu", date(2026, 5, 1)),
    ("America/St_Johns", date(2026, 11, 1)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Pacific/Chatham", date(2026, 4, 5)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("America/Havana", date(2026, 11, 1)),
    ("Asia/Beirut", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("Antarctica/Troll", date(2026, 3, 29)),
)


def clock_text(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def random_spans(dice: random.Random) -> list[list[str]]:
    kind = dice.random()
    if kind < 0.2:
        return []
    if kind < 0.3:
        return [["00:00", "24:00"]]
    spans = []
    for _ in range(dice.choice((1, 1, 2, 3))):
        start = dice.randrange(0, 24 * 60, dice.choice((1, 15, 30)))
        end = start + dice.randrange(1, dice.choice((60, 600, 20 * 60)))
        wrapped = end - 24 * 60 if end > 24 * 60 and dice.random() < 0.5 else end
        spans.append([clock_text(start), clock_text(wrapped)])
    return spans


def random_calendar(dice: random.Random, zone: str, middle: date) -> dict[str, Any]:
    versions = [{"valid_from": "1990-01-01", "weekly": random_week(dice)}]
    if dice.random() < 0.3:
        later = middle + timedelta(days=dice.randrange(-3, 4))
        versions.append({"valid_from": later.isoformat(), "weekly": random_week(dice)})
    exceptions = {
        (middle + timedelta(days=dice.randrange(-4, 6))).isoformat(): random_spans(dice)
        for _ in range(dice.randrange(4))
    }
    return {"tz": zone, "versions": versions, "exceptions": exceptions}


def random_week(dice: random.Random) -> dict[str, list[list[str]]]:
    if dice.random() < 0.05:
        return {}
    return {name: random_spans(dice) for name in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}


class Question(NamedTuple):
    """What is asked of a calendar: from when to when, with which pauses, and how many minutes."""

    start: datetime
    end: datetime
    pauses: list[tuple[datetime, datetime]]
    target: int


def random_question(dice: random.Random, middle: date) -> Question:
    """Something to ask within days of the switch."""
    noon = datetime(middle.year, middle.month, middle.day, 12, tzinfo=UTC)
    start = noon + timedelta(minutes=dice.randrange(-4 * 1440, 2 * 1440))
    end = start + timedelta(minutes=dice.randrange(2 * 1440))
    pauses = []
    for _ in range(dice.choice((0, 0, 1, 2))):
        begin = start + timedelta(minutes=dice.randrange(-600, 1440))
        pauses.append((begin, begin + timedelta(minutes=dice.randrange(900))))
    return Question(start, end, pauses, dice.randrange(700))


def disagreements(numbers: Iterable[int], *, questions: int = 1) -> Iterator[str]:
    """Every answer that differs, of calendars by number; each is asked so many questions."""
    for number in numbers:
        dice = random.Random(f"{SEED}-{number}")
        zone, middle = dice.choice(SWITCHES)
        document = random_calendar(dice, zone, middle)
        calendar = Calendar.from_document(document)
        asked = [random_question(dice, middle) for _ in range(questions)]
        first = min(question.start for question in asked) - BEFORE
        last = max(question.start for question in asked) + AFTER
        oracle = MinuteOracle(document, first, last)
        for question in asked:
            for what in differing(calendar, oracle, question, last):
                yield f"case {number}: {what} of {document}, {question}"


def differing(
    calendar: Calendar, oracle: MinuteOracle, question: Question, last: datetime
) -> Iterator[str]:
    """The names of the answers in which the two differ."""
    start, end, pauses, target = question
    if calendar.is_open(start) != oracle.is_open(start):
        yield "is_open"
    if calendar.open_seconds(start, end, pauses) != oracle.open_seconds(start, end, pauses):
        yield "open_seconds"
    due = oracle.due(start, target, pauses)  # None: not within what it walked through
    found = calendar.due(start, target, pauses)
    if found != due and not (due is None and (found is None or found >= last)):
        yield "due"
    day = oracle.next_opening_day_due(start)
    known = day is not None and day < last - timedelta(days=2)
    if known and calendar.next_opening_day_due(start) != day:
        yield "next_opening_day_due"
    opening = calendar.next_opening(start)
    expected = next((at for at in minutes_from(start, last) if oracle.is_open(at)), None)
    if opening != expected and not (expected is None and (opening is None or opening >= last)):
        yield "next_opening"


def minutes_from(start: datetime, last: datetime) -> Iterator[datetime]:
    while start < last:
        yield start
        start += timedelta(minutes=1)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1_000)
    arguments = parser.parse_args()
    numbers = range(arguments.first, arguments.first + arguments.count)
    found = list(disagreements(numbers))
    sys.stdout.write("".join(f"{line}\n" for line in found[:20]))
    sys.stdout.write(
        f"{len(numbers)} calendars from number {arguments.first}: {len(found)} answers differ\n"
    )
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
