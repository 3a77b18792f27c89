"""The month grid of a calendar: what holds on each day, and why.

Every change is a new version; none is lost. A year whose holidays are not announced yet is
marked, because figures that rest on it are provisional.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.auth import Manager
from api.dashboard.hours import written
from api.dashboard.typed import Typed
from api.errors import BadRequest, NotFound
from api.screens import Screen, reading
from tracker import models
from tracker.calendars import BUILDING, DESK, latest, names
from tracker.clock import WEEKDAYS, Calendar
from tracker.errors import BadCalendar
from tracker.ical import closings
from tracker.seeds import countries, holiday_names

VERSIONS = 20  # of a calendar, on its page
FIRST_YEAR, LAST_YEAR = 2000, 2100
USUAL = ("CN", "VN", "TW", "HK")  # countries at the top of the list
HOLIDAY_LANGUAGES = {
    "CN": {"zh-Hans": "zh_CN", "zh-Hant": "zh_TW", "en": "en_US"},
    "VN": {"vi": "vi", "en": "en_US"},
    "TW": {"zh-Hans": "zh_CN", "zh-Hant": "zh_TW", "en": "en_US"},
    "HK": {"zh-Hans": "zh_CN", "zh-Hant": "zh_HK", "en": "en_HK"},
}

router = APIRouter(prefix="/manage/calendar", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class View:
    """Which calendar, which month, and which day or timetable is open for a change."""

    name: str | None = None
    month: date | None = None
    day: date | None = None
    timetable: date | None = None

    def address(self, **changes: Any) -> str:
        """The address of this view with something else chosen."""
        shown = {"name": self.name, "month": self.month, **changes}
        named = {key: _written(key, value) for key, value in shown.items() if value is not None}
        anchor = next((f"#{key}" for key in ("day", "timetable") if key in named), "")
        return f"/manage/calendar?{urlencode(named)}{anchor}"


def _written(key: str, value: Any) -> str:
    return f"{value:%Y-%m}" if key == "month" else str(value)


@dataclass(frozen=True, slots=True)
class Refused:
    """A change that could not be made, and what was typed."""

    problem: str
    typed: Mapping[str, str]
    status: int = 422


def view(
    name: Annotated[str | None, Query(max_length=60)] = None,
    month: Annotated[str | None, Query(max_length=7)] = None,
    day: Annotated[str | None, Query(max_length=10)] = None,
    timetable: Annotated[str | None, Query(max_length=10)] = None,
) -> View:
    """Read the view from the address. Raises BadRequest."""
    return View(
        name or None,
        _date(f"{month}-01") if month else None,
        _date(day) if day else None,
        _date(timetable) if timetable else None,
    )


def _date(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise BadRequest("A date is written as 2026-11-22, a month as 2026-11.") from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise BadRequest(f"Years go from {FIRST_YEAR} to {LAST_YEAR}.")
    return found


@router.get("")
def calendar(request: Request, caller: Manager, shown: Annotated[View, Depends(view)]) -> Response:
    """One month of one calendar, and what can be changed about it."""
    with reading(request, caller, section="manage") as (session, screen):
        return page(session, screen, shown)


@router.get("/closings.ics")
def export(
    request: Request, caller: Manager, name: Annotated[str, Query(max_length=60)] = DESK
) -> Response:
    """The closings and special hours of a calendar, for any calendar program."""
    with reading(request, caller, section="manage") as (session, screen):
        row = row_of(session, screen, name)
        text = closings(row.document, name=f"{screen.library.name} · {name}", now=screen.now)
    attached = f"attachment; filename*=UTF-8''{quote(name, safe='')}.ics"
    return Response(
        text,
        media_type="text/calendar; charset=utf-8",
        headers={"Content-Disposition": attached, "Cache-Control": "no-store"},
    )


def row_of(session: Session, screen: Screen, name: str) -> models.Calendar:
    """The version in force of a calendar. Raises NotFound."""
    row = latest(session, screen.library.id, name)
    if row is None:
        raise NotFound("There is no such calendar.")
    return row


def page(
    session: Session, screen: Screen, shown: View, refused: Refused | None = None
) -> HTMLResponse:
    """The page about a calendar; with what was typed, where a change was refused."""
    known = sorted(
        {*names(session, screen.library.id), DESK, BUILDING},
        key=lambda name: (name != DESK, name != BUILDING, name),
    )
    name = shown.name or DESK
    row = latest(session, screen.library.id, name)
    if row is None and name not in {DESK, BUILDING}:
        raise NotFound("There is no such calendar.")
    today = screen.reader.local(screen.now).date()
    shown = View(name, (shown.month or today).replace(day=1), shown.day, shown.timetable)
    context = {
        "page": "calendar",
        "shown": shown,
        "tabs": [_tab(screen, each, shown) for each in known],
        "title": title(screen, name),
        "typed": Typed(refused.typed if refused else {}),
        "problem": refused.problem if refused else None,
        "calendar": _calendar(session, screen, row, shown) if row is not None else None,
        "countries": _countries(),
    }
    status = refused.status if refused else 200
    return screen.render("manage/calendar.html", context, status=status)


def title(screen: Screen, name: str) -> str:
    """What people call a calendar."""
    return screen.text(f"calendar.{name}") if name in {DESK, BUILDING} else name


def _tab(screen: Screen, name: str, shown: View) -> dict[str, Any]:
    return {
        "title": title(screen, name),
        "address": shown.address(name=name),
        "is_current": name == shown.name,
    }


def _countries() -> list[str]:
    """The usual ones first."""
    return [*USUAL, *(code for code in countries() if code not in USUAL)]


def _calendar(
    session: Session, screen: Screen, row: models.Calendar, shown: View
) -> dict[str, Any]:
    made = Calendar.from_document(row.document)
    month = shown.month or screen.reader.local(screen.now).date().replace(day=1)
    before, after = month - timedelta(days=1), (month + timedelta(days=31)).replace(day=1)
    return {
        "version": row.version,
        "state": _state(screen, made),
        "month": screen.text(
            "calendar.month", year=month.year, month=screen.text(f"format.month.{month.month}")
        ),
        "earlier": shown.address(month=before.replace(day=1)),
        "later": shown.address(month=after),
        "weekdays": [screen.text(f"format.weekday.{number}") for number in range(1, 8)],
        "weeks": _weeks(screen, row.document, made, shown, month),
        "provisional": [
            {"year": year, "is_shown": year == month.year}
            for year in sorted(made.unconfirmed_years)
        ],
        "day": _day_form(screen, row.document, made, shown.day) if shown.day else None,
        "timetables": _timetables(screen, row.document, shown),
        "timetable": _timetable_form(screen, row.document, shown.timetable),
        "terms": row.document.get("terms") or [],
        "country": row.document.get("country") or "",
        "subdivision": row.document.get("subdivision") or "",
        "years": _years(screen.reader.local(screen.now).date()),
        "versions": _versions(session, row),
        "ics": f"/manage/calendar/closings.ics?name={quote(row.name)}",
    }


def _years(today: date) -> list[int]:
    return list(range(today.year - 2, today.year + 3))


def _state(screen: Screen, made: Calendar) -> str:
    closes = made.closes_at(screen.now)
    if closes is not None:
        until = screen.reader.when(closes, screen.now)
        return screen.text("calendar.open_now", until=until)
    opens = made.next_opening(screen.now)
    if opens is None:
        return screen.text("calendar.never")
    return screen.text("calendar.closed_now", when=screen.reader.when(opens, screen.now))


# --- the grid ------------------------------------------------------------------------------


def _weeks(
    screen: Screen, document: Mapping[str, Any], made: Calendar, shown: View, month: date
) -> list[list[dict[str, Any] | None]]:
    """The days of a month in weeks from Monday; None before its first and after its last."""
    about = _About(
        _holidays(screen, document, month.year),
        frozenset(document.get("seeded") or ()),
        screen.reader.local(screen.now).date(),
    )
    first = month - timedelta(days=month.weekday())
    weeks: list[list[dict[str, Any] | None]] = []
    while first.replace(day=1) <= month:
        days = [first + timedelta(days=number) for number in range(7)]
        weeks.append(
            [
                _day(screen, made, shown, day, about=about) if day.month == month.month else None
                for day in days
            ]
        )
        first += timedelta(days=7)
    return weeks


@dataclass(frozen=True, slots=True)
class _About:
    """What is known of days beside their hours."""

    holidays: Mapping[date, str]
    seeded: frozenset[str]  # dates whose hours came from a list of holidays
    today: date


def _day(
    screen: Screen, made: Calendar, shown: View, day: date, *, about: _About
) -> dict[str, Any]:
    clock = screen.reader.clock
    is_exception = day in made.exceptions
    return {
        "number": day.day,
        "label": f"{screen.reader.day(day, year=True)}, {screen.reader.weekday(day)}",
        "spans": [f"{clock(opens)}–{clock(shuts)}" for opens, shuts in made.spans_on(day)],
        "holiday": about.holidays.get(day),
        "is_exception": is_exception,
        "is_own": is_exception and day.isoformat() not in about.seeded,
        "is_today": day == about.today,
        "is_chosen": day == shown.day,
        "address": shown.address(day=day),
    }


def _holidays(screen: Screen, document: Mapping[str, Any], year: int) -> dict[date, str]:
    """Names of a country's holidays, in the reader's language where the list has it."""
    country = document.get("country")
    if not country:
        return {}
    language = HOLIDAY_LANGUAGES.get(country, {}).get(screen.reader.language)
    try:
        return holiday_names(
            country, year, language=language, subdivision=document.get("subdivision")
        )
    except BadCalendar:
        return {}  # a country that a later release of the list has dropped


# --- what can be changed -------------------------------------------------------------------


def _day_form(
    screen: Screen, document: Mapping[str, Any], made: Calendar, day: date
) -> dict[str, Any]:
    usual = _usual(document, day)
    exception = (document.get("exceptions") or {}).get(day.isoformat())
    return {
        "date": day,
        "label": f"{screen.reader.day(day, year=True)}, {screen.reader.weekday(day)}",
        "usual": written(usual) or screen.text("calendar.closed"),
        "kind": "usual" if exception is None else "other" if exception else "closed",
        "hours": written(exception or usual),
    }


def _usual(document: Mapping[str, Any], day: date) -> list[list[str]]:
    in_force = [
        version
        for version in sorted(document["versions"], key=lambda each: str(each["valid_from"]))
        if str(version["valid_from"]) <= day.isoformat()
    ]
    return list(in_force[-1]["weekly"].get(WEEKDAYS[day.weekday()]) or ()) if in_force else []


def _timetables(screen: Screen, document: Mapping[str, Any], shown: View) -> list[dict[str, Any]]:
    return [
        {
            "valid_from": date.fromisoformat(version["valid_from"]),
            "days": [
                {
                    "name": screen.text(f"format.weekday.{number}"),
                    "hours": written(version["weekly"].get(key) or ()),
                }
                for number, key in enumerate(WEEKDAYS, start=1)
            ],
            "address": shown.address(timetable=version["valid_from"]),
        }
        for version in sorted(document["versions"], key=lambda each: str(each["valid_from"]))
    ]


def _timetable_form(
    screen: Screen, document: Mapping[str, Any], valid_from: date | None
) -> dict[str, Any]:
    """The timetable that is open for a change, or a new one like the newest."""
    versions = sorted(document["versions"], key=lambda each: str(each["valid_from"]))
    named = [each for each in versions if each["valid_from"] == str(valid_from)]
    source = named[0] if named else versions[-1] if versions else {"weekly": {}}
    return {
        "valid_from": valid_from if named else None,
        "can_remove": bool(named) and len(versions) > 1,
        "days": [
            {
                "key": key,
                "name": screen.text(f"format.weekday.{number}"),
                "hours": written(source["weekly"].get(key) or ()),
            }
            for number, key in enumerate(WEEKDAYS, start=1)
        ],
    }


def _versions(session: Session, row: models.Calendar) -> list[dict[str, Any]]:
    found = session.execute(
        select(models.Calendar.version, models.Calendar.recorded_at, models.Calendar.by)
        .where(models.Calendar.library_id == row.library_id, models.Calendar.name == row.name)
        .order_by(models.Calendar.version.desc())
        .limit(VERSIONS)
    )
    return [{"number": row.version, "at": row.recorded_at, "by": row.by} for row in found]
