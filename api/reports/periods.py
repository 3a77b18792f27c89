"""Which dates a report is about, and what people call them."""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy.orm import Session

from api.errors import BadRequest
from api.i18n import Reader
from api.reports.texts import say
from tracker import calendars, reports
from tracker.models import Library

FIRST_YEAR, LAST_YEAR = 1990, 2199
LONGEST_DAYS = 3 * 366


@dataclass(frozen=True, slots=True)
class Period:
    """Local dates from `start` to `end`, both inclusive; a term has a name of its own."""

    start: date
    end: date
    name: str | None = None

    @property
    def kind(self) -> str:
        """month, year, term or days."""
        if self.name is not None:
            return "term"
        first, last = self.start, self.end
        if (first.month, first.day, last.month, last.day) == (1, 1, 12, 31):
            return "year" if first.year == last.year else "days"
        whole = first.day == 1 and last.day == monthrange(last.year, last.month)[1]
        same = (first.year, first.month) == (last.year, last.month)
        return "month" if whole and same else "days"

    @property
    def slug(self) -> str:
        """For file names: 2026-10, 2026, or both dates."""
        if self.kind == "month":
            return f"{self.start:%Y-%m}"
        if self.kind == "year":
            return f"{self.start:%Y}"
        return f"{self.start.isoformat()}_{self.end.isoformat()}"

    def called(self, reader: Reader, *, family: str = "period") -> str:
        """What people call it: October 2026. `family` "during" fits into a sentence."""
        return say(
            reader.language,
            f"{family}.{self.kind}",
            month=say(reader.language, f"month.{self.start.month}"),
            year=self.start.year,
            start=reader.day(self.start, year=True),
            end=reader.day(self.end, year=True),
            name=self.name or "",
        )


def month(text: str) -> Period:
    """The month written as 2026-10. Raises BadRequest."""
    try:
        first = date.fromisoformat(f"{text}-01")
        return Period(*reports.month(_year(text[:4]), first.month))
    except ValueError:
        raise BadRequest(f'"{text}" is no month: write it as 2026-10.') from None


def whole_year(text: str) -> Period:
    """The calendar year written as 2026. Raises BadRequest."""
    try:
        number = _year(text)
    except ValueError:
        raise BadRequest(f'"{text}" is no year: write it as 2026.') from None
    return Period(date(number, 1, 1), date(number, 12, 31))


def _year(text: str) -> int:
    number = int(text)
    if not FIRST_YEAR <= number <= LAST_YEAR:
        raise ValueError(text)
    return number


def days(start: str, end: str) -> Period:
    """Two dates written as 2026-10-31. Raises BadRequest."""
    try:
        first, last = date.fromisoformat(start), date.fromisoformat(end)
    except ValueError:
        raise BadRequest("A date is written as 2026-10-31.") from None
    if not (first.year >= FIRST_YEAR and last.year <= LAST_YEAR and first <= last):
        raise BadRequest("A period begins before it ends.")
    if (last - first).days > LONGEST_DAYS:
        raise BadRequest("Choose a period of at most three years.")
    return Period(first, last)


def term(session: Session, library: Library, name: str) -> Period:
    """A term by its name in the desk's calendar. Raises BadRequest, naming those there are."""
    found = terms(session, library)
    if name not in found:
        known = ", ".join(found) or 'none: list them as "terms" in the desk\'s calendar'
        raise BadRequest(f'There is no term "{name}"; known: {known}.')
    return found[name]


def terms(session: Session, library: Library) -> dict[str, Period]:
    """The terms of a library by name.

    They stand in the document of the desk's calendar, beside its versions:
    `"terms": [{"name": "2026 autumn", "from": "2026-09-07", "to": "2027-01-15"}]`.
    Raises BadRequest for one that cannot be read.
    """
    row = calendars.latest(session, library.id)
    listed = row.document.get("terms", []) if row is not None else []
    if not isinstance(listed, list):
        raise BadRequest("The calendar's terms are a list of name, from and to.")
    return {period.name or "": period for period in map(_term, listed)}


def _term(item: Any) -> Period:
    if not isinstance(item, Mapping) or not str(item.get("name") or "").strip():
        raise BadRequest("A term in the desk's calendar has name, from and to.")
    period = days(str(item.get("from")), str(item.get("to")))
    return Period(period.start, period.end, str(item["name"]).strip())


def before(period: Period) -> Period:
    """The period that this one is compared with: see tracker.reports.previous."""
    return Period(*reports.previous(period.start, period.end))


def month_before(today: date) -> Period:
    """The last whole month."""
    last = today.replace(day=1) - timedelta(days=1)
    return Period(last.replace(day=1), last)
