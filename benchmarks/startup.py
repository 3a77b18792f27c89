"""How soon the desk answers, how much memory it holds, how large the widget is.

An embedded installation with the demo library is started twice, as `make run` does. Goals: the
second start ready within 5 s; resident memory under 400 MB; the widget's script at most
15 kB gzipped.

    python -m benchmarks.startup
"""

import gzip
import json
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.serving import REFDESK, environment, free_port, resident_megabytes, server, wait_for

GOALS = {"second_ready_seconds": 5.0, "resident_mb": 400.0, "widget_gzip_bytes": 15_000}
QUESTIONS = ("怎么续借图书？", "can I renew online", "gia hạn sách thế nào")


def main() -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        first = _start(folder)
        second = _start(folder)
    measured = {
        "first_ready_seconds": first["ready_seconds"],
        "second_open_seconds": second["open_seconds"],
        "second_ready_seconds": second["ready_seconds"],
        "first_resident_mb": first["resident_mb"],
        "resident_mb": second["resident_mb"],
        "widget_gzip_bytes": second["widget_gzip_bytes"],
    }
    met = all(measured[key] <= goal for key, goal in GOALS.items())
    print(json.dumps({**measured, "goals": GOALS, "met": met}, indent=2))
    sys.exit(0 if met else 1)


def _start(folder: Path) -> dict[str, float]:
    """Start the server until it is ready, ask it a little, and stop it."""
    port = free_port()
    env = environment(folder, REFDESK_PORT=str(port))
    began = time.perf_counter()
    with server((*REFDESK, "serve", "--demo"), port, "/healthz", env=env) as (process, opened):
        wait_for(f"http://127.0.0.1:{port}/readyz", process, status=200)
        ready = time.perf_counter() - began
        for question in QUESTIONS:
            _ask(port, question)
        return {
            "open_seconds": round(opened, 2),
            "ready_seconds": round(ready, 2),
            "resident_mb": round(resident_megabytes(process.pid), 1),
            "widget_gzip_bytes": len(gzip.compress(_get(port, "/widget.js"), 9)),
        }


def _get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        content: bytes = answer.read()
        return content


def _ask(port: int, question: str) -> None:
    body = json.dumps({"sender": "benchmark", "message": question}).encode()
    url = f"http://127.0.0.1:{port}/webhooks/rest/webhook"
    with urllib.request.urlopen(url, data=body, timeout=60) as answer:
        answer.read()


if __name__ == "__main__":
    main()
