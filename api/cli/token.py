"""refdesk token: bearer tokens of the JSON API."""

from typing import Annotated

import typer

from api import audit, bearer
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
    say,
)
from api.models import Role

app = group("token", "Add, list and revoke tokens of the JSON API.")
COMMANDS = {"token": app}


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What the token is for.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.LIBRARIAN,
    library: LibrarySlug = None,
    as_json: AsJson = False,
) -> None:
    """Make a token for an integration; it is shown only now.

    Example: refdesk token add dashboard --role manager --library north
    """
    now = present_time()
    with open_database() as database, database.transaction() as session:
        owner = library_of(session, library)
        token, row = bearer.make(session, owner.id, name=name, role=role, now=now)
        audit.record(
            session,
            actor=actor(),
            action="token.add",
            subject=name,
            library_id=owner.id,
            now=now,
            role=role,
        )
    if as_json:
        print_json({"id": row.id, "name": name, "token": token})
    else:
        say(token)


@app.command("list")
def list_command(library: LibrarySlug = None, as_json: AsJson = False) -> None:
    """List a library's tokens, without the tokens themselves.

    Example: refdesk token list
    """
    with open_database() as database, database.snapshot() as session:
        rows = [
            {
                "id": row.id,
                "name": row.name,
                "role": row.role,
                "created_at": row.created_at.isoformat(),
                "last_used_at": row.last_used_at.isoformat() if row.last_used_at else None,
                "revoked": row.revoked_at is not None,
            }
            for row in bearer.tokens_of(session, library_of(session, library).id)
        ]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("id", "name", "role", "created", "last used", "revoked"),
            [tuple(row.values()) for row in rows],
        )


@app.command()
def revoke(
    token_id: Annotated[int, typer.Argument(help="The token's id, from `token list`.")],
    library: LibrarySlug = None,
) -> None:
    """End a token.

    Example: refdesk token revoke 3
    """
    now = present_time()
    with open_database() as database, database.transaction() as session:
        owner = library_of(session, library)
        bearer.revoke(session, owner.id, token_id, now=now)
        audit.record(
            session,
            actor=actor(),
            action="token.revoke",
            subject=str(token_id),
            library_id=owner.id,
            now=now,
        )
    say("Revoked.")
