"""What the commands share: settings, a database, printing, and failing with one sentence."""

import getpass
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from api.db import Database
    from api.settings import Settings
    from tracker.models import Library

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LibrarySlug = Annotated[
    str | None, typer.Option("--library", metavar="SLUG", help="Which library; else the default.")
]
Answer = TypeVar("Answer")


class Failed(Exception):
    """The command could not do what it was asked to do."""


def one_command(name: str) -> typer.Typer:
    """An app that is a single command."""
    return typer.Typer(name=name, add_completion=False, rich_markup_mode=None)


def group(name: str, description: str) -> typer.Typer:
    """An app that holds several commands."""
    return typer.Typer(
        name=name,
        help=description,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
    )


def present_time() -> datetime:
    return datetime.now(UTC)


def actor() -> str:
    """Who is named in the audit log for what the command line does."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a container may run as a user without a name
        return "cli"


def load_settings() -> "Settings":
    from api.settings import Settings

    return Settings.load()


@contextmanager
def open_database(settings: "Settings | None" = None) -> "Iterator[Database]":
    """The installation's database, with its tables; a new one gets them here.

    What is committed is told to the web processes where they can hear it (Redis).
    """
    from api.bus import RedisBus
    from api.db import Database

    settings = settings or load_settings()
    bus = RedisBus(settings.redis_url) if settings.redis_url else None
    database = Database(settings.database_url, publish=bus.publish if bus else None)
    try:
        ensure_tables(database)
        yield database
    finally:
        database.close()
        if bus is not None:
            bus.close()


def ensure_tables(database: "Database") -> None:
    """Create the tables of a new database. Raises Failed for one of another version."""
    from sqlalchemy import text
    from sqlalchemy.exc import DatabaseError

    from api.migrations import head, is_empty, upgrade

    try:
        with database.snapshot() as session:
            if session.scalar(text("SELECT version_num FROM alembic_version")) == head():
                return
    except DatabaseError:
        if not is_empty(database):
            raise
        upgrade(database)
        return
    raise Failed("The database is of another version: run “refdesk db upgrade”.")


def library_of(session: "Session", slug: str | None) -> "Library":
    """The library that was named, else the default one."""
    from api.libraries import default_library, library_by_slug

    if slug is not None:
        return library_by_slug(session, slug)
    return default_library(session, load_settings().default_library)


def print_json(content: Any) -> None:
    """Print data for programs."""
    print(json.dumps(content, ensure_ascii=False, indent=2, default=str))


def say(text: str = "") -> None:
    """Print a line for people."""
    print(text)


def warn(text: str) -> None:
    """Print a line that is no data."""
    print(text, file=sys.stderr)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns, as wide as they need to be."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings, box=box.SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console().print(table, markup=False) if table.row_count else say("none")


def readable(path: Path) -> Path:
    """The path of a file that can be read. Raises Failed."""
    if not path.is_file():
        raise Failed(f"There is no file {path}.")
    return path


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; a script is taken at its word."""
    if yes or not sys.stdin.isatty():
        return
    if not typer.confirm(question):
        raise typer.Abort


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar for long work, drawn on a terminal only; yields a function that adds steps."""
    if not sys.stderr.isatty():
        yield lambda _steps: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda steps: bar.advance(task, steps)


def sentence_of(error: Exception) -> str | None:
    """What to tell a person about an error that we know; None for one that we do not."""
    if isinstance(error, Failed):
        return str(error)
    if isinstance(error, OSError):
        name = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or type(error).__name__}{name}."
    kind = type(error)
    if kind.__module__.startswith(("api.", "kb.", "tracker.", "bot.")):
        return "\n".join([str(error), *_listed(getattr(error, "rows", ()))])
    if kind.__module__.startswith("sqlalchemy."):
        cause = str(getattr(error, "orig", None) or kind.__name__).strip().splitlines()
        return f"The database does not answer: {cause[0] if cause else kind.__name__}."
    return None


def _listed(rows: Iterable[object]) -> list[str]:
    """Every bad row of a file, on a line of its own."""
    return [f"  row {row[0]}: {row[1]}" if isinstance(row, tuple) else f"  {row}" for row in rows]
