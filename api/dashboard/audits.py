"""Were the answers right? Samples for managers, and the sheet on which raters say so."""

import secrets
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import audit
from api.auth import Librarian, Manager
from api.dashboard.period import Period, chosen
from api.errors import NotFound
from api.screens import Screen, changing, reading
from tracker.audits import (
    DrawnAlready,
    NothingToDraw,
    correct_rate,
    keep_sample,
    next_to_rate,
    rate,
    samples,
)
from tracker.consultations import events_of
from tracker.fold import Kind
from tracker.models import AnswerAudit, AnswerSample, Consultation
from tracker.rates import too_few

SIZE = 50
LARGEST = 500
SPOKEN = frozenset({Kind.MESSAGE, Kind.BOT_ANSWER, Kind.FEEDBACK})

router = APIRouter(include_in_schema=False)


@router.get("/manage/audits")
def audits(request: Request, caller: Manager, period: Period) -> HTMLResponse:
    """The samples with their rates, and the form that draws another."""
    with reading(request, caller, section="manage") as (session, screen):
        return _page(session, screen, period)


def _page(
    session: Session,
    screen: Screen,
    period: Period,
    *,
    problem: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    selection = chosen(period, today=screen.reader.local(screen.now).date())
    context = {
        "page": "audits",
        "selection": selection,
        "name": f"{selection.start:%Y-%m}",
        "size": SIZE,
        "largest": LARGEST,
        "problem": problem,
        "samples": [_sample(session, screen, each) for each in samples(session, screen.library.id)],
    }
    return screen.render("manage/audits.html", context, status=status)


def _sample(session: Session, screen: Screen, sample: AnswerSample) -> dict[str, Any]:
    found = correct_rate(session, sample.library_id, sample=sample.name)
    reader = screen.reader
    is_few = too_few(found["audited"])
    interval = ""
    if found["low"] is not None:
        low, high = reader.number(100 * found["low"], 1), reader.number(100 * found["high"], 1)
        interval = f"{low}–{high}"
    return {
        "id": sample.id,
        "name": sample.name,
        "start": sample.start,
        "end": sample.end,
        "size": len(sample.consultations),
        "rate": None if is_few else reader.percent(found["correct"], found["audited"]),
        "interval": "" if is_few else interval,
        **{key: found[key] for key in ("correct", "audited", "disputed", "half_rated")},
    }


class DrawForm(BaseModel):
    """A sample to be drawn."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    name: str = Field(min_length=1, max_length=60)
    start: date
    end: date
    size: int = Field(SIZE, ge=1, le=LARGEST)


@router.post("/manage/audits")
def draw(
    request: Request, caller: Manager, period: Period, form: Annotated[DrawForm, Form()]
) -> Response:
    """Draw a sample by chance, once."""
    try:
        with changing(request, caller, section="manage") as (session, screen):
            keep_sample(
                session,
                screen.library,
                name=form.name,
                start=form.start,
                end=form.end,
                size=form.size,
                seed=secrets.token_hex(16),
                by=caller.email,
                now=screen.now,
            )
            audit.record(
                session,
                actor=caller.email,
                action="audit.draw",
                subject=form.name,
                now=screen.now,
                library_id=screen.library.id,
                size=form.size,
            )
            return RedirectResponse("/manage/audits?said=audit_drawn", status_code=303)
    except DrawnAlready:
        problem = screen.text("audits.drawn_already", name=form.name)
    except NothingToDraw:
        problem = screen.text("audits.nothing")
    with reading(request, caller, section="manage") as (session, screen):
        return _page(session, screen, period, problem=problem, status=422)


# --- rating --------------------------------------------------------------------------------


@router.get("/desk/audits")
def to_rate(request: Request, caller: Librarian) -> HTMLResponse:
    """The samples that wait for this rater."""
    with reading(request, caller, section="desk") as (session, screen):
        found = [
            {"sample": each, "left": _left(session, each, caller.email)}
            for each in samples(session, screen.library.id)
        ]
        return screen.render("manage/audit_list.html", {"samples": found})


def _left(session: Session, sample: AnswerSample, rater: str) -> bool:
    return next_to_rate(session, sample, rater=rater) is not None


@router.get("/desk/audits/{number}")
def sheet(request: Request, caller: Librarian, number: int) -> HTMLResponse:
    """One answer of a sample with its question; what others think of it is not shown."""
    with reading(request, caller, section="desk") as (session, screen):
        sample = _of(session, screen, number)
        row = next_to_rate(session, sample, rater=caller.email)
        rated = session.scalars(
            select(AnswerAudit.consultation_id).where(
                AnswerAudit.rater == caller.email,
                AnswerAudit.consultation_id.in_(sample.consultations),
            )
        ).all()
        context = {
            "sample": sample,
            "done": len(rated),
            "size": len(sample.consultations),
            "case": _case(session, screen, row) if row is not None else None,
        }
        return screen.render("manage/audit_sheet.html", context)


def _of(session: Session, screen: Screen, number: int) -> AnswerSample:
    sample = session.get(AnswerSample, number)
    if sample is None or sample.library_id != screen.library.id:
        raise NotFound("There is no such sample.")
    return sample


def _case(session: Session, screen: Screen, row: Consultation) -> dict[str, Any]:
    """What was asked and what was said. Who said it stays open, so that nobody is judged."""
    said = [event for event in events_of(session, row) if event.kind in SPOKEN and event.text]
    return {
        "id": row.id,
        "channel": screen.channel_name(row.channel),
        "received_at": row.received_at,
        "said": [
            {
                "who": screen.text("common.patron")
                if event.kind == Kind.MESSAGE
                else screen.text("audits.library"),
                "is_patron": event.kind == Kind.MESSAGE,
                "text": event.text,
            }
            for event in said
        ],
    }


class VerdictForm(BaseModel):
    """What a rater thinks of one answer."""

    consultation: int
    correct: bool


@router.post("/desk/audits/{number}")
def give_verdict(
    request: Request, caller: Librarian, number: int, form: Annotated[VerdictForm, Form()]
) -> Response:
    """Keep a verdict, and show the next answer. Raises OwnAnswer."""
    with changing(request, caller, section="desk") as (session, screen):
        sample = _of(session, screen, number)
        row = session.get(Consultation, form.consultation)
        if row is None or row.id not in sample.consultations:
            raise NotFound("This question is not in the sample.")
        rate(
            session,
            row,
            sample=sample.name,
            rater=caller.email,
            correct=form.correct,
            at=screen.now,
        )
        audit.record(
            session,
            actor=caller.email,
            action="audit.rate",
            subject=row.key,
            now=screen.now,
            library_id=screen.library.id,
            sample=sample.name,
        )
    return RedirectResponse(f"/desk/audits/{number}", status_code=303)
