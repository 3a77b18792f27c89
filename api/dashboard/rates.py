"""The first page of managers: the two headline rates by channel, and what lies around them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.auth import Manager
from api.dashboard import people, waiting
from api.dashboard.arrivals import bot_lines, heat, topics
from api.dashboard.figures import figure
from api.dashboard.period import Period, Selection, chosen, presets
from api.dashboard.weeks import described, weekly
from api.screens import Screen, reading
from tracker.clock import day_bounds, zone
from tracker.figures import (
    ANSWERED,
    INCLUSIVE,
    INCLUSIVE_MATURITY,
    NEXT_DAY,
    RESPONDED,
    Block,
)
from tracker.fold import DAY
from tracker.rates import too_few
from tracker.reports import desk_is_provisional
from tracker.stats import Reading, read, stats, tally

TARGET = 90  # percent; a library's setting target_percent replaces it

router = APIRouter(include_in_schema=False)


@router.get("/manage")
def rates(
    request: Request,
    caller: Manager,
    period: Period,
    whole: Annotated[bool, Query(description="Also what takes long in a large library.")] = False,
) -> HTMLResponse:
    """How many were answered within a day, by channel; each figure leads to its cases."""
    with reading(request, caller, section="manage") as (session, screen):
        today = screen.reader.local(screen.now).date()
        selection = chosen(period, today=today)
        once = _read(session, screen, selection)
        figures = stats(
            session,
            screen.library,
            **selection.seen_at(screen.now),
            reading=once,
        )
        known = presets(today)
        target = int(screen.library.settings.get("target_percent", TARGET))
        so_far = waiting.standing(session, screen, selection)
        reads_all = whole or not so_far.is_large
        context = {
            "page": "rates",
            "selection": selection,
            "presets": known,
            "custom": selection.channel is not None
            or all((item.start, item.end) != (selection.start, selection.end) for item in known),
            "all_channels": _channels(screen, so_far.channels),
            "rows": _rows(screen, figures, selection),
            "preliminary": _preliminary(screen, figures["total"], selection),
            "provisional": desk_is_provisional(
                session, screen.library, selection.start, selection.end
            ),
            "apart": _apart(session, screen, selection, once),
            "weeks": described(screen, weekly(session, screen, selection, once), target=target),
            "backlog": waiting.backlog(screen, selection, so_far),
            "forecast": waiting.forecast(session, screen, selection) if reads_all else None,
            "whole_address": selection.address("/manage", whole="true"),
            "bot": {"lines": bot_lines(screen, figures["total"], selection)},
            "heat": heat(session, screen, selection, once),
            "topics": topics(session, screen, selection, once),
            "people": people.everybody(session, screen, selection) if reads_all else None,
        }
        return screen.render("manage/rates.html", context)


def _read(session: Session, screen: Screen, selection: Selection) -> Reading:
    """Once for all figures of the page."""
    return read(
        session,
        screen.library,
        **selection.seen_at(screen.now),
    )


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
    def cases(figure: str, outcome: str | None = None) -> str:
        return selection.address("/manage/cases", figure=figure, outcome=outcome)

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
        "received_address": cases("received"),
        "excluded_address": cases("excluded"),
        "live": _live(screen, block),
        "live_address": cases("handed_over"),
        "times": _times(screen, block["seconds_to_feedback"]),
        "times_address": cases(RESPONDED, "matured"),
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


def _channels(screen: Screen, kinds: Sequence[str]) -> list[dict[str, str]]:
    return [{"kind": kind, "name": screen.channel_name(kind)} for kind in kinds]


def _preliminary(
    screen: Screen, total: Mapping[str, Any], selection: Selection
) -> list[dict[str, str]]:
    """What is still to come, and from when on it cannot change any more by waiting alone."""
    finish = day_bounds(selection.end, zone(screen.library.timezone))[1]
    wanted = ((ANSWERED, DAY), (INCLUSIVE, INCLUSIVE_MATURITY))
    return [
        {
            "text": screen.text(
                "manage.preliminary_until",
                label=screen.text(f"metric.{name}"),
                n=screen.reader.number(total[name]["pending"]),
                hours=wait // timedelta(hours=1),
                at=screen.reader.moment(finish + wait),
            ),
            "address": selection.address("/manage/cases", figure=name, outcome="pending"),
        }
        for name, wait in wanted
        if total[name]["pending"]
    ]


def _apart(
    session: Session, screen: Screen, selection: Selection, once: Reading
) -> list[dict[str, str]]:
    """What stands beside the rates and in none of them, where there is any."""
    blocks = tally(
        session,
        screen.library,
        **selection.seen_at(screen.now),
        keys=lambda name, day: ("all",),
        times=False,
        by_day=False,
        reading=once,
    )
    block = blocks.get("all") or Block(screen.now)
    return [
        {
            "text": screen.text(f"manage.apart.{name}", n=screen.reader.number(count)),
            "address": selection.address("/manage/cases", figure=name),
        }
        for name, count in (
            ("withdrawn", block.withdrawn),
            ("excluded_late", block.excluded_late),
            ("directional", block.directional),
        )
        if count
    ]
