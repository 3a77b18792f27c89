"""refdesk alert: the group robots and programs that are told when somebody waits."""

from typing import Annotated

import typer

from api import audit
from api.app import create_state
from api.cli.shell import (
    AsJson,
    Failed,
    LibrarySlug,
    actor,
    confirm,
    group,
    library_of,
    load_settings,
    open_database,
    present_time,
    print_json,
    print_table,
    say,
)
from api.crypto import Keyring
from api.destinations import add_destination, destination_named, destinations_of
from api.robots import KINDS, WEBHOOK

app = group("alert", "Add, list, test and remove the destinations of alerts.")
COMMANDS = {"alert": app}
Name = Annotated[str, typer.Argument(help="Its name in this library.")]


@app.command()
def add(
    kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(KINDS)}.")],
    name: Name,
    url: Annotated[str, typer.Option(help='The address that the robot was given; "-": ask.')],
    secret: Annotated[
        str | None, typer.Option(help='What it signs with; "-": ask. Made for a webhook.')
    ] = None,
    language: Annotated[str, typer.Option(help="zh-Hans, zh-Hant, en or vi.")] = "zh-Hans",
    digest: Annotated[bool, typer.Option("--digest", help="Also the daily digest.")] = False,
    library: LibrarySlug = None,
) -> None:
    """Add a destination; for a webhook the last line printed is its secret.

    Example: refdesk alert add dingtalk desk --url https://oapi.dingtalk.com/… --secret SEC…
    """
    now, installation = present_time(), load_settings()
    with open_database(installation) as database, database.transaction() as session:
        owner = library_of(session, library)
        kept = add_destination(
            session,
            owner,
            kind=kind,
            name=name,
            url=_asked(url, "Address"),
            secret=_asked(secret, "Secret") if secret is not None else None,
            language=language,
            wants_digest=digest,
            keyring=Keyring(installation.key()),
            now=now,
            allow_private=installation.private_webhooks,
        )
        audit.record(
            session,
            actor=actor(),
            action="alert.add",
            subject=name,
            library_id=owner.id,
            now=now,
            kind=kind,
        )
    say(f"Added. Try it: refdesk alert test {name}")
    if kind == WEBHOOK and secret is None:
        say(kept.secret or "")


def _asked(given: str, question: str) -> str:
    """A secret that should stay out of the shell's history is asked for."""
    return str(typer.prompt(question, hide_input=True)) if given == "-" else given


@app.command(name="list")
def list_all(library: LibrarySlug = None, as_json: AsJson = False) -> None:
    """List the destinations. Addresses and secrets stay hidden.

    Example: refdesk alert list
    """
    with open_database() as database, database.snapshot() as session:
        owner = library_of(session, library)
        found = [
            {
                "name": row.name,
                "kind": row.kind,
                "host": row.host,
                "language": row.language,
                "digest": row.wants_digest,
                "enabled": row.disabled_at is None,
                "problem": row.problem,
            }
            for row in destinations_of(session, owner.id)
        ]
    if as_json:
        print_json(found)
    else:
        print_table(
            ("name", "kind", "host", "language", "digest", "on", "problem"),
            [tuple(row.values()) for row in found],
        )


@app.command(name="test")
def try_out(name: Name, library: LibrarySlug = None) -> None:
    """Send a test message now; exit code 1 if it does not arrive.

    Example: refdesk alert test desk
    """
    from api.announcer import Announcer
    from api.mail import create_mailer
    from bot.channels.base import SendError

    installation = load_settings()
    with open_database(installation) as database:
        state = create_state(installation, clock=present_time, database=database)
        with database.snapshot() as session:
            owner = library_of(session, library)
            row = destination_named(session, owner, name)
        announcer = Announcer(state, mailer=create_mailer(installation), worker=actor())
        try:
            announcer.test(row, library=owner)
        except SendError as error:
            raise Failed(f"Not delivered: {error}.") from None
    say("Delivered.")


@app.command()
def remove(
    name: Name,
    library: LibrarySlug = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a destination.

    Example: refdesk alert remove desk
    """
    confirm(f'Remove the alert destination "{name}"?', yes=yes)
    now = present_time()
    with open_database() as database, database.transaction() as session:
        owner = library_of(session, library)
        session.delete(destination_named(session, owner, name))
        audit.record(
            session,
            actor=actor(),
            action="alert.remove",
            subject=name,
            library_id=owner.id,
            now=now,
        )
    say("Removed.")
