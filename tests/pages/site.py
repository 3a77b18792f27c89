"""A small library on a real server of this machine, for a real browser to look at."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from api.accounts import built_in_account
from api.app import create_app
from api.bus import EventBus
from api.db import Database
from api.libraries import add_library
from api.models import Role
from api.settings import Settings
from api.staff import add_staff
from api.state import Clock
from kb.files import load_file
from kb.knowledge import KnowledgeBases
from kb.library import import_entries
from kb.starter import STARTER
from tracker.calendars import save_calendar

PASSWORD = "correct horse battery"
LIBRARIAN = "lin@example.org"
COLLEAGUE = "chen@example.org"
MANAGER = "zhao@example.org"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def week(open_from: str, until: str, *, days: tuple[str, ...] = WEEKDAYS) -> dict[str, Any]:
    """A calendar with the same hours on each of some weekdays."""
    weekly = {day: [[open_from, until]] if day in days else [] for day in WEEKDAYS}
    versions = [{"valid_from": "2020-01-01", "weekly": weekly}]
    return {"tz": "Asia/Shanghai", "versions": versions, "exceptions": {}}


def fill(database: Database, now: datetime) -> None:
    """The demo library with its starter knowledge, its hours and three members of staff."""
    with database.transaction() as session:
        library = add_library(
            session, "demo", name="云岭大学图书馆", timezone="Asia/Shanghai", now=now
        )
        library.settings = {"catalogue_url": "https://catalogue.example.org/?q={title}"}
        import_entries(session, library.id, load_file(STARTER), now=now, by="tests")
        desk = week("08:30", "17:30", days=WEEKDAYS[:5])
        save_calendar(session, library.id, "desk", desk, now=now, by="tests")
        building = week("07:30", "22:30")
        save_calendar(session, library.id, "building", building, now=now, by="tests")
        for kind in ("web", "rasa"):
            built_in_account(session, library, kind, now=now)
        for email, name, role in (
            (LIBRARIAN, "林馆员", Role.LIBRARIAN),
            (COLLEAGUE, "陈馆员", Role.LIBRARIAN),
            (MANAGER, "赵主任", Role.MANAGER),
        ):
            add_staff(
                session,
                email,
                name=name,
                role=role,
                library_id=library.id,
                now=now,
                password=PASSWORD,
            )


@dataclass(frozen=True)
class Site:
    """A running server."""

    url: str
    database: Database
    app: FastAPI


def settings_for(database_url: str, folder: Path, port: int) -> Settings:
    """Settings for a throw-away server."""
    return Settings.load(
        database_url=database_url,
        secret_key="a key for tests only, of decent length",
        spool_dir=folder / "spool",
        port=port,
        with_worker=False,
        rate_limits=False,
        smtp_host="127.0.0.1",  # for the pages; without a worker nothing is sent
        smtp_from="desk@example.org",
        log_level="error",
    )


@contextmanager
def serving(
    folder: Path,
    clock: Clock,
    database: Database,
    *,
    bus: EventBus,
    knowledge: KnowledgeBases | None = None,
    **changes: Any,
) -> Iterator[Site]:
    """Serve the library until the block ends; `changes` are settings."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        settings = settings_for(database.url, folder, port).model_copy(update=changes)
        app = create_app(settings, clock=clock, database=database, bus=bus, knowledge=knowledge)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            yield Site(f"http://127.0.0.1:{port}", database, app)
        finally:
            server.should_exit = True
            thread.join(timeout=10)
