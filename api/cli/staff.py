"""refdesk staff: who may sign in."""

import secrets
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import audit
from api.cli.shell import (
    AsJson,
    LibrarySlug,
    actor,
    group,
    library_of,
    load_settings,
    open_database,
    present_time,
    print_json,
    print_table,
    say,
)
from api.models import Role, Staff
from api.staff import add_staff, disable, make_password_link, set_password, staff_by_email, staff_of
from tracker.models import Library

app = group("staff", "Add and list staff; reset passwords.")
COMMANDS = {"staff": app}
Email = Annotated[str, typer.Argument(help="E-mail address.")]
Generate = Annotated[
    bool, typer.Option("--generate", help="Print a password instead of a link to set one.")
]


@app.command()
def add(
    email: Email,
    role: Annotated[Role, typer.Option(help="What they may do.")],
    library: LibrarySlug = None,
    name: Annotated[str | None, typer.Option(help="As patrons may read it.")] = None,
    generate: Generate = False,
    as_json: AsJson = False,
) -> None:
    """Add a member of staff and print how they set their password.

    An admin without --library runs the whole installation.

    Example: refdesk staff add li@example.org --role librarian --library north
    """
    now = present_time()
    with open_database() as database, database.transaction() as session:
        everywhere = role is Role.ADMIN and library is None
        library_id = None if everywhere else library_of(session, library).id
        shown = name or email.partition("@")[0]
        person = add_staff(session, email, name=shown, role=role, library_id=library_id, now=now)
        audit.record(
            session,
            actor=actor(),
            action="staff.add",
            subject=person.email,
            library_id=library_id,
            now=now,
            role=role,
        )
        way_in = _way_in(session, person, generate=generate)
    _tell(email, way_in, as_json=as_json)


@app.command("reset-password")
def reset_password(email: Email, generate: Generate = False, as_json: AsJson = False) -> None:
    """Print a single-use link, valid for a day, with which they set a new password.

    Example: refdesk staff reset-password li@example.org
    """
    with open_database() as database, database.transaction() as session:
        person = staff_by_email(session, email)
        audit.record(
            session,
            actor=actor(),
            action="staff.reset_password",
            subject=person.email,
            library_id=person.library_id,
            now=present_time(),
        )
        way_in = _way_in(session, person, generate=generate)
    _tell(email, way_in, as_json=as_json)


def _way_in(session: Session, person: Staff, *, generate: bool) -> dict[str, str]:
    if generate:
        password = secrets.token_urlsafe(12)
        set_password(session, person, password)
        return {"password": password}
    token = make_password_link(session, person, now=present_time())
    return {"link": f"{load_settings().public_url}/set-password/{token}"}


def _tell(email: str, way_in: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"email": email, **way_in})
    elif "link" in way_in:
        say(f"Let {email} set a password here, once, within 24 hours:")
        say(way_in["link"])
    else:
        say(f"Password of {email}, shown only now:")
        say(way_in["password"])


@app.command("list")
def list_command(library: LibrarySlug = None, as_json: AsJson = False) -> None:
    """List the staff of a library, or of all.

    Example: refdesk staff list --library north --json
    """
    with open_database() as database, database.snapshot() as session:
        library_id = library_of(session, library).id if library else None
        slugs = {row.id: row.slug for row in session.scalars(select(Library))}
        rows = [
            {
                "email": person.email,
                "name": person.name,
                "role": person.role,
                "library": slugs.get(person.library_id or 0),
                "disabled": person.disabled_at is not None,
            }
            for person in staff_of(session, library_id)
        ]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("e-mail", "name", "role", "library", "disabled"), [tuple(r.values()) for r in rows]
        )


@app.command("disable")
def disable_command(email: Email) -> None:
    """Sign somebody out everywhere and let them in no more.

    Example: refdesk staff disable li@example.org
    """
    now = present_time()
    with open_database() as database, database.transaction() as session:
        person = staff_by_email(session, email)
        disable(session, person, now=now)
        audit.record(
            session,
            actor=actor(),
            action="staff.disable",
            subject=person.email,
            library_id=person.library_id,
            now=now,
        )
    say(f"{email} can no longer sign in.")
