"""Write many consultations at once: fold in memory, then one statement per table and batch.

Rows and events go past the ORM, because an import of a year must take seconds: plain
executemany on SQLite; on PostgreSQL binary COPY, in a thread of its own, so that the next
batch is read while the database still checks this one. What is written is what the verbs
would write.
"""

import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cache
from json import dumps
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import JSON, Text, cast, delete, func, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session

from tracker.calendars import DeskCalendar, desk_version
from tracker.columns import Base, UtcDateTime
from tracker.consultations import FACTS, deadlines_of
from tracker.fold import Facts, Stream, fold
from tracker.memory import forget
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
_IDS_AT_ONCE = 10_000
_COLLECT_EVERY = 16  # batches: what the statements themselves leave in cycles
_DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
_facts_of = attrgetter(*FACTS)
Item = TypeVar("Item")
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
        connection.exec_driver_sql(
            "ANALYZE consultation (id, library_id, key), event (library_id, consultation_id)"
        )


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


Rows = Sequence[tuple[Any, ...]]


class Inserts:
    """Batches on their way into the tables, one at a time; `filling` makes one.

    Whoever uses the session's connection meanwhile says `wait` first.
    """

    def __init__(self, session: Session, thread: ThreadPoolExecutor | None) -> None:
        self._session = session
        self._thread = thread
        self._under_way: Future[None] | None = None
        self._ids: list[int] = []
        self._batches = 0

    def start(self, consultations: Rows, events: Rows) -> None:
        """Insert a batch, on PostgreSQL without waiting for it."""
        self._batches += 1
        if self._batches % _COLLECT_EVERY == 0:
            gc.collect()
        if self._thread is None:
            insert(self._session, "consultation", CONSULTATION_COLUMNS, consultations)
            insert(self._session, "event", EVENT_COLUMNS, events)
            return
        self.wait()
        raw: Any = self._session.connection().connection.driver_connection
        self._under_way = self._thread.submit(_copy_batch, raw, consultations, events)

    def wait(self) -> None:
        """Until the batch is in. Raises what went wrong with it."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def new_ids(self, count: int) -> list[int]:
        """Numbers for that many consultations, which nobody else will use."""
        if self._thread is None:
            last = self._session.scalar(select(func.max(Consultation.id))) or 0
            return list(range(last + 1, last + 1 + count))
        while len(self._ids) < count:
            self._ids += self._session.scalar(_NEXT_IDS, {"count": _IDS_AT_ONCE}) or ()
        ids, self._ids = self._ids[:count], self._ids[count:]
        return ids


_NEXT_IDS = text(
    "SELECT array_agg(nextval((SELECT CAST(pg_get_serial_sequence('consultation', 'id') "
    "AS regclass)))) FROM generate_series(1, CAST(:count AS integer))"
)


@contextmanager
def filling(session: Session) -> Iterator[Inserts]:
    """What an import writes with; at the end every batch is in, or an error is raised.

    Meanwhile Python does not look for cycles of forgotten objects by itself: it would walk
    through each batch over and over, and there are none in it. Threads take turns ten times as
    often, because the one that feeds PostgreSQL has little to do each time, and must not wait
    for the one that reads while the database is idle.
    """
    collects, turn = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(turn / 10)
    try:
        if session.connection().dialect.name == "postgresql":
            with ThreadPoolExecutor(max_workers=1, thread_name_prefix="import") as thread:
                inserts = Inserts(session, thread)
                yield inserts
                inserts.wait()
        else:
            yield Inserts(session, None)
    finally:
        sys.setswitchinterval(turn)
        if collects:
            gc.enable()


def write(
    session: Session,
    library_id: int,
    streams: Sequence[Stream],
    *,
    inserts: Inserts,
    tz: ZoneInfo,
    desk: DeskCalendar | None,
    now: datetime,
) -> Written:
    """Write consultations of one library, each under its key once, replacing what is there."""
    folded = [(stream, fold([stream])) for stream in streams]
    inserts.wait()
    session.flush()
    forget(session)
    now = now.astimezone(UTC)
    known = _known(session, library_id, [stream.key for stream in streams])
    _forget_events(session, [item.id for item in known.values()])
    fresh = iter(inserts.new_ids(len(streams) - len(known)))
    rows: list[tuple[Any, ...]] = []
    replacements: list[tuple[Any, ...]] = []
    events: list[tuple[Any, ...]] = []
    days = {item.received_at.astimezone(tz).date() for item in known.values()}
    for stream, facts in folded:
        old = known.get(stream.key)
        identity = old.id if old else next(fresh)
        row = _row(identity, library_id, stream, facts, desk=desk, now=now)
        (replacements if old else rows).append(row)
        days.add(facts.received_at.astimezone(tz).date())
        for kind, at, by, words, data in stream.events:
            events.append((library_id, identity, kind, at, now, by, words, data))
    if replacements:
        session.execute(
            update(Consultation),
            [dict(zip(CONSULTATION_COLUMNS, row, strict=True)) for row in replacements],
        )
    inserts.start(rows, events)
    orphaned = {item.merged_into for item in known.values() if item.merged_into}
    return Written(len(rows), len(replacements), len(events), days, orphaned)


def _known(session: Session, library_id: int, keys: Sequence[str]) -> dict[str, _Known]:
    query = select(
        Consultation.key, Consultation.id, Consultation.received_at, Consultation.merged_into
    ).where(Consultation.library_id == library_id)
    if session.connection().dialect.name == "postgresql":  # one parameter, however many keys
        listed = cast(list(keys), postgresql.ARRAY(Text))
        queries = [query.where(Consultation.key == func.any(listed))]
    else:
        queries = [query.where(Consultation.key.in_(batch)) for batch in _parts(keys)]
    return {row.key: _Known._make(row[1:]) for query in queries for row in session.execute(query)}


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _KEYS_PER_QUERY):
        yield items[start : start + _KEYS_PER_QUERY]


def _forget_events(session: Session, ids: Sequence[int]) -> None:
    for batch in _parts(ids):
        session.execute(delete(Event).where(Event.consultation_id.in_(batch)))
        session.execute(delete(Miss).where(Miss.consultation_id.in_(batch)))


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
        *_facts_of(facts),
        version,
        due,
        min(running, default=None),
    )


def insert(session: Session, table: str, columns: Sequence[str], rows: Rows) -> None:
    """Insert rows of plain values: instants in UTC, booleans, numbers, texts, dicts."""
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        _copy(connection.connection.driver_connection, table, columns, rows)
        return
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join("?" * len(columns))
    connection.exec_driver_sql(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608 - names are ours
        _sqlite_rows(table, columns, rows),
    )


def _sqlite_rows(table: str, columns: Sequence[str], rows: Rows) -> list[tuple[Any, ...]]:
    """As SQLAlchemy would write them, at a tenth of the cost."""
    kinds = [Base.metadata.tables[table].columns[name].type for name in columns]
    instants = [place for place, kind in enumerate(kinds) if isinstance(kind, UtcDateTime)]
    documents = [place for place, kind in enumerate(kinds) if isinstance(kind, JSON)]
    texts: dict[datetime | None, str | None] = {None: None}  # each instant fills many columns
    written = []
    for row in rows:
        values = list(row)
        for place in instants:
            instant = values[place]
            if instant not in texts:
                # 26 characters without the offset. The instant is in UTC already.
                texts[instant] = instant.isoformat(" ", "microseconds")[:26]
            values[place] = texts[instant]
        for place in documents:
            if (document := values[place]) is not None:
                values[place] = dumps(document)
        written.append(tuple(values))
    return written


def _copy_batch(raw: Any, consultations: Rows, events: Rows) -> None:
    _copy(raw, "consultation", CONSULTATION_COLUMNS, consultations)
    _copy(raw, "event", EVENT_COLUMNS, events)


def _copy(raw: Any, table: str, columns: Sequence[str], rows: Rows) -> None:
    """Binary, which spares both sides the reading and writing of instants."""
    if not rows:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    statement = f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)"
    with raw.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(_types(table, tuple(columns)))
        for row in rows:
            copy.write_row(row)


@cache
def _types(table: str, columns: tuple[str, ...]) -> list[str]:
    kinds = Base.metadata.tables[table].columns
    names = [kinds[name].type.compile(_DIALECT).lower() for name in columns]
    return [_PG_NAMES.get(name, name) for name in names]


_PG_NAMES = {
    "bigint": "int8",
    "integer": "int4",
    "boolean": "bool",
    "timestamp with time zone": "timestamptz",
}


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
    for batch in _parts(keys):
        rows = session.scalars(
            select(Consultation).where(
                Consultation.library_id == library_id, Consultation.key.in_(batch)
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
