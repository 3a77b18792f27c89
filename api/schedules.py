"""Calendars from files, in our own form."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from api.errors import BadRequest
from tracker.clock import WEEKDAYS, Calendar

Spans = list[list[str]]
Weekly = Mapping[str, Spans]


class UnreadableCalendar(BadRequest):
    """The calendar file cannot be read."""

    status = 422


def read_calendar(path: Path, *, timezone: str | None = None) -> dict[str, Any]:
    """A calendar of DESIGN 4.5's form, from JSON or YAML. Raises UnreadableCalendar."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise UnreadableCalendar(f"{path.name}: {error}") from None
    if not isinstance(document, dict):
        raise UnreadableCalendar(f"{path.name} must hold an object with tz, versions, exceptions.")
    if timezone is not None:
        document.setdefault("tz", timezone)
    plain: dict[str, Any] = _plain(document)
    Calendar.from_document(plain)
    return plain


def _plain(found: Any) -> Any:
    """What was written, where YAML took it for a date or, unquoted, 13:30 for 810 minutes."""
    if isinstance(found, dict):
        return {
            _plain(key): value if key == "unconfirmed_years" else _plain(value)
            for key, value in found.items()
        }
    if isinstance(found, list):
        is_span = len(found) == 2 and all(isinstance(end, int | str) for end in found)
        if is_span:
            return [_clock(end) if isinstance(end, int) else end for end in found]
        return [_plain(value) for value in found]
    return found.isoformat() if isinstance(found, date) else found


def weekly_calendar(timezone: str, weekly: Weekly) -> dict[str, Any]:
    """A calendar with the same hours every week."""
    hours = {day: list(weekly.get(day, ())) for day in WEEKDAYS}
    return {
        "tz": timezone,
        "versions": [{"valid_from": "1990-01-01", "weekly": hours}],
        "exceptions": {},
    }


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
