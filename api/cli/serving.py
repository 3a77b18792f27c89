"""refdesk serve and refdesk worker: the processes that run all day."""

import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.shell import load_settings, one_command, open_database, say, warn
from api.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

GRACE_SECONDS = 5  # for requests under way when the server is told to stop
serve_app = one_command("serve")
worker_app = one_command("worker")
COMMANDS = {"serve": serve_app, "worker": worker_app}


@serve_app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Web processes; more than 1 need Redis.")] = 1,
) -> None:
    """Serve the web pages, the widget and all webhooks; without Redis, deliver too.

    Example: refdesk serve --port 8000
    """
    given = {"host": host, "port": port}
    settings = Settings.load(**{key: value for key, value in given.items() if value is not None})
    if workers > 1 and settings.redis_url is None:
        warn("Several web processes need REFDESK_REDIS_URL, or they would not hear each other.")
        raise typer.Exit(2)
    _prepare(settings)
    _run(settings, workers)


def _prepare(settings: Settings) -> None:
    """Tables and key are there before the first process starts."""
    from api.db import Database
    from api.migrations import current, head, upgrade

    database = Database(settings.database_url)
    try:
        if settings.is_sqlite and current(database) != head():
            upgrade(database)
    finally:
        database.close()
    with open_database(settings):
        settings.key()


def _run(settings: Settings, workers: int) -> None:
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

        app = create_app(settings, when_ready=lambda: _announce(settings))
        uvicorn.run(app, **options)
        return
    import os

    os.environ["REFDESK_HOST"] = settings.host  # the children read their settings anew
    os.environ["REFDESK_PORT"] = str(settings.port)
    uvicorn.run("api.cli.serving:build", factory=True, workers=workers, **options)


def build() -> "FastAPI":
    """The application of one of several web processes."""
    from api.app import create_app

    settings = Settings.load()
    return create_app(settings, when_ready=lambda: _announce(settings))


def _announce(settings: Settings) -> None:
    """Say where to look, on standard output, once the server answers."""
    say(f"refdesk listens on {settings.public_url}  (stop with Ctrl-C)")
    sys.stdout.flush()


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
