"""Members of staff: adding them, their passwords, and their signed-in browsers.

Passwords are hashed with argon2id. Tokens are random, and only their hashes are kept.
"""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from api.crypto import digest
from api.errors import BadRequest, NotFound, WrongPassword
from api.models import PasswordLink, Role, SignInAttempt, Staff, StaffSession

ATTEMPTS = 10  # of all strangers together, and of each browser that the account knows
ATTEMPTS_OF_NETWORK = 7  # of the strangers in one network, so that some are left elsewhere
ATTEMPT_WINDOW = timedelta(minutes=15)
LINK_LIFE = timedelta(hours=24)
SEEN_EVERY = timedelta(minutes=1)  # how exactly we know when a session was last used
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 512  # hashing more would only heat the room

_hasher = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)
_hashing = threading.BoundedSemaphore(2)  # 32 MiB each: a flood of sign-ins must not fill memory


class StaffExists(BadRequest):
    """Somebody with that e-mail address exists already."""

    status = 409


class UnknownStaff(NotFound):
    """Nobody on the staff has that e-mail address."""


class WeakPassword(BadRequest):
    """A password needs at least 12 characters, and not one of them only."""


class UsedLink(NotFound):
    """This link has been used, or is older than a day: ask for a new one."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh session: the cookie's value is known only now."""

    token: str
    session: StaffSession


def add_staff(
    session: Session,
    email: str,
    *,
    name: str,
    role: Role,
    library_id: int | None,
    now: datetime,
    password: str | None = None,
) -> Staff:
    """Add a member of staff. Raises StaffExists; only an admin may be without a library."""
    address = email.strip().lower()
    if "@" not in address.strip("@") or any(letter.isspace() for letter in address):
        raise BadRequest(f'"{email}" is no e-mail address.')
    if library_id is None and role is not Role.ADMIN:
        raise BadRequest("A librarian or manager belongs to a library: name it.")
    if session.scalar(select(Staff.id).where(Staff.email == address)) is not None:
        raise StaffExists(f"{address} exists already.")
    staff = Staff(
        email=address,
        name=name,
        role=role,
        library_id=library_id,
        password_hash=hash_password(password) if password else None,
        settings={},
        created_at=now,
    )
    session.add(staff)
    session.flush()
    return staff


def staff_by_email(session: Session, email: str) -> Staff:
    """The member of staff with that address. Raises UnknownStaff."""
    found = session.scalar(select(Staff).where(Staff.email == email.strip().lower()))
    if found is None:
        raise UnknownStaff(f"Nobody on the staff has the address {email}.")
    return found


def staff_of(session: Session, library_id: int | None) -> Sequence[Staff]:
    """The staff of a library, or of all libraries, by name."""
    everyone = select(Staff).order_by(Staff.library_id, Staff.name)
    if library_id is not None:
        everyone = everyone.where(Staff.library_id == library_id)
    return session.scalars(everyone).all()


def disable(session: Session, staff: Staff, *, now: datetime) -> None:
    """Nobody signs in with this account any more; who is signed in is signed out."""
    staff.disabled_at = now
    end_all_sessions(session, staff)


# --- passwords ---------------------------------------------------------------------------


def hash_password(password: str) -> str:
    """The argon2id hash to keep. Raises WeakPassword."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD or len(set(password)) < 4:
        raise WeakPassword
    with _hashing:
        return _hasher.hash(password)


def is_password(kept: str | None, password: str) -> bool:
    """Whether the password is right; takes as long for an account that does not exist."""
    with _hashing:
        try:
            _hasher.verify(kept or _nobody(), password[:LONGEST_PASSWORD])
        except VerifyMismatchError:
            return False
    return kept is not None


_nobodys_hash: list[str] = []


def _nobody() -> str:
    if not _nobodys_hash:
        _nobodys_hash.append(_hasher.hash(secrets.token_hex(16)))
    return _nobodys_hash[0]


def set_password(session: Session, staff: Staff, password: str) -> None:
    """Change a password; whoever was signed in must sign in again."""
    staff.password_hash = hash_password(password)
    end_all_sessions(session, staff)
    session.flush()


def make_password_link(session: Session, staff: Staff, *, now: datetime) -> str:
    """A token with which a password can be set once within a day; earlier ones end."""
    session.execute(
        update(PasswordLink)
        .where(PasswordLink.staff_id == staff.id, PasswordLink.used_at.is_(None))
        .values(used_at=now)
    )
    token = secrets.token_urlsafe(32)
    session.add(
        PasswordLink(
            token_hash=digest(token),
            staff_id=staff.id,
            created_at=now,
            expires_at=now + LINK_LIFE,
        )
    )
    session.flush()
    return token


def owner_of_link(session: Session, token: str, *, now: datetime) -> Staff:
    """Whose password a link sets. Raises UsedLink."""
    found = session.scalar(
        select(Staff)
        .join(PasswordLink, PasswordLink.staff_id == Staff.id)
        .where(
            PasswordLink.token_hash == digest(token),
            PasswordLink.used_at.is_(None),
            PasswordLink.expires_at > now,
            Staff.disabled_at.is_(None),
        )
    )
    if found is None:
        raise UsedLink
    return found


def use_password_link(session: Session, token: str, password: str, *, now: datetime) -> Staff:
    """Set a password with a link, which is then used up. Raises UsedLink, WeakPassword."""
    staff = owner_of_link(session, token, now=now)
    hashed = hash_password(password)
    used = session.execute(
        update(PasswordLink)
        .where(PasswordLink.token_hash == digest(token), PasswordLink.used_at.is_(None))
        .values(used_at=now)
        .returning(PasswordLink.token_hash)
    ).all()
    if not used:  # somebody else used it between the two statements
        raise UsedLink
    staff.password_hash = hashed
    end_all_sessions(session, staff)
    session.flush()
    return staff


# --- sign-in -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trying:
    """Who tries a password: for which account, and from where. All are keyed hashes."""

    account: str
    place: str  # a browser that has signed in to the account before, else a network
    is_known: bool  # whether it is such a browser

    @property
    def bucket(self) -> str:
        return f"{self.account}{':' if self.is_known else '/'}{self.place}"


def may_try(session: Session, email: str, trying: Trying, *, now: datetime) -> bool:
    """Count one attempt, unless there were too many within fifteen minutes already.

    Strangers who guess share ten, of which one network has seven: whoever guesses from one
    place leaves some to an owner who comes from another. A browser that has signed in to the
    account before has ten of its own, which no stranger can use up. A refused attempt counts
    for nothing, so that hammering does not prolong the wait.
    """
    since = now - ATTEMPT_WINDOW
    # one after the other: guesses sent at the same moment must not all see the same count
    session.execute(select(Staff.id).where(Staff.email == _plain(email)).with_for_update())
    session.execute(delete(SignInAttempt).where(SignInAttempt.at <= since))
    here = _tried(session, SignInAttempt.account == trying.bucket)
    if here >= (ATTEMPTS if trying.is_known else ATTEMPTS_OF_NETWORK):
        return False
    strangers = SignInAttempt.account.startswith(f"{trying.account}/", autoescape=True)
    if not trying.is_known and _tried(session, strangers) >= ATTEMPTS:
        return False
    session.add(SignInAttempt(account=trying.bucket, at=now))
    session.flush()
    return True


def _tried(session: Session, which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(SignInAttempt).where(which)) or 0


def forget_attempts(session: Session, trying: Trying) -> None:
    """After the right password the count starts anew, for whoever knew it."""
    session.execute(delete(SignInAttempt).where(SignInAttempt.account == trying.bucket))


def checked_staff(session: Session, email: str, password: str) -> Staff:
    """The account of the address, if the password is right. Raises WrongPassword."""
    staff = session.scalar(select(Staff).where(Staff.email == _plain(email)))
    kept = staff.password_hash if staff is not None else None
    if not is_password(kept, password) or staff is None or staff.disabled_at is not None:
        raise WrongPassword
    return staff


def _plain(email: str) -> str:
    return email.strip().lower()


def start_session(
    session: Session,
    staff: Staff,
    *,
    library_id: int | None,
    life: timedelta,
    now: datetime,
) -> SignedIn:
    """A new signed-in browser with a token of its own."""
    session.execute(delete(StaffSession).where(StaffSession.expires_at <= now))
    token = secrets.token_urlsafe(32)
    row = StaffSession(
        token_hash=digest(token),
        staff_id=staff.id,
        library_id=library_id,
        created_at=now,
        seen_at=now,
        expires_at=now + life,
    )
    session.add(row)
    session.flush()
    return SignedIn(token, row)


def find_session(
    session: Session, token: str, *, idle: timedelta, now: datetime
) -> StaffSession | None:
    """The session of a cookie, unless it has ended, was idle too long, or its account is off."""
    row = session.get(StaffSession, digest(token))
    if row is None or row.expires_at <= now or row.seen_at + idle <= now:
        return None
    return None if row.staff.disabled_at is not None else row


def mark_seen(session: Session, token_hash: str, *, now: datetime) -> None:
    """Note that a session was used."""
    session.execute(
        update(StaffSession).where(StaffSession.token_hash == token_hash).values(seen_at=now)
    )


def end_session(session: Session, token: str) -> None:
    """Sign one browser out."""
    session.execute(delete(StaffSession).where(StaffSession.token_hash == digest(token)))


def end_all_sessions(session: Session, staff: Staff) -> None:
    """Sign an account out everywhere."""
    session.execute(delete(StaffSession).where(StaffSession.staff_id == staff.id))
