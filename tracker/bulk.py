"""Write many consultations at once: fold in memory, then one statement per table and batch.

Rows and events go past the ORM, because an import of a year must take seconds: plain
executemany on SQLite, COPY on PostgreSQL. What is written is what the verbs would write.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from json import dumps
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from tracker.calendars import DeskCalendar, desk_version
from tracker.consultations import FACTS, deadlines_of
from tracker.fold import Facts, Stream, fold
from tracker.memory import memory_of
from tracker.models import Consultation, Event, Miss
from tracker.streams import Opening, families

_IDENTITY = ("id", "library_id", "key", "opened_at", "opened_channel", "clock_suspect")
_DERIVED = ("calendar_version", "next_day_due_at", "next_due_at")
CONSULTATION_COLUMNS = (*_IDENTITY, *FACTS, *_DERIVED)
EVENT_COLUMNS = (
    "library_id",
    "consultation_id",
    "kind",
    "at",
    "recorded_at",
    "by",
    "text",
    "data",
)
_KEYS_PER_QUERY = 500
IMPORT_CACHE_KIB = 64 * 1024


def widen_cache(session: Session) -> None:
    """Let SQLite keep an import's index pages in memory; else it writes them over and over.

    Holds for the connection; PostgreSQL sees to it by itself.
    """
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size = -{IMPORT_CACHE_KIB}")


def refresh_plans(session: Session) -> None:
    """Tell PostgreSQL how the tables have grown in this transaction, which it cannot see.

    Without it a thousand look-ups by key are planned for an empty table, and crawl.
    """
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ANALYZE consultation, event")


class Written(NamedTuple):
    """What one batch wrote."""

    added: int
    replaced: int
    events: int
    days: set[date]  # local dates whose figures changed
    orphaned: set[str]  # keys of those that a replaced consultation was merged into


class _Known(NamedTuple):
    """A consultation that the batch replaces."""

    id: int
    received_at: datetime
    merged_into: str | None


def write(
    session: Session,
    library_id: int,
    streams: Sequence[Stream],
    *,
    tz: ZoneInfo,
    desk: DeskCalendar | None,
    now: datetime,
) -> Written:
    """Write consultations of one library, each under its key once, replacing what is there."""
    session.flush()
    memory_of(session).events.clear()
    now = now.astimezone(UTC)
    known = _known(session, library_id, [stream.key for stream in streams])
    _forget_events(session, [item.id for item in known.values()])
    fresh = iter(_new_ids(session, len(streams) - len(known)))
    rows: list[tuple[Any, ...]] = []
    replacements: list[tuple[Any, ...]] = []
    events: list[tuple[Any, ...]] = []
    days = {item.received_at.astimezone(tz).date() for item in known.values()}
    for stream in streams:
        old = known.get(stream.key)
        facts = fold([stream])
        identity = old.id if old else next(fresh)
        row = _row(identity, library_id, stream, facts, desk=desk, now=now)
        (replacements if old else rows).append(row)
        days.add(facts.received_at.astimezone(tz).date())
        events += [
            (library_id, identity, e.kind, e.at, now, e.by, e.text, e.data) for e in stream.events
        ]
    insert(session, "consultation", CONSULTATION_COLUMNS, rows)
    if replacements:
        session.execute(
            update(Consultation),
            [dict(zip(CONSULTATION_COLUMNS, row, strict=True)) for row in replacements],
        )
    insert(session, "event", EVENT_COLUMNS, events)
    orphaned = {item.merged_into for item in known.values() if item.merged_into}
    return Written(len(rows), len(replacements), len(events), days, orphaned)


def _known(session: Session, library_id: int, keys: Sequence[str]) -> dict[str, _Known]:
    found = {}
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        for row in session.execute(
            select(
                Consultation.key,
                Consultation.id,
                Consultation.received_at,
                Consultation.merged_into,
            ).where(
                Consultation.library_id == library_id,
                Consultation.key.in_(keys[start : start + _KEYS_PER_QUERY]),
            )
        ):
            found[row.key] = _Known._make(row[1:])
    return found


def _forget_events(session: Session, ids: Sequence[int]) -> None:
    for start in range(0, len(ids), _KEYS_PER_QUERY):
        batch = ids[start : start + _KEYS_PER_QUERY]
        session.execute(delete(Event).where(Event.consultation_id.in_(batch)))
        session.execute(delete(Miss).where(Miss.consultation_id.in_(batch)))


def _new_ids(session: Session, count: int) -> Sequence[int]:
    if session.get_bind().dialect.name == "postgresql":
        sequence = "nextval(pg_get_serial_sequence('consultation', 'id'))"
        query = text(f"SELECT {sequence} FROM generate_series(1, :count)")  # noqa: S608 - constant
        return session.scalars(query, {"count": count}).all()
    last = session.scalar(select(func.max(Consultation.id))) or 0
    return range(last + 1, last + 1 + count)


def _row(
    identity: int,
    library_id: int,
    stream: Stream,
    facts: Facts,
    *,
    desk: DeskCalendar | None,
    now: datetime,
) -> tuple[Any, ...]:
    due = desk.calendar.next_opening_day_due(facts.received_at) if desk else None
    version = desk.version if desk else None
    # A deadline that passed before we knew of the question is no news to alert anybody with.
    running = [at for _, at in deadlines_of(facts, due) if at > now]
    return (
        identity,
        library_id,
        stream.key,
        stream.opened_at,
        stream.opened_channel,
        False,
        *[getattr(facts, name) for name in FACTS],
        version,
        due,
        min(running, default=None),
    )


def insert(
    session: Session, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows of plain values: instants in UTC, booleans, numbers, texts, dicts."""
    if not rows:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        raw: Any = connection.connection.driver_connection
        with raw.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row([dumps(v) if isinstance(v, dict) else v for v in row])
        return
    known = _SQLITE.get
    marks = ", ".join("?" * len(columns))
    connection.exec_driver_sql(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608 - names are ours
        [tuple([c(v) if (c := known(v.__class__)) else v for v in row]) for row in rows],
    )


def _sqlite_text(instant: datetime) -> str:
    """As SQLAlchemy writes it: 26 characters without offset. The instant is in UTC already."""
    return instant.isoformat(" ", "microseconds")[:26]


_SQLITE: dict[type, Callable[[Any], str]] = {datetime: _sqlite_text, dict: dumps}


def refold_merged(
    session: Session,
    library_id: int,
    tz: ZoneInfo,
    *,
    now: datetime,
    also: Iterable[str] = (),
) -> set[date]:
    """Fold anew every consultation that others were merged into; returns the days touched.

    `also` names some that others were merged into before.
    """
    days: set[date] = set()
    targets = session.scalars(
        select(Consultation.merged_into)
        .where(Consultation.library_id == library_id, Consultation.merged_into.is_not(None))
        .distinct()
    ).all()
    keys = sorted({key for key in targets if key is not None}.union(also))
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        rows = session.scalars(
            select(Consultation).where(
                Consultation.library_id == library_id,
                Consultation.key.in_(keys[start : start + _KEYS_PER_QUERY]),
            )
        ).all()
        days |= _refold(session, library_id, rows, tz=tz, now=now)
    return days


def _refold(
    session: Session,
    library_id: int,
    rows: Iterable[Consultation],
    *,
    tz: ZoneInfo,
    now: datetime,
) -> set[date]:
    found = list(rows)
    days = {row.received_at.astimezone(tz).date() for row in found}
    openings = [Opening(row.id, row.key, row.opened_at, row.opened_channel) for row in found]
    streams = families(session, library_id, openings)
    desks: dict[int, DeskCalendar | None] = {}
    for row in found:
        facts = fold(streams[row.key])
        for name in FACTS:
            setattr(row, name, getattr(facts, name))
        version = row.calendar_version
        if version is not None:
            if version not in desks:
                desks[version] = desk_version(session, library_id, version)
            desk = desks[version]
            row.next_day_due_at = (
                desk.calendar.next_opening_day_due(row.received_at) if desk else None
            )
        running = [at for _, at in deadlines_of(facts, row.next_day_due_at) if at > now]
        row.next_due_at = min(running, default=None)
        days.add(row.received_at.astimezone(tz).date())
    session.flush()
    return days
