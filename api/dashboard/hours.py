"""Hours as people write them: "08:30-12:00, 13:30-17:30", in any of our languages' commas."""

import re
from collections.abc import Iterable, Sequence

LONGEST = 200  # letters of one day's hours
_SEPARATOR = re.compile(r"[,;，、；]")
_SPAN = re.compile(r"(\d{1,2})[:：](\d{2})\s*(?:[-–—~～至到]|đến)\s*(\d{1,2})[:：](\d{2})")


class WrongHours(ValueError):
    """These hours cannot be read; the message holds what was written."""


def read_hours(text: str) -> list[list[str]]:
    """The spans that were written; an empty text is a closed day. Raises WrongHours.

    A span may end on the next day: 22:00-02:00.
    """
    return [_span(part) for part in _SEPARATOR.split(text) if part.strip()]


def _span(text: str) -> list[str]:
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise WrongHours(text.strip())
    hours = [int(found[1]), int(found[3])]
    minutes = [int(found[2]), int(found[4])]
    if hours[0] > 23 or max(minutes) > 59 or hours[1] * 60 + minutes[1] > 24 * 60:
        raise WrongHours(text.strip())
    return [f"{hour:02}:{minute:02}" for hour, minute in zip(hours, minutes, strict=True)]


def written(spans: Iterable[Sequence[str]]) -> str:
    """Spans as `read_hours` takes them."""
    return ", ".join(f"{start}-{end}" for start, end in spans)
