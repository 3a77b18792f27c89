"""How a period looked: rates week by week, arrivals by weekday and hour, topics.

All are counts over local dates and hours of the library, from rollups where a day has settled.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from tracker import rates
from tracker.clock import zone
from tracker.figures import Block, Case
from tracker.models import Library
from tracker.rollups import TOPIC_COUNTS, topics
from tracker.stats import Reading, counted, tally

ALL_CHANNELS = ""  # no channel has this name


@dataclass(frozen=True, slots=True)
class Week:
    """One week of one channel, or of all (`channel` ""), from its Monday."""

    start: date
    channel: str
    counts: Block


def by_week(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
    reading: Reading | None = None,
) -> list[Week]:
    """The rates of each week and channel that had consultations, oldest first.

    A week at the edge holds only its days inside the period. `counts.shares` has the rates;
    percentiles and the live estimate are not filled.
    """
    found = tally(
        session,
        library,
        start=start,
        end=end,
        at=at,
        channel=channel,
        keys=lambda name, day: ((monday(day), name), (monday(day), ALL_CHANNELS)),
        times=False,
        reading=reading,
    )
    return [Week(week, name, block) for (week, name), block in sorted(found.items())]


def monday(day: date) -> date:
    """The Monday of a date's week."""
    return day - timedelta(days=day.weekday())


def arrivals(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
    reading: Reading | None = None,
) -> list[list[int]]:
    """How many were received by weekday (Monday first) and hour of the local clock."""
    heat = [[0] * 24 for _ in range(7)]
    tz = zone(library.timezone)
    for item in counted(
        session, library, "hours", start=start, end=end, at=at, channel=channel, reading=reading
    ):
        if not isinstance(item, Case):
            for hour, count in enumerate(item.hours):
                heat[item.day.weekday()][hour] += count
        else:
            local = item.received_at.astimezone(tz)
            heat[local.weekday()][local.hour] += 1
    return heat


def by_topic(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
    reading: Reading | None = None,
) -> list[dict[str, Any]]:
    """Topics by how often they were asked, "" for none known, without the excluded.

    Each has `topic`, `received`, `bot_only`, `handed_over`, `answered_within` and the share
    that the bot answered with its interval (`rate`, `low`, `high`).
    """
    sums: dict[str, list[int]] = {}
    for item in counted(
        session, library, "topics", start=start, end=end, at=at, channel=channel, reading=reading
    ):
        found = topics([item]) if isinstance(item, Case) else item.topics
        for topic, counts in found.items():
            known = sums.setdefault(topic, [0] * len(TOPIC_COUNTS))
            sums[topic] = [a + b for a, b in zip(known, counts, strict=True)]
    rows = []
    for topic, counts in sorted(sums.items(), key=lambda pair: (-pair[1][0], pair[0])):
        named = dict(zip(TOPIC_COUNTS, counts, strict=True))
        bot = rates.wilson(named["bot_only"], named["received"])
        rows.append({"topic": topic, **named, "rate": bot.rate, "low": bot.low, "high": bot.high})
    return rows


def arrivals_by_day(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    at: datetime,
    channel: str | None = None,
    reading: Reading | None = None,
) -> dict[date, int]:
    """How many were received on each local date that had any."""
    found = tally(
        session,
        library,
        start=start,
        end=end,
        at=at,
        channel=channel,
        keys=lambda _, day: (day,),
        times=False,
        reading=reading,
    )
    return {day: block.received for day, block in sorted(found.items())}
