"""create_app(settings): the web application, put together."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError

from api import failures, logs, routes, sockets
from api.accounts import Channels
from api.bus import EventBus, create_bus
from api.crypto import Keyring
from api.db import Database
from api.desks import Desks
from api.doors import Doors
from api.edge import Edge
from api.errors import RefdeskError
from api.libraries import default_library
from api.limits import create_limiter
from api.settings import Settings
from api.spool import Spool
from api.standby import Standby
from api.state import Clock, State, install
from api.taking import replay
from api.tokens import DatabaseTokens
from api.typing_signs import TypingSigns
from api.worker import Worker
from kb.knowledge import KnowledgeBases
from kb.meaning import meaning
from kb.segment import use_cache

STATIC = Path(__file__).parent / "static"


def present_time() -> datetime:
    """The one place that asks the machine what time it is."""
    return datetime.now(UTC)


def create_state(
    settings: Settings,
    *,
    clock: Clock = present_time,
    database: Database | None = None,
    bus: EventBus | None = None,
    knowledge: KnowledgeBases | None = None,
) -> State:
    """Everything that the web application, the worker and the command line share."""
    use_cache(settings.var_dir / "jieba")
    bus = bus or create_bus(settings.redis_url)
    database = database or Database(settings.database_url, publish=bus.publish)
    keyring = Keyring(settings.key())
    knowledge = knowledge or KnowledgeBases(
        cache=settings.var_dir / "knowledge",
        meaning=meaning(settings.semantic_model, settings.semantic_languages),
    )
    desks = Desks(knowledge, settings.public_url)
    channels = Channels(keyring, DatabaseTokens(database, keyring, clock))
    return State(
        settings=settings,
        database=database,
        bus=bus,
        clock=clock,
        knowledge=knowledge,
        keyring=keyring,
        limiter=create_limiter(enabled=settings.rate_limits, redis_url=settings.redis_url),
        channels=channels,
        desks=desks,
        doors=Doors(database, desks, default=settings.default_library),
        standby=Standby(
            database,
            Spool(settings.spool, keyring),
            folder=settings.spool,
            keyring=keyring,
            clock=clock,
        ),
        typing_signs=TypingSigns(database, channels),
        uses_present_time=clock is present_time,
    )


def create_app(
    settings: Settings,
    *,
    clock: Clock = present_time,
    database: Database | None = None,
    bus: EventBus | None = None,
    knowledge: KnowledgeBases | None = None,
) -> FastAPI:
    """The web application. Parts that are not given are made from the settings."""
    logs.configure(settings)
    state = create_state(settings, clock=clock, database=database, bus=bus, knowledge=knowledge)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        worker = Worker(state) if settings.runs_worker else None
        threading.Thread(target=warm, args=(state,), name="warm", daemon=True).start()
        state.standby.start(lambda record: replay(state, record))
        if worker is not None:
            worker.start()
        try:
            yield
        finally:
            if worker is not None:
                worker.stop()
            state.standby.stop()
            state.close()

    app = FastAPI(
        title="refdesk",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # /metrics has ours
    )
    install(app, state)
    failures.install(app)
    routes.install(app)
    sockets.install(app, state)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Edge, settings=settings, measures=state.measures)
    return app


def warm(state: State) -> None:
    """Fit the default library's knowledge before the first patron asks."""
    try:
        with state.database.snapshot() as session:
            library = default_library(session, state.settings.default_library)
            state.desks.of(session, library.id, now=state.clock())
    except (SQLAlchemyError, RefdeskError) as error:
        # The server starts all the same: /readyz shows it, and the first question tries again.
        logs.log_problem("knowledge_not_warmed", error)
    else:
        state.warmed.set()
