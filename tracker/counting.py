"""The counts of a stretch of consultations in one statement, where rollups do not reach.

The same questions as `tracker.figures` puts to each consultation, asked of the database: what
`Block.add` counts one by one is summed here. Tests hold the two together.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    case,
    func,
    literal,
    null,
    or_,
    select,
)
from sqlalchemy.orm import Session

from tracker.clock import day_bounds, zone
from tracker.columns import UtcDateTime
from tracker.figures import (
    ANSWERED,
    DAY_MICROS,
    DEFLECTION_MATURITY,
    INCLUSIVE,
    INCLUSIVE_MATURITY,
    NEXT_DAY,
    RESPONDED,
    WAIT,
)
from tracker.fold import DAY
from tracker.models import Consultation, Library

C = Consultation

# Who waits for a first response, as `figures.is_waiting` says; an index holds just these.
UNANSWERED = and_(
    C.excluded_at.is_(None), C.handed_over, C.feedback_at.is_(None), C.withdrawn_at.is_(None)
)

# Not by its status, the index of which would find all that were closed.
CLOSED_UNANSWERED = and_(UNANSWERED, C.closed_at.is_not(None))

Moment = datetime | BindParameter[datetime]


class Moments(NamedTuple):
    """The instant asked about, and those that decide what has matured by then."""

    at: Moment
    a_day_ago: Moment
    two_days_ago: Moment
    three_days_ago: Moment

    @classmethod
    def of(cls, at: datetime) -> "Moments":
        return cls(at, at - DAY, at - INCLUSIVE_MATURITY, at - DEFLECTION_MATURITY)


# Filled in where the statement is executed: its many columns are built once.
_ASKED = Moments(*[bindparam(name, type_=UtcDateTime()) for name in Moments._fields])


class Question(NamedTuple):
    """What one rate asks of a consultation."""

    who: ColumnElement[bool]  # is in it at all
    matured: ColumnElement[bool]  # has been observed long enough
    in_time: ColumnElement[bool]  # may be NULL, which is no
    answered: ColumnElement[bool]  # in time or not


def counts(
    session: Session,
    libraries: Sequence[Library],
    inside: ColumnElement[bool],
    *,
    at: datetime,
    days: Sequence[date] = (),
) -> Iterator[dict[str, Any]]:
    """Counts by library and channel, and by local day where `days` are given.

    They are for `Block.add_counts`. Reads consultations as they stand, of those to which
    nothing happened after `at`. `inside` is the period, and the libraries have one time zone.
    Of `days`, in order, each row's `day` is one.
    """
    columns = _columns(sqlite=session.connection().dialect.name == "sqlite")
    place = _place(libraries, days)
    query = (
        select(C.library_id, C.channel, place.label("place"), *columns.values())
        .where(C.library_id.in_([item.id for item in libraries]), inside, *standing(at))
        .group_by(C.library_id, C.channel, *(["place"] if days else []))
    )
    names = ("library_id", "channel", "place", *columns)
    for row in session.execute(query, Moments.of(at)._asdict()):
        found = dict(zip(names, row, strict=True))
        found["day"] = days[found.pop("place")] if days else None
        yield found


@cache
def _columns(*, sqlite: bool) -> Mapping[str, ColumnElement[Any]]:
    """What is counted, by name."""
    counted = C.excluded_at.is_(None)
    columns: dict[str, ColumnElement[Any]] = {
        "received": func.count(),
        "excluded": _many(C.excluded_at.is_not(None)),
        "excluded_late": _many(and_(C.excluded_at.is_not(None), C.excluded_late)),
        "withdrawn": _many(and_(counted, C.withdrawn_at.is_not(None))),
        "directional": _many(and_(counted, C.directional)),
        "handed_over": _many(and_(counted, C.handed_over)),
        "bot_only": _many(and_(counted, C.handed_over.is_(False))),
    }
    columns |= _rates(_ASKED, sqlite=sqlite)
    columns |= _backlog(_ASKED)
    columns |= _deflection(_ASKED, counted)
    return {name: column.label(name) for name, column in columns.items()}


def questions(asked: Moments, *, sqlite: bool) -> Mapping[str, Question]:
    """What each rate asks, as `figures.judge` decides it."""
    counted = C.excluded_at.is_(None)
    handed = and_(counted, C.handed_over)
    by_bot = and_(C.bot_at >= C.received_at, C.bot_at <= later(C.received_at, DAY, sqlite=sqlite))
    return {
        INCLUSIVE: Question(
            counted,
            C.received_at <= asked.two_days_ago,
            or_(_in_a_day(C.feedback_micros), by_bot),
            or_(C.feedback_at.is_not(None), C.bot_at.is_not(None)),
        ),
        ANSWERED: Question(
            handed,
            C.received_at <= asked.a_day_ago,
            _in_a_day(C.answered_micros),
            C.answered_at.is_not(None),
        ),
        RESPONDED: Question(
            handed,
            C.received_at <= asked.a_day_ago,
            _in_a_day(C.feedback_micros),
            C.feedback_at.is_not(None),
        ),
        NEXT_DAY: Question(
            and_(handed, C.next_day_due_at.is_not(None)),
            C.next_day_due_at < asked.at,
            C.feedback_at.between(C.received_at, C.next_day_due_at),
            C.feedback_at.is_not(None),
        ),
    }


def _rates(moments: Moments, *, sqlite: bool) -> dict[str, ColumnElement[Any]]:
    """Of each rate, what `RateCount` counts."""
    columns: dict[str, ColumnElement[Any]] = {}
    for name, asked in questions(moments, sqlite=sqlite).items():
        met = func.coalesce(asked.in_time, False)
        young = and_(asked.who, ~asked.matured)
        columns[f"{name}/within"] = _many(and_(asked.who, asked.matured, met))
        columns[f"{name}/matured"] = _many(and_(asked.who, asked.matured))
        columns[f"{name}/pending"] = _many(young)
        columns[f"{name}/pending_in_time"] = _many(and_(young, met))
        columns[f"{name}/pending_open"] = _many(and_(young, ~asked.answered))
    return columns


def _backlog(asked: Moments) -> dict[str, ColumnElement[Any]]:
    return {
        "waiting": _many(UNANSWERED),
        "overdue": _many(and_(UNANSWERED, C.received_at < asked.a_day_ago)),
        "oldest_waiting_at": func.min(case((UNANSWERED, C.received_at))),
    }


def _deflection(asked: Moments, counted: ColumnElement[bool]) -> dict[str, ColumnElement[Any]]:
    old = and_(counted, C.bot_first, deflection_matured(asked))
    bots = and_(old, C.handed_over.is_(False))
    return {
        "bot_first": _many(old),
        "confirmed": _many(and_(bots, C.bot_accepted)),
        "presumed": _many(and_(bots, C.bot_accepted.is_(False))),
        "abandoned": _many(and_(old, C.handed_over, C.feedback_at.is_(None))),
    }


def deflection_matured(asked: Moments) -> ColumnElement[bool]:
    """Whether three days have shown what became of a bot's answer."""
    old: ColumnElement[bool] = C.received_at <= asked.three_days_ago
    return old


def waits(
    session: Session, library: Library, inside: ColumnElement[bool], *, at: datetime
) -> Iterator[Any]:
    """What `Block.add_wait` needs of those of the same consultations that were handed over."""
    query = select(C.channel, *[getattr(C, name) for name in WAIT]).where(
        C.library_id == library.id, inside, *standing(at), C.excluded_at.is_(None), C.handed_over
    )
    yield from session.execute(query.execution_options(yield_per=5_000))


def standing(at: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Those received by then to which nothing has happened since: the row is what it was."""
    return C.received_at <= at, unchanged_since(at)


def unchanged_since(at: datetime) -> ColumnElement[bool]:
    """Those to which nothing has happened since.

    Nearly all: written so that no database takes the index for it, and reads them all.
    """
    unchanged: ColumnElement[bool] = func.coalesce(C.last_event_at, C.received_at) <= at
    return unchanged


def _many(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(condition)


def _in_a_day(micros: Any) -> ColumnElement[bool]:
    within: ColumnElement[bool] = micros.between(0, DAY_MICROS)
    return within


def _place(libraries: Sequence[Library], days: Sequence[date]) -> ColumnElement[Any]:
    """Which of the days it is; a CASE, because SQLite knows no time zones."""
    if not days:
        return null()
    tz = zone(libraries[0].timezone)
    ends = [(C.received_at < day_bounds(day, tz)[1], place) for place, day in enumerate(days)]
    return case(*[(end, literal(place)) for end, place in ends])


def later(instant: Any, wait: timedelta, *, sqlite: bool) -> ColumnElement[datetime]:
    """So many whole days of 24 hours later to the microsecond.

    SQLite keeps instants as text and cannot add to them; elsewhere a day may have 23 hours.
    """
    found: ColumnElement[datetime]
    if sqlite:
        found = func.datetime(instant, f"+{wait.days} days").op("||")(func.substr(instant, 20))
    else:
        found = instant + func.make_interval(0, 0, 0, 0, 24 * wait.days)
    return found
