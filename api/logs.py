"""Logs for operators: one line per happening, without patrons' texts and identifiers.

Routes are named by their pattern, so that no id or token of a path is written; errors are
named by their class and place, since messages may quote what somebody typed.
"""

import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from api.settings import Settings

KEPT_SECRET = frozenset({"text", "body", "message", "password", "token", "email", "sender"})


def configure(settings: Settings) -> None:
    """Write structured lines to standard error, as JSON where no person is watching."""
    as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_texts,
            structlog.processors.JSONRenderer()
            if as_json
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it writes addresses, tokens included


def _without_texts(_logger: WrappedLogger, _name: str, line: EventDict) -> EventDict:
    return {key: "…" if key in KEPT_SECRET else value for key, value in line.items()}


def place_of(error: BaseException) -> dict[str, Any]:
    """What to write about an error: its class and where it was raised, not its message."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in ours[-4:]]
    return {"error": type(error).__name__, "where": " > ".join(where)}


def log_problem(happening: str, error: BaseException) -> None:
    """Write that something failed, and where."""
    structlog.get_logger("refdesk").error(happening, **place_of(error))
