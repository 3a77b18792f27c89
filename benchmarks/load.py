"""Sixteen senders over plain sockets: light enough to leave the processor to the server."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """What the senders saw."""

    requests: int
    failed: int
    seconds: float
    p50: float  # milliseconds
    p99: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def run(
    port: int, path: str, body: Callable[[int], dict[str, str]], *, senders: int, seconds: float
) -> Result:
    """Let `senders` post one JSON body after the other for some seconds."""
    return asyncio.run(_run(port, path, body, senders, seconds))


async def _run(
    port: int, path: str, body: Callable[[int], dict[str, str]], senders: int, seconds: float
) -> Result:
    times: list[float] = []
    failed = 0
    number = 0
    started = time.perf_counter()
    deadline = started + seconds

    async def send() -> None:
        nonlocal failed, number
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < deadline:
            number += 1
            content = json.dumps(body(number), ensure_ascii=False).encode()
            begun = time.perf_counter()
            head = (
                f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            )
            writer.write(head.encode() + content)
            await writer.drain()
            ok = await _answered(reader)
            times.append(time.perf_counter() - begun)
            failed += not ok
        writer.close()

    await asyncio.gather(*(send() for _ in range(senders)))
    elapsed = time.perf_counter() - started
    times.sort()
    return Result(len(times), failed, elapsed, _at(times, 0.5), _at(times, 0.99))


async def _answered(reader: asyncio.StreamReader) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    await reader.readexactly(length)
    return head.startswith(b"HTTP/1.1 200")


def _at(times: list[float], share: float) -> float:
    return round(1000 * times[min(int(len(times) * share), len(times) - 1)], 1)
