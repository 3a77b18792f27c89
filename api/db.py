"""The engine, and the two ways to use it: a transaction that is kept, a snapshot that is read.

SQLite has one writer at a time. Ours wait in line for a lock of this process, in which they
sleep; left to SQLite's own time-out they would poll, and under load starve each other.
"""

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy import create_engine as sqlalchemy_engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DisconnectionError, DontWrapMixin
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

import api.asides
import api.models
import bot.models
import kb.models
from api.errors import RefdeskError
from api.notices import Publish, pending, watch
from kb.columns import Base as KnowledgeBase
from tracker.columns import Base

BUSY_MILLISECONDS = 10_000  # how long another process (the command line) may hold SQLite
POOL_SIZE = 20
REST_SECONDS = 5.0  # after which a connection is asked whether it still stands
GROUP_SIZE = 16  # transactions that one commit may write
GROUP_SECONDS = 0.05  # how long the first of them may wait for the others
SNAPSHOT: dict[str, Any] = {
    "isolation_level": "REPEATABLE READ",
    "execution_options": {"postgresql_readonly": True},
}
SUSPECT = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)  # in JSON: NUL, or of a pair
MODELS = (Base.metadata, KnowledgeBase.metadata)
_RESTS_SINCE = "rests_since"
_ = (
    api.asides,
    api.models,
    bot.models,
    kb.models,
)  # imported so that their tables are in the metadata


class Unkeepable(DontWrapMixin, RefdeskError):
    """A character in the request cannot be kept: NUL, or half of a character."""

    status = 400


def create_engine(url: str, *, read_only: bool = False, durable: bool = True) -> Engine:
    """An engine for SQLite or PostgreSQL, set up so that a commit is on the disk.

    `durable=False` is for tests and throw-away copies only.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = _sqlite_engine(parsed, read_only=read_only, durable=durable)
    else:
        engine = _postgresql_engine(parsed, read_only=read_only)
    event.listen(engine, "before_cursor_execute", _refuse_unkeepable)
    return engine


def _postgresql_engine(url: URL, *, read_only: bool) -> Engine:
    engine = sqlalchemy_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        hide_parameters=True,  # an error message must not quote a patron
        json_serializer=_json,
        connect_args={"connect_timeout": 5, "application_name": "refdesk"},
        **(SNAPSHOT if read_only else {}),
    )
    _try_rested_connections(engine)
    return engine


def _try_rested_connections(engine: Engine) -> None:
    """Ask a connection that nobody used for a while whether it still stands.

    SQLAlchemy's own `pool_pre_ping` asks before every transaction, which is one journey to
    the database in ten. A connection that breaks in use ends all others by itself.
    """

    @event.listens_for(engine, "checkin")
    def rest(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_RESTS_SINCE] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def wake(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        since = record.info.get(_RESTS_SINCE)
        if since is None or time.monotonic() - since < REST_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool then opens another one


def _sqlite_engine(url: URL, *, read_only: bool, durable: bool) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sqlalchemy_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        hide_parameters=True,
        json_serializer=_json,
        connect_args={"timeout": BUSY_MILLISECONDS / 1000, "check_same_thread": False},
    )
    pragmas = [
        "journal_mode=WAL",
        f"synchronous={'FULL' if durable else 'OFF'}",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_MILLISECONDS}",
        "temp_store=MEMORY",
        "cache_size=-16000",
        *(["query_only=ON"] if read_only else []),
    ]

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _refuse_unkeepable(
    _connection: Connection, _cursor: Any, _statement: str, parameters: Any, *_: Any
) -> None:
    """Neither database is handed what PostgreSQL refuses, whichever field it was typed into.

    SQLite would keep a NUL; a library that grows to PostgreSQL could not take it along.
    """
    for values in parameters if isinstance(parameters, list) else (parameters,):
        given = values.values() if isinstance(values, dict) else values
        if not _is_keepable("".join([value for value in given if isinstance(value, str)])):
            raise Unkeepable


def _json(content: Any) -> str:
    """A JSON column's text. Raises Unkeepable: what is escaped in it would break its readers."""
    text = json.dumps(content)
    if SUSPECT.search(text) and not all(_is_keepable(each) for each in _texts(content)):
        raise Unkeepable
    return text


def _is_keepable(text: str) -> bool:
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character
        return False
    return True


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield str(key)
            yield from _texts(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts(value)


def insert(session: Session, model: type[Any]) -> Any:
    """An INSERT that knows ON CONFLICT, on either database."""
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    return (postgresql.insert if is_postgresql else sqlite.insert)(model)


class Turn:
    """A lock whose waiters get it in the order in which they came."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._owner: int | None = None

    @property
    def has_waiters(self) -> bool:
        return bool(self._waiting)

    def take(self) -> None:
        me = threading.get_ident()
        with self._guard:
            if self._owner == me:
                raise RuntimeError("a transaction inside a transaction would wait for ever")
            if self._owner is None:
                self._owner = me
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()
        self._owner = me

    def give(self) -> None:
        with self._guard:
            if self._waiting:
                self._owner = 0  # taken, by a thread that is about to wake
                self._waiting.popleft().release()
            else:
                self._owner = None


class Group:
    """Transactions that follow each other closely and go to the disk in one commit."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.members = 0
        self.done = threading.Event()
        self.failure: Exception | None = None
        self._transaction = connection.begin()
        self._until = time.monotonic() + GROUP_SECONDS

    @property
    def is_full(self) -> bool:
        return self.members >= GROUP_SIZE or time.monotonic() >= self._until

    def commit(self) -> None:
        """Write everything to the disk and let those go who wait for it."""
        try:
            if not self.connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
                raise LostTransaction  # the disk is full, say: SQLite has undone all of it
            self._transaction.commit()
        except Exception as error:  # noqa: BLE001 - every member must hear of it, and raises it
            self.failure = error
            self.connection.invalidate()
        finally:
            self.connection.close()
            self.done.set()


class LostTransaction(RefdeskError):
    """The database could not keep the change: try again."""

    status = 503


class SqliteWriter:
    """Gives one thread after the other a transaction of its own, and commits them in groups.

    A commit waits for the disk much longer than for the processor. So whoever finishes while
    others wait in line leaves the commit to them: each works within a savepoint, the last one
    commits, and all of them return only then. Nobody is told "kept" before it is on the disk.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessionmaker(
            expire_on_commit=False, join_transaction_mode="create_savepoint"
        )
        watch(self._sessions)
        self._turn = Turn()
        self._group: Group | None = None

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        self._turn.take()
        group = None
        try:
            group = self._group = self._group or Group(self._engine.connect())
            with self._sessions(bind=group.connection) as session, session.begin():
                yield session
            group.members += 1
        finally:
            if group is not None and (group.is_full or not self._turn.has_waiters):
                self._group = None
                group.commit()
            self._turn.give()
        group.done.wait()
        if group.failure is not None:
            raise group.failure


class Database:
    """Where everything is kept. Sessions are short: one per request, one commit each."""

    def __init__(self, url: str, *, publish: Publish | None = None, durable: bool = True) -> None:
        self.url = url
        self.engine = create_engine(url, durable=durable)
        self.reader = create_engine(url, read_only=True, durable=durable)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.listeners: list[Publish] = [] if publish is None else [publish]
        self._snapshots = sessionmaker(self.reader, expire_on_commit=False, autoflush=False)
        self._begin: Callable[[], AbstractContextManager[Session]]
        if self.is_sqlite:
            self._begin = SqliteWriter(self.engine).transaction
        else:
            sessions = sessionmaker(self.engine, expire_on_commit=False)
            watch(sessions)
            self._begin = sessions.begin

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose changes are all committed at the end, or none of them.

        Whoever watches is told after the commit (see api.notices).
        """
        with self._begin() as session:
            yield session
        if notices := pending(session):
            for listener in self.listeners:
                listener(*notices)

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A session that reads one consistent state and cannot change anything."""
        with self._snapshots() as session:
            yield session

    def is_healthy(self) -> bool:
        """Whether a trivial question is answered. Raises what the driver raises if not."""
        with self.snapshot() as session:
            return bool(session.scalar(text("SELECT 1")) == 1)

    def close(self) -> None:
        self.engine.dispose()
        self.reader.dispose()

    def create_all(self) -> None:
        """Make every table as the models say; migrations do this outside tests."""
        for metadata in MODELS:
            metadata.create_all(self.engine)
