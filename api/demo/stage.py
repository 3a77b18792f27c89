"""A messaging platform that plays along on this machine: you are the patron, in the terminal.

The stand-ins are those of the tests (`tests/fakes`), so this needs a checkout of the source.
"""

import importlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from sqlalchemy import delete, select

from api.accounts import add_account
from api.app import create_app
from api.crypto import Keyring
from api.db import Database
from api.errors import BadRequest
from api.libraries import DEMO, library_by_slug
from api.settings import Settings
from bot.channels import CHANNELS
from bot.models import ChannelAccount, ChannelCursor

ROOT = Path(__file__).parents[2]
STAGES = "tests.fakes.stages"
ANSWER_SECONDS = 12.0  # for the bot; a librarian's answer is shown whenever it comes
FIRST_LOOK_SECONDS = 10.0
LOOK_SECONDS = 0.2
GRACE_SECONDS = 3


class NoStage(BadRequest):
    """There is no stand-in for this channel."""


def stages() -> dict[str, Any]:
    """The stages by the kind of channel. Raises NoStage without a checkout of the source."""
    if not (ROOT / "tests" / "fakes").is_dir():
        raise NoStage("The platforms' stand-ins come with the source only: use a checkout.")
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    found: dict[str, Any] = importlib.import_module(STAGES).STAGES
    return found


@dataclass
class Play:
    """A desk, a platform and a patron, all on this machine."""

    patron: Any
    desk: str  # the address of the desk
    tell: Callable[[str], None]
    _shown: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, lines: Iterable[str]) -> None:
        """Send line after line as the patron, and show what appears on their screen."""
        stopping = threading.Event()
        watching = threading.Thread(target=self._watch, args=(stopping,), daemon=True)
        watching.start()
        for line in lines:
            if line.strip():
                self.says(line.strip())
        stopping.set()
        watching.join()

    def says(self, text: str) -> None:
        """Send one message, and wait for what the bot says to it."""
        before = len(self.patron.screen)
        self.patron.says(text)
        deadline = time.monotonic() + ANSWER_SECONDS
        while len(self.patron.screen) == before and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        time.sleep(LOOK_SECONDS)
        self.show()

    def show(self) -> None:
        """Print what is new on the patron's screen."""
        with self._lock:
            new = self.patron.screen[self._shown :]
            self._shown += len(new)
        for shown in new:
            self.tell(f"  < {shown.text}")
            for _, label in shown.choices:
                self.tell(f"    [{label}]")

    def _watch(self, stopping: threading.Event) -> None:
        while not stopping.wait(LOOK_SECONDS):
            self.show()


@contextmanager
def staged(
    kind: str,
    settings: Settings,
    database: Database,
    *,
    clock: Callable[[], datetime],
    tell: Callable[[str], None] = print,
) -> Iterator[Play]:
    """Put the demo library on a stage: its desk and the platform listen until this ends.

    Raises NoStage.
    """
    known = stages()
    if kind not in known:
        raise NoStage(f'There is no stand-in for "{kind}": choose {", ".join(sorted(known))}.')
    stage = known[kind]
    with ExitStack() as stack:
        platform = stage.build(clock)
        if hasattr(platform, "close"):
            stack.callback(platform.close)
        address = stack.enter_context(_listening(platform)) if callable(platform) else None
        name = f"demo-{kind}"
        values = stage.account(platform, api_base=address)
        _replace_account(database, settings, kind=kind, name=name, values=values, now=clock())
        desk = stack.enter_context(_listening(create_app(settings), lifespan="on"))
        client = stack.enter_context(httpx.Client(base_url=desk, timeout=20))
        _wait_for_first_look(database, name)
        webhook = importlib.import_module(STAGES).through(client, f"/channels/{kind}/{name}")
        yield Play(stage.seat(platform, webhook), desk, tell)


def _wait_for_first_look(database: Database, name: str) -> None:
    """A mailbox is read from where it ended when we first looked: look before anybody writes."""
    with database.snapshot() as session:
        kind, account_id = session.execute(
            select(ChannelAccount.kind, ChannelAccount.id).where(ChannelAccount.name == name)
        ).one()
    looked = select(ChannelCursor.cursor).where(ChannelCursor.account_id == account_id)
    deadline = time.monotonic() + FIRST_LOOK_SECONDS
    while CHANNELS[kind].declaration.inbound == "poll" and time.monotonic() < deadline:
        with database.snapshot() as session:
            if session.scalar(looked) is not None:
                return
        time.sleep(LOOK_SECONDS)


def _replace_account(
    database: Database,
    settings: Settings,
    *,
    kind: str,
    name: str,
    values: dict[str, str],
    now: datetime,
) -> None:
    """The account leads to this stand-in, not to that of an earlier play."""
    with database.transaction() as session:
        session.execute(delete(ChannelAccount).where(ChannelAccount.name == name))
        library = library_by_slug(session, DEMO)
        keyring = Keyring(settings.key())
        add_account(session, library, kind=kind, name=name, values=values, keyring=keyring, now=now)


@contextmanager
def _listening(app: Any, *, lifespan: str = "off") -> Iterator[str]:
    """An application at an address of this machine."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan=lifespan,  # type: ignore[arg-type]
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.02)
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=GRACE_SECONDS * 3)
