"""refdesk channel: a library's accounts on messaging channels."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

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
    warn,
)
from api.crypto import Keyring, digest
from bot.channels import CHANNELS
from bot.channels.base import Channel, KeywordReply, KeywordReplying, Menued, SendError
from bot.models import ChannelAccount
from kb.entries import EntryData
from kb.files import write_file
from kb.text import detect_language

app = group("channel", "Add, list, test and remove channel accounts.")
COMMANDS = {"channel": app}
HIDDEN = "••••••"
CLOSED = "closed_to_new"  # bot.channels.base.Declaration.availability
# Where no platform calls us (Declaration.inbound): what happens instead, and what to run.
NEXT_STEP = {
    "poll": "Its messages are fetched, nothing calls us. See whether the settings work:",
    "actions": "Its questions come through the action server; start it, or start it again:",
}
COMMAND = {"poll": "channel test", "actions": "actions --account"}
KEPT_CHARACTERS = 40  # of a rule's name, in its entry's id
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
    """Add an account; the last line printed is its webhook's path, or what to run where there
    is none. No network call is made.

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
    if CHANNELS[kind].declaration.availability == CLOSED:
        warn(
            f"{kind} admits no new applicants: this account works only if the platform has"
            f" admitted it already. `refdesk channel test {name}` says more."
        )
    declaration = CHANNELS[kind].declaration
    if not declaration.has_webhook:
        say(f"Added {kind} {name} for {owner.slug}. {NEXT_STEP[declaration.inbound]}")
        say(f"refdesk {COMMAND[declaration.inbound]} {name}")
        return
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
        "webhook": _path(account.kind, account.name) if declaration.has_webhook else None,
        "settings": {**account.settings, **hidden},
        "paused_until": account.paused_until.isoformat() if account.paused_until else None,
    }


@app.command()
def test(name: Name) -> None:
    """Ask the platform whether the settings work; exit code 1 if not.

    Example: refdesk channel test main
    """
    with _opened(name) as (channel, _):
        troubles = channel.check()
    if troubles:
        raise Failed("\n".join(troubles))
    say(f"{name} works.")


@app.command()
def menu(
    name: Name,
    set_file: Annotated[
        Path | None, typer.Option("--set", help="A menu in JSON or YAML, to be shown now.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the present menu to this file, to edit it.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Show no menu.")] = False,
) -> None:
    """Show, save, set or remove the menu under the conversation, in the platform's own form.

    Before a menu was ever set here, the one that the platform's console had made is shown.

    Example: refdesk channel menu main --save menu.yaml
    """
    with _opened(name) as (channel, account):
        if not isinstance(channel, Menued):
            raise Failed(f"{account.kind} has no menu that could be managed here.")
        try:
            _do_menu(channel, set_file=set_file, save=save, remove=remove)
        except (SendError, ValueError) as error:
            raise Failed(str(error)) from None
        if set_file is not None or remove:
            _note_change(account, "channel.menu")


def _do_menu(channel: Menued, *, set_file: Path | None, save: Path | None, remove: bool) -> None:
    if remove:
        channel.remove_menu()
        say("The menu is gone.")
    elif set_file is not None:
        channel.set_menu(_document(set_file))
        say("Patrons see the new menu within five minutes, or when they follow anew.")
    else:
        text = yaml.safe_dump(channel.menu(), allow_unicode=True, sort_keys=False)
        if save is None:
            say(text.rstrip())
        else:
            save.write_text(text, encoding="utf-8")
            say(f"Saved to {save}.")


@app.command()
def keywords(
    name: Name,
    out: Annotated[
        Path, typer.Option(help="Where to write the entries: .yaml, .csv, .jsonl or .xlsx.")
    ],
    export: Annotated[
        Path | None,
        typer.Option(help="The platform's own export in JSON; without it the platform is asked."),
    ] = None,
) -> None:
    """Turn the platform's keyword auto-replies into entries, to look at and `refdesk kb import`.

    What has no words (pictures, recordings) is named and left out.

    Example: refdesk channel keywords main --out replies.yaml
    """
    with _opened(name) as (channel, account):
        if not isinstance(channel, KeywordReplying):
            raise Failed(f"{account.kind} has no keyword replies that could be taken over.")
        try:
            found = channel.keyword_replies(_document(export) if export else None)
        except SendError as error:
            raise Failed(str(error)) from None
    entries = [entry for each in found if (entry := _entry(each)) is not None]
    for each in found:
        for what in each.left_out:
            warn(f'Left out of "{each.name}": a reply of the kind {what}.')
    write_file(out, entries)
    say(f"{len(entries)} of {len(found)} replies are in {out}: look at them, then")
    say(f"refdesk kb import {out}")


def _entry(reply: KeywordReply) -> EntryData | None:
    """A keyword reply as an entry, under an id that a second import finds again."""
    if not reply.keywords or not reply.text:
        return None
    language = detect_language(" ".join((*reply.keywords, reply.text))).partition("-")[0]
    words = re.sub(r"[^a-z0-9]+", "-", reply.name.lower())[:KEPT_CHARACTERS].strip("-")
    mark = digest(reply.name or " ".join(reply.keywords))[:6]
    key = "-".join(part for part in ("reply", words, mark) if part)
    return EntryData(key, "auto-replies", {language: reply.keywords}, {language: reply.text})


@contextmanager
def _opened(name: str) -> Iterator[tuple[Channel, ChannelAccount]]:
    """An account's channel, ready to talk to its platform."""
    settings = load_settings()
    with open_database(settings) as database:
        state = create_state(settings, clock=present_time, database=database)
        with database.snapshot() as session:
            account = account_named(session, name)
        yield state.channels.of(account), account


def _note_change(account: ChannelAccount, action: str) -> None:
    with open_database() as database, database.transaction() as session:
        audit.record(
            session,
            actor=actor(),
            action=action,
            subject=account.name,
            library_id=account.library_id,
            now=present_time(),
        )


def _document(path: Path) -> dict[str, Any]:
    """The document in a file; JSON is YAML, too."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Failed(f"{path} cannot be read: {type(error).__name__}.") from None
    if not isinstance(found, dict):
        raise Failed(f"{path} holds no document of names and values.")
    return found


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
