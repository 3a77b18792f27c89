"""refdesk probe: test questions to the libraries that take part in the comparison."""

from datetime import date
from pathlib import Path
from secrets import SystemRandom
from typing import Annotated

import typer
from sqlalchemy import select

from api import audit
from api.cli.shell import (
    AsJson,
    Failed,
    actor,
    group,
    open_database,
    present_time,
    print_json,
    print_table,
    readable,
    say,
)
from tracker import probes
from tracker.clock import utc_text
from tracker.consortium import members
from tracker.models import Library, Probe

app = group("probe", "Plan test questions, and see what became of them.")
COMMANDS = {"probe": app}


@app.command()
def plan(
    questions: Annotated[Path, typer.Argument(help="A text file, one question a line.")],
    start: Annotated[str, typer.Option("--from", metavar="DATE", help="First local date.")],
    end: Annotated[str, typer.Option("--to", metavar="DATE", help="Last local date.")],
    channel: Annotated[str, typer.Option(help="Only web asks by itself.")] = "web",
) -> None:
    """Plan one question for each library that takes part and has the channel, at any hour.

    Example: refdesk probe plan questions.txt --from 2026-12-01 --to 2026-12-31
    """
    now = present_time()
    wanted = readable(questions).read_text(encoding="utf-8-sig").splitlines()
    first, last = _date(start), _date(end)
    with open_database() as database, database.transaction() as session:
        try:
            made = probes.plan(
                session,
                members(session),
                channel=channel,
                questions=wanted,
                start=first,
                end=last,
                by=actor(),
                now=now,
                random=SystemRandom(),
            )
        except ValueError as error:
            raise Failed(str(error)) from None
        audit.record(
            session,
            actor=actor(),
            action="probe.plan",
            subject=channel,
            now=now,
            count=len(made),
        )
    say(f"Planned {len(made)} probes over {channel}.")
    if channel != "web":
        say("Send each from a telephone when `refdesk probe list` says so, then: probe sent N")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f'"{text}" is no date such as 2026-10-31') from None


@app.command(name="list")
def list_all(as_json: AsJson = False) -> None:
    """List the probes, the latest first. Keep it from those who are probed.

    Example: refdesk probe list
    """
    with open_database() as database, database.snapshot() as session:
        rows = session.execute(
            select(Probe, Library.slug)
            .join(Library, Library.id == Probe.library_id)
            .order_by(Probe.due_at.desc())
        ).all()
        found = [
            {
                "number": probe.id,
                "library": slug,
                "channel": probe.channel,
                "due_at": utc_text(probe.due_at),
                "state": probe.state,
                "question": probe.question,
                "problem": probe.problem,
            }
            for probe, slug in rows
        ]
    if as_json:
        print_json(found)
    else:
        print_table(
            ("number", "library", "channel", "due", "state", "question", "problem"),
            [tuple(row.values()) for row in found],
        )


@app.command()
def sent(number: Annotated[int, typer.Argument(help="Its number in the list.")]) -> None:
    """Say that a question was just sent by hand; it is recognised by its words.

    Example: refdesk probe sent 7
    """
    with open_database() as database, database.transaction() as session:
        probe = session.get(Probe, number)
        if probe is None:
            raise Failed(f"There is no probe {number}.")
        try:
            probes.asked_by_hand(session, probe, now=present_time())
        except ValueError as error:
            raise Failed(str(error)) from None
    say("Noted. It is flagged 24 hours after it arrived.")
