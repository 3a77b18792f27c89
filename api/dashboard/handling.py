"""After the first answer: further questions, time to the end, reopening, what patrons said."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.auth import Manager
from api.dashboard.cases import TARGET_MINUTES
from api.dashboard.figures import judged
from api.dashboard.period import Period, Selection, chosen
from api.screens import Screen, reading
from tracker import handling
from tracker.audits import correct_rate, samples
from tracker.figures import Block
from tracker.outcomes import DAILY, counted
from tracker.rates import too_few
from tracker.reports import desk_is_provisional
from tracker.stats import tally

MOST_READ = 40_000  # consultations of a period; beyond that, what reads each is asked for

router = APIRouter(include_in_schema=False)


@router.get("/manage/handling")
def after_the_first_answer(
    request: Request,
    caller: Manager,
    period: Period,
    whole: Annotated[bool, Query(description="Also what takes long in a long period.")] = False,
) -> HTMLResponse:
    """The dictionary's other figures of a period, each with what it counts."""
    with reading(request, caller, section="manage") as (session, screen):
        selection = chosen(period, today=screen.reader.local(screen.now).date())
        facts: dict[str, Any] = {
            "start": selection.start,
            "end": selection.end,
            "at": screen.now,
            "channel": selection.channel,
        }
        so_far = _summed(session, screen, facts)
        context: dict[str, Any] = {
            "page": "handling",
            "selection": selection,
            "channel_name": screen.channel_name(selection.channel) if selection.channel else None,
            "provisional": desk_is_provisional(
                session, screen.library, selection.start, selection.end
            ),
        }
        if whole or so_far.received <= MOST_READ:
            tallied = counted(session, screen.library, handling.COUNTED, **facts)
            context |= {
                "whole_address": None,
                "shares": _shares(session, screen, selection, facts, tallied),
                "resolution": _resolution(session, screen, selection, facts),
                "volumes": _volumes(session, screen, selection, facts, tallied),
            }
        else:
            context |= {
                "whole_address": selection.address("/manage/handling", whole="true"),
                "resolution": None,
                "volumes": _counts(
                    screen, selection, {name: getattr(so_far, name) for name in DAILY}
                ),
            }
        return screen.render("manage/handling.html", context)


def _summed(session: Session, screen: Screen, facts: Mapping[str, Any]) -> Block:
    """What the daily counts know of the period."""
    blocks = tally(
        session, screen.library, keys=lambda *_: ("all",), times=False, by_day=False, **facts
    )
    return blocks.get("all") or Block(screen.now)


def _shares(
    session: Session,
    screen: Screen,
    selection: Selection,
    facts: Mapping[str, Any],
    tallied: handling.Tallied,
) -> list[dict[str, Any]]:
    library = screen.library
    minutes = int(library.settings.get("target_minutes", TARGET_MINUTES))
    replied = handling.next_response(session, library, **facts)
    staffed = handling.staffed_target(session, library, minutes=minutes, **facts)
    again = handling.reopened(session, library, tallied=tallied, **facts)
    accepted = handling.acceptance(session, library, tallied=tallied, **facts)
    said = accepted["accepted"] + accepted["rejected"]
    found = [
        _share(screen, "next_response", replied, replied["within"], replied["matured"]),
        _share(screen, "staffed_target", staffed, staffed["within"], staffed["matured"]),
        _share(screen, "reopened", again, again["reopened"], again["matured"]),
        _share(screen, "acceptance", accepted, accepted["accepted"], said),
    ]
    addresses = (
        ("next_response", "matured"),
        ("staffed_target", "matured"),
        ("reopened", None),
        ("acceptance", "said"),
    )
    notes = (
        screen.text("handling.pending", n=screen.reader.number(replied["pending"])),
        screen.text("handling.minutes", n=minutes),
        screen.text("handling.window"),
        screen.text(
            "handling.responded",
            n=screen.reader.number(accepted["responded"]),
            of=screen.reader.number(accepted["answered"]),
        ),
    )
    rows = [
        {
            **row,
            "note": note,
            "address": selection.address("/manage/cases", figure=figure, outcome=outcome),
        }
        for row, note, (figure, outcome) in zip(found, notes, addresses, strict=True)
    ]
    latest = samples(session, screen.library.id)[:1]
    return rows + [_audited(session, screen, sample.name) for sample in latest]


def _audited(session: Session, screen: Screen, name: str) -> dict[str, Any]:
    """The latest sample of answers, whatever its period."""
    found = correct_rate(session, screen.library.id, sample=name)
    row = _share(screen, "correct", found, found["correct"], found["audited"])
    note = screen.text("handling.sample", name=name, n=screen.reader.number(found["disputed"]))
    return {**row, "note": note, "address": "/manage/audits"}


def _share(
    screen: Screen, name: str, found: Mapping[str, Any], part: int, whole: int
) -> dict[str, Any]:
    reader = screen.reader
    interval = ""
    if found["low"] is not None and not too_few(whole):
        low, high = reader.number(100 * found["low"], 1), reader.number(100 * found["high"], 1)
        interval = f"{low}–{high}"
    return {
        "name": screen.text(f"handling.{name}"),
        "rate": judged(reader, part, whole),
        "of": screen.text(
            "manage.of_plain", within=reader.number(part), matured=reader.number(whole)
        ),
        "interval": interval,
    }


def _resolution(
    session: Session, screen: Screen, selection: Selection, facts: Mapping[str, Any]
) -> dict[str, Any]:
    found = handling.resolution(session, screen.library, **facts)
    return {
        "closed": screen.reader.number(found["closed"]),
        "open": screen.reader.number(found["open"]),
        "clock": screen.text(f"handling.clock.{found['clock']}"),
        "spans": [
            {"name": name.upper(), "value": "–" if value is None else screen.reader.span(value)}
            for name, value in found["seconds"].items()
        ],
        "address": selection.address("/manage/cases", figure="resolution"),
    }


def _volumes(
    session: Session,
    screen: Screen,
    selection: Selection,
    facts: Mapping[str, Any],
    tallied: handling.Tallied,
) -> list[dict[str, Any]]:
    found = handling.volumes(session, screen.library, tallied=tallied, **facts)
    levels = [
        {
            "name": screen.text("handling.read", n=level),
            "count": screen.reader.number(count),
            "address": selection.address("/manage/cases", figure="read", outcome=f"read_{level}"),
        }
        for level, count in found["read"].items()
    ]
    return _counts(screen, selection, found) + levels


def _counts(screen: Screen, selection: Selection, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The volumes that were counted, each with the way to its cases."""
    return [
        {
            "name": screen.text(f"handling.volume.{name}"),
            "count": screen.reader.number(found[name]),
            "address": selection.address("/manage/cases", figure=name),
        }
        for name in handling.VOLUMES
        if name in found
    ]
