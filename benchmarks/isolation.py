"""One dead platform beside four that work: what the others' patrons notice of it.

The worker delivers replies on five accounts, once with all platforms well (20 ms a call), once
with one that never answers (every call ends after the client's time-out). The time from a
reply's commit until it is on the patron's screen is compared for the four. The control takes
the share of one account away (bot.delivery.AT_ONCE): there the dead platform fills all places.

    python -m benchmarks.isolation [--seconds 40]
"""

import argparse
import json
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import httpx

from api.accounts import account_named, add_account
from api.app import create_state, present_time
from api.db import Database
from api.libraries import add_library
from api.settings import Settings
from api.state import State
from api.worker import Worker
from bot import delivery
from bot.messages import Reply, ReplyKind
from bot.models import Conversation
from bot.outbox import enqueue

ACCOUNTS = ("one", "two", "three", "four")
DEAD = "dead"
CALL_SECONDS, SILENT_SECONDS = 0.02, 8.0
EVERY = 0.1  # seconds between two replies of each account


class Platforms(httpx.BaseTransport):
    """Telegram for everybody: shows what arrives, or keeps silent."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.shown: dict[str, float] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        message = json.loads(request.read())
        if self.silent and "token-dead" in request.url.path:
            time.sleep(SILENT_SECONDS)
            raise httpx.ReadTimeout("no answer", request=request)
        time.sleep(CALL_SECONDS)
        self.shown[message["text"]] = time.monotonic()
        return httpx.Response(200, json={"ok": True, "result": {"message_id": 1}})


def run(seconds: float, *, silent: bool) -> list[float]:
    """Milliseconds until shown, of the four accounts' replies."""
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'refdesk.db'}"
        settings = Settings.load(database_url=url, log_level="error", secret_key="k" * 40)
        database = Database(url)
        database.create_all()
        state = create_state(settings, clock=present_time, database=database)
        platforms = Platforms(silent=silent)
        state.channels._http = httpx.Client(transport=platforms)
        _found(state)
        worker = Worker(state)
        worker.start()
        sent = _write(state, seconds)
        deadline = time.monotonic() + 10
        while not sent.keys() <= platforms.shown.keys() and time.monotonic() < deadline:
            time.sleep(0.05)
        worker.stop()
        times = [platforms.shown.get(text, time.monotonic()) - at for text, at in sent.items()]
        database.close()
        return sorted(1000 * each for each in times)


def _found(state: State) -> None:
    now = datetime.now(UTC)
    with state.database.transaction() as session:
        library = add_library(session, "north", name="n", timezone="Asia/Shanghai", now=now)
        for name in (*ACCOUNTS, DEAD):
            values = {"bot_token": f"1:token-{name}", "webhook_secret": "secret"}
            add_account(
                session,
                library,
                kind="telegram",
                name=name,
                values=values,
                keyring=state.keyring,
                now=now,
            )


def _write(state: State, seconds: float) -> dict[str, float]:
    """Put replies in line, and remember when each was committed."""
    sent: dict[str, float] = {}
    ends = time.monotonic() + seconds
    number = 0
    while time.monotonic() < ends:
        number += 1
        with state.database.transaction() as session:
            for name in (*ACCOUNTS, DEAD):
                account = account_named(session, name)
                conversation = Conversation(
                    library_id=account.library_id,
                    account_id=account.id,
                    external_id=str(number),
                    language="en",
                    position=0,
                    read_position=0,
                    state={},
                    windows=[{"opened_by": "message", "until": None, "left": None}],
                    thread={},
                    created_at=datetime.now(UTC),
                )
                session.add(conversation)
                session.flush()
                reply = Reply(f"{name} {number}", ReplyKind.NOTICE)
                enqueue(session, conversation, reply, by="bot", now=datetime.now(UTC))
        at = time.monotonic()
        sent.update({f"{name} {number}": at for name in ACCOUNTS})
        time.sleep(EVERY)
    return sent


def p95(times: list[float]) -> float:
    return round(times[int(len(times) * 0.95)], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40)
    seconds = parser.parse_args().seconds
    well, dead = run(seconds, silent=False), run(seconds, silent=True)
    with patch.object(delivery, "AT_ONCE", 10_000), patch.object(delivery, "BREAKER_AFTER", 10**9):
        control = run(seconds, silent=True)
    report = {
        "replies": len(well),
        "all_well_p95_ms": p95(well),
        "one_dead_p95_ms": p95(dead),
        "ratio": round(p95(dead) / p95(well), 3),
        "control_without_shares_p95_ms": p95(control),
        "goal": {"ratio": 1.10},
        "threads_left": threading.active_count(),
    }
    print(json.dumps(report, indent=2))
    sys.exit(0 if report["ratio"] <= 1.10 else 1)


if __name__ == "__main__":
    main()
