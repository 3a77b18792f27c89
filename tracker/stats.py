"""The figures of the metric dictionary, read only: rates, live estimate, backlog, deflection.

Every figure is a question asked of each consultation (`judge`), so that a number and the
list of cases behind it can never disagree. The clock is C24 (86,400 s of real time) except
where the name says opening day. Period bounds are local dates of the library.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from tracker import rates
from tracker.clock import day_bounds, utc_text, zone
from tracker.fold import DAY, Facts
from tracker.models import Consultation, Library
from tracker.past import facts_at
from tracker.streams import Opening

REJECTION_WINDOW = timedelta(hours=24)
INCLUSIVE_MATURITY = DAY + REJECTION_WINDOW
DEFLECTION_MATURITY = timedelta(hours=72)

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
    withdrawn_at: datetime | None
    excluded_at: datetime | None
    next_day_due_at: datetime | None

    @property
    def counts(self) -> bool:
        """Whether it is in the rates."""
        return self.excluded_at is None

    def answer_for(self, figure: str) -> datetime | None:
        """The instant that stops this figure's clock."""
        if figure == ANSWERED:
            return self.answered_at
        if figure == INCLUSIVE:
            return min((at for at in (self.feedback_at, self.bot_at) if at), default=None)
        return self.feedback_at


COLUMNS = tuple(getattr(Consultation, name) for name in Case._fields)


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


@dataclass(slots=True)
class RateCount:
    """How many consultations one rate saw, by outcome."""

    within: int = 0
    matured: int = 0
    pending: int = 0
    pending_in_time: int = 0
    pending_open: int = 0

    def add(self, outcome: str | None) -> None:
        if outcome is None:
            return
        if outcome in PENDING:
            self.pending += 1
            self.pending_in_time += outcome == PENDING_IN_TIME
            self.pending_open += outcome == PENDING_OPEN
        else:
            self.matured += 1
            self.within += outcome == WITHIN

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
    handed_over: int = 0
    bot_only: int = 0
    shares: dict[str, RateCount] = field(default_factory=lambda: {n: RateCount() for n in RATES})
    observed: list[tuple[float, rates.Outcome]] = field(default_factory=list)
    oldest_observed: timedelta = timedelta(0)
    waits: list[float] = field(default_factory=list)  # to feedback, of the matured
    unanswered: int = 0
    waiting: int = 0
    overdue: int = 0
    oldest: timedelta | None = None
    deflection: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("confirmed", "presumed", "abandoned", "matured"), 0)
    )

    def add(self, case: Case) -> None:
        """Count one consultation."""
        self.received += 1
        if not case.counts:
            self.excluded += 1
            return
        for figure, count in self.shares.items():
            count.add(judge(case, figure, self.at))
        self._deflect(case)
        if not case.handed_over:
            self.bot_only += 1
            return
        self.handed_over += 1
        age = self.at - case.received_at
        self._observe(case, age)
        if is_waiting(case):
            self.waiting += 1
            self.overdue += age > DAY
            self.oldest = age if self.oldest is None else max(self.oldest, age)

    def _observe(self, case: Case, age: timedelta) -> None:
        self.observed.append(observation(case, self.at))
        self.oldest_observed = max(self.oldest_observed, age)
        if age >= DAY:
            if case.feedback_at is None:
                self.unanswered += 1
            else:
                self.waits.append((case.feedback_at - case.received_at).total_seconds())

    def _deflect(self, case: Case) -> None:
        outcome = deflection(case, self.at)
        if outcome is not None:
            self.deflection["matured"] += 1
            if outcome in self.deflection:
                self.deflection[outcome] += 1

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
                f"p{percent}": _whole(
                    rates.nearest_rank(self.waits, percent, unreached=self.unanswered)
                )
                for percent in (50, 90, 95)
            },
            "backlog": {
                "waiting": self.waiting,
                "overdue": self.overdue,
                "oldest_seconds": (
                    None if self.oldest is None else _whole(self.oldest.total_seconds())
                ),
            },
            "deflection": dict(self.deflection),
        }

    def _live_estimate(self) -> dict[str, float | None] | None:
        if self.oldest_observed < DAY:
            return None
        estimate = rates.live_estimate(self.observed)
        if estimate is None:
            return None
        return {"rate": estimate.rate, "low": estimate.low, "high": estimate.high}


def observation(case: Case, at: datetime) -> tuple[float, rates.Outcome]:
    """What the live estimate sees of one consultation: seconds, and what ended the wait."""
    withdrawn = case.withdrawn_at
    if withdrawn is not None and (case.answered_at is None or withdrawn < case.answered_at):
        return (withdrawn - case.received_at).total_seconds(), "withdrawn"
    if case.answered_at is not None:
        return (case.answered_at - case.received_at).total_seconds(), "answered"
    return (at - case.received_at).total_seconds(), "waiting"


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
        return "confirmed" if case.bot_accepted else "presumed"
    return "abandoned" if case.feedback_at is None else "staffed"


def stats(
    session: Session,
    library: Library,
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    channel: str | None = None,
) -> dict[str, Any]:
    """All figures of a library for a period, JSON-ready, exactly as DESIGN 4.4 says.

    `start` and `end` are inclusive local dates of the library; without them everything
    until `at` counts. What happened after `at` is ignored.
    """
    blocks: dict[str, Block] = {}
    total = Block(at)
    first = None
    for case in selected(session, library, start=start, end=end, at=at, channel=channel):
        blocks.setdefault(case.channel, Block(at)).add(case)
        total.add(case)
        first = case.received_at if first is None else min(first, case.received_at)
    tz = zone(library.timezone)
    last_day = end or at.astimezone(tz).date()
    first_day = start or (first.astimezone(tz).date() if first else last_day)
    return {
        "library": library.slug,
        "from": first_day.isoformat(),
        "to": last_day.isoformat(),
        "at": utc_text(at),
        "channels": {name: blocks[name].as_dict() for name in sorted(blocks)},
        "total": total.as_dict(),
    }


def cases(
    session: Session,
    library: Library,
    *,
    figure: str,
    outcome: str | None = None,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    channel: str | None = None,
) -> list[tuple[Case, str]]:
    """The consultations behind a figure with what each is to it, misses first.

    `figure` is one of RATES (outcomes within, missed, matured, pending), or received,
    excluded, handed_over, bot_only, backlog (waiting, overdue) or deflection (confirmed,
    presumed, abandoned, staffed). Raises ValueError for another.
    """
    found = []
    for case in selected(session, library, start=start, end=end, at=at, channel=channel):
        verdict = _verdict(case, figure, at)
        if verdict is not None and _is_asked_for(verdict, outcome):
            found.append((case, verdict))
    order = {MISSED: 0, "overdue": 0, PENDING_LATE: 1, PENDING_OPEN: 2, PENDING_IN_TIME: 3}
    return sorted(found, key=lambda pair: (order.get(pair[1], 4), pair[0].received_at, pair[0].key))


def _verdict(case: Case, figure: str, at: datetime) -> str | None:
    if figure in RATES:
        return judge(case, figure, at)
    if figure == "backlog":
        late = at - case.received_at > DAY
        return ("overdue" if late else "waiting") if is_waiting(case) else None
    if figure == "deflection":
        return deflection(case, at)
    simple = {
        "received": True,
        "excluded": not case.counts,
        "handed_over": case.counts and case.handed_over,
        "bot_only": case.counts and not case.handed_over,
    }
    if figure not in simple:
        raise ValueError(f"there is no figure {figure!r}")
    return figure if simple[figure] else None


def _is_asked_for(verdict: str, outcome: str | None) -> bool:
    groups: Mapping[str, frozenset[str]] = {
        "pending": PENDING,
        "matured": frozenset({WITHIN, MISSED}),
        "waiting": frozenset({"waiting", "overdue"}),
    }
    return outcome is None or verdict == outcome or verdict in groups.get(outcome, ())


def selected(
    session: Session,
    library: Library,
    *,
    start: date | None,
    end: date | None,
    at: datetime,
    channel: str | None,
) -> Iterator[Case]:
    """The consultations received in the period, each as it was at that instant."""
    query = select(*COLUMNS).where(Consultation.library_id == library.id)
    query = _received(query, library, start=start, end=end).where(
        Consultation.received_at <= at, Consultation.last_event_at <= at
    )
    if channel is not None:
        query = query.where(Consultation.channel == channel)
    for row in session.execute(query.execution_options(yield_per=5_000)):
        yield Case._make(row)
    tz = zone(library.timezone)
    for opening, facts, due in facts_at(session, library.id, at):
        day = facts.received_at.astimezone(tz).date()
        inside = (start is None or start <= day) and (end is None or day <= end)
        if inside and channel in (None, facts.channel):
            yield _case(opening, facts, due)


def _case(opening: Opening, facts: Facts, due: datetime | None) -> Case:
    known = {"id": opening.id, "key": opening.key, "next_day_due_at": due}
    return Case._make(
        known[name] if name in known else getattr(facts, name) for name in Case._fields
    )


def _received(
    query: Select[Any], library: Library, *, start: date | None, end: date | None
) -> Select[Any]:
    tz = zone(library.timezone)
    if start is not None:
        query = query.where(Consultation.received_at >= day_bounds(start, tz)[0])
    if end is not None:
        query = query.where(Consultation.received_at < day_bounds(end, tz)[1])
    return query


def _whole(value: float | None) -> float | int | None:
    """Whole seconds as an integer, so that they print as 300 and not as 300.0."""
    return int(value) if value is not None and value == int(value) else value
