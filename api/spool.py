"""Messages wait here while the database is away: on the disk before we acknowledge them.

One file holds what waits of one conversation, one sealed line a message, so that nothing of a
patron lies open and their messages are replayed in their order. The file's name is a keyed
hash. Several processes of one machine share the folder. Whoever replays renames the file first:
a webhook never waits for a replay, and what comes meanwhile waits in a file of its own.
"""

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

from api.crypto import Keyring
from api.errors import RefdeskError, UnreadableSecret
from bot.messages import (
    Arrived,
    Inbound,
    InboundKind,
    SendFailure,
    StaffMessage,
    Undelivered,
    Waiting,
)
from bot.models import ChannelAccount

Kept = Inbound | Waiting | StaffMessage | Undelivered | Arrived
_ABOUT = "spool"
_ENDING = ".wait"
_TAKEN = ".taking"  # being replayed: before the file that waits
_GIVEN_UP = ".lost"  # even a librarian could not be given it; an operator looks at it
_KINDS: dict[str, type[Any]] = {
    each.__name__: each for each in (Inbound, Waiting, StaffMessage, Undelivered, Arrived)
}


class SpoolFull(RefdeskError):
    """The message cannot be kept now: send it again later."""

    status = 503


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that a verified webhook brought, and when."""

    account_id: int
    account: str  # its name
    at: datetime
    what: Kept

    def as_json(self) -> str:
        fields = {name: _plain(value) for name, value in asdict(self.what).items()}
        document = {
            "account_id": self.account_id,
            "account": self.account,
            "at": self.at.isoformat(),
            "kind": type(self.what).__name__,
            "what": fields,
        }
        return json.dumps(document, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        document = json.loads(text)
        what = _restored(_KINDS[document["kind"]], document["what"])
        at = datetime.fromisoformat(document["at"])
        return cls(document["account_id"], document["account"], at, what)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _restored(made: type[Any], fields: dict[str, Any]) -> Any:
    for name in ("at", "sent_at"):
        if fields.get(name) is not None:
            fields[name] = datetime.fromisoformat(fields[name])
    if made is Inbound:
        fields |= {"kind": InboundKind(fields["kind"]), "aliases": tuple(fields["aliases"])}
    if made is Undelivered:
        fields["failure"] = SendFailure(fields["failure"])
    return made(**fields)


class Spool:
    """The folder of waiting messages (REFDESK_SPOOL_DIR), made when it is first needed."""

    def __init__(self, folder: Path, keyring: Keyring) -> None:
        self._folder = folder
        self._keyring = keyring
        self._replaying = threading.Lock()

    def lane(self, account: ChannelAccount, what: Kept) -> str:
        """Where it waits: with the other messages of its conversation, source or thread."""
        match what:
            case Inbound():
                return self.lane_of(account.id, what.patron)
            case Waiting():
                return self._named(account.id, f"source {what.source}")
            case StaffMessage():
                return self._named(account.id, f"thread {what.thread}")
        return self._named(account.id, "news")

    def lane_of(self, account_id: int, patron: str) -> str:
        """Where a patron's messages wait."""
        return self._named(account_id, f"patron {patron}")

    def holds(self, lane: str) -> bool:
        """Whether something waits there already: what comes now must wait behind it."""
        waiting = self._folder / f"{lane}{_ENDING}"
        # In this order: what is renamed between the two looks is found by the second.
        return waiting.exists() or waiting.with_suffix(_TAKEN).exists()

    def put(self, account: ChannelAccount, what: Kept, *, arrived_at: datetime) -> None:
        """Keep it: on the disk when this returns. Raises SpoolFull."""
        record = Record(account.id, account.name, arrived_at, what)
        line = self._keyring.seal(record.as_json(), about=_ABOUT).encode() + b"\n"
        try:
            self._append(self._folder / f"{self.lane(account, what)}{_ENDING}", line)
        except OSError as error:
            raise SpoolFull from error

    def waiting(self) -> list[Path]:
        """The files that wait, the oldest first."""
        if not self._folder.is_dir():
            return []
        found = []
        for path in (*self._folder.glob(f"*{_TAKEN}"), *self._folder.glob(f"*{_ENDING}")):
            try:
                found.append((path.stat().st_mtime_ns, path))
            except FileNotFoundError:  # another process has replayed it
                continue
        return [path for _, path in sorted(found)]

    def replay(self, take: Callable[[Record], bool]) -> int:
        """Hand every waiting record to `take`, a conversation's as they arrived; returns how many.

        What `take` returns False for is set aside. When it raises, the file stays as it was and
        is replayed later from its beginning: taking a message twice does nothing the second time.
        """
        count = 0
        with self._replaying:
            for lane in dict.fromkeys(path.stem for path in self.waiting()):
                path = self._folder / f"{lane}{_TAKEN}"
                if path.exists() or _renamed(path.with_suffix(_ENDING), path):
                    count += self._replay_file(path, take)
        return count

    def erase(self, lane: str) -> bool:
        """Remove what waits of a patron; returns whether there was anything."""
        found = False
        for ending in (_ENDING, _TAKEN):
            path = self._folder / f"{lane}{ending}"
            with _opened(path, create=False) as file:
                if file is not None:
                    path.unlink()
                    found = True
        return found

    def _named(self, account_id: int, rest: str) -> str:
        return self._keyring.sign("spool", f"{account_id} {rest}")[:40]

    def _append(self, path: Path, line: bytes) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sync_folder(self._folder.parent)
        with _opened(path, create=True) as file:
            assert file is not None  # noqa: S101 - it has just been created
            end = _whole_lines(file)
            try:
                file.seek(end)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)  # half a line would hide the next one
                raise
            if end == 0:
                _sync_folder(self._folder)

    def _replay_file(self, path: Path, take: Callable[[Record], bool]) -> int:
        with _opened(path, create=False, wait=False) as file:
            if file is None:
                return 0
            lines = file.read().split(b"\n")[:-1]  # after the last end of line: nothing whole
            read = [(record, line) for line in lines if (record := self._record(line))]
            # Of two that were under way when the database went, the later may be kept first.
            read.sort(key=lambda each: each[0].at)
            taken = {line for record, line in read if take(record)}
            lost = [line for line in lines if line not in taken]
            if lost:
                aside = path.with_suffix(_GIVEN_UP)
                with aside.open("ab") as kept:
                    kept.writelines(line + b"\n" for line in lost)
            path.unlink()
        return len(lines) - len(lost)

    def _record(self, line: bytes) -> Record | None:
        try:
            return Record.from_json(self._keyring.open(line.decode("ascii"), about=_ABOUT))
        except (UnreadableSecret, ValueError, KeyError, TypeError):  # another key, or a bad disk
            return None


@contextmanager
def _opened(path: Path, *, create: bool, wait: bool = True) -> Iterator[BinaryIO | None]:
    """The file, locked; None where there is none, or another process has it and we do not wait."""
    while True:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            number = os.open(path, flags, 0o600)
        except FileNotFoundError:
            yield None
            return
        with os.fdopen(number, "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield None
                return
            if _is_at(path, file):  # else it was taken away while we waited
                yield file
                return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _renamed(waiting: Path, taken: Path) -> bool:
    """Take what waits, so that nothing more is added to it; whether there was anything.

    Never over a file that another process replays: it would be lost.
    """
    with _opened(waiting, create=False, wait=False) as file:
        if file is None or taken.exists():
            return False
        waiting.rename(taken)
    return True


def _whole_lines(file: BinaryIO) -> int:
    """Where the last whole line ends: a process may have died in the middle of one."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return 0
    file.seek(max(0, size - 1))
    if file.read(1) == b"\n":
        return size
    file.seek(0)
    return file.read().rfind(b"\n") + 1


def _sync_folder(folder: Path) -> None:
    """A new file's name must survive a power failure, too."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
