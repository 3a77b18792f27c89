"""A real Rasa in an environment of its own, and processes that stop with the test.

Rasa 3.6 runs on Python 3.8 to 3.10 only, and would not share an environment with us. The two
pins are needed: with newer versions no Socket.IO message of the bot arrives (rasa#13027).
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import httpx

ROOT = Path(__file__).parent.parent.parent
HOME = ROOT / ".venv-rasa"
FIRST = ["pip<24", "setuptools<81"]
PINS = ["rasa==3.6.21", "jieba", "python-socketio==5.8.0", "python-engineio==4.5.1"]
QUIET = {
    "RASA_TELEMETRY_ENABLED": "false",
    "SQLALCHEMY_SILENCE_UBER_WARNING": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
VERSIONS = ("3.10", "3.9", "3.8")


def interpreter() -> Path | None:
    """A Python that Rasa can run on: REFDESK_TEST_RASA_PYTHON, one on the path, one of pyenv."""
    given = os.environ.get("REFDESK_TEST_RASA_PYTHON")
    if given:
        return Path(given)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in VERSIONS:
        found = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
        for each in filter(None, found):
            if _works(str(each), version):
                return Path(each)
    return None


def _works(python: str, version: str) -> bool:
    """A shim of pyenv may stand on the path for a version that is switched off."""
    say = "import sys; print('%d.%d' % sys.version_info[:2])"
    asked = subprocess.run([python, "-c", say], capture_output=True, text=True, check=False)
    return asked.stdout.strip() == version


def rasa_home() -> Path | None:
    """The environment with Rasa in it, made on first use (2.7 GB); None without a Python."""
    stamp = HOME / "complete"
    if stamp.exists():
        return HOME
    python = interpreter()
    if python is None:
        return None
    subprocess.run([str(python), "-m", "venv", "--clear", str(HOME)], check=True)
    for wanted in (FIRST, PINS):
        subprocess.run(
            [str(HOME / "bin" / "pip"), "install", "--quiet", "--no-input", *wanted], check=True
        )
    stamp.touch()
    return HOME


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Processes:
    """Programs under test, with one environment; all of them end with `stop`."""

    folder: Path
    settings: Mapping[str, str]
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **QUIET, **self.settings}

    def refdesk(self, *words: str) -> str:
        """Run a command of ours; returns what it printed."""
        return self.run(str(Path(sys.executable).parent / "refdesk"), *words)

    def run(self, *words: str, cwd: Path | None = None, within: float = 900) -> str:
        done = subprocess.run(
            words,
            env=self.environment,
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        assert done.returncode == 0, (
            f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
        return done.stdout

    def start(
        self, name: str, *words: str, ready: Callable[[], bool], cwd: Path | None = None
    ) -> None:
        """Start a server and wait until it is ready."""
        with (self.folder / f"{name}.log").open("wb") as log:
            made = subprocess.Popen(
                words, env=self.environment, cwd=cwd or self.folder, stdout=log, stderr=log
            )
        self._running[name] = made
        deadline = time.monotonic() + 300
        while not ready():
            assert made.poll() is None, self.log(name)
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(0.2)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def stop(self, *names: str) -> None:
        for name in names or tuple(self._running):
            made = self._running.pop(name, None)
            if made is not None:
                made.terminate()
                try:
                    made.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    made.kill()
                    made.wait()


@contextmanager
def answering(url: str, status: int, body: bytes) -> Iterator[None]:
    """A server at this address that gives every POST the same answer, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    parts = urlsplit(url)
    with ThreadingHTTPServer((str(parts.hostname), int(parts.port or 0)), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def answers(url: str) -> Callable[[], bool]:
    """Whether something answers with 200 there."""

    def ready() -> bool:
        try:
            return httpx.get(url, timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    return ready
