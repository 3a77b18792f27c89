"""One rate as managers see it: counts, interval, where its cases are. All from tracker.stats."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.dashboard.period import Selection
from api.i18n import Reader
from tracker.figures import INCLUSIVE, NEXT_DAY
from tracker.rates import too_few

MATURITIES = {INCLUSIVE: "two_days", NEXT_DAY: "next_day"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A rate with what must stand beside it (METRICS.md section 3)."""

    name: str  # a figure of tracker.stats
    within: int
    matured: int
    pending: int
    low: float  # percent; 0 where nothing has matured
    high: float
    address: str  # of its cases, misses first
    pending_address: str = ""

    @property
    def is_few(self) -> bool:
        """Too few to judge: the counts are shown, the rate is not."""
        return too_few(self.matured)

    @property
    def maturity(self) -> str:
        """How long a case must have been observed before it counts: a key of `metric.elapsed`."""
        return MATURITIES.get(self.name, "day")

    @property
    def percent(self) -> float:
        """The rate for drawing; for reading it is rounded from the integers."""
        return 100 * self.within / self.matured if self.matured else 0.0

    @property
    def low_x(self) -> float:
        return round(self.low, 2)

    @property
    def width(self) -> float:
        return round(max(self.high - self.low, 0.5), 2)

    @property
    def rate_x(self) -> float:
        return round(min(max(self.percent - 0.6, 0), 98.8), 2)


def judged(reader: Reader, part: int, whole: int) -> str:
    """A share in percent; nothing of nothing, and too few to judge, are said in words."""
    if whole and too_few(whole):
        return reader.text("manage.too_few")
    return reader.percent(part, whole)


def figure(block: Mapping[str, Any], name: str, selection: Selection, **filters: str) -> Figure:
    """A rate of a block of `tracker.stats`, and the address of the cases behind it."""
    share = block[name]

    def cases(outcome: str | None = None) -> str:
        return selection.address("/manage/cases", figure=name, outcome=outcome, **filters)

    return Figure(
        name=name,
        within=share["within"],
        matured=share["matured"],
        pending=share["pending"],
        low=100 * (share["low"] or 0.0),
        high=100 * (share["high"] or 0.0),
        address=cases(),
        pending_address=cases("pending"),
    )
