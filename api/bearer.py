"""Bearer tokens of the JSON API: made once, shown once, kept as a hash."""

import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.crypto import digest
from api.errors import NotFound
from api.models import ApiToken, Role, Staff

PREFIX = "refdesk_"  # so that a leaked token is recognised as one


class UnknownToken(NotFound):
    """There is no such token."""


def make(
    session: Session,
    library_id: int,
    *,
    name: str,
    role: Role,
    now: datetime,
    staff: Staff | None = None,
) -> tuple[str, ApiToken]:
    """A new token and its row; the token cannot be read again later."""
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        library_id=library_id,
        staff_id=staff.id if staff else None,
        name=name,
        role=role,
        token_hash=digest(token),
        created_at=now,
    )
    session.add(row)
    session.flush()
    return token, row


def find(session: Session, token: str) -> ApiToken | None:
    """The row of a token that is valid now: not revoked, and its owner not disabled."""
    row = session.scalar(
        select(ApiToken).where(ApiToken.token_hash == digest(token), ApiToken.revoked_at.is_(None))
    )
    if row is None or (row.staff is not None and row.staff.disabled_at is not None):
        return None
    return row


def effective_role(row: ApiToken) -> Role:
    """Never more than the role that its owner has today."""
    role = Role(row.role)
    if row.staff is None:
        return role
    owners = Role(row.staff.role)
    return role if owners.includes(role) else owners


def mark_used(session: Session, token_id: int, *, now: datetime) -> None:
    """Note when a token was last used."""
    session.execute(update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=now))


def revoke(session: Session, library_id: int, token_id: int, *, now: datetime) -> None:
    """End a token of a library. Raises UnknownToken."""
    row = session.scalar(
        select(ApiToken).where(ApiToken.library_id == library_id, ApiToken.id == token_id)
    )
    if row is None:
        raise UnknownToken
    row.revoked_at = row.revoked_at or now
    session.flush()


def tokens_of(session: Session, library_id: int) -> Sequence[ApiToken]:
    """A library's tokens, newest first."""
    return session.scalars(
        select(ApiToken)
        .where(ApiToken.library_id == library_id)
        .order_by(ApiToken.created_at.desc(), ApiToken.id.desc())
    ).all()
