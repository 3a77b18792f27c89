"""refdesk channel: a library's accounts on messaging channels."""

from typing import Annotated, Any

import typer

from api import audit
from api.accounts import account_named, accounts_of, add_account, addable_kinds
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
from bot.channels import CHANNELS
from bot.models import ChannelAccount

app = group("channel", "Add, list, test and remove channel accounts.")
COMMANDS = {"channel": app}
HIDDEN = "••••••"
Name = Annotated[str, typer.Argument(help="Name of the account, unique in the installation.")]


@app.command()
def add(
    kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(addable_kinds())}.")],
    name: Name,
    settings: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="A setting; repeat it.")
    ] = [],  # noqa: B006 - Typer copies it
    library: LibrarySlug = None,
) -> None:
    """Add an account; the last line printed is its webhook's path. No network call is made.

    Example: refdesk channel add wechat main --set token=T --set app_id=wx1 …
    """
    values = dict(_pair(text) for text in settings)
    now = present_time()
    installation = load_settings()
    keyring = Keyring(installation.key())
    with open_database(installation) as database, database.transaction() as session:
        owner = library_of(session, library)
        add_account(session, owner, kind=kind, name=name, values=values, keyring=keyring, now=now)
        audit.record(
            session,
            actor=actor(),
            action="channel.add",
            subject=name,
            library_id=owner.id,
            now=now,
            kind=kind,
        )
    say(f"Added {kind} {name} for {owner.slug}. Give the platform this address:")
    say(f"{installation.public_url}{_path(kind, name)}")
    say(_path(kind, name))


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise typer.BadParameter(f'"{key}" must be key=value', param_hint="--set")
    return key.strip(), value


def _path(kind: str, name: str) -> str:
    return f"/channels/{kind}/{name}"


@app.command("list")
def list_command(library: LibrarySlug = None, as_json: AsJson = False) -> None:
    """List the accounts of a library, or of all.

    Example: refdesk channel list --json
    """
    with open_database() as database, database.snapshot() as session:
        library_id = library_of(session, library).id if library else None
        rows = [_shown(account) for account in accounts_of(session, library_id)]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("kind", "name", "enabled", "webhook"),
            [(r["kind"], r["name"], r["enabled"], r["webhook"]) for r in rows],
        )


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show an account's settings; secrets stay hidden.

    Example: refdesk channel show main
    """
    with open_database() as database, database.snapshot() as session:
        account = _shown(account_named(session, name))
    if as_json:
        print_json(account)
    else:
        print_table(("setting", "value"), [(key, value) for key, value in account.items()])


def _shown(account: ChannelAccount) -> dict[str, Any]:
    declaration = CHANNELS[account.kind].declaration
    hidden = dict.fromkeys(declaration.secret_settings, HIDDEN) if account.secrets else {}
    return {
        "kind": account.kind,
        "name": account.name,
        "enabled": account.enabled,
        "webhook": None if declaration.built_in else _path(account.kind, account.name),
        "settings": {**account.settings, **hidden},
        "paused_until": account.paused_until.isoformat() if account.paused_until else None,
    }


@app.command()
def test(name: Name) -> None:
    """Ask the platform whether the settings work; exit code 1 if not.

    Example: refdesk channel test main
    """
    settings = load_settings()
    with open_database(settings) as database:
        state = create_state(settings, clock=present_time, database=database)
        with database.snapshot() as session:
            account = account_named(session, name)
        troubles = state.channels.of(account).check()
    if troubles:
        raise Failed("\n".join(troubles))
    say(f"{name} works.")


@app.command()
def remove(
    name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Remove an account and its conversations; consultations stay. Asks on a terminal.

    Example: refdesk channel remove main
    """
    with open_database() as database:
        with database.snapshot() as session:
            account_named(session, name)
        confirm(f"Remove {name} with all its conversations?", yes=yes)
        with database.transaction() as session:
            account = account_named(session, name)
            audit.record(
                session,
                actor=actor(),
                action="channel.remove",
                subject=name,
                library_id=account.library_id,
                now=present_time(),
            )
            session.delete(account)
    say(f"Removed {name}.")
