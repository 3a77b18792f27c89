"""refdesk activity: what a library's channels do on their platforms, week by week."""

from datetime import date
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
    print_table,
    readable,
    say,
)
from tracker.activity import enter_file, indicators, survey
from tracker.consortium import not_refusing

app = group("activity", "Posts, pushes, followers and what they do, by channel and week.")
COMMANDS = {"activity": app}
SHOWN = ("posts", "pushes", "followers", "growth", "reads", "engagement", "pushes_weekly")


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help=".csv: channel, week, posts, pushes, …")],
    library: LibrarySlug = None,
) -> None:
    """Enter weeks from a CSV file: all of it or nothing; the same week is replaced.

    Example: refdesk activity import weeks.csv --library north
    """
    now = present_time()
    with open_database() as database, database.transaction() as session:
        owner = library_of(session, library)
        count = enter_file(session, owner, readable(file), now=now, by=actor())
        audit.record(
            session,
            actor=actor(),
            action="activity.import",
            subject=file.name,
            library_id=owner.id,
            now=now,
            weeks=count,
        )
    say(f"Entered {count} weeks.")


@app.command()
def show(
    start: Annotated[str, typer.Option("--from", metavar="DATE", help="First date.")],
    end: Annotated[str, typer.Option("--to", metavar="DATE", help="Last date.")],
    library: LibrarySlug = None,
    compared: Annotated[
        bool, typer.Option("--survey", help="The study's shares over all libraries.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the indicators of each channel, or the survey of all libraries.

    Example: refdesk activity show --from 2026-03-02 --to 2026-03-29 --survey --json
    """
    first, last = _date(start), _date(end)
    with open_database() as database, database.snapshot() as session:
        if compared:
            found = survey(session, not_refusing(session), start=first, end=last)
        else:
            found = indicators(session, library_of(session, library), start=first, end=last)
    if as_json:
        print_json(found)
    elif compared:
        names = sorted({name for row in found.values() for name in row})
        print_table(
            ("channel", *names),
            [
                (
                    channel,
                    *(f"{row[name]['numerator']}/{row[name]['denominator']}" for name in names),
                )
                for channel, row in found.items()
            ],
        )
    else:
        print_table(
            ("channel", *SHOWN),
            [(channel, *(row[name] for name in SHOWN)) for channel, row in found.items()],
        )


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f'"{text}" is no date such as 2026-10-31') from None
