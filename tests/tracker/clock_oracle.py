"""The business clock, naive on purpose: it walks through time minute by minute.

Shares no code with tracker.clock. A span is a little machine that latches open at the first
minute whose wall time has reached its start and shut at the first that has reached its end.
"""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
STEP = timedelta(minutes=1)


class MinuteOracle:
    """Answers for one calendar within a window of UTC minutes."""

    def __init__(self, document: dict[str, Any], first: datetime, last: datetime) -> None:
        self.document = document
        self.tz = ZoneInfo(document["tz"])
        self.first, self.last = first, last
        self.open_minutes: set[datetime] = set()
        self.shut_by_date: dict[date, datetime] = {}
        self._walk()

    def _table(self, day: date) -> list[list[str]]:
        if day.isoformat() in self.document.get("exceptions", {}):
            return self.document["exceptions"][day.isoformat()]
        weekly = None
        for version in sorted(self.document["versions"], key=lambda item: item["valid_from"]):
            if version["valid_from"] <= day.isoformat():
                weekly = version["weekly"]
        return weekly.get(NAMES[day.weekday()], []) if weekly else []

    def _walk(self) -> None:
        pending = self._all_spans()
        open_spans: list[tuple[date, datetime]] = []
        now = self.first
        while now <= self.last:
            wall = now.astimezone(self.tz).replace(tzinfo=None)
            for day, start, end in [item for item in pending if item[1] <= wall]:
                pending.remove((day, start, end))
                if wall < end:  # else clocks skip it as a whole: never really open
                    open_spans.append((day, end))
            for day, end in [item for item in open_spans if item[1] <= wall]:
                open_spans.remove((day, end))
                self.shut_by_date[day] = max(now, self.shut_by_date.get(day, now))
            if open_spans:
                self.open_minutes.add(now)
            now += STEP

    def _all_spans(self) -> list[tuple[date, datetime, datetime]]:
        spans = []
        day = self.first.astimezone(self.tz).date() - timedelta(days=3)
        until = self.last.astimezone(self.tz).date() + timedelta(days=2)
        while day <= until:
            midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a wall time
            for start_text, end_text in self._table(day):
                start, end = minutes(start_text), minutes(end_text)
                if end <= start:
                    end += 24 * 60
                opens = midnight + timedelta(minutes=start)
                shuts = midnight + timedelta(minutes=end)
                spans.append((day, opens, shuts))
            day += timedelta(days=1)
        return spans

    def is_open(self, at: datetime) -> bool:
        return at in self.open_minutes

    def open_seconds(
        self, start: datetime, end: datetime, pauses: list[tuple[datetime, datetime]]
    ) -> int:
        count, now = 0, start
        while now < end:
            paused = any(begin <= now < finish for begin, finish in pauses)
            count += now in self.open_minutes and not paused
            now += STEP
        return count * 60

    def due(
        self, start: datetime, target: int, pauses: list[tuple[datetime, datetime]]
    ) -> datetime | None:
        if target == 0:
            return start
        count, now = 0, start
        while now < self.last:
            paused = any(begin <= now < finish for begin, finish in pauses)
            count += now in self.open_minutes and not paused
            now += STEP
            if count == target:
                return now
        return None

    def next_opening_day_due(self, received: datetime) -> datetime | None:
        today = received.astimezone(self.tz).date()
        later = [day for day in self.shut_by_date if day > today]
        return self.shut_by_date[min(later)] if later else None


def minutes(text: str) -> int:
    hours, minute = text.split(":")
    return int(hours) * 60 + int(minute)
