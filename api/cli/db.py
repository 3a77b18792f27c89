"""refdesk db: the database's tables."""

from api.cli.shell import AsJson, Failed, group, load_settings, print_json, say
from api.db import Database
from api.migrations import current, differences, head, upgrade

app = group("db", "Create, upgrade and check the database's tables.")
COMMANDS = {"db": app}


@app.command("upgrade")
def upgrade_command() -> None:
    """Bring the database to this version of refdesk. Safe to repeat.

    Example: refdesk db upgrade
    """
    database = Database(load_settings().database_url)
    try:
        before = current(database)
        upgrade(database)
    finally:
        database.close()
    say("The database is up to date." if before == head() else f"Upgraded to {head()}.")


@app.command("check")
def check_command(as_json: AsJson = False) -> None:
    """Check that the tables are exactly those of this version; exit code 1 if not.

    Example: refdesk db check
    """
    database = Database(load_settings().database_url)
    try:
        revision = current(database)
        with database.engine.connect() as connection:
            found = differences(connection) if revision == head() else []
    finally:
        database.close()
    fits = revision == head() and not found
    if as_json:
        print_json({"ok": fits, "revision": revision, "newest": head(), "differences": found})
    if revision != head():
        raise Failed("The database is of another version: run “refdesk db upgrade”.")
    if found:
        raise Failed(f"The tables differ from the models: {'; '.join(found)}")
    if not as_json:
        say("The database fits this version.")
