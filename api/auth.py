"""Who may call a route, and how we know who calls.

Every route names its policy by depending on one of `public`, `public_form`, `channel_signed`,
`require(role)` or `require_api(role)`; a test fails for a route that names none.

Staff sign in with a cookie that stands for a row in `staff_session`. A form carries a token
derived from that cookie, which a foreign page cannot know; htmx sends it as a header.
"""

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from api import bearer, staff
from api.errors import ForgedForm, NotAllowed, NotSignedIn, TooManyAttempts
from api.libraries import default_library
from api.limits import CHANNEL, PUBLIC, SIGN_IN_PER_ADDRESS, STAFF_API, Limit
from api.models import Role, StaffSession
from api.state import State, state_of

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
DEVICE_DAYS = 180
FORM_SEED = "refdesk.form_seed"  # in the ASGI scope: a cookie that the middleware must set


@dataclass(frozen=True, slots=True)
class StaffMember:
    """Whoever is signed in, and the library that they are looking at."""

    id: int | None  # None: an integration's token
    email: str
    name: str
    role: Role
    library_id: int
    home_library_id: int | None  # None: runs the whole installation
    language: str | None = None

    @property
    def can_manage(self) -> bool:
        return self.role.includes(Role.MANAGER)

    @property
    def runs_installation(self) -> bool:
        return self.home_library_id is None and self.role is Role.ADMIN


Policy = Callable[[Request], Awaitable[Any]]


def policy(name: str) -> Callable[[Policy], Policy]:
    """Mark a dependency as the answer to "who may call this?"."""

    def mark(dependency: Policy) -> Policy:
        dependency.policy = name  # type: ignore[attr-defined]
        return dependency

    return mark


# --- policies ----------------------------------------------------------------------------


@policy("public")
async def public(request: Request) -> None:
    """Anybody may call, not too often."""
    limit_calls(request, "public", PUBLIC)


@policy("public form")
async def public_form(request: Request) -> None:
    """Anybody may send this form, from our own page."""
    limit_calls(request, "public", PUBLIC)
    await _check_form(request)


@policy("channel signature")
async def channel_signed(request: Request) -> None:
    """A messaging platform calls; its adapter verifies the signature over the raw bytes."""
    limit_calls(request, f"channel:{request.path_params.get('name', '')}", CHANNEL)


@policy("health probe")
async def probe(request: Request) -> None:
    """The machine that watches over this server; tells nothing of any library."""


@cache
def require(role: Role) -> Policy:
    """Only staff of at least this role, with a session, and from our own page.

    The route receives a StaffMember: `caller: Annotated[StaffMember, Depends(require(...))]`.
    """

    @policy(f"staff: {role}")
    async def caller(request: Request) -> StaffMember:
        member = await run_in_threadpool(_session_member, request)
        if request.method not in SAFE_METHODS:
            await _check_form(request)
        return _with_role(member, role)

    return caller


@cache
def require_api(role: Role) -> Policy:
    """Staff or an integration with a bearer token, or a signed-in browser."""

    @policy(f"token or staff: {role}")
    async def caller(request: Request) -> StaffMember:
        header = request.headers.get("authorization", "")
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer":
            limit_calls(request, "token", STAFF_API)
            return _with_role(await run_in_threadpool(_token_member, request, token), role)
        return await require(role)(request)  # type: ignore[no-any-return]

    return caller


Librarian = Annotated[StaffMember, Depends(require(Role.LIBRARIAN))]
Manager = Annotated[StaffMember, Depends(require(Role.MANAGER))]
Admin = Annotated[StaffMember, Depends(require(Role.ADMIN))]


def _with_role(member: StaffMember, role: Role) -> StaffMember:
    if not member.role.includes(role):
        raise NotAllowed
    return member


def limit_calls(request: Request, what: str, limit: Limit) -> None:
    """Count a call of the caller's network address. Raises TooManyAttempts."""
    address = request.client.host if request.client else "unknown"
    wait = state_of(request).limiter.wait(f"{what}:{address}", limit)
    if wait:
        raise TooManyAttempts(retry_after=wait)


# --- sessions ----------------------------------------------------------------------------


def cookie_name(state: State) -> str:
    """Over TLS the browser itself guards the name: no other host can set the cookie."""
    return "__Host-refdesk" if state.settings.is_https else "refdesk"


def current_member(request: Request) -> StaffMember | None:
    """Who is signed in, if anybody, for a public page that greets them. Call it from a thread."""
    try:
        return _session_member(request)
    except NotSignedIn:
        return None


def _session_member(request: Request) -> StaffMember:
    state = state_of(request)
    token = request.cookies.get(cookie_name(state))
    if not token:
        raise NotSignedIn
    now = state.clock()
    idle = timedelta(minutes=state.settings.session_idle_minutes)
    with state.database.snapshot() as session:
        row = staff.find_session(session, token, idle=idle, now=now)
        if row is None:
            raise NotSignedIn
        member = _member(row)
    if now - row.seen_at >= staff.SEEN_EVERY:
        with state.database.transaction() as session:
            staff.mark_seen(session, row.token_hash, now=now)
    return member


def _member(row: StaffSession) -> StaffMember:
    person = row.staff
    library_id = person.library_id or row.library_id
    if library_id is None:  # the library that an installation's admin looked at is gone
        raise NotSignedIn
    return StaffMember(
        id=person.id,
        email=person.email,
        name=person.name,
        role=Role(person.role),
        library_id=library_id,
        home_library_id=person.library_id,
        language=person.language,
    )


def _token_member(request: Request, token: str) -> StaffMember:
    state = state_of(request)
    now = state.clock()
    with state.database.snapshot() as session:
        row = bearer.find(session, token)
        if row is None:
            raise NotSignedIn("This token is unknown or has been revoked.")
        person = row.staff
        home = person.library_id if person is not None else row.library_id
        member = StaffMember(
            id=person.id if person is not None else None,
            email=person.email if person is not None else f"token:{row.name}",
            name=person.name if person is not None else row.name,
            role=bearer.effective_role(row),
            library_id=row.library_id,
            home_library_id=home,
        )
    if row.last_used_at is None or now - row.last_used_at >= staff.SEEN_EVERY:
        with state.database.transaction() as session:
            bearer.mark_used(session, row.id, now=now)
    return member


def sign_in(request: Request, response: Response, *, email: str, password: str) -> StaffMember:
    """Check a password and set the session's cookie, always a new one. Call it from a thread.

    Raises WrongPassword, or TooManyAttempts (see staff.may_try); whoever is signed in already
    stays so.
    """
    state = state_of(request)
    now = state.clock()
    limit_calls(request, "sign-in", SIGN_IN_PER_ADDRESS)
    trying = _trying(request, email)
    with state.database.transaction() as session:
        allowed = staff.may_try(session, email, trying, now=now)
    if not allowed:
        raise TooManyAttempts(retry_after=int(staff.ATTEMPT_WINDOW.total_seconds()))
    with state.database.snapshot() as session:
        person = staff.checked_staff(session, email, password)
    life = timedelta(days=state.settings.session_days)
    with state.database.transaction() as session:
        staff.forget_attempts(session, trying)
        if old := request.cookies.get(cookie_name(state)):
            staff.end_session(session, old)
        library_id = person.library_id
        if library_id is None:
            library_id = default_library(session, state.settings.default_library).id
        signed = staff.start_session(session, person, library_id=library_id, life=life, now=now)
        member = _member(session.get_one(StaffSession, signed.session.token_hash))
    _set_cookie(response, state, cookie_name(state), signed.token, life)
    know_browser(response, state, email)
    return member


def sign_out(request: Request, response: Response) -> None:
    """End this browser's session. Call it from a thread."""
    state = state_of(request)
    if token := request.cookies.get(cookie_name(state)):
        with state.database.transaction() as session:
            staff.end_session(session, token)
    response.delete_cookie(cookie_name(state), path="/", secure=state.settings.is_https)


_DEVICE_LIFE = timedelta(days=DEVICE_DAYS)


def _set_cookie(response: Response, state: State, name: str, value: str, life: timedelta) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(life.total_seconds()),
        path="/",
        secure=state.settings.is_https,
        httponly=True,
        samesite="lax",
    )


def know_browser(response: Response, state: State, email: str) -> None:
    """Mark this browser as the account's own: guesses of strangers never lock it out."""
    _set_cookie(response, state, "refdesk_device", _device(state, email), _DEVICE_LIFE)


def _device(state: State, email: str) -> str:
    """Marks a browser as one in which this account has signed in before."""
    nonce = secrets.token_hex(8)
    return f"{nonce}.{state.keyring.sign('device', f'{nonce} {email.strip().lower()}')}"


def _trying(request: Request, email: str) -> staff.Trying:
    """What attempts are counted on: this browser if the account knows it, else its network."""
    keyring = state_of(request).keyring
    account = keyring.sign("account", email.strip().lower())
    nonce, _, signature = request.cookies.get("refdesk_device", "").partition(".")
    if nonce and keyring.is_signed("device", f"{nonce} {email.strip().lower()}", signature):
        return staff.Trying(account, nonce, is_known=True)
    address = request.client.host if request.client else "unknown"
    return staff.Trying(account, keyring.sign("network", _network(address)), is_known=False)


def _network(address: str) -> str:
    """The address, or of IPv6 the part that one customer has: the rest is theirs to change."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found.packed[:8] + bytes(8), 64)))


# --- forms -------------------------------------------------------------------------------


def csrf_token(request: Request) -> str:
    """The token that a form of this page must carry, for a session or for a stranger."""
    state = state_of(request)
    seed = _seed(request, state)
    if seed is None:
        seed = request.scope[FORM_SEED] = secrets.token_urlsafe(24)
    return state.keyring.sign("form", seed)


def _seed(request: Request, state: State) -> str | None:
    return (
        request.cookies.get(cookie_name(state))
        or request.cookies.get("refdesk_form")
        or request.scope.get(FORM_SEED)
    )


async def _check_form(request: Request) -> None:
    """Refuse what did not come from one of our own pages. Raises ForgedForm."""
    state = state_of(request)
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise ForgedForm
    seed = _seed(request, state)
    given: object = request.headers.get(CSRF_HEADER)
    if given is None and _is_form(request):
        given = (await request.form()).get(CSRF_FIELD)
    if seed is None or not isinstance(given, str):
        raise ForgedForm
    if not state.keyring.is_signed("form", seed, given):
        raise ForgedForm


def _is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "").split(";")[0]
    return kind in {"application/x-www-form-urlencoded", "multipart/form-data"}


def safe_next(path: str | None, *, default: str = "/desk") -> str:
    """Where to go after signing in: a path of this server and nothing else."""
    if not path or not path.startswith("/") or path[1:2] in {"/", "\\"}:
        return default
    if not path.isprintable():  # browsers take tabs and line ends out of "/\t/evil.example"
        return default
    return path
