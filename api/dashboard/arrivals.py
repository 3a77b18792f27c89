"""When questions arrive, what they are about, and what the bot made of them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from api.dashboard.figures import judged
from api.dashboard.period import Selection
from api.screens import Screen
from tracker.stats import Reading
from tracker.trends import arrivals, by_topic

TOPICS = 12
LEVELS = 4  # shades of the heat map
NO_TOPIC = "-"  # in an address: without an entry


def bot_lines(
    screen: Screen, total: Mapping[str, Any], selection: Selection
) -> list[dict[str, str]]:
    """The shares of what the bot did, each with its counts and its cases."""
    reader = screen.reader
    counted = total["received"] - total["excluded"]
    deflection = total["deflection"]
    shares = [
        ("share", "bot_only", None, total["bot_only"], counted),
        ("handed_over", "handed_over", None, total["handed_over"], counted),
        *(
            (name, "deflection", name, deflection[name], deflection["matured"])
            for name in ("confirmed", "presumed", "abandoned")
        ),
    ]
    return [
        {
            "name": screen.text(f"manage.bot.{name}"),
            "value": judged(reader, part, whole),
            "of": screen.text(
                "manage.of_plain", within=reader.number(part), matured=reader.number(whole)
            ),
            "address": selection.address("/manage/cases", figure=figure, outcome=outcome),
        }
        for name, figure, outcome, part, whole in shares
    ]


def heat(
    session: Session, screen: Screen, selection: Selection, once: Reading
) -> dict[str, Any] | None:
    """How many arrive in each hour of each weekday, in the library's own time."""
    found = arrivals(
        session,
        screen.library,
        **selection.seen_at(screen.now),
        reading=once,
    )
    most = max(map(max, found))
    if not most:
        return None
    names = [screen.text(f"format.weekday.{number}") for number in range(1, 8)]
    day, hour = next(
        (day, hour) for day in range(7) for hour in range(24) if found[day][hour] == most
    )
    return {
        "summary": screen.text(
            "manage.heat.summary", day=names[day], hour=hour, next=hour + 1, n=most
        ),
        "rows": [
            {
                "day": names[day],
                "cells": [
                    {
                        "count": count,
                        "level": _level(count, most),
                        "address": _hour_address(selection, day, hour),
                    }
                    for hour, count in enumerate(counts)
                ],
            }
            for day, counts in enumerate(found)
        ],
    }


def _hour_address(selection: Selection, day: int, hour: int) -> str:
    return selection.address(
        "/manage/cases", figure="received", weekday=str(day + 1), hour=str(hour)
    )


def _level(count: int, most: int) -> int:
    """0 for none, else 1 to 4."""
    return -(-count * LEVELS // most)


def topics(
    session: Session, screen: Screen, selection: Selection, once: Reading
) -> list[dict[str, Any]]:
    """The entries that were asked for, most often first; last, how many fitted none."""
    found = by_topic(
        session,
        screen.library,
        **selection.seen_at(screen.now),
        reading=once,
    )
    most = max((item["received"] for item in found), default=0)
    named = [item for item in found if item["topic"]][:TOPICS]
    without = [item for item in found if not item["topic"]]
    entry = screen.state.desks.of(session, screen.library.id, now=screen.now).knowledge.entry
    return [
        {
            "key": item["topic"],
            "title": _title(entry(item["topic"]), item["topic"], screen) if item["topic"] else "",
            "count": item["received"],
            "bot": screen.text(
                "manage.of_plain",
                within=screen.reader.number(item["bot_only"]),
                matured=screen.reader.number(item["received"]),
            ),
            "share": round(100 * item["received"] / most, 1),
            "address": selection.address(
                "/manage/cases", figure="received", topic=item["topic"] or NO_TOPIC
            ),
        }
        for item in [*named, *without]
    ]


def _title(entry: Any, key: str, screen: Screen) -> str:
    return entry.title(screen.reader.language) if entry is not None else key
