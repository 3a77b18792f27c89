"""What each figure asks of one consultation, and how the answers add up.

Every figure is a question put to each consultation (`judge`, `is_waiting`, `deflection`), so
that a number and the list of cases behind it cannot disagree. The clock is C24 (86,400 s of
real time) except where the name says opening day.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tracker import rates
from tracker.fold import DAY, MICROSECOND
from tracker.models import Consultation

INCLUSIVE_MATURITY = DAY + timedelta(hours=24)  # a day to answer, a day for the patron's no
DEFLECTION_MATURITY = timedelta(hours=72)
SECOND_MICROS = 1_000_000
DAY_MICROS = DAY // MICROSECOND

INCLUSIVE = "bot_inclusive_within_24h"
ANSWERED = "answered_within_24h"
RESPONDED = "feedback_within_24h"
NEXT_DAY = "feedback_next_opening_day"
RATES = (INCLUSIVE, ANSWERED, RESPONDED, NEXT_DAY)

WITHIN = "within"
MISSED = "missed"
PENDING_IN_TIME = "pending_in_time"  # not matured, but already answered in time
PENDING_LATE = "pending_late"  # not matured, answered too late (bot-inclusive only)
PENDING_OPEN = "pending_open"  # not matured, not answered
PENDING = frozenset({PENDING_IN_TIME, PENDING_LATE, PENDING_OPEN})

CONFIRMED, PRESUMED, ABANDONED, STAFFED = "confirmed", "presumed", "abandoned", "staffed"
PERCENTILES = (50, 90, 95)
_SUMMED = (
    "received",
    "excluded",
    "excluded_late",
    "withdrawn",
    "directional",
    "handed_over",
    "bot_only",
    "unanswered",
    "waiting",
    "overdue",
)
_LONG_AGO = 3 * DAY // MICROSECOND


class Case(NamedTuple):
    """What the figures need to know of one consultation."""

    id: int
    key: str
    channel: str
    received_at: datetime
    handed_over: bool
    bot_first: bool
    bot_accepted: bool
    bot_at: datetime | None
    feedback_at: datetime | None
    answered_at: datetime | None
    feedback_micros: int | None
    answered_micros: int | None
    withdrawn_at: datetime | None
    excluded_at: datetime | None
    excluded_late: bool
    directional: bool
    next_day_due_at: datetime | None
    topic: str | None
    feedback_by: str | None
    first_assigned_at: datetime | None
    excluded_reason: str | None

    @property
    def counts(self) -> bool:
        """Whether it is in the rates."""
        return self.excluded_at is None

    @property
    def withdrawn_micros(self) -> int | None:
        """From receipt to the patron's taking it back before an answer."""
        if self.withdrawn_at is None:
            return None
        return (self.withdrawn_at - self.received_at) // MICROSECOND

    def answer_for(self, figure: str) -> datetime | None:
        """The instant that stops this figure's clock."""
        if figure == ANSWERED:
            return self.answered_at
        if figure == INCLUSIVE:
            return min((at for at in (self.feedback_at, self.bot_at) if at), default=None)
        return self.feedback_at


COLUMNS = tuple(getattr(Consultation, name) for name in Case._fields)
WAIT = ("received_at", "withdrawn_at", "answered_micros", "feedback_micros")


def judge(case: Case, figure: str, at: datetime) -> str | None:
    """What one consultation is to one rate at an instant; None if it is not in it."""
    if not case.counts or (figure != INCLUSIVE and not case.handed_over):
        return None
    answer = case.answer_for(figure)
    if figure == NEXT_DAY:
        if case.next_day_due_at is None:
            return None
        due, matured = case.next_day_due_at, at > case.next_day_due_at
    else:
        wait = INCLUSIVE_MATURITY if figure == INCLUSIVE else DAY
        due, matured = case.received_at + DAY, at - case.received_at >= wait
    in_time = answer is not None and case.received_at <= answer <= due
    if matured:
        return WITHIN if in_time else MISSED
    if in_time:
        return PENDING_IN_TIME
    return PENDING_OPEN if answer is None else PENDING_LATE


def is_waiting(case: Case) -> bool:
    """Whether a patron waits for a first response. Closing without a reply ends no wait."""
    return (
        case.counts and case.handed_over and case.feedback_at is None and case.withdrawn_at is None
    )


def deflection(case: Case, at: datetime) -> str | None:
    """What became of a question that the bot answered first; None before 72 hours.

    confirmed: the patron said it helped; presumed: silence; abandoned: the answer did not
    stand and no librarian wrote; staffed: a librarian wrote.
    """
    if not (case.counts and case.bot_first) or at - case.received_at < DEFLECTION_MATURITY:
        return None
    if not case.handed_over:
        return CONFIRMED if case.bot_accepted else PRESUMED
    return ABANDONED if case.feedback_at is None else STAFFED


@dataclass(slots=True)
class RateCount:
    """How many consultations one rate saw, by outcome."""

    within: int = 0
    matured: int = 0
    pending: int = 0
    pending_in_time: int = 0
    pending_open: int = 0

    def add(self, outcome: str | None) -> None:
        """Count one consultation's outcome."""
        if outcome is None:
            return
        if outcome in PENDING:
            self.pending += 1
            self.pending_in_time += outcome == PENDING_IN_TIME
            self.pending_open += outcome == PENDING_OPEN
        else:
            self.matured += 1
            self.within += outcome == WITHIN

    def add_count(self, other: "RateCount") -> None:
        """Count all that another one counted."""
        for name in ("within", "matured", "pending", "pending_in_time", "pending_open"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; rates are None when nothing was counted."""
        share = rates.wilson(self.within, self.matured)
        everyone = self.matured + self.pending
        sure = self.within + self.pending_in_time
        return {
            "within": self.within,
            "matured": self.matured,
            "pending": self.pending,
            "rate": share.rate,
            "low": share.low,
            "high": share.high,
            "worst": sure / everyone if everyone else None,
            "best": (sure + self.pending_open) / everyone if everyone else None,
        }


@dataclass(slots=True)
class Block:
    """The figures of one channel, or of all, in the making."""

    at: datetime
    received: int = 0
    excluded: int = 0
    excluded_late: int = 0
    withdrawn: int = 0
    directional: int = 0
    handed_over: int = 0
    bot_only: int = 0
    shares: dict[str, RateCount] = field(default_factory=lambda: {n: RateCount() for n in RATES})
    # Microseconds, of those handed over: what ended the wait, and the age of open ones.
    answered: "array[int]" = field(default_factory=lambda: array("q"))
    withdrawals: "array[int]" = field(default_factory=lambda: array("q"))
    open: "array[int]" = field(default_factory=lambda: array("q"))
    feedback: "array[int]" = field(default_factory=lambda: array("q"))  # of the matured
    unanswered: int = 0
    waiting: int = 0
    overdue: int = 0
    oldest_waiting_at: datetime | None = None
    deflection: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys((CONFIRMED, PRESUMED, ABANDONED, "matured"), 0)
    )

    @property
    def reference(self) -> int:
        """Reference transactions (ARL, NISO Z39.7)."""
        return self.received - self.excluded - self.directional

    def add(self, case: Case) -> None:
        """Count one consultation."""
        self.received += 1
        if not case.counts:
            self.excluded += 1
            self.excluded_late += case.excluded_late
            return
        self.withdrawn += case.withdrawn_at is not None
        self.directional += case.directional
        for figure, count in self.shares.items():
            count.add(judge(case, figure, self.at))
        outcome = deflection(case, self.at)
        if outcome is not None:
            self.deflection["matured"] += 1
            if outcome in self.deflection:
                self.deflection[outcome] += 1
        if case.handed_over:
            self.handed_over += 1
            self._add_handed_over(case)
        else:
            self.bot_only += 1

    def _add_handed_over(self, case: Case) -> None:
        self.add_wait(case)
        if is_waiting(case):
            overdue = self.at - case.received_at > DAY
            self._add_waiting(1, overdue=overdue, oldest=case.received_at)

    def _add_waiting(self, count: int, *, overdue: bool, oldest: datetime) -> None:
        self.waiting += count
        self.overdue += count if overdue else 0
        known = self.oldest_waiting_at
        self.oldest_waiting_at = oldest if known is None else min(known, oldest)

    def add_rollup(self, day: Any) -> None:
        """Count a settled day of one channel: a row with Rollup's columns."""
        self.received += day.received
        self.excluded += day.excluded
        self.excluded_late += day.excluded_late
        self.withdrawn += day.withdrawn
        self.directional += day.directional
        self.handed_over += day.handed_over
        self.bot_only += day.bot_only
        for figure, within, matured in (
            (INCLUSIVE, day.inclusive_within, day.handed_over + day.bot_only),
            (ANSWERED, day.answered_within, day.handed_over),
            (RESPONDED, day.responded_within, day.handed_over),
            (NEXT_DAY, day.next_day_within, day.next_day_matured),
        ):
            self.shares[figure].within += within
            self.shares[figure].matured += matured
        if day.oldest_waiting_at is not None:
            self._add_waiting(day.waiting, overdue=True, oldest=day.oldest_waiting_at)
        self.deflection[CONFIRMED] += day.confirmed
        self.deflection[PRESUMED] += day.presumed
        self.deflection[ABANDONED] += day.abandoned
        self.deflection["matured"] += day.bot_first

    def add_counts(self, counts: Mapping[str, Any]) -> None:
        """Count what the database has counted: a row of `tracker.counting`, without times."""
        for name in ("received", "excluded", "excluded_late", "withdrawn", "directional"):
            setattr(self, name, getattr(self, name) + counts[name])
        self.handed_over += counts["handed_over"]
        self.bot_only += counts["bot_only"]
        for figure, share in self.shares.items():
            for name in ("within", "matured", "pending", "pending_in_time", "pending_open"):
                setattr(share, name, getattr(share, name) + counts[f"{figure}/{name}"])
        if counts["oldest_waiting_at"] is not None:
            self._add_waiting(counts["waiting"], overdue=False, oldest=counts["oldest_waiting_at"])
            self.overdue += counts["overdue"]
        for outcome in (CONFIRMED, PRESUMED, ABANDONED):
            self.deflection[outcome] += counts[outcome]
        self.deflection["matured"] += counts["bot_first"]

    def add_wait(self, wait: Any) -> None:
        """The times of one that was handed over: a row with the columns that WAIT names."""
        age = self.at - wait.received_at
        if wait.withdrawn_at is not None:
            self.withdrawals.append((wait.withdrawn_at - wait.received_at) // MICROSECOND)
        elif wait.answered_micros is not None:
            self.answered.append(wait.answered_micros)
        else:
            self.open.append(age // MICROSECOND)
        if age >= DAY:
            if wait.feedback_micros is None:
                self.unanswered += 1
            else:
                self.feedback.append(wait.feedback_micros)

    def add_times(self, day: Any) -> None:
        """The times of a settled day. Who still waits there has waited for three days."""
        known = len(self.answered) + len(self.withdrawals)
        self.answered.frombytes(day.answered_times)
        self.withdrawals.frombytes(day.withdrawn_times)
        ended = len(self.answered) + len(self.withdrawals) - known
        self.open.extend([_LONG_AGO] * (day.handed_over - ended))
        self.unanswered += day.handed_over - len(day.feedback_times) // self.feedback.itemsize
        self.feedback.frombytes(day.feedback_times)

    def add_block(self, other: "Block") -> None:
        """Count all that another block counted: the total of several channels."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for figure, count in other.shares.items():
            self.shares[figure].add_count(count)
        for times in ("answered", "withdrawals", "open", "feedback"):
            getattr(self, times).extend(getattr(other, times))
        for outcome, number in other.deflection.items():
            self.deflection[outcome] += number
        if other.oldest_waiting_at is not None:
            known = self.oldest_waiting_at or other.oldest_waiting_at
            self.oldest_waiting_at = min(known, other.oldest_waiting_at)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, as DESIGN 4.4 names the parts."""
        return {
            "received": self.received,
            "excluded": self.excluded,
            "handed_over": self.handed_over,
            "bot_only": self.bot_only,
            **{figure: count.as_dict() for figure, count in self.shares.items()},
            "live_estimate": self._live_estimate(),
            "seconds_to_feedback": {
                f"p{percent}": _seconds(value)
                for percent, value in zip(
                    PERCENTILES,
                    rates.nearest_ranks(self.feedback, PERCENTILES, unreached=self.unanswered),
                    strict=True,
                )
            },
            "backlog": {
                "waiting": self.waiting,
                "overdue": self.overdue,
                "oldest_seconds": (
                    None
                    if self.oldest_waiting_at is None
                    else _seconds((self.at - self.oldest_waiting_at) // MICROSECOND)
                ),
            },
            "deflection": dict(self.deflection),
        }

    def _live_estimate(self) -> dict[str, float | None] | None:
        if not self.shares[ANSWERED].matured:  # nobody has been observed for 24 hours
            return None
        estimate = rates.live_estimate(self.answered, self.withdrawals, self.open)
        if estimate is None:
            return None
        return {"rate": estimate.rate, "low": estimate.low, "high": estimate.high}


def _seconds(micros: int | None) -> float | int | None:
    """Whole seconds as an integer, so that they print as 300 and not as 300.0."""
    if micros is None:
        return None
    whole, rest = divmod(micros, SECOND_MICROS)
    return whole if rest == 0 else micros / SECOND_MICROS
