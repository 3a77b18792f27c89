"""refdesk stats: the figures of DESIGN 4.4."""

from datetime import date, datetime
from typing import Annotated, Any

import typer

from api.cli.shell import (
    AsJson,
    LibrarySlug,
    library_of,
    one_command,
    open_database,
    present_time,
    print_json,
    print_table,
    say,
)
from tracker.clock import parse_instant
from tracker.consortium import consortium, not_refusing, probes
from tracker.stats import stats

app = one_command("stats")
COMMANDS = {"stats": app}
RATES = (
    "bot_inclusive_within_24h",
    "answered_within_24h",
    "feedback_within_24h",
    "feedback_next_opening_day",
)


@app.command()
def stats_command(
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="First local date; else the first of all."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="DATE", help="Last local date; else today."),
    ] = None,
    library: LibrarySlug = None,
    channel: Annotated[str | None, typer.Option(help="Only this kind of channel.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="As it stood then; else now.")
    ] = None,
    compared: Annotated[
        bool, typer.Option("--consortium", help="All libraries side by side, by channel.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the within-one-day rates and all that belongs to them.

    Example: refdesk stats --from 2026-10-01 --to 2026-10-31 --json
    """
    first, last, instant = _date(start, "--from"), _date(end, "--to"), _instant(at)
    if compared:
        _compare(first, last, instant, as_json=as_json)
        return
    with open_database() as database, database.snapshot() as session:
        owner = library_of(session, library)
        found = stats(session, owner, start=first, end=last, at=instant, channel=channel)
    if as_json:
        print_json(found)
    else:
        _print(found, is_all=first is None and last is None)


def _compare(start: date | None, end: date | None, at: datetime, *, as_json: bool) -> None:
    """Three figures by channel, and each library's own.

    Whoever runs this reads the database anyway: only libraries that refused are left out.
    """
    with open_database() as database, database.snapshot() as session:
        compared = not_refusing(session)
        found = consortium(session, start=start, end=end, at=at, libraries=compared)
        found["probes"] = probes(session, start=start, end=end, at=at, libraries=compared)
    if as_json:
        print_json(found)
        return
    print_table(
        ("channel", "qualifying", "mean", "pooled"),
        [
            (
                name,
                f"{share['numerator']}/{share['denominator']}",
                _percent(found["mean"][name]["rate"]),
                _percent(found["pooled"][name]["rate"]),
            )
            for name, share in found["qualifying"].items()
        ],
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _date(text: str | None, name: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f'"{text}" is no date such as 2026-10-31', param_hint=name
        ) from None


def _instant(text: str | None) -> datetime:
    if text is None:
        return present_time()
    try:
        return parse_instant(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None


def _print(found: dict[str, Any], *, is_all: bool) -> None:
    chosen = " (everything; --from and --to choose)" if is_all else ""
    say(f"{found['library']}, received {found['from']} to {found['to']}{chosen}, at {found['at']}")
    rows = []
    for channel, block in {**found["channels"], "total": found["total"]}.items():
        for name in RATES:
            rate = block[name]
            share = "–" if rate["rate"] is None else f"{rate['rate']:.1%}"
            within = "–" if rate["low"] is None else f"{rate['low']:.1%}–{rate['high']:.1%}"
            rows.append((channel, name, share, within, rate["matured"], rate["pending"]))
    print_table(("channel", "figure", "rate", "95 %", "matured", "pending"), rows)
