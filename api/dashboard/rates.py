"""The first page of managers: the two headline rates by channel, and what lies around them."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.auth import Manager
from api.dashboard.figures import figure
from api.dashboard.period import Period, Selection, chosen, presets
from api.dashboard.weeks import described, weekly
from api.screens import Screen, reading
from tracker.clock import day_bounds, zone
from tracker.figures import ANSWERED, INCLUSIVE, NEXT_DAY, RESPONDED, Case
from tracker.models import Consultation
from tracker.rates import too_few
from tracker.stats import cases, selected, stats

TOPICS = 12
LEVELS = 4  # shades of the heat map
AGES = (
    ("hour", timedelta(hours=1)),
    ("four_hours", timedelta(hours=4)),
    ("day", timedelta(hours=24)),
    ("three_days", timedelta(days=3)),
    ("more", timedelta.max),
)

router = APIRouter(include_in_schema=False)


@router.get("/manage")
def rates(request: Request, caller: Manager, period: Period) -> HTMLResponse:
    """How many were answered within a day, by channel; each figure leads to its cases."""
    with reading(request, caller, section="manage") as (session, screen):
        today = screen.reader.local(screen.now).date()
        selection = chosen(period, today=today)
        figures = stats(
            session,
            screen.library,
            start=selection.start,
            end=selection.end,
            at=screen.now,
            channel=selection.channel,
        )
        known = presets(today)
        weeks = weekly(session, screen, selection)
        context = {
            "page": "rates",
            "selection": selection,
            "presets": known,
            "custom": selection.channel is not None
            or all((item.start, item.end) != (selection.start, selection.end) for item in known),
            "all_channels": _channels(session, screen),
            "rows": _rows(screen, figures, selection),
            "weeks": described(screen, weeks),
            "backlog": _backlog(session, screen, figures["total"], selection),
            "bot": {"lines": _bot_lines(screen, figures["total"])},
            "heat": _heat(session, screen, selection),
            "topics": _topics(session, screen, selection),
        }
        return screen.render("manage/rates.html", context)


def _rows(screen: Screen, figures: Mapping[str, Any], selection: Selection) -> list[dict[str, Any]]:
    rows = [
        _row(screen, block, selection.of_channel(kind), screen.channel_name(kind))
        for kind, block in figures["channels"].items()
    ]
    total = _row(screen, figures["total"], selection, screen.text("manage.total"))
    return rows if selection.channel else [*rows, {**total, "is_total": True}]


def _row(
    screen: Screen, block: Mapping[str, Any], selection: Selection, name: str
) -> dict[str, Any]:
    return {
        "channel": selection.channel,
        "name": name,
        "is_total": False,
        "all_questions": figure(block, INCLUSIVE, selection),
        "answered": figure(block, ANSWERED, selection),
        "first_response": figure(block, RESPONDED, selection),
        "next_day": figure(block, NEXT_DAY, selection),
        "received": block["received"],
        "excluded": block["excluded"],
        "received_address": selection.address("/manage/cases", figure="received"),
        "live": _live(screen, block),
        "times": _times(screen, block["seconds_to_feedback"]),
    }


def _live(screen: Screen, block: Mapping[str, Any]) -> str:
    estimate = block["live_estimate"]
    if estimate is None or estimate["rate"] is None:
        return "–"
    if too_few(block["handed_over"]):
        return screen.text("manage.too_few")
    reader = screen.reader
    rate = reader.percent_of(100 * estimate["rate"])
    if estimate["low"] is None or estimate["high"] is None:
        return rate
    low, high = reader.number(100 * estimate["low"], 1), reader.number(100 * estimate["high"], 1)
    return screen.text("metric.estimate", rate=rate, low=low, high=high)


def _times(screen: Screen, seconds: Mapping[str, float | None]) -> str:
    missing = screen.text("metric.not_reached")
    parts = [missing if value is None else screen.reader.span(value) for value in seconds.values()]
    return " / ".join(parts) if any(value is not None for value in seconds.values()) else "–"


def _channels(session: Session, screen: Screen) -> list[dict[str, str]]:
    kinds = session.scalars(
        select(Consultation.channel)
        .where(Consultation.library_id == screen.library.id)
        .distinct()
        .order_by(Consultation.channel)
    )
    return [{"kind": kind, "name": screen.channel_name(kind)} for kind in kinds]


# --- who waits now -------------------------------------------------------------------------


def _backlog(
    session: Session, screen: Screen, total: Mapping[str, Any], selection: Selection
) -> dict[str, Any]:
    waiting = cases(
        session,
        screen.library,
        figure="backlog",
        start=selection.start,
        end=selection.end,
        at=screen.now,
        channel=selection.channel,
    )
    ages = Counter(_age(case.received_at, screen.now) for case, _ in waiting)
    most = max(ages.values(), default=0)
    return {
        **total["backlog"],
        "address": selection.address("/manage/cases", figure="backlog"),
        "ages": [
            {
                "name": name,
                "count": ages[name],
                "share": round(100 * ages[name] / most, 1),
                "is_late": name in {"three_days", "more"},
            }
            for name, _ in AGES
        ]
        if most
        else [],
    }


def _age(received_at: datetime, now: datetime) -> str:
    return next(name for name, limit in AGES if now - received_at <= limit)


# --- what the bot did ----------------------------------------------------------------------


def _bot_lines(screen: Screen, total: Mapping[str, Any]) -> list[dict[str, str]]:
    reader = screen.reader
    counted = total["received"] - total["excluded"]
    deflection = total["deflection"]
    shares = [
        ("share", total["bot_only"], counted),
        ("handed_over", total["handed_over"], counted),
        ("confirmed", deflection["confirmed"], deflection["matured"]),
        ("presumed", deflection["presumed"], deflection["matured"]),
        ("abandoned", deflection["abandoned"], deflection["matured"]),
    ]
    return [
        {
            "name": screen.text(f"manage.bot.{name}"),
            "value": reader.percent(part, whole),
            "of": screen.text(
                "manage.of_plain", within=reader.number(part), matured=reader.number(whole)
            ),
        }
        for name, part, whole in shares
    ]


# --- when and what -------------------------------------------------------------------------


def _heat(session: Session, screen: Screen, selection: Selection) -> dict[str, Any] | None:
    """How many arrive in each hour of each weekday, in the library's own time."""
    arrived = Counter(_hour(screen, case) for case in _selected(session, screen, selection))
    if not arrived:
        return None
    most = max(arrived.values())
    (day, hour), count = max(arrived.items(), key=lambda item: (item[1], -item[0][0], -item[0][1]))
    names = [screen.text(f"format.weekday.{number}") for number in range(1, 8)]
    return {
        "summary": screen.text(
            "manage.heat.summary", day=names[day], hour=hour, next=hour + 1, n=count
        ),
        "rows": [
            {
                "day": names[row],
                "cells": [
                    {"count": arrived[row, column], "level": _level(arrived[row, column], most)}
                    for column in range(24)
                ],
            }
            for row in range(7)
        ],
    }


def _hour(screen: Screen, case: Case) -> tuple[int, int]:
    local = screen.reader.local(case.received_at)
    return local.weekday(), local.hour


def _level(count: int, most: int) -> int:
    """0 for none, else 1 to 4."""
    return -(-count * LEVELS // most)


def _topics(session: Session, screen: Screen, selection: Selection) -> list[dict[str, Any]]:
    """The entries that were asked for, most often first; last, how many fitted none."""
    tz = zone(screen.library.timezone)
    rows = session.execute(
        select(Consultation.id, Consultation.topic).where(
            Consultation.library_id == screen.library.id,
            Consultation.received_at >= day_bounds(selection.start, tz)[0],
            Consultation.received_at < day_bounds(selection.end, tz)[1],
        )
    )
    topic_of = dict(rows.all())
    counts = Counter(
        topic_of.get(case.id) for case in _selected(session, screen, selection) if case.counts
    )
    if not counts:
        return []
    entry = screen.state.desks.of(session, screen.library.id, now=screen.now).knowledge.entry
    most = max(counts.values())
    named: list[tuple[str | None, int]] = []
    named += [(key, count) for key, count in counts.most_common() if key is not None][:TOPICS]
    if counts[None]:
        named.append((None, counts[None]))
    return [
        {
            "key": key,
            "title": _title(entry(key), key, screen) if key else "",
            "count": count,
            "share": round(100 * count / most, 1),
        }
        for key, count in named
    ]


def _title(entry: Any, key: str, screen: Screen) -> str:
    return entry.title(screen.reader.language) if entry is not None else key


def _selected(session: Session, screen: Screen, selection: Selection) -> list[Case]:
    return list(
        selected(
            session,
            screen.library,
            start=selection.start,
            end=selection.end,
            at=screen.now,
            channel=selection.channel,
        )
    )
