"""How Alembic meets our models: both sets, one connection, the same types on both databases."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from api.db import MODELS


def portable(kind: str, item: Any, autogenerate: AutogenContext) -> str | Literal[False]:
    """Write our own column type as plain SQLAlchemy: a migration must outlive our classes."""
    if kind == "type" and type(item).__name__ == "UtcDateTime":
        return "sa.DateTime(timezone=True)"
    return False


def run() -> None:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=list(MODELS),
        render_item=portable,
        render_as_batch=True,
        compare_type=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
