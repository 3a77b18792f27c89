"""refdesk serve and refdesk worker: the processes that run all day."""

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.shell import (
    Failed,
    load_settings,
    one_command,
    open_database,
    present_time,
    say,
    warn,
)
from api.settings import Settings

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from api.db import Database

GRACE_SECONDS = 3  # for requests under way when the server is told to stop
serve_app = one_command("serve")
worker_app = one_command("worker")
COMMANDS = {"serve": serve_app, "worker": worker_app}


@serve_app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Web processes; more than 1 need Redis.")] = 1,
    demo: Annotated[
        bool, typer.Option("--demo", help="Load the demo library if there is no library yet.")
    ] = False,
) -> None:
    """Serve the web pages, the widget and all webhooks; without Redis, deliver too.

    Example: refdesk serve --port 8000
    """
    given = {"host": host, "port": port}
    settings = Settings.load(**{key: value for key, value in given.items() if value is not None})
    if workers > 1 and settings.redis_url is None:
        warn("Several web processes need REFDESK_REDIS_URL, or they would not hear each other.")
        raise typer.Exit(2)
    lines = [f"refdesk listens on {settings.public_url}   (stop with Ctrl-C)"]
    with _prepared(settings) as database:
        if demo:
            lines += _demo_lines(database, settings)
    _run(settings, workers, "\n".join(lines))


@contextmanager
def _prepared(settings: Settings) -> "Iterator[Database]":
    """The database with tables of this version, and the key: there before the first process."""
    from api.db import Database
    from api.migrations import current, head, upgrade

    settings.key()
    if settings.is_sqlite:
        database = Database(settings.database_url)
        try:
            if current(database) != head():
                upgrade(database)
        finally:
            database.close()
    with open_database(settings) as database:
        yield database


def _demo_lines(database: "Database", settings: Settings) -> list[str]:
    """Where to look and how to sign in, if this installation shows the demo library."""
    from api import demo
    from api.libraries import all_libraries

    with database.snapshot() as session:
        slugs = [library.slug for library in all_libraries(session)]
    if not slugs:
        say("Loading the demo library.")
        _elsewhere(_load_demo, settings)
    elif "demo" not in slugs:
        return []
    url = settings.public_url
    return [
        "",
        "Open",
        f"  {url}/         the demo library's page, with the chat in its corner",
        f"  {url}/desk     the librarians' desk",
        f"  {url}/manage   the rates and the cases behind them",
        "Sign in as",
        *(f"  {a.email:<24}{a.password:<20}{a.role}" for a in demo.ACCOUNTS),
    ]


def _elsewhere(task: Callable[[Settings], None], settings: Settings) -> None:
    """Do it in a process of its own, so that the server does not keep the memory it took."""
    process = multiprocessing.get_context("spawn").Process(target=task, args=(settings,))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise Failed("The demo library could not be loaded.")


def _load_demo(settings: Settings) -> None:
    """Fill the demo library, and learn from its knowledge base what is kept on the disk."""
    from api import demo
    from api.app import create_state, warm

    with open_database(settings) as database, database.transaction() as session:
        demo.load(session, days=demo.DAYS, seed=demo.SEED, now=present_time())
    state = create_state(settings)
    warm(state)
    state.close()


def _run(settings: Settings, workers: int, announcement: str) -> None:
    import uvicorn

    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": True,
        "forwarded_allow_ips": list(settings.trusted_proxies),
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }
    if workers == 1:
        from api.app import create_app

        _check_port(settings)
        server = uvicorn.Server(uvicorn.Config(create_app(settings), **options))
        _announce_when_up(server, announcement)
        server.run()
        if not server.started:
            raise typer.Exit(1)
        return
    os.environ["REFDESK_HOST"] = settings.host  # the children read their settings anew
    os.environ["REFDESK_PORT"] = str(settings.port)
    say(announcement)
    sys.stdout.flush()
    uvicorn.run("api.cli.serving:build", factory=True, workers=workers, **options)


def _check_port(settings: Settings) -> None:
    """Say at once, and in a sentence, that somebody else listens there."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise Failed(
                f"Cannot listen on {settings.host} port {settings.port} ({error.strerror}): "
                "choose another with --port or REFDESK_PORT."
            ) from None


def _announce_when_up(server: "uvicorn.Server", announcement: str) -> None:
    """Say where to look once the port is open, not before."""
    start = server.startup

    async def started(*args: Any, **options: Any) -> None:
        await start(*args, **options)
        if server.started:
            say(announcement)
            sys.stdout.flush()

    server.startup = started  # type: ignore[method-assign]


def build() -> "FastAPI":
    """The application of one of several web processes."""
    from api.app import create_app

    return create_app(Settings.load())


@worker_app.command()
def worker() -> None:
    """Deliver replies, notice missed deadlines, keep the figures fresh; until it is stopped.

    Example: refdesk worker
    """
    from api import logs
    from api.app import create_state
    from api.worker import Worker

    settings = load_settings()
    with open_database(settings):
        pass  # the tables are there, and of this version
    logs.configure(settings)
    state = create_state(settings)
    running = Worker(state)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.ask_to_stop())
    say("refdesk worker runs  (stop with Ctrl-C)")
    try:
        running.run()
    finally:
        state.close()
