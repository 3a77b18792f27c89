"""refdesk erase: a patron's personal data."""

from typing import Annotated

import typer

from api import audit
from api.accounts import accounts_of
from api.cli.shell import (
    Failed,
    LibrarySlug,
    actor,
    library_of,
    load_settings,
    one_command,
    open_database,
    present_time,
    say,
)
from api.crypto import Keyring
from api.privacy import erase_patron
from api.spool import Spool

app = one_command("erase")
COMMANDS = {"erase": app}


@app.command()
def erase(
    channel: Annotated[str, typer.Option(help="Kind of channel, such as wechat.")],
    patron: Annotated[str, typer.Option(metavar="ID", help="The channel's id of the patron.")],
    library: LibrarySlug = None,
) -> None:
    """Erase what a patron said and who they are; counts and times stay.

    Example: refdesk erase --channel wechat --patron oGkx7…
    """
    now = present_time()
    settings = load_settings()
    keyring = Keyring(settings.key())
    with open_database(settings) as database, database.transaction() as session:
        owner = library_of(session, library)
        count = erase_patron(
            session, owner, channel=channel, patron=patron, keyring=keyring, now=now
        )
        spool = Spool(settings.spool, keyring)
        for account in accounts_of(session, owner.id):
            if account.kind == channel:
                count += spool.erase(spool.lane_of(account.id, patron))
        audit.record(
            session,
            actor=actor(),
            action="patron.erase",
            subject=channel,
            library_id=owner.id,
            now=now,
            conversations=count,
        )
    if not count:
        raise Failed("Nothing is kept of that patron.")
    say(f"Erased {count} conversation{'' if count == 1 else 's'}.")
