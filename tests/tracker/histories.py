"""Random histories for property tests: believable ones and nonsense alike."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from tests.tracker.samples import NOW, desk_document
from tracker.calendars import save_calendar
from tracker.history import import_rows
from tracker.models import Library

START = datetime(2026, 3, 2, tzinfo=UTC)
KINDS = (
    "message",
    "bot_answer",
    "bot_accepted",
    "bot_rejected",
    "acknowledged",
    "escalated",
    "assigned",
    "feedback",
    "paused",
    "resumed",
    "closed",
    "reopened",
    "excluded",
    "withdrawn",
    "failed",
    "corrected",
    "split",
    "merged",
)
WEIGHTS = (6, 6, 2, 3, 2, 4, 3, 6, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1)
EDGES = (0, 1, 3600, 86_399, 86_400, 86_401, 172_799, 172_800, 259_200)


def random_history(
    seed: str, *, count: int, days: int = 8, channels: tuple[str, ...] = ("wechat", "web", "weibo")
) -> list[dict[str, Any]]:
    """Consultations of one library with any events in any order, edges preferred."""
    dice = random.Random(seed)
    return [consultation(dice, number, count, days, channels) for number in range(count)]


def with_history(session: Session, seed: str, *, count: int) -> Library:
    """A library with a staffed desk and a random past."""
    library = Library(slug="demo", name="D", timezone="Asia/Shanghai", created_at=NOW)
    session.add(library)
    session.flush()
    save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
    import_rows(session, enumerate(random_history(seed, count=count), start=1), now=NOW)
    return library


def consultation(
    dice: random.Random, number: int, count: int, days: int, channels: tuple[str, ...]
) -> dict[str, Any]:
    received = START + timedelta(seconds=dice.randrange(days * 86_400))
    events = []
    for _ in range(dice.choice((0, 1, 2, 3, 4, 6))):
        offset = dice.choice(EDGES) if dice.random() < 0.4 else dice.randrange(-600, 4 * 86_400)
        kind = dice.choices(KINDS, WEIGHTS)[0]
        event: dict[str, Any] = {
            "at": (received + timedelta(seconds=offset)).isoformat(),
            "kind": kind,
            "by": dice.choice(("patron", "bot", "lin", "tran")),
        }
        if kind == "feedback" and dice.random() < 0.7:
            event["substantive"] = dice.random() < 0.6
        if kind == "excluded":
            event["reason"] = "spam"
        if kind == "merged":
            # Only ever into a later one: circles have a test of their own.
            if number + 1 == count:
                continue
            event["into"] = f"c{dice.randrange(number + 1, count)}"
        events.append(event)
    if events and dice.random() < 0.2:
        events.append(dict(dice.choice(events)))
    dice.shuffle(events)
    return {
        "id": f"c{number}",
        "library": "demo",
        "channel": dice.choice(channels),
        "received_at": received.isoformat(),
        "events": events,
    }
