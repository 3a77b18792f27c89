"""Starts servers for measurements, and stops them again."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kb.starter import STARTER
from tests.fakes.stages import STAGES

ROOT = Path(__file__).parent.parent
REFDESK = (sys.executable, "-m", "api.cli")
PATIENCE = 120  # seconds until a server must answer


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Our settings for an installation of its own in a folder."""
    return {
        **os.environ,
        "REFDESK_DATABASE_URL": f"sqlite:///{folder / 'refdesk.db'}",
        "REFDESK_RATE_LIMITS": "off",
        "REFDESK_LOG_LEVEL": "error",
        **settings,
    }


def official_account(folder: Path, **settings: str) -> dict[str, str]:
    """Our settings for an installation with a library, the starter and a WeChat account.

    `settings` name its database. The platform's secrets are those of the stand-in.
    """
    env = environment(
        folder,
        REFDESK_SECRET_KEY="a key for measurements of decent length",  # noqa: S106 - of no worth
        REFDESK_SPOOL_DIR=str(folder / "spool"),
        **settings,
    )
    stage = STAGES["wechat"]
    values = stage.settings(stage.build(lambda: datetime.now(UTC)))
    chosen = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    for arguments in (
        ("db", "upgrade"),
        ("library", "add", "bench", "--name", "Bench", "--timezone", "Asia/Shanghai"),
        ("kb", "import", str(STARTER)),
        ("channel", "add", "wechat", "main", *chosen),
    ):
        subprocess.run((*REFDESK, *arguments), env=env, check=True, stdout=subprocess.DEVNULL)
    return env


@contextmanager
def server(
    command: tuple[str, ...], port: int, path: str, *, env: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A running server and the seconds until it answered at `path`."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}{path}", process)
        yield process, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(url: str, process: subprocess.Popen[bytes], *, status: int | None = None) -> None:
    """Until the address answers, with a certain status if one is asked for.

    Raises TimeoutError.
    """
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server stopped with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own server
                if status in {None, answer.status}:
                    return
        except urllib.error.HTTPError as error:
            if status in {None, error.code}:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise TimeoutError(url)


def resident_megabytes(pid: int) -> float:
    """The memory that a process really holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
