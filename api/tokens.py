"""Access tokens of messaging platforms, fetched once and shared by all processes.

A platform gives few tokens a day, and some end the old one when they give a new one. So the
token is a row, encrypted, and whoever refreshes it holds a lock: on PostgreSQL the row's own,
with SQLite one of this process (a database lock there would stop every other writer while we
wait for the network).
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.crypto import Keyring
from api.db import Database, insert
from bot.models import ChannelToken

Fetch = Callable[[], tuple[str, float]]  # the token, and its life in seconds
MARGIN = timedelta(minutes=5)  # a token is renewed this long before it ends


class DatabaseTokens:
    """Implements bot.channels.base.TokenStore."""

    def __init__(self, database: Database, keyring: Keyring, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def get(self, key: str, fetch: Fetch, *, stale: str | None = None) -> str:
        """The cached token, or what `fetch` returns; `stale` is never returned again."""
        with self._database.snapshot() as session:
            found = self._valid(session.get(ChannelToken, key), stale)
        return found or self._refreshed(key, fetch, stale)

    def _refreshed(self, key: str, fetch: Fetch, stale: str | None) -> str:
        with self._guard:
            lock = self._locks[key]
        with lock:
            if self._database.is_sqlite:
                return self._refresh_here(key, fetch, stale)
            return self._refresh_shared(key, fetch, stale)

    def _refresh_here(self, key: str, fetch: Fetch, stale: str | None) -> str:
        with self._database.snapshot() as session:
            found = self._valid(session.get(ChannelToken, key), stale)
        if found:
            return found
        token, life = fetch()
        with self._database.transaction() as session:
            self._keep(self._locked_row(session, key), token, life)
        return token

    def _refresh_shared(self, key: str, fetch: Fetch, stale: str | None) -> str:
        with self._database.transaction() as session:
            row = self._locked_row(session, key)
            found = self._valid(row, stale)
            if found:
                return found
            token, life = fetch()
            self._keep(row, token, life)
            return token

    def _locked_row(self, session: Session, key: str) -> ChannelToken:
        session.execute(insert(session, ChannelToken).values(key=key).on_conflict_do_nothing())
        return session.scalars(
            select(ChannelToken).where(ChannelToken.key == key).with_for_update()
        ).one()

    def _keep(self, row: ChannelToken, token: str, life: float) -> None:
        row.secret = self._keyring.seal(token, about=f"token:{row.key}")
        row.expires_at = self._clock() + timedelta(seconds=life)

    def _valid(self, row: ChannelToken | None, stale: str | None) -> str | None:
        if row is None or row.secret is None or row.expires_at is None:
            return None
        if row.expires_at - MARGIN <= self._clock():
            return None
        token = self._keyring.open(row.secret, about=f"token:{row.key}")
        return None if token == stale else token
