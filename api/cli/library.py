"""refdesk library: the libraries of this installation."""

from pathlib import Path
from typing import Annotated

import typer

from api import audit
from api.cli.shell import (
    AsJson,
    actor,
    confirm,
    group,
    load_settings,
    open_database,
    present_time,
    print_json,
    print_table,
    say,
)
from api.libraries import LANGUAGES, add_library, all_libraries, library_by_slug, remove_library
from api.schedules import read_calendar
from tracker.calendars import names, save_calendar

app = group("library", "Add, list and remove libraries.")
COMMANDS = {"library": app}


@app.command()
def add(
    slug: Annotated[str, typer.Argument(help="Short name, as it stands in addresses.")],
    name: Annotated[str, typer.Option(help="The name that patrons read.")],
    timezone: Annotated[str, typer.Option(help="IANA zone, such as Asia/Shanghai.")],
    languages: Annotated[str, typer.Option(help="Languages of its knowledge base.")] = ",".join(
        LANGUAGES
    ),
    calendar: Annotated[
        Path | None, typer.Option(help="The staffed desk's hours, as a file.")
    ] = None,
) -> None:
    """Add a library. Give its desk's hours at once, or promises have no time.

    Example: refdesk library add north --name "North Library" --timezone Asia/Shanghai
    """
    now = present_time()
    wanted = [language.strip() for language in languages.split(",") if language.strip()]
    with open_database() as database, database.transaction() as session:
        library = add_library(
            session, slug, name=name, timezone=timezone, languages=wanted, now=now
        )
        if calendar is not None:
            document = read_calendar(calendar, timezone=timezone)
            save_calendar(session, library.id, "desk", document, now=now, by=actor())
        audit.record(
            session,
            actor=actor(),
            action="library.add",
            subject=slug,
            library_id=library.id,
            now=now,
        )
    say(f"Added {slug}.")
    if calendar is None:
        say(f"It has no hours yet: refdesk calendar import FILE --library {slug}")


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the libraries.

    Example: refdesk library list --json
    """
    with open_database() as database, database.snapshot() as session:
        rows = [
            {
                "slug": library.slug,
                "name": library.name,
                "timezone": library.timezone,
                "languages": library.languages,
                "calendars": names(session, library.id),
            }
            for library in all_libraries(session)
        ]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("slug", "name", "zone", "calendars"),
            [(r["slug"], r["name"], r["timezone"], ", ".join(r["calendars"])) for r in rows],
        )


@app.command("identity-key")
def identity_key_command(
    slug: Annotated[str, typer.Argument(help="Short name of the library.")],
    renew: Annotated[
        bool, typer.Option("--renew", help="Make a new one; the old one stops working.")
    ] = False,
) -> None:
    """Print the key with which the library's website tells the widget who has signed in.

    Example: refdesk library identity-key north
    """
    from api.crypto import Keyring
    from api.identity import GENERATION, identity_key

    settings = load_settings()
    keyring = Keyring(settings.key())
    with open_database(settings) as database:
        if renew:
            with database.transaction() as session:
                library = library_by_slug(session, slug)
                used = int(library.settings.get(GENERATION, 0))
                library.settings = {**library.settings, GENERATION: used + 1}
                audit.record(
                    session,
                    actor=actor(),
                    action="library.identity_key",
                    subject=slug,
                    library_id=library.id,
                    now=present_time(),
                )
        with database.snapshot() as session:
            say(identity_key(keyring, library_by_slug(session, slug)))


@app.command()
def remove(
    slug: Annotated[str, typer.Argument(help="Short name of the library.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a library with everything that belongs to it. Asks on a terminal.

    Example: refdesk library remove north
    """
    with open_database() as database:
        with database.snapshot() as session:
            library_by_slug(session, slug)
        confirm(f"Remove {slug} with all its consultations, entries and staff?", yes=yes)
        now = present_time()
        with database.transaction() as session:
            library = library_by_slug(session, slug)
            library_id = library.id
            remove_library(session, library)
            audit.record(
                session,
                actor=actor(),
                action="library.remove",
                subject=slug,
                library_id=library_id,
                now=now,
            )
    say(f"Removed {slug}.")
