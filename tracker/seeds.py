"""A first calendar from a country's public holidays, and edits of single dates.

The holidays become dated exceptions that a librarian can change: from then on the calendar
is the library's, and no later release of the holiday data moves a deadline.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import date, timedelta
from importlib.metadata import version
from typing import Any

import holidays

from tracker.clock import WEEKDAYS, Calendar
from tracker.errors import BadCalendar

SINCE = "1990-01-01"
DAY = timedelta(days=1)

# Whose rest days and make-up working days are announced year by year; the package holds a
# year's decree as special holidays once it is out.
ANNOUNCED_YEARLY = frozenset({"CN", "VN"})
# Hong Kong's libraries keep the general holidays, which the package calls optional.
CATEGORIES: Mapping[str, tuple[str, ...]] = {"HK": ("public", "optional")}

Week = Mapping[str, Sequence[Sequence[str]]]


def seed(
    country: str,
    *,
    tz: str,
    weekly: Week,
    years: Sequence[int],
    today: date,
    subdivision: str | None = None,
    make_up: Sequence[Sequence[str]] | None = None,
) -> dict[str, Any]:
    """A calendar document: the weekly table, closed on holidays, open on make-up days.

    On a weekend that is a working day by decree the desk keeps `make_up` hours (default:
    Monday's). Years whose holidays are not announced yet are listed as unconfirmed. Raises
    BadCalendar for a country that is not known.
    """
    known = _holidays(country, subdivision, years)
    exceptions = _exceptions(known, years, lambda _: weekly, make_up)
    document = {
        "tz": tz,
        "versions": [
            {
                "valid_from": SINCE,
                "weekly": {name: [list(s) for s in weekly.get(name) or ()] for name in WEEKDAYS},
            }
        ],
        "exceptions": exceptions,
        "unconfirmed_years": unconfirmed(country, years, today=today),
        "country": country,
        "subdivision": subdivision,
        "seeded": sorted(exceptions),
        "source": f"holidays {version('holidays')}, {country}"
        + (f" {subdivision}" if subdivision else ""),
    }
    Calendar.from_document(document)
    return document


def _exceptions(
    known: Any,
    years: Sequence[int],
    weekly_on: Callable[[date], Week],
    make_up: Sequence[Sequence[str]] | None = None,
) -> dict[str, list[list[str]]]:
    """Closed on holidays, open on make-up days, by the timetable in force on each date."""
    found: dict[str, list[list[str]]] = {}
    for year in sorted(set(years)):
        day = date(year, 1, 1)
        while day.year == year:
            weekly = weekly_on(day)
            hours = weekly.get(WEEKDAYS[day.weekday()]) or ()
            usual = make_up if make_up is not None else weekly.get("mon") or ()
            if day in known and hours:
                found[day.isoformat()] = []
            elif day.weekday() in known.weekend and known.is_working_day(day) and usual != hours:
                found[day.isoformat()] = [list(span) for span in usual]
            day += DAY
    return found


def with_holidays(
    document: Mapping[str, Any],
    country: str,
    *,
    years: Sequence[int],
    today: date,
    subdivision: str | None = None,
) -> dict[str, Any]:
    """The document with a country's holidays of some years, by the timetable in force then.

    Dates that a librarian has set stay as they are; dates of those years that were taken from
    a list of holidays before, and not changed since, are taken anew. Raises BadCalendar.
    """
    changed = deepcopy(dict(document))
    wanted = sorted(set(years))
    seeded = set(changed.get("seeded") or ())
    exceptions = dict(changed.get("exceptions") or {})
    anew = {day for day in seeded if int(day[:4]) in wanted}
    kept = {day: spans for day, spans in exceptions.items() if day not in anew}
    weekly_on = _timetables(changed)
    found = _exceptions(_holidays(country, subdivision, wanted), wanted, weekly_on)
    fresh = {day: spans for day, spans in found.items() if day not in kept}
    kept |= fresh
    seeded = (seeded - anew) | set(fresh)
    known = set(changed.get("unconfirmed_years") or ()) - set(wanted)
    changed |= {
        "exceptions": dict(sorted(kept.items())),
        "seeded": sorted(seeded),
        "unconfirmed_years": sorted(known | set(unconfirmed(country, wanted, today=today))),
        "country": country,
        "subdivision": subdivision,
        "source": f"holidays {version('holidays')}, {country}",
    }
    Calendar.from_document(changed)
    return changed


def _timetables(document: Mapping[str, Any]) -> Callable[[date], Week]:
    """The timetable in force on a date, the first one before all."""
    versions = sorted(document.get("versions") or [], key=lambda each: str(each["valid_from"]))
    if not versions:
        raise BadCalendar("the calendar has no timetable yet")
    starts = [str(each["valid_from"]) for each in versions]

    def weekly_on(day: date) -> Week:
        weekly: Week = versions[max(bisect_right(starts, day.isoformat()) - 1, 0)]["weekly"]
        return weekly

    return weekly_on


def confirmed(document: Mapping[str, Any], year: int) -> dict[str, Any]:
    """The document with a year's holidays said to be final: figures are provisional no more."""
    years = [each for each in document.get("unconfirmed_years") or () if each != year]
    return {**deepcopy(dict(document)), "unconfirmed_years": years}


def unconfirmed(country: str, years: Sequence[int], *, today: date) -> list[int]:
    """The years whose holidays may still change: not decreed yet, or too far ahead."""
    if country in ANNOUNCED_YEARLY:
        decreed = getattr(holidays.country_holidays(country), "special_public_holidays", {})
        latest = max(decreed, default=today.year)
    else:
        latest = today.year + 1
    return sorted(year for year in set(years) if year > latest)


def countries() -> list[str]:
    """The countries that a calendar can be seeded from, by ISO 3166 code."""
    return sorted(holidays.list_supported_countries(include_aliases=False))


def holiday_names(
    country: str, year: int, *, language: str | None = None, subdivision: str | None = None
) -> dict[date, str]:
    """The holidays of a year with their names, for the calendar's month grid."""
    found = _holidays(country, subdivision, [year], language=language)
    return {day: name for day, name in sorted(found.items()) if day.year == year}


def with_exception(
    document: Mapping[str, Any], day: date, spans: Sequence[Sequence[str]] | None
) -> dict[str, Any]:
    """The document with one date changed: other hours, closed (empty), or as usual (None)."""
    changed = deepcopy(dict(document))
    exceptions = dict(changed.get("exceptions") or {})
    if spans is None:
        exceptions.pop(day.isoformat(), None)
    else:
        exceptions[day.isoformat()] = [list(span) for span in spans]
    changed["exceptions"] = dict(sorted(exceptions.items()))
    if "seeded" in changed:  # from now on this date is the library's own
        changed["seeded"] = [each for each in changed["seeded"] if each != day.isoformat()]
    Calendar.from_document(changed)
    return changed


def with_timetable(
    document: Mapping[str, Any], valid_from: date, weekly: Week | None
) -> dict[str, Any]:
    """The document with a timetable from a date on (a term, a vacation); None removes it."""
    changed = deepcopy(dict(document))
    versions = [v for v in changed.get("versions") or [] if v["valid_from"] != str(valid_from)]
    if weekly is not None:
        versions.append(
            {
                "valid_from": str(valid_from),
                "weekly": {name: [list(s) for s in spans] for name, spans in weekly.items()},
            }
        )
    changed["versions"] = sorted(versions, key=lambda version: str(version["valid_from"]))
    Calendar.from_document(changed)
    return changed


def _holidays(
    country: str,
    subdivision: str | None,
    years: Sequence[int],
    *,
    language: str | None = None,
) -> Any:
    try:
        return holidays.country_holidays(
            country,
            subdiv=subdivision,
            years=list(years),
            categories=CATEGORIES.get(country),
            language=language,
        )
    except NotImplementedError as error:
        raise BadCalendar(str(error)) from error
