"""What a librarian's answers did: for that person and for managers, never ranked.

First feedback is credited to its author; the wait before the first assignment belongs to
the queue, so that the time in hand stands beside the rate.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.auth import Librarian
from api.console.queue import staff_names
from api.dashboard.cases import shown
from api.dashboard.figures import Figure, figure
from api.dashboard.period import Period, Selection, chosen
from api.screens import Screen, reading
from tracker.figures import ANSWERED, RESPONDED
from tracker.handling import by_librarian
from tracker.outcomes import Of, listed

OWN_CASES = "#cases"
MOST = 200  # of one's own cases on one page

router = APIRouter(include_in_schema=False)


@router.get("/desk/mine")
def mine(request: Request, caller: Librarian, period: Period) -> HTMLResponse:
    """One's own figures; nobody else's."""
    with reading(request, caller, section="desk") as (session, screen):
        selection = chosen(period, today=screen.reader.local(screen.now).date())
        rows = _rows(session, screen, selection, librarian=caller.email)
        context = {
            "selection": selection,
            "row": _below(rows[0]) if rows else None,
            "cases": _own_cases(session, screen, selection, caller.email),
        }
        return screen.render("manage/mine.html", context)


def _below(row: dict[str, Any]) -> dict[str, Any]:
    """One's own cases stand on the page itself: the list of all is the manager's."""

    def here(found: Figure) -> Figure:
        return replace(found, address=OWN_CASES, pending_address=OWN_CASES)

    return {
        **row,
        "address": OWN_CASES,
        "answered": here(row["answered"]),
        "first_response": here(row["first_response"]),
    }


def _own_cases(
    session: Session, screen: Screen, selection: Selection, email: str
) -> list[dict[str, Any]]:
    found = listed(
        session,
        screen.library,
        ANSWERED,
        start=selection.start,
        end=selection.end,
        at=screen.now,
        of=Of(by=email),
        limit=MOST,
    )
    return shown(session, screen, found)


def everybody(session: Session, screen: Screen, selection: Selection) -> list[dict[str, Any]]:
    """Each librarian by name, for a manager's eyes."""
    return _rows(session, screen, selection, librarian=None)


def _rows(
    session: Session, screen: Screen, selection: Selection, *, librarian: str | None
) -> list[dict[str, Any]]:
    found = by_librarian(
        session,
        screen.library,
        start=selection.start,
        end=selection.end,
        at=screen.now,
        librarian=librarian,
    )
    names = staff_names(session, screen.library.id)
    rows = [
        _row(screen, item, names.get(item["librarian"], item["librarian"]), selection)
        for item in found
    ]
    return sorted(rows, key=lambda row: row["name"])


def _row(
    screen: Screen, item: Mapping[str, Any], name: str, selection: Selection
) -> dict[str, Any]:
    return {
        "name": name,
        "count": screen.reader.number(item["answered"]),
        "address": selection.address("/manage/cases", figure="handed_over", by=item["librarian"]),
        "answered": figure(item, ANSWERED, selection, by=item["librarian"]),
        "first_response": figure(item, RESPONDED, selection, by=item["librarian"]),
        "in_hand": " / ".join(
            "–" if value is None else screen.reader.span(value)
            for value in item["seconds_in_hand"].values()
        ),
    }
