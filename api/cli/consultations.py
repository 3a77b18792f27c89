"""refdesk consultations: history from elsewhere, and out again."""

from pathlib import Path
from typing import Annotated

import typer

from api import audit
from api.cli.shell import (
    AsJson,
    LibrarySlug,
    actor,
    group,
    library_of,
    open_database,
    present_time,
    print_json,
    progress,
    readable,
    say,
)
from tracker.history import export_file, import_file

app = group("consultations", "Import and export consultations.")
COMMANDS = {"consultations": app}


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help=".jsonl, .csv or .xlsx")], as_json: AsJson = False
) -> None:
    """Import history: all of the file or nothing; the same (library, id) is replaced.

    Example: refdesk consultations import history.jsonl
    """
    now = present_time()
    with (
        open_database() as database,
        database.transaction() as session,
        progress("Importing", _bytes_of(file)) as advance,
    ):
        report = import_file(session, readable(file), now=now, progress=advance)
        audit.record(
            session,
            actor=actor(),
            action="consultations.import",
            subject=file.name,
            now=now,
            added=report.added,
            replaced=report.replaced,
        )
    if as_json:
        print_json({"added": report.added, "replaced": report.replaced, "events": report.events})
    else:
        say(f"Added {report.added}, replaced {report.replaced}, with {report.events} events.")


def _bytes_of(file: Path) -> int | None:
    """How much there is to read; of a workbook only its rows are told, and nobody knows them."""
    return None if file.suffix.lower() == ".xlsx" or not file.is_file() else file.stat().st_size


@app.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(help=".jsonl or .csv")],
    library: LibrarySlug = None,
    no_text: Annotated[bool, typer.Option("--no-text", help="Leave out what was said.")] = False,
) -> None:
    """Write consultations to a file, of one library or of all.

    Example: refdesk consultations export history.jsonl --no-text
    """
    with (
        open_database() as database,
        database.snapshot() as session,
        progress("Exporting") as advance,
    ):
        owner = library_of(session, library) if library else None
        count = export_file(session, file, library=owner, texts=not no_text, progress=advance)
    say(f"Wrote {count} consultations to {file}.")
