"""How many questions a second one process answers, against a route that commits one row.

Both run on SQLite with synchronous=FULL, one process each, in turn, sixteen senders. The
question is answered by the bot: inbox, consultation, events and reply are on the disk before
the response leaves. Goals: at least a quarter of the bare route; p99 under 250 ms.

    python -m benchmarks.webhook [--seconds 10] [--rounds 3]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load import Result, run
from benchmarks.serving import REFDESK, environment, free_port, server, wait_for
from kb.starter import STARTER

SENDERS = 16
QUESTIONS = (
    "怎么续借图书？",
    "can I renew online",
    "gia hạn sách thế nào",
    "图书馆几点关门",
    "how do I reserve a study room",
    "丢了借书证怎么办",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    rounds = [_round(chosen.seconds) for _ in range(chosen.rounds)]
    rounds.sort(key=lambda pair: pair[1].per_second / pair[0].per_second)
    bare, ours = rounds[len(rounds) // 2]
    report = {
        "senders": SENDERS,
        "bare": _shown(bare),
        "refdesk": _shown(ours),
        "ratio": round(ours.per_second / bare.per_second, 3),
        "ratios": [round(o.per_second / b.per_second, 3) for b, o in rounds],
        "goal": {"ratio": 0.25, "p99_ms": 250},
    }
    print(json.dumps(report, indent=2))
    sys.exit(0 if report["ratio"] >= 0.25 and ours.p99 < 250 and not ours.failed else 1)


def _round(seconds: float) -> tuple[Result, Result]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        return _measure_bare(folder, seconds), _measure_ours(folder, seconds)


def _measure_bare(folder: Path, seconds: float) -> Result:
    port = free_port()
    command = (sys.executable, "-m", "benchmarks.bare", str(folder / "bare.db"), str(port))
    with server(command, port, "/"):
        return _load(port, "/", seconds)


def _measure_ours(folder: Path, seconds: float) -> Result:
    port = free_port()
    env = environment(folder)
    for arguments in (
        ("library", "add", "bench", "--name", "Bench", "--timezone", "Asia/Shanghai"),
        ("kb", "import", str(STARTER)),
    ):
        subprocess.run((*REFDESK, *arguments), env=env, check=True, stdout=subprocess.DEVNULL)
    with server((*REFDESK, "serve", "--port", str(port)), port, "/healthz", env=env) as (
        process,
        _,
    ):
        wait_for(f"http://127.0.0.1:{port}/readyz", process, status=200)
        return _load(port, "/webhooks/rest/webhook", seconds)


def _load(port: int, path: str, seconds: float) -> Result:
    def body(number: int) -> dict[str, str]:
        question = QUESTIONS[number % len(QUESTIONS)]
        return {"sender": f"patron-{number}", "message": question}

    run(port, path, body, senders=SENDERS, seconds=min(2.0, seconds))  # warm
    return run(port, path, lambda n: body(n + 1_000_000), senders=SENDERS, seconds=seconds)


def _shown(result: Result) -> dict[str, float]:
    return {
        "per_second": round(result.per_second, 1),
        "p50_ms": result.p50,
        "p99_ms": result.p99,
        "failed": result.failed,
    }


if __name__ == "__main__":
    main()
