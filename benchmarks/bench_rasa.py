"""Our server beside a real Rasa 3.6 with the same 50 questions, on this machine, in one run.

Each is asked over Rasa's REST channel by 32 senders, every message from a new patron, one
process each: Rasa with its default pipeline (DIET), with its light one (LogisticRegression),
our example assistant with our action server, that action server by itself, and refdesk. Rasa keeps
its conversations in memory; we commit every answer with SQLite's synchronous=FULL, and count
afterwards that each question and each answer is there. Then one entry is edited on both sides,
and the time is taken until a patron gets the new answer.

Goals: 3 times the default pipeline, 1.5 times the light one, an edit live within a second.

    python -m benchmarks.bench_rasa [--seconds 10] [--epochs 100]
"""

import argparse
import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import yaml

import bot
from benchmarks.load import Result, run
from kb.entries import EntryData
from kb.files import load_file, write_file
from kb.rasa import write_rasa
from kb.starter import STARTER
from tests.rasa.running import Processes, answers, free_port, rasa_home

SENDERS = 32
INTENTS, EXAMPLES = 50, 10
WEBHOOK = "/webhooks/rest/webhook"
EDITED = "Edited: press Renew twice."
FEATURES: list[dict[str, Any]] = [
    {"name": "WhitespaceTokenizer"},
    {"name": "RegexFeaturizer"},
    {"name": "LexicalSyntacticFeaturizer"},
    {"name": "CountVectorsFeaturizer"},
    {"name": "CountVectorsFeaturizer", "analyzer": "char_wb", "min_ngram": 1, "max_ngram": 4},
]
FALLBACK = {"name": "FallbackClassifier", "threshold": 0.3, "ambiguity_threshold": 0.1}


Call = Callable[[str, str], dict[str, Any]]


def _message(sender: str, question: str) -> dict[str, Any]:
    """What a chat widget posts."""
    return {"sender": sender, "message": question}


def _action_call(sender: str, question: str) -> dict[str, Any]:
    """What Rasa posts to its action server, shortened to what matters."""
    message = {"text": question, "message_id": sender, "entities": []}
    event = {"event": "user", "timestamp": time.time(), **message, "parse_data": message}
    tracker = {"sender_id": sender, "latest_message": message, "events": [event], "slots": {}}
    return {"next_action": "action_answer_question", "tracker": tracker, "domain": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--epochs", type=int, default=100, help="of DIET; 100 is its default")
    chosen = parser.parse_args()
    home = rasa_home()
    if home is None:
        print("No Python 3.8, 3.9 or 3.10 for Rasa 3.6 was found: skipped.", file=sys.stderr)
        sys.exit(0)
    with TemporaryDirectory() as name:
        report = Comparison(Path(name), home, chosen.seconds, chosen.epochs).report()
    print(json.dumps(report, indent=2))
    sys.exit(0 if report["met"] else 1)


class Comparison:
    """One run."""

    def __init__(self, folder: Path, home: Path, seconds: float, epochs: int) -> None:
        self.folder, self.seconds, self.epochs = folder, seconds, epochs
        self.rasa = str(home / "bin" / "rasa")
        self.database = folder / "refdesk.db"
        self.sent = 0
        settings = {
            "REFDESK_DATABASE_URL": f"sqlite:///{self.database}",
            "REFDESK_RATE_LIMITS": "off",
            "REFDESK_LOG_LEVEL": "error",
        }
        self.processes = Processes(folder, settings)
        found = [e for e in load_file(STARTER) if len(e.questions.get("en", ())) > EXAMPLES + 2]
        self.questions = [q for e in found[:INTENTS] for q in e.questions["en"][EXAMPLES:]]
        self.entries = [_english(entry) for entry in found[:INTENTS]]

    def report(self) -> dict[str, Any]:
        diet = [*FEATURES, {"name": "DIETClassifier", "epochs": self.epochs}, FALLBACK]
        light = [*FEATURES, {"name": "LogisticRegressionClassifier"}, FALLBACK]
        try:
            self.install()
            ours, live = _told("refdesk", self.measure_ours())
            theirs = _told("rasa_diet", self.measure_rasa("diet", diet))
            quick = _told("rasa_light", self.measure_rasa("light", light))
            through = _told("actions", self.measure_actions())
        finally:
            self.processes.stop()
        speed = ours["per_second"]
        ratios = {
            "to_diet": round(speed / theirs["asked"]["per_second"], 2),
            "to_light": round(speed / quick["asked"]["per_second"], 2),
        }
        return {
            "senders": SENDERS,
            "intents": len(self.entries),
            "refdesk": ours,
            "rasa_diet": theirs,
            "rasa_light": quick,
            "example_assistant_through_our_actions": through,
            "ratios": ratios,
            "edit_live_seconds": live,
            "goal": {"to_diet": 3, "to_light": 1.5, "edit_live_seconds": 1},
            "met": ratios["to_diet"] >= 3
            and ratios["to_light"] >= 1.5
            and live < 1
            and ours["all_stored"]
            and through["all_stored"],
        }

    # --- ours ----------------------------------------------------------------------------

    def install(self) -> None:
        knowledge = self.folder / "kb.yaml"
        write_file(knowledge, self.entries)
        self.refdesk("library", "add", "bench", "--name", "Bench", "--timezone", "Asia/Shanghai")
        self.refdesk("kb", "import", str(knowledge))

    def refdesk(self, *words: str) -> str:
        return self.processes.run(sys.executable, "-m", "api.cli", *words, cwd=Path.cwd())

    def measure_ours(self) -> tuple[dict[str, Any], float]:
        token = json.loads(self.refdesk("token", "add", "bench", "--role", "manager", "--json"))[
            "token"
        ]
        port = free_port()
        with self.serving("serve", port, "/readyz"):
            ours = self.stored(port, WEBHOOK)
            return ours, self.edit_ours(port, token)

    def edit_ours(self, port: int, token: str) -> float:
        """Seconds from an editor's click to the first patron who gets the new answer."""
        entry = next(e for e in self.entries if e.id == "renew-books")
        changed = replace(entry, answers={"en": EDITED})
        url = f"http://127.0.0.1:{port}"
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            started = time.perf_counter()
            document = changed.as_document()
            client.put(f"/api/v1/entries/{entry.id}", json=document).raise_for_status()
            return self.until_edited(client, started)

    def until_edited(self, client: httpx.Client, started: float) -> float:
        number = 0
        while time.perf_counter() - started < 300:
            number += 1
            sent = {"sender": f"editor-{number}", "message": "How do I renew a book?"}
            if EDITED in client.post(WEBHOOK, json=sent).text:
                return round(time.perf_counter() - started, 3)
        raise TimeoutError("the edit never became live")

    def serving(self, command: str, port: int, health: str) -> ExitStack:
        """A process of ours until the block ends."""
        words = (sys.executable, "-m", "api.cli", command, "--port", str(port))
        ready = answers(f"http://127.0.0.1:{port}{health}")
        self.processes.start(command, *words, ready=ready, cwd=Path.cwd())
        stack = ExitStack()
        stack.callback(self.processes.stop, command)
        return stack

    # --- Rasa ----------------------------------------------------------------------------

    def measure_rasa(self, name: str, pipeline: list[dict[str, Any]]) -> dict[str, Any]:
        """Questions a second, and how long an edited answer takes to be live."""
        assistant = self.assistant(name, pipeline)
        trained = self.train(assistant)
        port = free_port()
        with self.rasa_running(assistant, port):
            asked = _shown(self.load(port))
            live = self.edit_rasa(assistant, port)
        return {"asked": asked, "training_seconds": trained, "edit_live_seconds": live}

    def assistant(self, name: str, pipeline: list[dict[str, Any]]) -> Path:
        """The same questions and answers, each an intent with its response and its rule."""
        folder = self.folder / name
        (folder / "data").mkdir(parents=True)
        names = {entry.id: entry.id.replace("-", "_") for entry in self.entries}
        _write(
            folder / "config.yml",
            {
                "recipe": "default.v1",
                "language": "en",
                "assistant_id": name,
                "pipeline": pipeline,
                "policies": [{"name": "RulePolicy"}],
            },
        )
        _write(
            folder / "domain.yml",
            {
                "version": "3.1",
                "intents": list(names.values()),
                "responses": {
                    f"utter_{names[e.id]}": [{"text": e.answer("en")}] for e in self.entries
                },
            },
        )
        _write(
            folder / "data" / "nlu.yml",
            {
                "version": "3.1",
                "nlu": [
                    {
                        "intent": names[e.id],
                        "examples": "".join(f"- {text}\n" for text in e.questions["en"]),
                    }
                    for e in self.entries
                ],
            },
        )
        _write(
            folder / "data" / "rules.yml",
            {
                "version": "3.1",
                "rules": [
                    {"rule": each, "steps": [{"intent": each}, {"action": f"utter_{each}"}]}
                    for each in names.values()
                ],
            },
        )
        (folder / "credentials.yml").write_text("rest:\n", encoding="utf-8")
        (folder / "endpoints.yml").write_text("", encoding="utf-8")
        return folder

    def train(self, assistant: Path) -> float:
        started = time.perf_counter()
        words = ("train", "--fixed-model-name", "bot", "--out", "models")
        self.processes.run(self.rasa, *words, cwd=assistant, within=3600)
        return round(time.perf_counter() - started, 1)

    def rasa_running(self, assistant: Path, port: int) -> ExitStack:
        self.processes.start(
            "rasa",
            *(self.rasa, "run", "--enable-api", "-i", "127.0.0.1", "-p", str(port)),
            *("-m", "models/bot.tar.gz", "--credentials", "credentials.yml"),
            *("--endpoints", "endpoints.yml"),
            ready=answers(f"http://127.0.0.1:{port}/status"),
            cwd=assistant,
        )
        stack = ExitStack()
        stack.callback(self.processes.stop, "rasa")
        return stack

    def edit_rasa(self, assistant: Path, port: int) -> float:
        """Seconds until an edited answer is live: train again, load the model, ask."""
        domain = yaml.safe_load((assistant / "domain.yml").read_text(encoding="utf-8"))
        domain["responses"]["utter_renew_books"] = [{"text": EDITED}]
        started = time.perf_counter()
        _write(assistant / "domain.yml", domain)
        self.train(assistant)
        model = str(assistant / "models" / "bot.tar.gz")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            client.put("/model", json={"model_file": model}).raise_for_status()
            return self.until_edited(client, started)

    def measure_actions(self) -> dict[str, Any]:
        """The example assistant as it is, whose answers are taken through our action server."""
        assistant = self.folder / "actions"
        shutil.copytree(Path(bot.__file__).parent / "rasa", assistant)
        write_rasa(assistant / "data" / "faq.yml", self.entries)
        actions, port = free_port(), free_port()
        url = f"http://127.0.0.1:{actions}/webhook"
        endpoint = {"action_endpoint": {"url": url}}
        _write(assistant / "endpoints.yml", endpoint)
        self.train(assistant)
        with self.serving("actions", actions, "/health"):
            alone = self.stored(actions, "/webhook", call=_action_call)
            with self.rasa_running(assistant, port):
                return {**self.stored(port, WEBHOOK), "action_server_alone": alone}

    # --- asking --------------------------------------------------------------------------

    def load(self, port: int, path: str = WEBHOOK, *, call: Call = _message) -> Result:
        def body(number: int) -> dict[str, Any]:
            question = self.questions[number % len(self.questions)]
            return call(f"patron-{self.sent}-{number}", question)

        for seconds in (2, self.seconds):  # the first to warm up; each from other patrons
            result = run(port, path, body, senders=SENDERS, seconds=seconds)
            self.sent += result.requests
        return result

    def stored(self, port: int, path: str, *, call: Call = _message) -> dict[str, Any]:
        """A load, and whether every question of it and its answer are in the database."""
        sent, before = self.sent, self.rows()
        result = self.load(port, path, call=call)
        asked, answered = (now - then for now, then in zip(self.rows(), before, strict=True))
        all_stored = asked == self.sent - sent and answered >= asked
        return {**_shown(result), "all_stored": all_stored}

    def rows(self) -> tuple[int, int]:
        with closing(sqlite3.connect(self.database)) as database:
            (questions,) = database.execute("SELECT count(*) FROM inbox").fetchone()
            (replies,) = database.execute("SELECT count(*) FROM outbox").fetchone()
        return questions, replies


def _english(entry: EntryData) -> EntryData:
    return EntryData(
        entry.id,
        entry.category,
        {"en": entry.questions["en"][:EXAMPLES]},
        {"en": " ".join(entry.answer("en").split())},
    )


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), "utf-8")


def _told(name: str, figures: Any) -> Any:
    """What has been measured so far: a run takes minutes."""
    print(f"{name}: {figures}", file=sys.stderr, flush=True)
    return figures


def _shown(result: Result) -> dict[str, float]:
    return {
        "per_second": round(result.per_second, 1),
        "p50_ms": result.p50,
        "p99_ms": result.p99,
        "failed": result.failed,
    }


if __name__ == "__main__":
    main()
