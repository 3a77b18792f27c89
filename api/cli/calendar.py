"""refdesk calendar: staffed hours and opening hours."""

import json
from pathlib import Path
from typing import Annotated

import typer

from api import audit
from api.cli.shell import (
    AsJson,
    Failed,
    LibrarySlug,
    actor,
    group,
    library_of,
    open_database,
    present_time,
    print_json,
    print_table,
    readable,
    say,
)
from api.schedules import read_calendar
from tracker.calendars import latest, save_calendar
from tracker.clock import evaluate_cases
from tracker.ical import with_closings

app = group("calendar", "Import and try opening hours.")
COMMANDS = {"calendar": app}


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help=".json or .yaml calendar, or .ics closings")],
    library: LibrarySlug = None,
    name: Annotated[
        str, typer.Option(help='"desk": staffed hours; "building" or a branch: opening hours.')
    ] = "desk",
) -> None:
    """Put a calendar in force: its own form, or closings (.ics) added to the one in force.

    Example: refdesk calendar import desk.yaml --library north --name desk
    """
    readable(file)
    now = present_time()
    with open_database() as database, database.transaction() as session:
        owner = library_of(session, library)
        if file.suffix.lower() == ".ics":
            before = latest(session, owner.id, name)
            if before is None:
                raise Failed(f'{owner.slug} has no calendar "{name}" yet: import its hours first.')
            document = with_closings(before.document, file.read_bytes())
        else:
            document = read_calendar(file, timezone=owner.timezone)
        row = save_calendar(session, owner.id, name, document, now=now, by=actor())
        audit.record(
            session,
            actor=actor(),
            action="calendar.import",
            subject=name,
            library_id=owner.id,
            now=now,
            version=row.version,
        )
    say(f'Calendar "{name}" of {owner.slug} is now version {row.version}.')


@app.command()
def evaluate(
    cases: Annotated[Path, typer.Argument(help="Cases with their calendars, JSON.")],
    as_json: AsJson = False,
) -> None:
    """Answer deadline questions from a case file, from its inputs alone.

    Example: refdesk calendar evaluate cases.json --json
    """
    try:
        document = json.loads(readable(cases).read_text(encoding="utf-8"))
        results = evaluate_cases(document)
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"{cases.name} is no case file: {error}") from None
    if as_json:
        print_json(results)
        return
    columns = sorted({key for result in results.values() for key in result})
    rows = [(case, *(result.get(key) for key in columns)) for case, result in results.items()]
    print_table(("case", *columns), rows)
