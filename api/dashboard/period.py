"""Which consultations a manager looks at: the period and the channel, kept in the address."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, TypedDict
from urllib.parse import urlencode

from fastapi import Depends, Query

from api.errors import BadRequest

DEFAULT_DAYS = 28
LONGEST_DAYS = 3 * 366


class Asked(TypedDict):
    """What a figure is asked for: tracker.stats and its neighbours take it by these names."""

    start: date
    end: date
    at: datetime
    channel: str | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Consultations received from `start` to `end`, both inclusive, in the library's dates."""

    start: date
    end: date
    channel: str | None = None

    def address(self, page: str, **more: str | None) -> str:
        """The address of a page about the same selection."""
        named = {"from": self.start.isoformat(), "to": self.end.isoformat()}
        if self.channel:
            named["channel"] = self.channel
        named |= {key: value for key, value in more.items() if value is not None}
        return f"{page}?{urlencode(named)}"

    def seen_at(self, now: datetime) -> Asked:
        """The selection as it stands now, to be handed on by name."""
        return Asked(start=self.start, end=self.end, at=now, channel=self.channel)

    def of_channel(self, channel: str | None) -> "Selection":
        """The same period on one channel, or on all."""
        return Selection(self.start, self.end, channel)


@dataclass(frozen=True, slots=True)
class Preset:
    """A period that is one click away."""

    name: str
    start: date
    end: date


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the address says of the period and the channel."""

    start: str | None
    end: str | None
    channel: str | None


def wanted(
    start: Annotated[str | None, Query(alias="from", max_length=10)] = None,
    to: Annotated[str | None, Query(max_length=10)] = None,
    channel: Annotated[str | None, Query(max_length=40)] = None,
) -> Wanted:
    """Read the period and the channel from the address."""
    return Wanted(start or None, to or None, channel or None)


Period = Annotated[Wanted, Depends(wanted)]


def chosen(period: Wanted, *, today: date) -> Selection:
    """The selection of an address; the last 28 days without one. Raises BadRequest."""
    try:
        last = date.fromisoformat(period.end) if period.end else today
        before = last - timedelta(days=DEFAULT_DAYS - 1)
        first = date.fromisoformat(period.start) if period.start else before
    except ValueError:
        raise BadRequest("A date is written as 2026-11-22.") from None
    if first > last:
        first, last = last, first
    if (last - first).days > LONGEST_DAYS:
        raise BadRequest("Choose a period of at most three years.")
    return Selection(first, last, period.channel)


def presets(today: date) -> list[Preset]:
    """The periods that people ask for most."""
    month = today.replace(day=1)
    month_before = (month - timedelta(days=1)).replace(day=1)
    return [
        Preset("week", today - timedelta(days=6), today),
        Preset("four_weeks", today - timedelta(days=27), today),
        Preset("month", month, today),
        Preset("last_month", month_before, month - timedelta(days=1)),
        Preset("all", today - timedelta(days=59), today),
    ]
