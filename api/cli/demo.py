"""refdesk demo: a library to look at."""

import sys
from typing import Annotated

import typer

from api import demo
from api.cli.shell import (
    AsJson,
    load_settings,
    one_command,
    open_database,
    present_time,
    print_json,
    say,
)

app = one_command("demo")
COMMANDS = {"demo": app}


@app.command()
def demo_command(
    days: Annotated[
        int, typer.Option(min=1, max=730, help="How many days of history.")
    ] = demo.DAYS,
    seed: Annotated[int, typer.Option(help="The same seed gives the same story.")] = demo.SEED,
    once: Annotated[
        bool, typer.Option("--once", help="Do nothing if the demo library exists.")
    ] = False,
    channel: Annotated[
        str | None,
        typer.Option(
            help="Then play a patron of this channel, against a stand-in of its platform."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load the demo library: starter knowledge base, calendars, staff, consultations.

    With --channel the library stays as it is, where there is one, and you write as a patron on
    WeChat, Telegram, … in this terminal; answer yourself at the desk whose address is printed.

    Example: refdesk demo --days 60 --seed 1
    """
    if channel is not None:
        _play(channel, days=days, seed=seed)
        return
    loaded = None
    with open_database() as database, database.transaction() as session:
        if not (once and demo.exists(session)):
            loaded = demo.load(session, days=days, seed=seed, now=present_time())
    accounts = [{"email": a.email, "password": a.password, "role": a.role} for a in demo.ACCOUNTS]
    if as_json:
        counts = (
            None
            if loaded is None
            else {
                "consultations": loaded.consultations,
                "events": loaded.events,
                "waiting": loaded.waiting,
                "entries": loaded.entries,
            }
        )
        print_json({"library": "demo", "loaded": counts, "accounts": accounts})
        return
    if loaded is not None:
        say(
            f"Loaded {demo.NAME} (demo): {loaded.entries} entries, "
            f"{loaded.consultations} consultations, {loaded.waiting} of them waiting."
        )
    for account in demo.ACCOUNTS:
        say(f"  {account.role:<10} {account.email:<24} {account.password}")


def _play(kind: str, *, days: int, seed: int) -> None:
    """A conversation with the demo library over one channel, until the input ends."""
    from api.demo import stage

    settings = load_settings()
    with open_database(settings) as database:
        with database.transaction() as session:
            if not demo.exists(session):
                say("Loading the demo library.")
                demo.load(session, days=days, seed=seed, now=present_time())
        with stage.staged(kind, settings, database, clock=present_time, tell=say) as play:
            librarian = next(each for each in demo.ACCOUNTS if each.role == "librarian")
            say(f"You are a patron on {kind}: write, and end with Ctrl-D.")
            say(f"The desk: {play.desk}/desk   {librarian.email}   {librarian.password}")
            play.run(sys.stdin)
