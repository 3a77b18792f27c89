"""How many questions a second one process answers, against a route that commits one row.

Both run on SQLite with synchronous=FULL, one process each, in turn, sixteen senders. The
question is answered by the bot: inbox, consultation, events and reply are on the disk before
the response leaves. Goals: at least a quarter of the bare route; p99 under 250 ms.

The goals are held against new patrons who ask what others ask too. Beside them stand the two
harder cases: questions of which none comes twice, and sixteen patrons who never stop asking,
so that each has a long conversation behind it.

    python -m benchmarks.webhook [--seconds 10] [--rounds 3]
"""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load import Result, run
from benchmarks.serving import REFDESK, environment, free_port, server, wait_for
from kb.entries import phrasings
from kb.library import load_file
from kb.starter import STARTER

Body = Callable[[int], dict[str, str]]

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
    rounds.sort(key=_ratio)
    median = rounds[len(rounds) // 2]
    ours = median["popular"]
    report = {
        "senders": SENDERS,
        **{name: _shown(result) for name, result in median.items()},
        "ratio": _ratio(median),
        "ratios": [_ratio(each) for each in rounds],
        "ratio_distinct": _ratio(median, "distinct"),
        "ratio_known_patrons": _ratio(median, "known_patrons"),
        "goal": {"ratio": 0.25, "p99_ms": 250},
    }
    print(json.dumps(report, indent=2))
    sys.exit(0 if _ratio(median) >= 0.25 and ours.p99 < 250 and not ours.failed else 1)


def _ratio(results: dict[str, Result], name: str = "popular") -> float:
    return round(results[name].per_second / results["bare"].per_second, 3)


def _round(seconds: float) -> dict[str, Result]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        return {"bare": _measure_bare(folder, seconds), **_measure_ours(folder, seconds)}


def _measure_bare(folder: Path, seconds: float) -> Result:
    port = free_port()
    command = (sys.executable, "-m", "benchmarks.bare", str(folder / "bare.db"), str(port))
    with server(command, port, "/"):
        return _load(port, "/", seconds, _popular)


def _measure_ours(folder: Path, seconds: float) -> dict[str, Result]:
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
        return {
            body.__name__.removeprefix("_"): _load(port, "/webhooks/rest/webhook", seconds, body)
            for body in (_popular, _distinct(), _known_patrons)
        }


def _popular(number: int) -> dict[str, str]:
    return {"sender": f"patron-{number}", "message": QUESTIONS[number % len(QUESTIONS)]}


def _known_patrons(number: int) -> dict[str, str]:
    question = QUESTIONS[number // SENDERS % len(QUESTIONS)]
    return {"sender": f"known-{number % SENDERS}", "message": question}


def _distinct() -> Body:
    asked = [text.text for text in phrasings(load_file(STARTER))]
    random.Random(SENDERS).shuffle(asked)

    def _distinct(number: int) -> dict[str, str]:
        # A number more makes it another question, which the same entry answers.
        again = number // len(asked)
        message = asked[number % len(asked)]
        return {"sender": f"other-{number}", "message": f"{message} {again}" if again else message}

    return _distinct


def _load(port: int, path: str, seconds: float, body: Body) -> Result:
    warm = run(port, path, body, senders=SENDERS, seconds=min(2.0, seconds)).requests
    return run(port, path, lambda n: body(n + warm), senders=SENDERS, seconds=seconds)


def _shown(result: Result) -> dict[str, float]:
    return {
        "per_second": round(result.per_second, 1),
        "p50_ms": result.p50,
        "p99_ms": result.p99,
        "failed": result.failed,
    }


if __name__ == "__main__":
    main()
