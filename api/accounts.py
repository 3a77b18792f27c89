"""Libraries' accounts on messaging channels: adding them, and opening them for use."""

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import cast

import httpx
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.crypto import Keyring
from api.db import insert
from api.errors import BadRequest, NotFound
from bot.channels import CHANNELS
from bot.channels.base import Channel, ChannelFactory, Declaration, TokenStore
from bot.models import ChannelAccount
from tracker.models import Library

TIMEOUT = httpx.Timeout(5, connect=3)  # short, so that a server told to stop is not held up
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class UnknownAccount(NotFound):
    """There is no channel account of that name."""


class AccountExists(BadRequest):
    """A channel account of that name exists already."""

    status = 409


def addable_kinds() -> list[str]:
    """The kinds of channel that a library can add an account for."""
    return sorted(kind for kind, made in CHANNELS.items() if not made.declaration.built_in)


def add_account(
    session: Session,
    library: Library,
    *,
    kind: str,
    name: str,
    values: Mapping[str, str],
    keyring: Keyring,
    now: datetime,
) -> ChannelAccount:
    """Add an account with its settings, its secrets encrypted. Raises BadRequest."""
    if kind not in addable_kinds():
        raise BadRequest(f'There is no channel "{kind}": choose {", ".join(addable_kinds())}.')
    if not _NAME.fullmatch(name):
        raise BadRequest(f'"{name}" is no account name: use letters, digits, ".", "-" and "_".')
    declaration = CHANNELS[kind].declaration
    _check(declaration, values)
    _try_out(kind, name, values)
    if session.scalar(select(ChannelAccount.id).where(ChannelAccount.name == name)) is not None:
        raise AccountExists(f'A channel account "{name}" exists already.')
    hidden = {key: value for key, value in values.items() if key in declaration.secret_settings}
    shown = {key: value for key, value in values.items() if key not in hidden}
    account = ChannelAccount(
        library_id=library.id,
        kind=kind,
        name=name,
        settings=shown,
        secrets=keyring.seal(json.dumps(hidden), about=_about(name)) if hidden else None,
        created_at=now,
    )
    session.add(account)
    session.flush()
    return account


def _check(declaration: Declaration, values: Mapping[str, str]) -> None:
    known = {*declaration.required_settings, *declaration.optional_settings}
    known |= set(declaration.secret_settings)
    unknown = sorted(set(values) - known)
    missing = [key for key in declaration.required_settings if not values.get(key)]
    if unknown:
        raise BadRequest(
            f"Unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}."
        )
    if missing:
        raise BadRequest(f"Settings missing: {', '.join(missing)}.")


class _NoTokens:
    """Stands in where settings are only looked at: no platform is asked for a token."""

    def get(
        self, key: str, fetch: Callable[[], tuple[str, float]], *, stale: str | None = None
    ) -> str:
        raise NotImplementedError


def _try_out(kind: str, name: str, values: Mapping[str, str]) -> None:
    """Let the channel itself say what is wrong with its settings, without any network call."""
    factory = cast("ChannelFactory", CHANNELS[kind])
    with httpx.Client() as http:
        try:
            factory(name, values, http=http, tokens=_NoTokens())
        except ValueError as error:
            raise BadRequest(str(error)) from error


def account_named(session: Session, name: str, *, kind: str | None = None) -> ChannelAccount:
    """The account of that name, and kind where given. Raises UnknownAccount."""
    found = session.scalar(select(ChannelAccount).where(ChannelAccount.name == name))
    if found is None or (kind is not None and found.kind != kind):
        raise UnknownAccount
    return found


def accounts_of(session: Session, library_id: int | None) -> Sequence[ChannelAccount]:
    """The accounts of a library, or of all libraries, by kind and name."""
    every = select(ChannelAccount).order_by(ChannelAccount.kind, ChannelAccount.name)
    if library_id is not None:
        every = every.where(ChannelAccount.library_id == library_id)
    return session.scalars(every).all()


def built_in_account(
    session: Session, library: Library, kind: str, *, now: datetime
) -> ChannelAccount:
    """The account of a channel that every library has without adding it, made on first use."""
    found = find_built_in(session, library, kind)
    if found is not None:
        return found
    values = {
        "library_id": library.id,
        "kind": kind,
        "name": _built_in_name(library, kind),
        "settings": {},
        "enabled": True,
        "created_at": now,
        "failures_in_row": 0,
    }
    session.execute(insert(session, ChannelAccount).values(**values).on_conflict_do_nothing())
    return account_named(session, _built_in_name(library, kind))


def find_built_in(session: Session, library: Library, kind: str) -> ChannelAccount | None:
    """The account of a built-in channel, if it has been used before."""
    name = _built_in_name(library, kind)
    return session.scalar(select(ChannelAccount).where(ChannelAccount.name == name))


def _built_in_name(library: Library, kind: str) -> str:
    return f"{kind}:{library.slug}"  # with a colon, which no added account can have


class Channels:
    """Opens accounts: an account and its decrypted settings become a channel that can talk."""

    def __init__(self, keyring: Keyring, tokens: TokenStore) -> None:
        self._keyring = keyring
        self._tokens = tokens
        self._http = httpx.Client(timeout=TIMEOUT, follow_redirects=False)
        self._lock = threading.Lock()
        self._opened: dict[int, tuple[object, Channel]] = {}

    def of(self, account: ChannelAccount) -> Channel:
        """The channel of an account, kept until the account's settings change."""
        state = (account.name, json.dumps(account.settings, sort_keys=True), account.secrets)
        with self._lock:
            kept = self._opened.get(account.id)
            if kept is not None and kept[0] == state:
                return kept[1]
        channel = self.open(account)
        with self._lock:
            self._opened[account.id] = (state, channel)
        return channel

    def open(self, account: ChannelAccount) -> Channel:
        """A fresh channel of an account. Raises UnreadableSecret."""
        values = {key: str(value) for key, value in account.settings.items()}
        if account.secrets is not None:
            values |= json.loads(self._keyring.open(account.secrets, about=_about(account.name)))
        factory = cast("ChannelFactory", CHANNELS[account.kind])
        return factory(account.name, values, http=self._http, tokens=self._tokens)

    def close(self) -> None:
        self._http.close()


def _about(name: str) -> str:
    return f"channel_account:{name}"
