"""The cases behind a figure, misses first: nobody has to believe a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.auth import Manager
from api.console.queue import staff_names
from api.dashboard.period import Period, Selection, chosen
from api.errors import BadRequest
from api.i18n import catalogue
from api.screens import Screen, reading
from tracker.figures import MISSED, RATES, WITHIN, Case
from tracker.models import Consultation
from tracker.stats import cases

PAGE = 100
OUTCOMES = {
    **dict.fromkeys(RATES, ("matured", "missed", "within", "pending")),
    "backlog": ("waiting", "overdue"),
    "deflection": ("confirmed", "presumed", "abandoned", "staffed"),
}
TONES = {MISSED: "late", "overdue": "late", WITHIN: "good", "confirmed": "good"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which figure, which of its outcomes, and how many cases at once."""

    figure: str
    outcome: str | None
    shown: int


def asked(
    figure: Annotated[str, Query(max_length=40)] = "received",
    outcome: Annotated[str | None, Query(max_length=40)] = None,
    shown: Annotated[int, Query(ge=1, le=10_000)] = PAGE,
) -> Asked:
    """Read the figure from the address."""
    return Asked(figure, outcome or None, shown)


@router.get("/manage/cases")
def case_list(
    request: Request, caller: Manager, period: Period, ask: Annotated[Asked, Depends(asked)]
) -> HTMLResponse:
    """The consultations that one figure counts. Raises BadRequest for an unknown figure."""
    with reading(request, caller, section="manage") as (session, screen):
        today = screen.reader.local(screen.now).date()
        selection = chosen(period, today=today)
        try:
            every = cases(
                session,
                screen.library,
                figure=ask.figure,
                start=selection.start,
                end=selection.end,
                at=screen.now,
                channel=selection.channel,
            )
        except ValueError:
            raise BadRequest("There is no such figure.") from None
        found = [pair for pair in every if _is_asked_for(pair[1], ask.outcome)]
        context = {
            "page": "cases",
            "heading": _heading(screen, ask.figure),
            "selection": selection,
            "channel_name": screen.channel_name(selection.channel) if selection.channel else None,
            "outcomes": _outcomes(every, selection, ask),
            "cases": _shown(session, screen, found[: ask.shown]),
            "more_address": _more(selection, ask) if len(found) > ask.shown else None,
        }
        return screen.render("manage/cases.html", context)


def _heading(screen: Screen, figure: str) -> str:
    texts = catalogue(screen.reader.language)
    return texts.get(f"metric.{figure}") or texts[f"manage.figure.{figure}"]


def _is_asked_for(verdict: str, outcome: str | None) -> bool:
    """The groups of `tracker.stats`: pending in any way, matured either way."""
    if outcome == "matured":
        return verdict in {MISSED, WITHIN}
    if outcome == "pending":
        return verdict.startswith("pending")
    if outcome == "waiting":
        return verdict in {"waiting", "overdue"}
    return outcome is None or verdict == outcome


def _outcomes(
    every: Sequence[tuple[Case, str]], selection: Selection, ask: Asked
) -> list[dict[str, Any]]:
    names = OUTCOMES.get(ask.figure, ())
    if not names:
        return []
    return [
        {
            "name": name or "all",
            "address": selection.address("/manage/cases", figure=ask.figure, outcome=name),
            "is_current": name == ask.outcome,
            "count": sum(_is_asked_for(verdict, name) for _, verdict in every),
        }
        for name in (None, *names)
    ]


def _more(selection: Selection, ask: Asked) -> str:
    return selection.address(
        "/manage/cases", figure=ask.figure, outcome=ask.outcome, shown=str(ask.shown + PAGE)
    )


def _shown(
    session: Session, screen: Screen, found: Sequence[tuple[Case, str]]
) -> list[dict[str, Any]]:
    wanted = [case.id for case, _ in found]
    rows = session.scalars(
        select(Consultation).where(
            Consultation.library_id == screen.library.id, Consultation.id.in_(wanted)
        )
    )
    by_id = {row.id: row for row in rows}
    names = staff_names(session, screen.library.id)
    return [_case(screen, case, verdict, by_id[case.id], names) for case, verdict in found]


def _case(
    screen: Screen, case: Case, verdict: str, row: Consultation, names: dict[str, str]
) -> dict[str, Any]:
    answers = [(case.feedback_at, row.feedback_by), (case.bot_at, "bot")]
    given = [(at, by) for at, by in answers if at is not None]
    at, by = min(given, default=(None, None), key=lambda pair: pair[0])
    return {
        "id": case.id,
        "title": row.title or "…",
        "channel_name": screen.channel_name(case.channel),
        "received_at": case.received_at,
        "answered_after": None if at is None else (at - case.received_at).total_seconds(),
        "answered_by": screen.text("common.bot") if by == "bot" else names.get(by or "", by or ""),
        "outcome": verdict,
        "tone": TONES.get(verdict, "soon" if verdict.startswith("pending") else ""),
    }
