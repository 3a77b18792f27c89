"""What webhooks do while the database is away: verify, keep on the disk, acknowledge, replay.

The settings that a signature is checked with are remembered while the database answers, in
this process and, sealed, beside the waiting messages, so that a process that starts during
the outage knows them too. After a failure nobody asks the database for a second: a platform
waits five seconds at most, and a connection that is tried in vain may cost as much.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection

from api.crypto import Keyring
from api.db import Database, LostTransaction
from api.errors import RefdeskError, UnreadableSecret
from api.logs import log_problem
from api.spool import Kept, Record, Spool
from bot.models import ChannelAccount
from bot.replays import OwnMemory

_TRY_AGAIN = ("40001", "40P01")  # PostgreSQL: two transactions were in each other's way
AWAY_SECONDS = 1.0  # after a failure, until the database is asked again
REPLAY_SECONDS = 1.0
REMEMBER_SECONDS = 60.0
_FILE = "accounts.sealed"
_ABOUT = "spool accounts"
_Result = TypeVar("_Result")


class DatabaseAway(RefdeskError):
    """The database does not answer. Try again."""

    status = 503


@dataclass(frozen=True, slots=True)
class Done(Generic[_Result]):
    """The database answered, and this is what came of it."""

    result: _Result


def is_away(error: Exception) -> bool:
    """Whether an error means that the database cannot be used now, whatever is asked of it."""
    if isinstance(error, DBAPIError):
        if getattr(error.orig, "sqlstate", None) in _TRY_AGAIN:
            return False
        names = {"OperationalError", "InterfaceError"}
        return error.connection_invalidated or type(error).__name__ in names
    return isinstance(error, NoConnection | LostTransaction)


class Standby:
    """Stands in for the database of one process."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        *,
        folder: Path,
        keyring: Keyring,
        clock: Callable[[], datetime],
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spool = spool
        self.signatures = OwnMemory()
        self._database = database
        self._file = folder / _FILE
        self._keyring = keyring
        self._clock = clock
        self._ticks = ticks
        self._away_until = 0.0
        self._accounts: dict[tuple[str, str], ChannelAccount] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # --- while a webhook waits -----------------------------------------------------------

    def tried(self, ask: Callable[[], _Result]) -> Done[_Result] | None:
        """What the database answers; None while it is away. Other errors are raised."""
        if self._ticks() < self._away_until:
            return None
        try:
            return Done(ask())
        except (SQLAlchemyError, LostTransaction) as error:
            if not is_away(error):
                raise
            log_problem("database_away", error)
            self._away_until = self._ticks() + AWAY_SECONDS
            return None

    def take_or_keep(
        self, account: ChannelAccount, what: Kept, take: Callable[[], _Result]
    ) -> _Result | None:
        """Take it now, or keep it on the disk and return None. Raises SpoolFull.

        What comes while something earlier of the same conversation waits has to wait behind it.
        """
        arrived_at = self._clock()
        if not self.spool.holds(self.spool.lane(account, what)):
            done = self.tried(take)
            if done is not None:
                return done.result
        self.spool.put(account, what, arrived_at=arrived_at)
        return None

    def account(self, kind: str, name: str) -> ChannelAccount:
        """An account as it was when the database last answered. Raises DatabaseAway."""
        found = self._accounts.get((kind, name))
        if found is None:
            raise DatabaseAway
        return found

    def accounts_of(self, kind: str) -> list[ChannelAccount]:
        """The accounts of a kind, as they were when the database last answered."""
        return [account for (each, _), account in self._accounts.items() if each == kind]

    # --- meanwhile and afterwards --------------------------------------------------------

    def remember(self) -> None:
        """Learn the accounts by heart, and write them down, sealed."""
        with self._database.snapshot() as session:
            found = session.scalars(select(ChannelAccount).where(ChannelAccount.enabled)).all()
            session.expunge_all()
        accounts = {(account.kind, account.name): account for account in found}
        changed = _shown(accounts.values()) != _shown(self._accounts.values())
        self._accounts = accounts
        if changed:
            self._write_down()

    def recall(self) -> None:
        """Read what an earlier process wrote down, for a start without the database."""
        try:
            text = self._keyring.open(self._file.read_text("ascii"), about=_ABOUT)
        except FileNotFoundError:
            return
        except (OSError, UnreadableSecret, ValueError) as error:
            log_problem("accounts_not_recalled", error)
            return
        for fields in json.loads(text):
            account = ChannelAccount(**fields, enabled=True)
            self._accounts.setdefault((account.kind, account.name), account)

    def replay(self, take: Callable[[Record], bool]) -> int:
        """Take what waits, if the database is back; returns how many records."""
        if not self.spool.waiting() or self.tried(self._database.is_healthy) is None:
            return 0
        done = self.tried(lambda: self.spool.replay(take))
        return done.result if done is not None else 0

    def start(self, take: Callable[[Record], bool]) -> None:
        """Remember and replay in a thread of this process, until `stop`."""
        self.recall()
        self._thread = threading.Thread(target=self._run, args=(take,), name="standby", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after what is under way; what waits is on the disk."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=REPLAY_SECONDS * 2)

    def _run(self, take: Callable[[Record], bool]) -> None:
        remember_at = 0.0
        while not self._stopping.is_set():
            try:
                if self._ticks() >= remember_at and self.tried(self.remember) is not None:
                    remember_at = self._ticks() + REMEMBER_SECONDS
                self.replay(take)
            except (SQLAlchemyError, RefdeskError, OSError) as error:
                log_problem("replay_failed", error)
            except Exception as error:  # noqa: BLE001 - what waits must be tried again
                log_problem("replay_failed_unexpectedly", error)
            self._stopping.wait(REPLAY_SECONDS)

    def _write_down(self) -> None:
        text = self._keyring.seal(_shown(self._accounts.values()), about=_ABOUT)
        draft = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as to:
                to.write(text)
            draft.replace(self._file)
        except OSError as error:  # a full disk: this process still knows them
            log_problem("accounts_not_written_down", error)


def _shown(accounts: Iterable[ChannelAccount]) -> str:
    """What an account is opened with; its secrets are sealed in the database already."""
    names = ("id", "library_id", "kind", "name", "settings", "secrets")
    rows = [{name: getattr(account, name) for name in names} for account in accounts]
    return json.dumps(sorted(rows, key=lambda row: row["id"]), sort_keys=True)
