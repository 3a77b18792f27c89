"""refdesk demo: a library to look at."""

from typing import Annotated

import typer

from api import demo
from api.cli.shell import AsJson, one_command, open_database, present_time, print_json, say

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
    as_json: AsJson = False,
) -> None:
    """Load the demo library: starter knowledge base, calendars, staff, consultations.

    Example: refdesk demo --days 60 --seed 1
    """
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
