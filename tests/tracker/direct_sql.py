"""The rates of METRICS in SQL as a sceptic would write it, straight from the consultations.

Shares nothing with tracker.counting; for instants after the last event.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, bindparam, text
from sqlalchemy.orm import Session

from tracker.figures import ANSWERED, INCLUSIVE, NEXT_DAY, RESPONDED, Block

DAY_LATER = {
    "postgresql": "received_at + interval '24 hours'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S', received_at, '+24 hours') || substr(received_at, 20)",
}
COUNTED = """
SELECT channel, count(*) AS received,
  sum(CASE WHEN excluded_at IS NOT NULL THEN 1 ELSE 0 END) AS excluded,
  sum(CASE WHEN excluded_at IS NULL AND handed_over THEN 1 ELSE 0 END) AS handed_over,
  sum(CASE WHEN excluded_at IS NULL AND NOT handed_over THEN 1 ELSE 0 END) AS bot_only,
  sum(CASE WHEN excluded_at IS NULL AND received_at <= :at_48
    THEN 1 ELSE 0 END) AS inclusive_matured,
  sum(CASE WHEN excluded_at IS NULL AND received_at <= :at_48
    AND (feedback_at <= {later} OR bot_at <= {later}) THEN 1 ELSE 0 END) AS inclusive_within,
  sum(CASE WHEN excluded_at IS NULL AND handed_over AND received_at <= :at_24
    THEN 1 ELSE 0 END) AS matured,
  sum(CASE WHEN excluded_at IS NULL AND handed_over AND received_at <= :at_24
    AND answered_at <= {later} THEN 1 ELSE 0 END) AS answered_within,
  sum(CASE WHEN excluded_at IS NULL AND handed_over AND received_at <= :at_24
    AND feedback_at <= {later} THEN 1 ELSE 0 END) AS responded_within,
  sum(CASE WHEN excluded_at IS NULL AND handed_over AND next_day_due_at < :at
    THEN 1 ELSE 0 END) AS next_day_matured,
  sum(CASE WHEN excluded_at IS NULL AND handed_over AND next_day_due_at < :at
    AND feedback_at <= next_day_due_at THEN 1 ELSE 0 END) AS next_day_within,
  sum(CASE WHEN excluded_at IS NULL AND handed_over AND feedback_at IS NULL
    AND withdrawn_at IS NULL THEN 1 ELSE 0 END) AS waiting,
  sum(CASE WHEN excluded_at IS NULL AND bot_first AND received_at <= :at_72
    THEN 1 ELSE 0 END) AS bot_first,
  sum(CASE WHEN excluded_at IS NULL AND bot_first AND received_at <= :at_72 AND NOT handed_over
    AND bot_accepted THEN 1 ELSE 0 END) AS confirmed
FROM consultation WHERE {where} GROUP BY channel
"""
NAMES = (
    "received",
    "excluded",
    "handed_over",
    "bot_only",
    "inclusive_matured",
    "inclusive_within",
    "matured",
    "answered_within",
    "responded_within",
    "next_day_matured",
    "next_day_within",
    "waiting",
    "bot_first",
    "confirmed",
)


def direct_counts(
    session: Session,
    *,
    at: datetime,
    library_id: int | None = None,
    begin: datetime | None = None,
    end: datetime | None = None,
    channel: str | None = None,
) -> dict[str, dict[str, int]]:
    """By channel, the counts that NAMES lists, of those received from `begin` to before `end`."""
    where = ["received_at <= :at"]
    given: dict[str, Any] = {"library_id": library_id, "channel": channel}
    moments = {"begin": begin, "end": end, "at": at} | {
        f"at_{hours}": at - timedelta(hours=hours) for hours in (24, 48, 72)
    }
    for name, condition in (
        ("library_id", "library_id = :library_id"),
        ("channel", "channel = :channel"),
        ("begin", "received_at >= :begin"),
        ("end", "received_at < :end"),
    ):
        if (given | moments)[name] is not None:
            where.append(condition)
    dialect = session.connection().dialect.name
    statement = COUNTED.format(later=DAY_LATER[dialect], where=" AND ".join(where))
    used = [name for name in given | moments if f":{name}" in statement]
    query = text(statement).bindparams(
        *[bindparam(name, type_=DateTime(timezone=True)) for name in used if name in moments]
    )
    values = {name: _plain((given | moments)[name], dialect) for name in used}
    return {row[0]: _named(row[1:]) for row in session.execute(query, values)}


def _plain(value: Any, dialect: str) -> Any:
    naive = isinstance(value, datetime) and dialect == "sqlite"
    return value.replace(tzinfo=None) if naive else value


def _named(values: Sequence[Any]) -> dict[str, int]:
    return {name: int(value) for name, value in zip(NAMES, values, strict=True)}


def integers(block: Block) -> dict[str, int]:
    """The same counts as the figures have them."""
    return {
        "received": block.received,
        "excluded": block.excluded,
        "handed_over": block.handed_over,
        "bot_only": block.bot_only,
        "inclusive_matured": block.shares[INCLUSIVE].matured,
        "inclusive_within": block.shares[INCLUSIVE].within,
        "matured": block.shares[ANSWERED].matured,
        "answered_within": block.shares[ANSWERED].within,
        "responded_within": block.shares[RESPONDED].within,
        "next_day_matured": block.shares[NEXT_DAY].matured,
        "next_day_within": block.shares[NEXT_DAY].within,
        "waiting": block.waiting,
        "bot_first": block.deflection["matured"],
        "confirmed": block.deflection["confirmed"],
    }
