"""Copies of the whole database while the desk stays open, and back from such a copy.

A copy does not hold the secret key: with both, whoever finds them reads the channels' secrets.
After a restore nothing unsent goes out by itself (an old reply must not be sent again), and
whoever was erased since the copy is erased again.
"""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from api.crypto import Keyring
from api.db import Database
from api.errors import RefdeskError
from api.migrations import upgrade
from api.models import Erasure
from api.privacy import erase_again
from api.settings import Settings
from bot.delivery import fence

SQLITE_MAGIC = b"SQLite format 3\x00"
PAGES_AT_ONCE = 2_000  # then writers get their turn


class CannotBackUp(RefdeskError):
    """The backup could not be made."""


class CannotRestore(RefdeskError):
    """The backup could not be restored; nothing was changed."""


def back_up(settings: Settings, file: Path) -> int:
    """Write a copy of the database as it is at this moment; returns its bytes."""
    draft = file.with_name(f".{file.name}.part")
    try:
        if settings.is_sqlite:
            _copy_sqlite(_sqlite_path(settings), draft)
        else:
            _run("pg_dump", settings, "--format=custom", "--no-owner", f"--file={draft}")
        draft.chmod(0o600)
        with draft.open("rb") as copy:
            os.fsync(copy.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return file.stat().st_size


def restore(settings: Settings, file: Path) -> int:
    """Put a copy in place of the database; returns how many unsent replies are held back.

    The desk must be stopped. Raises CannotRestore before anything is changed where the copy
    cannot be used.
    """
    erasures = _erasures(settings)
    if settings.is_sqlite:
        _restore_sqlite(settings, file)
    else:
        if file.read_bytes()[:5] != b"PGDMP":
            raise CannotRestore(f"{file.name} is no backup of a PostgreSQL database.")
        _run(
            "pg_restore",
            settings,
            "--clean",
            "--if-exists",
            "--no-owner",
            "--single-transaction",
            f"--dbname={_libpq(settings)}",
            str(file),
        )
    return _make_safe(settings, erasures)


def _make_safe(settings: Settings, erasures: list[dict[str, object]]) -> int:
    database = Database(settings.database_url)
    try:
        upgrade(database)
        with database.transaction() as session:
            held = fence(session)
            _note_again(session, erasures)
            erase_again(session, Keyring(settings.key()))
    finally:
        database.close()
    return held


def _erasures(settings: Settings) -> list[dict[str, object]]:
    """Who had been erased before the restore: the copy may not know of it."""
    database = Database(settings.database_url)
    try:
        with database.snapshot() as session:
            return [
                {"library_id": row.library_id, "patron_hash": row.patron_hash, "at": row.at}
                for row in session.scalars(select(Erasure))
            ]
    except DatabaseError:
        return []  # there is no database yet, or a broken one: that is why one restores
    finally:
        database.close()


def _note_again(session: Session, erasures: list[dict[str, object]]) -> None:
    known = {(row.library_id, row.patron_hash) for row in session.scalars(select(Erasure))}
    for each in erasures:
        if (each["library_id"], each["patron_hash"]) not in known:
            session.execute(insert(Erasure).values(**each))


# --- SQLite ------------------------------------------------------------------------------


def _sqlite_path(settings: Settings) -> Path:
    return Path(make_url(settings.database_url).database or "")


def _copy_sqlite(source: Path, target: Path) -> None:
    if not source.is_file():
        raise CannotBackUp(f"There is no database {source}.")
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy, pages=PAGES_AT_ONCE)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it


def _restore_sqlite(settings: Settings, file: Path) -> None:
    target = _sqlite_path(settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent) as folder:
        draft = Path(folder) / target.name
        shutil.copyfile(file, draft)
        _check_sqlite(draft, file.name)
        _check_stopped(target)
        for suffix in ("-wal", "-shm"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        draft.replace(target)


def _check_sqlite(path: Path, name: str) -> None:
    with path.open("rb") as copy:
        if copy.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC:
            raise CannotRestore(f"{name} is no backup of a SQLite database.")
    try:
        with closing(sqlite3.connect(path)) as copy:
            found = copy.execute("PRAGMA integrity_check").fetchone()[0]
            tables = {row[0] for row in copy.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError as error:
        raise CannotRestore(f"{name} is damaged: {error}.") from None
    if found != "ok" or "alembic_version" not in tables:
        raise CannotRestore(f"{name} is damaged or not a backup of refdesk.")


def _check_stopped(target: Path) -> None:
    """A running desk would go on writing into the file that we take away."""
    if not target.is_file():
        return
    try:
        with closing(sqlite3.connect(target, timeout=0)) as current:
            current.execute("PRAGMA locking_mode=EXCLUSIVE")
            current.execute("BEGIN EXCLUSIVE")
            current.rollback()
    except sqlite3.OperationalError:
        raise CannotRestore("The desk is running: stop it first.") from None
    except sqlite3.DatabaseError:
        return  # it is damaged: that is why one restores


# --- PostgreSQL --------------------------------------------------------------------------


def _run(program: str, settings: Settings, *arguments: str) -> None:
    path = shutil.which(program)
    if path is None:
        raise CannotBackUp(f"{program} is not installed: it comes with PostgreSQL's client.")
    url = make_url(settings.database_url)
    environment = {**os.environ, "PGPASSWORD": url.password or ""}
    target = () if program == "pg_restore" else (_libpq(settings),)
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        [path, *arguments, *target], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["unknown"])[-1]
        raise CannotBackUp(f"{program}: {reason}")


def _libpq(settings: Settings) -> str:
    """The address without its password, which other users could read in the process list."""
    url = make_url(settings.database_url).set(drivername="postgresql", password=None)
    return url.render_as_string(hide_password=False)
