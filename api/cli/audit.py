"""refdesk audit: what staff did, and whether the log is whole."""

from typing import Annotated

import typer
from sqlalchemy import select

from api import audit
from api.cli.shell import (
    AsJson,
    Failed,
    LibrarySlug,
    group,
    library_of,
    open_database,
    print_json,
    print_table,
    say,
)
from api.models import AuditEntry

app = group("audit", "Read and verify the log of what staff did.")
COMMANDS = {"audit": app}


@app.command()
def verify(
    anchor: Annotated[
        str | None, typer.Option(metavar="NUMBER:DIGEST", help="A head that was kept elsewhere.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that no entry was changed or removed; keep the printed head somewhere else.

    Example: refdesk audit verify --anchor 120:9f86d0…
    """
    known = None
    if anchor is not None:
        number, _, digest = anchor.partition(":")
        if not number.isdigit() or not digest:
            raise typer.BadParameter("must be NUMBER:DIGEST", param_hint="--anchor")
        known = audit.Head(int(number), digest)
    with open_database() as database, database.snapshot() as session:
        verdict = audit.verify(session, anchor=known)
    head = f"{verdict.head.number}:{verdict.head.digest}"
    if as_json:
        print_json({"ok": verdict.is_intact, "head": head, "broken_at": verdict.broken_at})
    if not verdict.is_intact:
        raise Failed(f"The log is broken at entry {verdict.broken_at}.")
    if not as_json:
        say(f"All {verdict.entries} entries are whole. Head: {head}")


@app.command("list")
def list_command(
    library: LibrarySlug = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest entries of the log.

    Example: refdesk audit list --limit 20
    """
    with open_database() as database, database.snapshot() as session:
        newest = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
        if library:
            newest = newest.where(AuditEntry.library_id == library_of(session, library).id)
        rows = [
            {
                "number": entry.id,
                "at": entry.at.isoformat(),
                "actor": entry.actor,
                "action": entry.action,
                "subject": entry.subject,
                "data": entry.data,
            }
            for entry in session.scalars(newest)
        ]
    if as_json:
        print_json(rows)
    else:
        print_table(("no.", "at", "who", "what", "to what"), [tuple(r.values())[:5] for r in rows])
