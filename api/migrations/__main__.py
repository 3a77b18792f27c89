"""`python -m api.migrations "Add a due index"` writes a migration from the models' changes."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from alembic import command

from api.db import Database
from api.migrations import HERE, configuration, upgrade


def main(message: str) -> None:
    """Compare a migrated, empty database with the models and write what is missing."""
    moment = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'empty.db'}", durable=False)
        if any((HERE / "versions").glob("[0-9]*.py")):
            upgrade(database)
        with database.engine.begin() as connection:
            config = configuration()
            config.attributes["connection"] = connection
            command.revision(
                config, message=message, autogenerate=True, rev_id=f"{moment:%Y%m%d%H%M}"
            )
        database.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit('usage: python -m api.migrations "What the migration changes"')
    main(sys.argv[1])
