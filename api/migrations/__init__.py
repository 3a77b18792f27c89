"""Migrations of both sets of models, and how to run them without an alembic.ini."""

import re
from pathlib import Path
from typing import cast

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, inspect

from api.db import MODELS, Database

HERE = Path(__file__).parent
_REVISION = re.compile(r'^revision(?:: str)? = "([^"]+)"', re.MULTILINE)
_LOCK = 7_305_815  # any number, always the same: one migration at a time


def head() -> str:
    """The newest revision, read from the files' names, which sort by time."""
    newest = max((HERE / "versions").glob("[0-9]*.py"))
    found = _REVISION.search(newest.read_text(encoding="utf-8"))
    if found is None:
        raise LookupError(f"{newest.name} names no revision")
    return found[1]


def current(database: Database) -> str | None:
    """The revision that the database is at; None for one without tables."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_empty(database: Database) -> bool:
    """Whether nothing has ever been stored there."""
    with database.engine.connect() as connection:
        return not inspect(connection).get_table_names()


def upgrade(database: Database) -> None:
    """Bring the database to the newest revision; two that try at once take turns."""
    with database.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def differences(connection: Connection) -> list[str]:
    """How the tables differ from the models; empty when they are equal."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    models = cast("MetaData", list(MODELS))  # Alembic takes several, its annotation says one
    return [str(difference) for difference in compare_metadata(context, models)]


def configuration() -> Config:
    """Alembic's configuration, also for `alembic revision --autogenerate` (CONTRIBUTING.md)."""
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option(
        "file_template", "%%(year)d-%%(month).2d-%%(day).2d-%%(hour).2d%%(minute).2d_%%(slug)s"
    )
    return config
