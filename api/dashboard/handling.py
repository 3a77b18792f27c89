"""After the first answer: further questions, time to the end, reopening, what patrons said."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.auth import Manager
from api.dashboard.cases import TARGET_MINUTES
from api.dashboard.figures import judged
from api.dashboard.period import Period, Selection, chosen
from api.screens import Screen, reading
from tracker import handling
from tracker.audits import correct_rate, samples
from tracker.rates import too_few
from tracker.reports import desk_is_provisional

router = APIRouter(include_in_schema=False)


@router.get("/manage/handling")
def after_the_first_answer(request: Request, caller: Manager, period: Period) -> HTMLResponse:
    """The dictionary's other figures of a period, each with what it counts."""
    with reading(request, caller, section="manage") as (session, screen):
        selection = chosen(period, today=screen.reader.local(screen.now).date())
        facts: dict[str, Any] = {
            "start": selection.start,
            "end": selection.end,
            "at": screen.now,
            "channel": selection.channel,
        }
        context = {
            "page": "handling",
            "selection": selection,
            "channel_name": screen.channel_name(selection.channel) if selection.channel else None,
            "shares": _shares(session, screen, selection, facts),
            "resolution": _resolution(session, screen, selection, facts),
            "volumes": _volumes(session, screen, selection, facts),
            "provisional": desk_is_provisional(
                session, screen.library, selection.start, selection.end
            ),
        }
        return screen.render("manage/handling.html", context)


def _shares(
    session: Session, screen: Screen, selection: Selection, facts: Mapping[str, Any]
) -> list[dict[str, Any]]:
    library = screen.library
    minutes = int(library.settings.get("target_minutes", TARGET_MINUTES))
    replied = handling.next_response(session, library, **facts)
    staffed = handling.staffed_target(session, library, minutes=minutes, **facts)
    again = handling.reopened(session, library, **facts)
    accepted = handling.acceptance(session, library, **facts)
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
    session: Session, screen: Screen, selection: Selection, facts: Mapping[str, Any]
) -> list[dict[str, Any]]:
    found = handling.volumes(session, screen.library, **facts)
    number = screen.reader.number
    named = [
        {
            "name": screen.text(f"handling.volume.{name}"),
            "count": number(found[name]),
            "address": selection.address("/manage/cases", figure=name),
        }
        for name in handling.VOLUMES
    ]
    levels = [
        {
            "name": screen.text("handling.read", n=level),
            "count": number(count),
            "address": selection.address("/manage/cases", figure="read", outcome=f"read_{level}"),
        }
        for level, count in found["read"].items()
    ]
    return named + levels
