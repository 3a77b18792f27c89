"""Who waits now, for how long, and who will have waited too long by tomorrow."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from api.dashboard.period import Selection
from api.screens import Screen
from tracker.figures import Block, Case, is_waiting
from tracker.fold import DAY
from tracker.forecast import breach_forecast
from tracker.outcomes import CLOSED_UNANSWERED, counted
from tracker.stats import read, tally

AGES = (
    ("hour", timedelta(hours=1)),
    ("four_hours", timedelta(hours=4)),
    ("day", DAY),
    ("three_days", timedelta(days=3)),
    ("more", timedelta.max),
)
OVERDUE = frozenset({"three_days", "more"})
MOST_READ = 100_000  # consultations; beyond that, what must read them all is asked for


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything received so far: settled days summed, the others one by one."""

    channels: Sequence[str]  # of the library
    total: Block  # of the selection's channel, or of all
    live: Sequence[Case]
    closed_unanswered: int  # of those that wait

    @property
    def is_large(self) -> bool:
        """Whether figures that read every consultation are worked out only when asked for."""
        return self.total.received > MOST_READ


def standing(session: Session, screen: Screen, selection: Selection) -> Standing:
    """What the library has received, whatever the period."""
    once = read(session, screen.library, at=screen.now)
    found = tally(
        session,
        screen.library,
        at=screen.now,
        keys=lambda name, day: (name,),
        times=False,
        by_day=False,
        reading=once,
    )
    wanted = [selection.channel] if selection.channel else sorted(found)
    total = Block(screen.now)
    for name in wanted:
        total.add_block(found.get(name) or Block(screen.now))
    live = [case for case in once.live if selection.channel in (None, case.channel)]
    left = counted(
        session, screen.library, [CLOSED_UNANSWERED], at=screen.now, channel=selection.channel
    )
    return Standing(sorted(found), total, live, left[CLOSED_UNANSWERED].total())


def backlog(screen: Screen, selection: Selection, so_far: Standing) -> dict[str, Any]:
    """How many wait for a first response, whenever they were received, by age.

    Whoever waits since a settled day has waited for more than three days.
    """
    total = so_far.total
    ages = Counter(age_of(case.received_at, screen.now) for case in so_far.live if is_waiting(case))
    ages["more"] += total.waiting - ages.total()
    most = max(ages.values(), default=0)
    oldest = total.oldest_waiting_at
    return {
        "waiting": total.waiting,
        "overdue": total.overdue,
        "oldest_seconds": None if oldest is None else (screen.now - oldest).total_seconds(),
        "closed": (
            screen.text("manage.backlog.closed", n=screen.reader.number(so_far.closed_unanswered))
            if so_far.closed_unanswered
            else None
        ),
        "closed_address": selection.address("/manage/cases", figure=CLOSED_UNANSWERED),
        "address": _address(selection),
        "overdue_address": _address(selection, outcome="overdue"),
        "ages": [
            {
                "name": name,
                "count": ages[name],
                "share": round(100 * ages[name] / most, 1),
                "is_late": name in OVERDUE,
                "address": _address(selection, age=name),
            }
            for name, _ in AGES
            if most
        ],
    }


def _address(selection: Selection, **more: str) -> str:
    return selection.address("/manage/cases", figure="backlog", **more)


def age_of(received_at: datetime, now: datetime) -> str:
    """The group that a wait belongs to; exactly 24 hours is not over a day yet."""
    return next(name for name, limit in AGES if now - received_at <= limit)


def forecast(session: Session, screen: Screen, selection: Selection) -> dict[str, Any]:
    """The outlook for the next 24 hours, or that there is none which beats guessing."""
    found = breach_forecast(session, screen.library, at=screen.now, channel=selection.channel)
    if found is None:
        return {"text": screen.text("manage.forecast.none"), "how": "", "address": None}
    number = screen.reader.number
    return {
        "text": screen.text(
            "manage.forecast.text", due=number(found.due), late=number(found.expected_breaches, 1)
        ),
        "how": screen.text(
            "manage.forecast.how",
            brier=number(found.brier, 3),
            base=number(found.base_brier, 3),
        ),
        "address": _address(selection, outcome="waiting"),
    }
