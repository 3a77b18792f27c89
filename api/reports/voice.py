"""How a report writes numbers, names and times in one language."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from api.i18n import Reader, catalogue
from api.reports.content import Amount
from api.reports.texts import say
from tracker.figures import NEXT_DAY
from tracker.rates import rounded, too_few

NOTHING = "–"
MINUS = "−"
TENTH = Decimal("0.1")

Share = Mapping[str, Any]  # one rate of tracker.stats


@dataclass(frozen=True, slots=True)
class Voice:
    """One language, with the time zone of the library."""

    reader: Reader

    @property
    def language(self) -> str:
        return self.reader.language

    def say(self, key: str, **facts: object) -> str:
        """A text of the report's own catalogue."""
        return say(self.language, key, **facts)

    def label(self, figure: str) -> str:
        """The name of a rate, as METRICS.md and the pages have it."""
        return self.say("next_day") if figure == NEXT_DAY else self.reader.text(f"metric.{figure}")

    def clock_of(self, figure: str) -> str:
        """The clock that a rate runs on."""
        key = "metric.feedback_next_opening_day" if figure == NEXT_DAY else "metric.clock_c24"
        return self.reader.text(key)

    def known(self, group: str, key: str) -> str:
        """The pages' text of a word that others may have invented, or the word itself."""
        return catalogue(self.language).get(f"{group}.{key}", key)

    def count(self, n: int) -> Amount:
        return Amount(self.reader.number(n), n)

    def questions(self, n: int) -> str:
        return self.say(f"questions.{'one' if n == 1 else 'other'}", n=self.reader.number(n))

    def percent(self, share: Share) -> str:
        """A rate, rounded half up from its integers; a dash for none."""
        return self.reader.percent(share["within"], share["matured"])

    def judged(self, share: Share) -> Amount:
        """A rate where there is enough to judge by."""
        if share["matured"] == 0:
            return Amount(NOTHING)
        if too_few(share["matured"]):
            return Amount(self.say("too_few"))
        return Amount(self.percent(share), share["rate"], is_share=True)

    def bound(self, share: float) -> str:
        """The end of an interval in percent, without the sign."""
        return self.reader.number(tenths(share), 1)

    def interval(self, share: Share) -> str:
        """Both ends of a rate's interval; a dash for none."""
        if share["low"] is None or share["high"] is None:
            return NOTHING
        return f"{self.bound(share['low'])}–{self.bound(share['high'])}"

    def percent_of(self, share: float | None) -> str:
        return NOTHING if share is None else self.reader.percent_of(tenths(share))

    def points(self, value: Decimal, *, signed: bool = False) -> str:
        """A difference in percentage points."""
        written = self.reader.number(abs(value), 1)
        if not signed:
            return written
        return f"{MINUS if value < 0 else '+' if value > 0 else ''}{written}"

    def moment(self, at: datetime) -> str:
        return self.reader.moment(at, year=True)

    def day(self, day: date) -> str:
        return self.reader.day(day, year=True)

    def of(self, share: Share) -> str:
        return self.say("of", **self.parts(share))

    def parts(self, share: Share) -> dict[str, str]:
        """The integers of a rate, written out."""
        return {
            "within": self.reader.number(share["within"]),
            "matured": self.reader.number(share["matured"]),
        }


def tenths(share: float) -> Decimal:
    """A share as a percentage with one decimal, half up."""
    return (Decimal(repr(float(share))) * 100).quantize(TENTH, rounding=ROUND_HALF_UP)


def difference(now: Share, before: Share) -> Decimal:
    """How far two rates differ, in percentage points, half up from their integers."""
    exact = Fraction(now["within"], now["matured"]) - Fraction(before["within"], before["matured"])
    return rounded(100 * exact, places=1)
