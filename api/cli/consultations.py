"""refdesk consultations: history from elsewhere, and out again."""

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import func, select

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
    progress,
    readable,
    say,
)
from api.libraries import all_libraries
from tracker.history import export_file, import_file
from tracker.models import Consultation
from tracker.verify import verify

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


@app.command("verify")
def verify_command(library: LibrarySlug = None, as_json: AsJson = False) -> None:
    """Fold all events and count all days again; exit code 1 where what is stored differs.

    Example: refdesk consultations verify
    """
    with open_database() as database, database.snapshot() as session:
        owners = [library_of(session, library)] if library else all_libraries(session)
        ids = [owner.id for owner in owners]
        total = session.scalar(select(func.count()).where(Consultation.library_id.in_(ids)))
        with progress("Folding again", total) as advance:
            found = {owner.slug: verify(session, owner, progress=advance) for owner in owners}
    listed = [(slug, item) for slug, verdict in found.items() for item in verdict.differences]
    differing = sum(verdict.differing for verdict in found.values())
    wrong = [(slug, day) for slug, verdict in found.items() for day in verdict.wrong_days]
    consultations = sum(verdict.consultations for verdict in found.values())
    days = sum(verdict.days for verdict in found.values())
    if as_json:
        print_json(
            {
                "ok": not (differing or wrong),
                "consultations": consultations,
                "days": days,
                "differing": differing,
                "differences": [{"library": slug, **item._asdict()} for slug, item in listed],
                "wrong_days": [{"library": slug, "day": day} for slug, day in wrong],
            }
        )
    elif listed:
        headings = ("library", "consultation", "column", "stored", "by its events")
        print_table(headings, [(slug, *item) for slug, item in listed])
    if differing or wrong:
        raise Failed(
            f"{differing} columns of consultations differ from their events, "
            f"and {len(wrong)} days from their consultations."
        )
    if not as_json:
        say(f"{consultations} consultations are what their events say, and {days} days add up.")
