"""Where patrons' messages come in: an account, with the desk behind it, ready for a turn.

Gathering it costs several queries, and under load hundreds of messages a second go through
the same door. So a door is kept for a moment: what this process changes closes it at once,
what another process changed is seen a quarter of a second later.
"""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import TimeoutError as NoConnection

from api.accounts import account_named, built_in_account, find_built_in
from api.bus import Notice
from api.db import Database
from api.desks import Desks
from api.errors import NotFound
from api.libraries import default_library
from api.notices import SETTINGS
from api.standby import is_away
from bot.channels.rasa import Rasa
from bot.desk import Desk
from bot.models import ChannelAccount

KEPT_SECONDS = 0.25
MOST_KEPT = 1_000
OPENINGS = 64  # doors that may be gathered at once


@dataclass(frozen=True, slots=True)
class Door:
    """A channel account and the desk of its library, as they were a moment ago."""

    account: ChannelAccount
    desk: Desk


class Doors:
    """Opens doors, and keeps them for a moment."""

    def __init__(
        self,
        database: Database,
        desks: Desks,
        *,
        default: str | None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._desks = desks
        self._default = default
        self._ticks = ticks
        self._lock = threading.Lock()
        self._kept: dict[Hashable, tuple[float, Door]] = {}
        self._openings = tuple(threading.Lock() for _ in range(OPENINGS))
        self._changes = 0
        self._failed_at = float("-inf")  # when a door could not be gathered
        self.last_rasa: Door | None = None  # as it was, for when the database is away
        database.listeners.append(self.hear)

    def push(self, kind: str, name: str, *, now: datetime) -> Door:
        """The door of a push channel's webhook. Raises NotFound, also for a disabled account."""
        return self._get((kind, name), lambda: self._open_push(kind, name, now))

    def rasa(self, *, now: datetime) -> Door:
        """The default library's door for Rasa's clients. Raises UnknownLibrary."""
        self.last_rasa = self._get(Rasa.kind, lambda: self._open_rasa(now))
        return self.last_rasa

    def hear(self, *notices: Notice) -> None:
        """Forget all doors when a library, a calendar, an account or an entry has changed."""
        if any(notice.topic == SETTINGS for notice in notices):
            with self._lock:
                self._changes += 1
                self._kept.clear()

    def _get(self, key: Hashable, open_door: Callable[[], Door]) -> Door:
        kept = self._fresh(key)
        if kept is not None:
            return kept
        asked_at = self._ticks()
        with self._openings[hash(key) % len(self._openings)]:  # one gathers it, the others wait
            kept = self._fresh(key)
            if kept is not None:
                return kept
            if self._failed_at > asked_at:  # else each would wait as long again, one by one
                raise NoConnection("the database was away when another asked for the same door")
            changes = self._changes
            try:
                door = open_door()
            except Exception as error:  # looked at and raised again
                if is_away(error):
                    self._failed_at = self._ticks()
                raise
            with self._lock:
                if changes == self._changes:  # else it may show what was before the change
                    if len(self._kept) >= MOST_KEPT:
                        self._kept.clear()
                    self._kept[key] = (self._ticks() + KEPT_SECONDS, door)
            return door

    def _fresh(self, key: Hashable) -> Door | None:
        with self._lock:
            kept = self._kept.get(key)
        return kept[1] if kept is not None and self._ticks() < kept[0] else None

    def _open_push(self, kind: str, name: str, now: datetime) -> Door:
        with self._database.snapshot() as session:
            account = account_named(session, name, kind=kind)
            if not account.enabled:
                raise NotFound
            return Door(account, self._desks.of(session, account.library_id, now=now))

    def _open_rasa(self, now: datetime) -> Door:
        with self._database.snapshot() as session:
            library = default_library(session, self._default)
            account = find_built_in(session, library, Rasa.kind)
            desk = self._desks.of(session, library.id, now=now)
        if account is None:
            with self._database.transaction() as session:
                account = built_in_account(session, library, Rasa.kind, now=now)
        return Door(account, desk)
