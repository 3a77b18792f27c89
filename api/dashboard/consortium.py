"""Libraries side by side, those that chose to: three figures, each with its own name.

The study's 17 % is a share of libraries, so it stands here and in no library's own chart.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from api import audit
from api.auth import Manager
from api.dashboard.period import Period, Selection, chosen
from api.errors import NotFound
from api.reports.voice import Voice
from api.screens import Screen, changing, reading
from tracker.activity import indicators, survey
from tracker.consortium import JUDGED, NOT_OBSERVED, SETTING, consortium, members, probes, published
from tracker.models import Library

QUALIFY_AT = 90  # percent, unless the address says otherwise
FEWEST = 3  # libraries: of two, each could work out the other's hidden count
INDICATORS = ("have", "push_weekly", "following", "many_posts")

router = APIRouter(prefix="/manage/consortium", include_in_schema=False)


@router.get("")
def compare(
    request: Request,
    caller: Manager,
    period: Period,
    qualify: Annotated[int, Query(ge=1, le=100)] = QUALIFY_AT,
) -> HTMLResponse:
    """Qualifying share, mean and pooled rate by channel, and each member's own."""
    with reading(request, caller, section="manage") as (session, screen):
        selection = chosen(period, today=screen.reader.local(screen.now).date())
        taking_part = members(session)
        takes_part = any(library.id == screen.library.id for library in taking_part)
        context = {
            "page": "consortium",
            "selection": selection,
            "qualify": qualify,
            "takes_part": takes_part,
            "members": len(taking_part),
            "tables": (
                _tables(session, screen, selection, taking_part, qualify) if takes_part else None
            ),
        }
        return screen.render("manage/consortium.html", context)


@router.get("/{slug}")
def member(request: Request, caller: Manager, period: Period, slug: str) -> HTMLResponse:
    """What one member shows the others. Raises NotFound unless both take part."""
    with reading(request, caller, section="manage") as (session, screen):
        selection = chosen(period, today=screen.reader.local(screen.now).date())
        taking_part = members(session)
        shown = next((library for library in taking_part if library.slug == slug), None)
        if shown is None or all(library.id != screen.library.id for library in taking_part):
            raise NotFound("There is no such member.")
        found = _found(session, screen, selection, taking_part)
        context = {
            "page": "consortium",
            "selection": selection,
            "member": shown.name,
            "address": f"/manage/consortium/{shown.slug}",
            "rows": [
                _member(screen, Voice(screen.reader), item, selection)
                for item in found["libraries"]
                if item["library"] == slug
            ],
            "activity": _activity(session, screen, selection, shown),
        }
        return screen.render("manage/member.html", context)


def _found(
    session: Session,
    screen: Screen,
    selection: Selection,
    taking_part: Sequence[Library],
    qualify: int = QUALIFY_AT,
) -> dict[str, Any]:
    return published(
        consortium(
            session,
            start=selection.start,
            end=selection.end,
            at=screen.now,
            libraries=taking_part,
            qualify_at=Fraction(qualify, 100),
        )
    )


def _tables(
    session: Session,
    screen: Screen,
    selection: Selection,
    taking_part: Sequence[Library],
    qualify: int,
) -> dict[str, Any]:
    found = _found(session, screen, selection, taking_part, qualify)
    probed = probes(
        session, start=selection.start, end=selection.end, at=screen.now, libraries=taking_part
    )
    surveyed = survey(session, taking_part, start=selection.start, end=selection.end)
    voice = Voice(screen.reader)
    return {
        "threshold": voice.percent_of(found["qualify_at"]),
        "channels": [
            _channel(screen, voice, name, found, probed.get(name)) for name in found["qualifying"]
        ],
        "libraries": [_member(screen, voice, item, selection) for item in found["libraries"]],
        "survey": [
            {
                "name": screen.channel_name(name),
                "shares": [
                    _share(voice, row[key]) if row[key]["denominator"] else None
                    for key in INDICATORS
                ],
            }
            for name, row in surveyed.items()
        ],
    }


def _activity(
    session: Session, screen: Screen, selection: Selection, library: Library
) -> list[dict[str, Any]]:
    number = screen.reader.number
    found = indicators(session, library, start=selection.start, end=selection.end)
    return [
        {
            "name": screen.channel_name(name),
            "followers": "–" if row["followers"] is None else number(row["followers"]),
            "growth": "–" if row["growth"] is None else number(row["growth"]),
            "pushes_weekly": row["pushes_weekly"],
            "engagement": (
                "–"
                if row["engagement"] is None
                else screen.reader.percent_of(100 * row["engagement"])
            ),
        }
        for name, row in found.items()
    ]


def _channel(
    screen: Screen,
    voice: Voice,
    name: str,
    found: Mapping[str, Any],
    probed: Mapping[str, Any] | None,
) -> dict[str, Any]:
    qualifying = found["qualifying"][name]
    gives_away = _gives_away(found, name)
    return {
        "name": screen.channel_name(name),
        "qualifying": _share(voice, qualifying),
        "mean": None if gives_away else voice.percent_of(found["mean"][name]["rate"]),
        "pooled": None if gives_away else _share(voice, found["pooled"][name]),
        "too_few": screen.reader.number(qualifying["too_few"]),
        "not_observed": screen.reader.number(qualifying["not_observed"]),
        "probes": _share(voice, probed) if probed and probed["denominator"] else None,
    }


def _gives_away(found: Mapping[str, Any], name: str) -> bool:
    """Whether a sum over so few libraries would tell a count that is hidden."""
    cells = [
        item
        for item in found["libraries"]
        if item["channel"] == name and item["state"] != NOT_OBSERVED
    ]
    return len(cells) < FEWEST and any(item["matured"] is None for item in cells)


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


def _member(
    screen: Screen, voice: Voice, item: Mapping[str, Any], selection: Selection
) -> dict[str, Any]:
    is_shown = item["matured"] is not None and item["state"] == JUDGED
    return {
        "name": item["name"],
        "address": selection.address(f"/manage/consortium/{item['library']}"),
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
