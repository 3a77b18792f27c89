"""Changes to a calendar: a day or a stretch of days, a timetable, holidays, closings, terms.

Each form says which version it was made from, so that nobody overwrites what somebody else
has changed meanwhile; what was typed comes back with the refusal.
"""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import audit
from api.auth import Manager, StaffMember
from api.dashboard.calendar import Refused, View, page, row_of
from api.dashboard.hours import LONGEST, WrongHours, read_hours
from api.errors import BadRequest
from api.reports.periods import days as checked_period
from api.screens import Screen, changing, reading
from tracker import models
from tracker.calendars import BUILDING, DESK, latest, save_calendar
from tracker.clock import WEEKDAYS
from tracker.errors import BadCalendar
from tracker.ical import with_closings
from tracker.seeds import confirmed, with_exception, with_holidays, with_timetable

LONGEST_STRETCH = 366  # days that one form may change
LONGEST_NAME = 60
MOST_YEARS = 5
FIRST_HOURS = [["09:00", "17:00"]]
Document = Mapping[str, Any]
Change = Callable[[Document, Screen], Document]

router = APIRouter(prefix="/manage/calendar", include_in_schema=False)


class CalendarForm(BaseModel):
    """Which calendar a form changes, and from which of its versions it was made."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    name: str = Field(DESK, max_length=LONGEST_NAME)
    version: int = Field(0, ge=0)
    month: str = Field("", max_length=7)

    def view(self) -> View:
        """Where the form came from."""
        try:
            month = date.fromisoformat(f"{self.month}-01") if self.month else None
        except ValueError:
            month = None
        return View(self.name, month)


class DayForm(CalendarForm):
    """Other hours on one date, or on each of a stretch."""

    day: date
    until: date | None = None
    kind: str = Field("usual", pattern="usual|closed|other")
    hours: str = Field("", max_length=LONGEST)


class TimetableForm(CalendarForm):
    """A week's hours from a date on."""

    valid_from: date
    do: str = Field("save", pattern="save|remove")
    mon: str = Field("", max_length=LONGEST)
    tue: str = Field("", max_length=LONGEST)
    wed: str = Field("", max_length=LONGEST)
    thu: str = Field("", max_length=LONGEST)
    fri: str = Field("", max_length=LONGEST)
    sat: str = Field("", max_length=LONGEST)
    sun: str = Field("", max_length=LONGEST)


class HolidaysForm(CalendarForm):
    """A country's holidays of some years."""

    country: str = Field("", pattern=r"[A-Z]{2}")
    subdivision: str = Field("", max_length=10)
    first: int = Field(ge=2000, le=2100)
    last: int = Field(ge=2000, le=2100)


class YearForm(CalendarForm):
    """A year whose holidays are announced now."""

    year: int


class TermForm(CalendarForm):
    """A term, for reports."""

    term: str = Field("", max_length=LONGEST_NAME)
    start: str = Field("", max_length=10)
    end: str = Field("", max_length=10)
    do: str = Field("save", pattern="save|remove")


class RestoreForm(CalendarForm):
    """An earlier version that shall hold again."""

    number: int = Field(ge=1)


# --- one day, one week ---------------------------------------------------------------------


@router.post("/day")
def change_day(request: Request, caller: Manager, form: Annotated[DayForm, Form()]) -> Response:
    """Other hours on some dates, or the usual ones again."""

    def change(document: Document, screen: Screen) -> Document:
        spans = _spans(form)
        last = form.until or form.day
        if not form.day <= last < form.day + timedelta(days=LONGEST_STRETCH):
            raise _Wrong(screen.text("calendar.wrong_stretch", n=LONGEST_STRETCH))
        for number in range((last - form.day).days + 1):
            document = with_exception(document, form.day + timedelta(days=number), spans)
        return document

    return _changed(request, caller, form, change, said="calendar_day")


def _spans(form: DayForm) -> list[list[str]] | None:
    if form.kind == "usual":
        return None
    return [] if form.kind == "closed" else read_hours(form.hours)


@router.post("/timetable")
def change_timetable(
    request: Request, caller: Manager, form: Annotated[TimetableForm, Form()]
) -> Response:
    """A week's hours from a date on: a term, a vacation, examinations."""

    def change(document: Document, screen: Screen) -> Document:
        if form.do == "remove":
            changed = with_timetable(document, form.valid_from, None)
            if not changed["versions"]:
                raise _Wrong(screen.text("calendar.last_timetable"))
            return changed
        weekly = {day: read_hours(getattr(form, day)) for day in WEEKDAYS}
        return with_timetable(document, form.valid_from, weekly)

    return _changed(request, caller, form, change, said="calendar_timetable")


# --- holidays and closings -----------------------------------------------------------------


@router.post("/holidays")
def take_holidays(
    request: Request, caller: Manager, form: Annotated[HolidaysForm, Form()]
) -> Response:
    """A country's holidays as dated rows, which from then on are the library's own."""

    def change(document: Document, screen: Screen) -> Document:
        if not form.first <= form.last < form.first + MOST_YEARS:
            raise _Wrong(screen.text("calendar.wrong_years", n=MOST_YEARS))
        return with_holidays(
            document,
            form.country,
            years=range(form.first, form.last + 1),
            today=screen.reader.local(screen.now).date(),
            subdivision=form.subdivision.upper() or None,
        )

    return _changed(request, caller, form, change, said="calendar_holidays")


@router.post("/confirm")
def confirm_year(request: Request, caller: Manager, form: Annotated[YearForm, Form()]) -> Response:
    """Say that a year's holidays are final: its figures are provisional no more."""
    return _changed(
        request,
        caller,
        form,
        lambda document, _: confirmed(document, form.year),
        said="calendar_confirmed",
    )


@router.post("/import")
def import_closings(
    request: Request,
    caller: Manager,
    form: Annotated[CalendarForm, Form()],
    file: Annotated[UploadFile, File()],
) -> Response:
    """Closings from an iCalendar file."""
    content = file.file.read()
    return _changed(
        request,
        caller,
        form,
        lambda document, _: with_closings(document, content),
        said="calendar_imported",
    )


# --- terms, versions, another calendar -----------------------------------------------------


@router.post("/term")
def change_term(request: Request, caller: Manager, form: Annotated[TermForm, Form()]) -> Response:
    """A term that reports can be about."""

    def change(document: Document, screen: Screen) -> Document:
        kept = [each for each in document.get("terms") or [] if each.get("name") != form.term]
        if form.do == "remove":
            return {**document, "terms": kept}
        if not form.term:
            raise _Wrong(screen.text("calendar.no_name"))
        period = checked_period(form.start, form.end)
        added = {"name": form.term, "from": str(period.start), "to": str(period.end)}
        terms = sorted([*kept, added], key=lambda each: str(each["from"]))
        return {**document, "terms": terms}

    return _changed(request, caller, form, change, said="calendar_term")


@router.post("/restore")
def restore(request: Request, caller: Manager, form: Annotated[RestoreForm, Form()]) -> Response:
    """Put an earlier version in force again, as a new one."""
    with reading(request, caller, section="manage") as (session, screen):
        row = session.scalar(
            select(models.Calendar).where(
                models.Calendar.library_id == screen.library.id,
                models.Calendar.name == form.name,
                models.Calendar.version == form.number,
            )
        )
    if row is None:
        raise BadRequest("There is no such version.")
    earlier = row.document
    return _changed(request, caller, form, lambda *_: earlier, said="calendar_restored")


@router.post("/new")
def add(request: Request, caller: Manager, form: Annotated[CalendarForm, Form()]) -> Response:
    """A calendar for the desk, the main building, or a branch by its name."""
    name = form.name
    if not name or not name.isprintable():
        raise BadRequest("A calendar needs a name.")
    with changing(request, caller, section="manage") as (session, screen):
        if latest(session, screen.library.id, name) is None:
            hours = dict.fromkeys(WEEKDAYS[:5], FIRST_HOURS)
            document = {
                "tz": screen.library.timezone,
                "versions": [{"valid_from": "1990-01-01", "weekly": hours}],
                "exceptions": {},
            }
            _save(session, screen, name, document)
    return _back(View(name), "calendar_new" if name not in {DESK, BUILDING} else "calendar_day")


# --- shared --------------------------------------------------------------------------------


class _Wrong(Exception):
    """A change that cannot be made; the message is for the person."""


def _changed(
    request: Request, caller: StaffMember, form: CalendarForm, change: Change, *, said: str
) -> Response:
    """Save what the change makes of the calendar, or show the page with what is wrong."""
    try:
        with changing(request, caller, section="manage") as (session, screen):
            row = row_of(session, screen, form.name)
            if row.version != form.version:
                refused = Refused(screen.text("calendar.conflict"), _typed(form), 409)
            else:
                _save(session, screen, form.name, change(row.document, screen))
                return _back(form.view(), said)
    except _Wrong as error:
        refused = Refused(str(error), _typed(form))
    except WrongHours as error:
        refused = Refused(screen.text("calendar.wrong_hours", text=str(error)), _typed(form))
    except (BadCalendar, BadRequest) as error:
        refused = Refused(screen.text("calendar.refused", why=str(error)), _typed(form))
    with reading(request, caller, section="manage") as (session, screen):
        return page(session, screen, _as_it_was(form), refused)


def _as_it_was(form: CalendarForm) -> View:
    view = form.view()
    if isinstance(form, DayForm):
        return View(view.name, view.month, day=form.day)
    if isinstance(form, TimetableForm):
        return View(view.name, view.month, timetable=form.valid_from)
    return view


def _typed(form: CalendarForm) -> dict[str, str]:
    own = set(type(form).model_fields) - set(CalendarForm.model_fields)
    return {name: str(getattr(form, name) or "") for name in own}


def _save(session: Session, screen: Screen, name: str, document: Document) -> None:
    row = save_calendar(
        session, screen.library.id, name, document, now=screen.now, by=screen.caller.email
    )
    audit.record(
        session,
        actor=screen.caller.email,
        action="calendar.save",
        subject=name,
        now=screen.now,
        library_id=screen.library.id,
        version=row.version,
    )


def _back(view: View, said: str) -> RedirectResponse:
    return RedirectResponse(view.address(said=said), status_code=303)
