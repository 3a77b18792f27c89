"""refdesk on the command line. Each command's module is imported only when it is called."""

import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

MODULES = {
    "serve": "serving",
    "worker": "serving",
    "actions": "actions",
    "demo": "demo",
    "db": "db",
    "library": "library",
    "kb": "kb",
    "ask": "ask",
    "channel": "channel",
    "staff": "staff",
    "calendar": "calendar",
    "consultations": "consultations",
    "stats": "stats",
    "report": "report",
    "activity": "activity",
    "probe": "probe",
    "alert": "alert",
    "audit": "audit",
    "token": "token",
    "backup": "backup",
    "restore": "backup",
    "erase": "erase",
}


class Commands(TyperGroup):
    """All commands by name; a module that is not asked for is not imported."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(MODULES)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name not in MODULES:
            return None
        module = import_module(f"api.cli.{MODULES[cmd_name]}")
        apps: dict[str, typer.Typer] = module.COMMANDS
        command = typer.main.get_command(apps[cmd_name])
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A library's reference desk for messaging channels, with a stopwatch.",
)


@app.callback()
def refdesk() -> None:
    """A library's reference desk for messaging channels, with a stopwatch.

    Example: refdesk serve
    """


def main() -> None:
    """Run a command: exit code 0, 1 when it failed, 2 when it was called wrongly."""
    _one_thread_for_small_sums()
    try:
        typer.main.get_command(app)(prog_name="refdesk")
    except Exception as error:  # the last resort: one sentence instead of a trace
        from api.cli.shell import sentence_of

        sentence = sentence_of(error)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        sys.exit(1)


def _one_thread_for_small_sums() -> None:
    """Matching a question is many small products of vectors: several threads for one of them
    only wait for each other, and take the processor from other questions. Numpy reads this
    when it is imported, which is later.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
