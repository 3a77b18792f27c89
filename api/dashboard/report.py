"""The report as a page: read it, write problems and measures, seal it, take it along."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from api.auth import Manager
from api.dashboard.period import Selection
from api.errors import BadRequest
from api.i18n import LANGUAGES, NAMES
from api.reports import FORMATS, periods, write
from api.reports.gather import gather
from api.reports.html import fragment
from api.reports.making import can_be_sealed, restate, seal, told, whole, write_notes
from api.reports.periods import Period
from api.reports.texts import say
from api.screens import Screen, changing, reading
from tracker.reports import NotFinal, NotSealed

LONGEST_NOTE = 20_000  # characters
MONTHS_BACK = 12

router = APIRouter(prefix="/manage/report", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address says: a month, a year, a term or two dates; language and purpose."""

    month: str
    year: str
    term: str
    start: str
    end: str
    language: str
    publish: bool

    def period(self, session: Session, screen: Screen) -> Period:
        """The period; without any, the last whole month. Raises BadRequest."""
        if self.month:
            return periods.month(self.month)
        if self.year:
            return periods.whole_year(self.year)
        if self.term:
            return periods.term(session, screen.library, self.term)
        if self.start or self.end:
            return periods.days(self.start, self.end)
        return periods.month_before(screen.reader.local(screen.now).date())

    def language_for(self, screen: Screen) -> str:
        """The language asked for, else the reader's."""
        return self.language if self.language in LANGUAGES else screen.reader.language


def asked(  # noqa: PLR0917 - the address has these parts
    month: Annotated[str, Query(max_length=7)] = "",
    year: Annotated[str, Query(max_length=4)] = "",
    term: Annotated[str, Query(max_length=200)] = "",
    start: Annotated[str, Query(alias="from", max_length=10)] = "",
    end: Annotated[str, Query(alias="to", max_length=10)] = "",
    language: Annotated[str, Query(max_length=10)] = "",
    publish: bool = False,
) -> Asked:
    """Read the address."""
    return Asked(month, year, term, start, end, language, publish)


def address(period: Period, **more: str) -> str:
    """The address of the page about a period."""
    named = {"term": period.name} if period.name else {}
    if not named:
        named = {"from": period.start.isoformat(), "to": period.end.isoformat()}
        if period.kind == "month":
            named = {"month": period.slug}
        elif period.kind == "year":
            named = {"year": period.slug}
    return f"/manage/report?{urlencode({**named, **{k: v for k, v in more.items() if v}})}"


@router.get("")
def report(request: Request, caller: Manager, ask: Annotated[Asked, Depends(asked)]) -> Response:
    """The report on a period, with what a manager can do about it."""
    with reading(request, caller, section="manage") as (session, screen):
        return _page(session, screen, ask)


def _page(
    session: Session, screen: Screen, ask: Asked, *, problem: str = "", status: int = 200
) -> HTMLResponse:
    period = ask.period(session, screen)
    language = ask.language_for(screen)
    findings = gather(session, screen.library, period, at=whole(screen.now))
    content = told(session, screen.library, findings, language=language, published=ask.publish)
    chosen = {"language": ask.language, "publish": "true" if ask.publish else ""}
    context = {
        "page": "report",
        "say": lambda key, **facts: say(screen.reader.language, key, **facts),
        "content": content,
        "article": fragment(content, cases=lambda figure: _cases(period, figure)),
        "period": period,
        "months": _months(screen),
        "terms": list(periods.terms(session, screen.library)),
        "files": [
            {
                "name": form.upper(),
                "address": address(period, **chosen).replace("?", "/file?", 1) + f"&format={form}",
            }
            for form in FORMATS
        ],
        "back": address(period, **chosen),
        "language": language,
        "language_names": NAMES,
        "publish": ask.publish,
        "problems": findings.result["problems"],
        "measures": findings.result["measures"],
        "can_seal": can_be_sealed(session, screen.library, period, now=screen.now),
        "can_restate": bool(findings.result["versions"]),
        "problem": problem,
        "longest": LONGEST_NOTE,
    }
    return screen.render("manage/report.html", context, status=status)


def _cases(period: Period, figure: str) -> str:
    selection = Selection(period.start, period.end)
    return selection.address("/manage/cases", figure=figure)


def _months(screen: Screen) -> list[dict[str, str]]:
    """The last twelve whole months, and the present one."""
    today = screen.reader.local(screen.now).date()
    found = [Period(today.replace(day=1), today)]
    for _ in range(MONTHS_BACK):
        found.append(periods.month_before(found[-1].start))
    return [
        {"value": f"{period.start:%Y-%m}", "name": _month_name(screen, period)} for period in found
    ]


def _month_name(screen: Screen, period: Period) -> str:
    return periods.month(f"{period.start:%Y-%m}").called(screen.reader)


@router.get("/file")
def file(
    request: Request,
    caller: Manager,
    ask: Annotated[Asked, Depends(asked)],
    form: Annotated[str, Query(alias="format", max_length=8)] = "pdf",
) -> Response:
    """The report as a file to keep. Raises BadRequest for a format that there is not."""
    if form not in FORMATS:
        raise BadRequest(f"Choose one of {', '.join(FORMATS)}.")
    with reading(request, caller, section="manage") as (session, screen):
        period = ask.period(session, screen)
        findings = gather(session, screen.library, period, at=whole(screen.now))
        content = told(
            session,
            screen.library,
            findings,
            language=ask.language_for(screen),
            published=ask.publish,
        )
        made_at = screen.now
    name = f"{content.slug}-{period.slug}.{form}"
    return Response(
        write(content, form=form, made_at=made_at),
        media_type=FORMATS[form],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


# --- what a manager does -------------------------------------------------------------------


class PeriodForm(BaseModel):
    """Which report a form is about."""

    model_config = ConfigDict(frozen=True)

    start: str = Field("", max_length=10)
    end: str = Field("", max_length=10)
    name: str = Field("", max_length=200)

    def period(self) -> Period:
        """The period. Raises BadRequest."""
        found = periods.days(self.start, self.end)
        return Period(found.start, found.end, self.name or None)


class NotesForm(PeriodForm):
    """What the manager wrote."""

    problems: str = Field("", max_length=LONGEST_NOTE)
    measures: str = Field("", max_length=LONGEST_NOTE)


class ReasonForm(PeriodForm):
    """Why figures are sealed anew."""

    reason: str = Field("", max_length=500)


@router.post("/notes")
def save_notes(request: Request, caller: Manager, form: Annotated[NotesForm, Form()]) -> Response:
    """Keep problems and measures; the next report begins with them."""
    period = form.period()
    with changing(request, caller, section="manage") as (session, screen):
        write_notes(
            session,
            screen.library,
            period,
            problems=_lines(form.problems),
            measures=_lines(form.measures),
            now=screen.now,
            by=caller.email,
        )
    return _back(period, "report_notes")


def _lines(text: str) -> str:
    """Browsers send line breaks as two characters."""
    return text.replace("\r\n", "\n")


@router.post("/seal")
def seal_report(request: Request, caller: Manager, form: Annotated[PeriodForm, Form()]) -> Response:
    """Fix the figures of a period that is final. Raises BadRequest before it is."""
    period = form.period()
    with changing(request, caller, section="manage") as (session, screen):
        try:
            seal(session, screen.library, period, now=screen.now, by=caller.email)
        except NotFinal:
            raise BadRequest("Some clocks of this period still run.") from None
    return _back(period, "report_sealed")


@router.post("/restate")
def restate_report(
    request: Request, caller: Manager, form: Annotated[ReasonForm, Form()]
) -> Response:
    """Seal a report anew, with a reason; the earlier figures stay on show."""
    period = form.period()
    if not form.reason.strip():
        raise BadRequest("A restatement needs a reason.")
    with changing(request, caller, section="manage") as (session, screen):
        try:
            restate(
                session,
                screen.library,
                period,
                now=screen.now,
                by=caller.email,
                reason=form.reason,
            )
        except NotSealed:
            raise BadRequest("Only a sealed report can be restated.") from None
    return _back(period, "report_restated")


def _back(period: Period, said: str) -> RedirectResponse:
    return RedirectResponse(address(period, said=said), status_code=303)
