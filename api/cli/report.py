"""refdesk report: what a manager signs and passes on."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.shell import (
    Failed,
    LibrarySlug,
    actor,
    library_of,
    one_command,
    open_database,
    present_time,
    say,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from api.reports.periods import Period
    from tracker.models import Library

app = one_command("report")
COMMANDS = {"report": app}
FORMATS = ("html", "pdf", "docx", "xlsx", "csv")
LANGUAGES = ("zh-Hans", "zh-Hant", "en", "vi")


@app.command()
def report(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write it.")],
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="|".join(FORMATS), help="Else by the file's name."),
    ] = None,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="A month.")] = None,
    term: Annotated[
        str | None, typer.Option(metavar="NAME", help="A term of the desk's calendar.")
    ] = None,
    year: Annotated[str | None, typer.Option(metavar="YYYY", help="A calendar year.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First local date, included.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Last local date, included.")
    ] = None,
    library: LibrarySlug = None,
    language: Annotated[
        str | None,
        typer.Option(metavar="|".join(LANGUAGES), help="Else the library's first language."),
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Hide counts under 10 and leave out the cases.")
    ] = False,
    restate: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="First seal the figures anew; the old ones stay."),
    ] = None,
) -> None:
    """Write the report on a month, a term, a year or any stretch of days.

    Once all clocks of the period have run out, the figures are sealed: later corrections
    are shown beside them.

    Example: refdesk report --month 2026-10 --format pdf --out october.pdf
    """
    chosen = _format(form, out)
    if language is not None and language not in LANGUAGES:
        raise typer.BadParameter(f"choose one of {', '.join(LANGUAGES)}", param_hint="--language")
    if not out.parent.is_dir():
        raise Failed(f"There is no folder {out.parent}.")
    now = present_time()
    from api.reports import write
    from api.reports.making import make

    with open_database() as database:
        with database.snapshot() as session:
            owner = library_of(session, library)
            slug, period = owner.slug, _period(session, owner, month, term, year, start, end)
            is_due = _is_due(session, owner, period, now)
        if restate is not None or is_due:
            with database.transaction() as session:
                _seal(session, library_of(session, slug), period, now, restate)
        with database.snapshot() as session:
            owner = library_of(session, slug)
            content = make(session, owner, period, language=language, now=now, published=publish)
    out.write_bytes(write(content, form=chosen, made_at=now))
    say(f"{out}: {content.title}, {content.period} ({content.state}).")


def _format(given: str | None, out: Path) -> str:
    chosen = (given or out.suffix.removeprefix(".")).lower()
    if chosen not in FORMATS:
        raise typer.BadParameter(f"choose one of {', '.join(FORMATS)}", param_hint="--format")
    return chosen


def _period(
    session: "Session",
    library: "Library",
    month: str | None,
    term: str | None,
    year: str | None,
    start: str | None,
    end: str | None,
) -> "Period":
    from api.reports import periods

    ways = [month, term, year, start if start is not None else end]
    if sum(way is not None for way in ways) != 1:
        raise typer.BadParameter("give one of --month, --term, --year, or --from with --to")
    if month is not None:
        return periods.month(month)
    if term is not None:
        return periods.term(session, library, term)
    if year is not None:
        return periods.whole_year(year)
    if start is None or end is None:
        raise typer.BadParameter("--from and --to go together")
    return periods.days(start, end)


def _is_due(session: "Session", library: "Library", period: "Period", now: datetime) -> bool:
    from api.reports.making import can_be_sealed

    return can_be_sealed(session, library, period, now=now)


def _seal(
    session: "Session",
    library: "Library",
    period: "Period",
    now: datetime,
    reason: str | None,
) -> None:
    from api.reports import making
    from tracker.reports import NotFinal, NotSealed

    if reason is None:
        making.seal(session, library, period, now=now, by=actor())
        return
    try:
        making.restate(session, library, period, now=now, by=actor(), reason=reason)
    except NotSealed:
        raise Failed("Only a sealed report can be restated.") from None
    except (NotFinal, ValueError) as error:
        raise Failed(f"The report was not restated: {error}.") from None
