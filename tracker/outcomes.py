"""What each consultation of a period is to a figure: counted in one statement, or listed.

A figure sorts consultations into outcomes. The database sorts those to which nothing has
happened since the instant asked about; the others are folded as they were then, and sorted
here by the same rules. Tests hold the two together.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import product
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, literal, not_, or_, select, true
from sqlalchemy.orm import Session

from tracker import counting
from tracker.counting import UNANSWERED, C, Moments, later
from tracker.figures import (
    ABANDONED,
    CONFIRMED,
    MISSED,
    PENDING,
    PENDING_IN_TIME,
    PENDING_LATE,
    PENDING_OPEN,
    PRESUMED,
    RATES,
    STAFFED,
    WITHIN,
    Block,
    Case,
    deflection,
    is_waiting,
    judge,
)
from tracker.fold import DAY, Facts
from tracker.models import Library
from tracker.stats import as_they_were, in_stretches, tally

TICK = timedelta(microseconds=1)
REOPEN_WINDOW = timedelta(days=7)
BACKLOG = "backlog"
CLOSED_UNANSWERED = "closed_unanswered"
READ_LEVELS = range(1, 7)
DAILY = (
    "received",
    "excluded",
    "excluded_late",
    "handed_over",
    "bot_only",
    "withdrawn",
    "directional",
    "reference",
)
MISSES_FIRST = {MISSED: 0, "overdue": 0, PENDING_LATE: 1, PENDING_OPEN: 2, PENDING_IN_TIME: 3}
# The other outcomes come after these.
GROUPS: Mapping[str, frozenset[str]] = {
    "pending": PENDING,
    "matured": frozenset({WITHIN, MISSED}),
    "waiting": frozenset({"waiting", "overdue"}),
    "accepted": frozenset({"accepted", "both"}),
    "rejected": frozenset({"rejected", "both"}),
    "said": frozenset({"accepted", "rejected", "both"}),
}


class Listed(NamedTuple):
    """One consultation behind a figure, and what it is to it."""

    id: int
    key: str
    received_at: datetime
    outcome: str


class Of(NamedTuple):
    """Of whom: those that count, of a topic ("" for none), or first answered by somebody."""

    topic: str | None = None
    by: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """For the database."""
        found: list[ColumnElement[bool]] = []
        if self.topic is not None:
            found += [C.excluded_at.is_(None), func.coalesce(C.topic, "") == self.topic]
        if self.by is not None:
            found += [C.excluded_at.is_(None), C.feedback_by == self.by]
        return found

    def fits(self, item: Case) -> bool:
        """For one at a time."""
        return (self.topic is None or (item.counts and (item.topic or "") == self.topic)) and (
            self.by is None or (item.counts and item.feedback_by == self.by)
        )


EVERYBODY = Of()


def is_asked_for(outcome: str, wanted: str | None) -> bool:
    """Whether an outcome is the wanted one or belongs to the wanted group; None wants all."""
    return wanted is None or outcome == wanted or outcome in GROUPS.get(wanted, ())


def listed(
    session: Session,
    library: Library,
    figure: str,
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    channel: str | None = None,
    of: Of = EVERYBODY,
    hours: Sequence[tuple[datetime, datetime]] = (),
    outcome: str | None = None,
    limit: int | None = None,
) -> list[Listed]:
    """The consultations that a figure counts, misses first, then in the order of receipt.

    `hours` are stretches of the period, in order, where not all of it is wanted; `outcome` is
    one or a group of them, `limit` how many of the first are wanted. Raises ValueError for an
    unknown figure.
    """
    rules = _rules(session, figure, at)
    wanted = {name: rule for name, rule in rules.items() if is_asked_for(name, outcome)}
    if not wanted:
        return []
    periods = [_received(stretch, at) for stretch in hours] or [
        [in_stretches(library, [(start, end)]), C.received_at <= at]
    ]
    found: list[Listed] = []
    # One after the other: of many stretches in one statement SQLite would read all between.
    for some, period in product(_in_places(wanted), periods):
        named = case(*[(rule, literal(name)) for name, rule in some.items()])
        query = select(C.id, C.key, C.received_at, named).where(
            *_of_library(library, at, channel), *period, *of.conditions(), *_among(figure, some)
        )
        if limit is not None:  # in the order of the index, so that it stops when there are enough
            query = query.order_by(_moment(figure), C.key).limit(limit - len(found))
        found += [Listed._make(row) for row in session.execute(query)]
        if limit is not None and len(found) >= limit:
            break
    for item, facts in as_they_were(session, library, start=start, end=end, at=at, channel=channel):
        asked = not hours or any(a <= item.received_at < b for a, b in hours)
        verdict = outcome_of(item, facts, figure, at) if asked and of.fits(item) else None
        if verdict is not None and is_asked_for(verdict, outcome):
            found.append(Listed(item.id, item.key, item.received_at, verdict))
    return in_order(found)[:limit]


def in_order(found: list[Listed]) -> list[Listed]:
    """Misses first, then what may still become one, then by receipt."""
    return sorted(found, key=lambda item: (_place(item.outcome), item.received_at, item.key))


def _in_places(
    rules: Mapping[str, ColumnElement[bool]],
) -> Iterator[Mapping[str, ColumnElement[bool]]]:
    """The outcomes that stand together in a list, those that come first before the others."""
    for place in sorted({_place(name) for name in rules}):
        yield {name: rule for name, rule in rules.items() if _place(name) == place}


def _place(outcome: str) -> int:
    return MISSES_FIRST.get(outcome, len(MISSES_FIRST))


def totals(
    session: Session,
    library: Library,
    figure: str,
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    channel: str | None = None,
    of: Of = EVERYBODY,
) -> Counter[str]:
    """As `counted` of one figure; from the daily counts, where they hold it."""
    period: dict[str, Any] = {"start": start, "end": end, "at": at, "channel": channel}
    if of == EVERYBODY and figure in (*RATES, *DAILY, "deflection"):
        blocks = tally(
            session, library, keys=lambda *_: ("all",), times=False, by_day=False, **period
        )
        return _of_block(blocks.get("all") or Block(at), figure)
    return counted(session, library, [figure], of=of, **period)[figure]


def _of_block(block: Block, figure: str) -> Counter[str]:
    if figure in RATES:
        share = block.shares[figure]
        return Counter(
            {
                WITHIN: share.within,
                MISSED: share.matured - share.within,
                PENDING_IN_TIME: share.pending_in_time,
                PENDING_LATE: share.pending - share.pending_in_time - share.pending_open,
                PENDING_OPEN: share.pending_open,
            }
        )
    if figure == "deflection":
        told = {name: block.deflection[name] for name in (CONFIRMED, PRESUMED, ABANDONED)}
        return Counter({**told, STAFFED: block.deflection["matured"] - sum(told.values())})
    return Counter({figure: getattr(block, figure)})


def counted(
    session: Session,
    library: Library,
    figures: Sequence[str],
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    channel: str | None = None,
    of: Of = EVERYBODY,
) -> dict[str, Counter[str]]:
    """How many consultations have which outcome, of several figures in one statement."""
    names, columns = [], []
    for figure in figures:
        for outcome, condition in _rules(session, figure, at).items():
            names.append((figure, outcome))
            columns.append(func.count().filter(condition))
    found: dict[str, Counter[str]] = {figure: Counter() for figure in figures}
    query = select(*columns).where(*_standing(library, start, end, at, channel), *of.conditions())
    if len(figures) == 1:
        query = query.where(*_among(figures[0], _rules(session, figures[0], at)))
    for (figure, outcome), count in zip(names, session.execute(query).one(), strict=True):
        found[figure][outcome] += count
    for item, facts in as_they_were(session, library, start=start, end=end, at=at, channel=channel):
        for figure in figures if of.fits(item) else ():
            verdict = outcome_of(item, facts, figure, at)
            if verdict is not None:
                found[figure][verdict] += 1
    return found


def _among(figure: str, rules: Mapping[str, ColumnElement[bool]]) -> list[ColumnElement[bool]]:
    """Those that have one of the outcomes; of the backlog said so that its index is found."""
    found = [or_(*rules.values())]
    return [UNANSWERED, *found] if figure in (BACKLOG, CLOSED_UNANSWERED) else found


def _moment(figure: str) -> Any:
    """What a list is ordered by. Of the backlog not by the index of all that was received."""
    if figure in (BACKLOG, CLOSED_UNANSWERED):
        return func.coalesce(C.received_at, C.opened_at)
    return C.received_at


def _standing(
    library: Library, start: date | None, end: date | None, at: datetime, channel: str | None
) -> list[ColumnElement[bool]]:
    period = in_stretches(library, [(start, end)])
    return [*_of_library(library, at, channel), period, C.received_at <= at]


def _of_library(library: Library, at: datetime, channel: str | None) -> list[ColumnElement[bool]]:
    """Those of which the rows still tell how they were then."""
    found = [C.library_id == library.id, counting.unchanged_since(at)]
    return found if channel is None else [*found, C.channel == channel]


def _received(stretch: tuple[datetime, datetime], at: datetime) -> list[ColumnElement[bool]]:
    """Received in a stretch of time, and by then."""
    return [C.received_at >= stretch[0], C.received_at < min(stretch[1], at + TICK)]


# --- the rules, for the database and for one consultation at a time --------------------------


def _rules(session: Session, figure: str, at: datetime) -> Mapping[str, ColumnElement[bool]]:
    """By outcome, which consultations have it; no consultation has two."""
    sqlite = session.connection().dialect.name == "sqlite"
    if figure in RATES:
        return _rate_rules(figure, at, sqlite=sqlite)
    counts = C.excluded_at.is_(None)
    if figure == "deflection":
        old = and_(counts, C.bot_first, counting.deflection_matured(Moments.of(at)))
        return {
            CONFIRMED: and_(old, not_(C.handed_over), C.bot_accepted),
            PRESUMED: and_(old, not_(C.handed_over), not_(C.bot_accepted)),
            ABANDONED: and_(old, C.handed_over, C.feedback_at.is_(None)),
            STAFFED: and_(old, C.handed_over, C.feedback_at.is_not(None)),
        }
    if figure == BACKLOG:
        late = C.received_at < at - DAY
        return {"overdue": and_(UNANSWERED, late), "waiting": and_(UNANSWERED, not_(late))}
    if figure == "reopened":
        closed = and_(counts, C.first_closed_at <= at - REOPEN_WINDOW)
        limit = later(C.first_closed_at, REOPEN_WINDOW, sqlite=sqlite)
        again = func.coalesce(C.reopened_at <= limit, False)
        return {"again": and_(closed, again), "stayed": and_(closed, not_(again))}
    if figure == "acceptance":
        no = C.bot_rejected_at.is_not(None)
        return {
            "both": and_(counts, C.bot_accepted, no),
            "accepted": and_(counts, C.bot_accepted, not_(no), C.bot_at.is_not(None)),
            "rejected": and_(counts, not_(C.bot_accepted), no),
            "silent": and_(counts, not_(C.bot_accepted), not_(no), C.bot_at.is_not(None)),
        }
    if figure == "resolution":
        written = and_(counts, C.handed_over)
        return {
            "closed": and_(written, C.closed_at.is_not(None)),
            "open": and_(written, C.closed_at.is_(None), C.feedback_at.is_not(None)),
        }
    if figure == "read":
        return {f"read_{level}": and_(counts, C.read_scale == level) for level in READ_LEVELS}
    simple = {
        "received": true(),
        "excluded": not_(counts),
        "excluded_late": and_(not_(counts), C.excluded_late),
        "handed_over": and_(counts, C.handed_over),
        "bot_only": and_(counts, not_(C.handed_over)),
        "withdrawn": and_(counts, C.withdrawn_at.is_not(None)),
        "directional": and_(counts, C.directional),
        "reference": and_(counts, not_(C.directional)),
        "reclassified_late": and_(counts, C.reclassified_late),
        CLOSED_UNANSWERED: counting.CLOSED_UNANSWERED,
    }
    if figure not in simple:
        raise ValueError(f"there is no figure {figure!r}")
    return {figure: simple[figure]}


def _rate_rules(figure: str, at: datetime, *, sqlite: bool) -> Mapping[str, ColumnElement[bool]]:
    asked = counting.questions(Moments.of(at), sqlite=sqlite)[figure]
    met = func.coalesce(asked.in_time, False)
    old, young = and_(asked.who, asked.matured), and_(asked.who, not_(asked.matured))
    return {
        WITHIN: and_(old, met),
        MISSED: and_(old, not_(met)),
        PENDING_IN_TIME: and_(young, met),
        PENDING_LATE: and_(young, not_(met), asked.answered),
        PENDING_OPEN: and_(young, not_(met), not_(asked.answered)),
    }


def outcome_of(item: Case, facts: Facts, figure: str, at: datetime) -> str | None:
    """What one consultation is to a figure; None where it is not counted. As `_rules` say."""
    if figure in RATES:
        return judge(item, figure, at)
    if figure == "deflection":
        return deflection(item, at)
    if figure == BACKLOG and is_waiting(item):
        return "overdue" if at - item.received_at > DAY else "waiting"
    simple = {
        "received": True,
        "excluded": not item.counts,
        "excluded_late": not item.counts and item.excluded_late,
        "handed_over": item.counts and item.handed_over,
        "bot_only": item.counts and not item.handed_over,
        "withdrawn": item.counts and item.withdrawn_at is not None,
        "directional": item.counts and item.directional,
        "reference": item.counts and not item.directional,
        "reclassified_late": item.counts and facts.reclassified_late,
        CLOSED_UNANSWERED: is_waiting(item) and facts.closed_at is not None,
    }
    if simple.get(figure):
        return figure
    further = _FURTHER.get(figure)
    return further(facts, at) if further is not None and item.counts else None


def _reopened(facts: Facts, at: datetime) -> str | None:
    if facts.first_closed_at is None or facts.first_closed_at > at - REOPEN_WINDOW:
        return None
    limit = facts.first_closed_at + REOPEN_WINDOW
    return "again" if facts.reopened_at is not None and facts.reopened_at <= limit else "stayed"


def _acceptance(facts: Facts, _: datetime) -> str | None:
    if facts.bot_accepted:
        return "both" if facts.bot_rejected_at is not None else "accepted"
    if facts.bot_rejected_at is not None:
        return "rejected"
    return "silent" if facts.bot_at is not None else None


def _resolution(facts: Facts, _: datetime) -> str | None:
    if not facts.handed_over:
        return None
    if facts.closed_at is not None:
        return "closed"
    return "open" if facts.feedback_at is not None else None


def _read(facts: Facts, _: datetime) -> str | None:
    return f"read_{facts.read_scale}" if facts.read_scale in READ_LEVELS else None


_FURTHER: Mapping[str, Callable[[Facts, datetime], str | None]] = {
    "reopened": _reopened,
    "acceptance": _acceptance,
    "resolution": _resolution,
    "read": _read,
}
