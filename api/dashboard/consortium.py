"""Libraries side by side, those that chose to: three figures, each with its own name.

The study's 17 % is a share of libraries, so it stands here and in no library's own chart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from api import audit
from api.auth import Manager
from api.dashboard.period import Period, Selection, chosen
from api.reports.voice import Voice
from api.screens import Screen, changing, reading
from tracker.consortium import JUDGED, consortium, members, probes, published
from tracker.models import Library

SETTING = "consortium"

router = APIRouter(prefix="/manage/consortium", include_in_schema=False)


@router.get("")
def compare(request: Request, caller: Manager, period: Period) -> HTMLResponse:
    """Qualifying share, mean and pooled rate by channel, and each member's own."""
    with reading(request, caller, section="manage") as (session, screen):
        selection = chosen(period, today=screen.reader.local(screen.now).date())
        taking_part = participants(session)
        takes_part = any(library.id == screen.library.id for library in taking_part)
        context = {
            "page": "consortium",
            "selection": selection,
            "takes_part": takes_part,
            "members": len(taking_part),
            "tables": _tables(session, screen, selection, taking_part) if takes_part else None,
        }
        return screen.render("manage/consortium.html", context)


def participants(session: Session) -> list[Library]:
    """The libraries that chose to be compared with each other."""
    return [library for library in members(session) if library.settings.get(SETTING) is True]


def _tables(
    session: Session, screen: Screen, selection: Selection, taking_part: Sequence[Library]
) -> dict[str, Any]:
    period = {"start": selection.start, "end": selection.end, "at": screen.now}
    found = published(consortium(session, **period, libraries=taking_part))  # type: ignore[arg-type]
    probed = probes(session, **period, libraries=taking_part)  # type: ignore[arg-type]
    voice = Voice(screen.reader)
    return {
        "threshold": voice.percent_of(found["qualify_at"]),
        "channels": [
            _channel(screen, voice, name, found, probed.get(name)) for name in found["qualifying"]
        ],
        "libraries": [_member(screen, voice, item) for item in found["libraries"]],
    }


def _channel(
    screen: Screen,
    voice: Voice,
    name: str,
    found: Mapping[str, Any],
    probed: Mapping[str, Any] | None,
) -> dict[str, Any]:
    qualifying = found["qualifying"][name]
    return {
        "name": screen.channel_name(name),
        "qualifying": _share(voice, qualifying),
        "mean": voice.percent_of(found["mean"][name]["rate"]),
        "pooled": _share(voice, found["pooled"][name]),
        "too_few": screen.reader.number(qualifying["too_few"]),
        "not_observed": screen.reader.number(qualifying["not_observed"]),
        "probes": _share(voice, probed) if probed and probed["denominator"] else None,
    }


def _share(voice: Voice, share: Mapping[str, Any]) -> dict[str, str]:
    """A share with its counts and its interval; the counts keep a small one honest."""
    return {
        "rate": voice.reader.percent(share["numerator"], share["denominator"]),
        "of": voice.reader.text(
            "manage.of_plain",
            within=voice.reader.number(share["numerator"]),
            matured=voice.reader.number(share["denominator"]),
        ),
        "interval": voice.interval(share),
    }


def _member(screen: Screen, voice: Voice, item: Mapping[str, Any]) -> dict[str, Any]:
    is_shown = item["matured"] is not None and item["state"] == JUDGED
    return {
        "name": item["name"],
        "channel": screen.channel_name(item["channel"]),
        "is_own": item["library"] == screen.library.slug,
        "rate": voice.percent(item) if is_shown else None,
        "interval": voice.interval(item) if is_shown else "",
        "state": item["state"] if item["state"] != JUDGED else "hidden",
    }


@router.post("/join")
def join(request: Request, caller: Manager) -> Response:
    """Let the others see this library's rates, and see theirs."""
    return _choose(request, caller, takes_part=True)


@router.post("/leave")
def leave(request: Request, caller: Manager) -> Response:
    """Be compared no more."""
    return _choose(request, caller, takes_part=False)


def _choose(request: Request, caller: Manager, *, takes_part: bool) -> Response:
    with changing(request, caller, section="manage") as (session, screen):
        screen.library.settings = {**screen.library.settings, SETTING: takes_part}
        audit.record(
            session,
            actor=caller.email,
            action="consortium.join" if takes_part else "consortium.leave",
            subject=screen.library.slug,
            now=screen.now,
            library_id=screen.library.id,
        )
    return RedirectResponse("/manage/consortium", status_code=303)
