"""kill -9 of a server under a platform's messages: what was acknowledged is there, and said once.

Telegram's patrons write one known question each while the embedded server (SQLite, worker
inside) is killed and started again; a delivery that got no answer is repeated, as Telegram does.
In the end every acknowledged message is stored once, no patron's screen shows an answer twice,
and each that shows none has an answer that waits for a librarian's decision. The control, one
patron in ten, has a platform that repeats nothing and takes every message for delivered: it
must lose some.

    python -m benchmarks.crash [--kills 200]
"""

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from benchmarks.serving import REFDESK, ROOT, free_port, official_account, wait_for
from tests.fakes.platform import Answer, Asked
from tests.fakes.stages import STAGES
from tests.fakes.telegram import Telegram
from tests.journeys.conftest import listening

QUESTION = "怎么续借图书"
EVERY = 0.03  # seconds between two patrons
ALIVE = (0.3, 1.5)  # seconds of messages before each kill
CALL_SECONDS = 0.05
SETTLED = 90.0  # seconds: a lease of a worker that died lasts 60


STORED = "SELECT c.external_id FROM inbox i JOIN conversation c ON c.id = i.conversation_id"
UNCERTAIN = (
    "SELECT c.external_id FROM outbox o JOIN conversation c ON c.id = o.conversation_id"
    " WHERE o.state = 'uncertain'"
)


class Slow(Telegram):
    """Shows a message at once and says so later: a kill often falls in between."""

    def handle(self, asked: Asked) -> Answer:
        answer = super().handle(asked)
        time.sleep(CALL_SECONDS)
        return answer


class Patrons:
    """New patrons, each with one question, until they are told to stop."""

    def __init__(self, telegram: Telegram, address: str) -> None:
        self.telegram, self.address = telegram, address
        self.acknowledged: set[int] = set()
        self.control: set[int] = set()  # taken for delivered, whatever comes back
        self.waiting: list[tuple[int, Any]] = []  # to be delivered again
        self.stopping = threading.Event()
        self._next = 10_000

    def run(self) -> None:
        with httpx.Client(timeout=5) as client:
            while not self.stopping.wait(EVERY):
                self._deliver(client, *(self.waiting.pop(0) if self.waiting else self._new()))

    def _new(self) -> tuple[int, Any]:
        self._next += 1
        calls: list[Any] = []

        def keep(call: Any) -> tuple[int, bytes]:
            calls.append(call)
            return 200, b""

        self.telegram.patron(self._next, keep).says(QUESTION)
        return self._next, calls[0]

    def _deliver(self, client: httpx.Client, chat: int, call: Any) -> None:
        if chat % 10 == 0:
            self.control.add(chat)
        try:
            answer = client.post(self.address, content=call.body, headers=call.headers)
        except httpx.HTTPError:
            if chat not in self.control:
                self.waiting.append((chat, call))
            return
        if answer.status_code == 200:
            self.acknowledged.add(chat)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    with TemporaryDirectory() as name:
        report = _run(Path(name), parser.parse_args().kills)
    print(json.dumps(report, indent=2))
    wrong = ("lost", "stored_twice", "shown_twice", "unanswered")
    is_well = not any(report[name] for name in wrong) and report["integrity"] == "ok"
    sys.exit(0 if is_well and report["control_lost"] else 1)


def _run(folder: Path, kills: int) -> dict[str, Any]:
    telegram = Slow(lambda: datetime.now(UTC), burst=1000)
    env = official_account(folder, REFDESK_DATABASE_URL=f"sqlite:///{folder / 'refdesk.db'}")
    port, source = free_port(), random.Random(1)
    with listening(telegram) as platform:
        values = STAGES["telegram"].account(telegram, api_base=platform)
        chosen = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
        add = (*REFDESK, "channel", "add", "telegram", "bot", *chosen)
        subprocess.run(add, env=env, check=True, stdout=subprocess.DEVNULL)
        patrons = Patrons(telegram, f"http://127.0.0.1:{port}/channels/telegram/bot")
        writing = threading.Thread(target=patrons.run)
        for number in range(kills + 1):
            process = subprocess.Popen(
                (*REFDESK, "serve", "--port", str(port)),
                cwd=ROOT,
                env=env,
                stdout=subprocess.DEVNULL,
            )
            wait_for(f"http://127.0.0.1:{port}/readyz", process, status=200)
            if not number:
                writing.start()
            if number < kills:
                time.sleep(source.uniform(*ALIVE))
                process.kill()
                process.wait()
        patrons.stopping.set()
        writing.join()
        _wait_until_settled(folder / "refdesk.db")
        process.terminate()
        process.wait(timeout=30)
    return {"kills": kills, **_judged(folder / "refdesk.db", patrons)}


def _asked(path: Path, question: str) -> list[Any]:
    with sqlite3.connect(path, timeout=30) as connection:
        return [row[0] for row in connection.execute(question)]


def _wait_until_settled(path: Path) -> None:
    until = time.perf_counter() + SETTLED
    under_way = "SELECT id FROM outbox WHERE state IN ('new', 'sending')"
    while time.perf_counter() < until and _asked(path, under_way):
        time.sleep(1)


def _judged(path: Path, patrons: Patrons) -> dict[str, Any]:
    """What is in the database and on the screens, beside what was acknowledged."""
    stored = [int(chat) for chat in _asked(path, STORED)]
    uncertain = {int(chat) for chat in _asked(path, UNCERTAIN)}
    shown = {chat: len(patrons.telegram.screens[str(chat)]) for chat in set(stored)}
    return {
        "acknowledged": len(patrons.acknowledged),
        "lost": len(patrons.acknowledged - set(stored)),
        "control_lost": len(patrons.control - set(stored)),
        "stored_twice": len(stored) - len(set(stored)),
        "shown_twice": sum(count > 1 for count in shown.values()),
        "unanswered": sum(not count and chat not in uncertain for chat, count in shown.items()),
        "for_a_librarian_to_decide": len(uncertain),
        "integrity": _asked(path, "PRAGMA integrity_check")[0],
    }


if __name__ == "__main__":
    main()
