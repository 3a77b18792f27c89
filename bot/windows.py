"""The reply windows of a conversation: how often, and until when, we may still write."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from bot.channels.base import Declaration, Window
from bot.messages import Inbound, InboundKind
from bot.wording import parse_instant

Ledger = list[dict[str, Any]]
"""One row per open window: opened_by, until (ISO or None), left (messages or None).

A row that `announces` admits no reply, only the word that one waits.
"""

_OPENS_AS_MESSAGE = {
    InboundKind.TEXT,
    InboundKind.IMAGE,
    InboundKind.VOICE,
    InboundKind.LOCATION,
    InboundKind.FILE,
}


def opened_by(inbound: Inbound) -> str:
    """The name under which a channel declares the window that this message opens."""
    if inbound.event:
        return inbound.event
    return "message" if inbound.kind in _OPENS_AS_MESSAGE else inbound.kind.value


def opened_windows(declaration: Declaration, inbound: Inbound) -> tuple[Window, ...]:
    """What this lets us write: nothing when a patron leaves, nor after a mere event."""
    if inbound.kind is InboundKind.UNFOLLOW:
        return ()
    name = opened_by(inbound)
    return tuple(window for window in declaration.windows if window.opened_by == name)


def open_window(
    ledger: Sequence[dict[str, Any]], declaration: Declaration, inbound: Inbound, *, at: datetime
) -> Ledger:
    """The ledger after a patron's message, without the windows that are over.

    Who stops following may not be written to at all.
    """
    if inbound.kind is InboundKind.UNFOLLOW:
        return []
    rows = [row for row in ledger if _is_open(row, at)]
    for window in opened_windows(declaration, inbound):
        if window.refills_on_message:
            rows = [row for row in rows if row["opened_by"] != window.opened_by]
        rows.append(_row(window, at))
    return rows


def can_send(ledger: Sequence[dict[str, Any]], *, now: datetime, count: int = 1) -> bool:
    """Whether `count` more messages may go out now."""
    left = messages_left(ledger, now=now)
    return left is None or left >= count


def messages_left(ledger: Sequence[dict[str, Any]], *, now: datetime) -> int | None:
    """How many more messages may go out now; None: as many as we like."""
    open_rows = _admitting(ledger, now, announcing=False)
    if any(row["left"] is None for row in open_rows):
        return None
    return sum(int(row["left"]) for row in open_rows)


def may_announce(ledger: Sequence[dict[str, Any]], *, now: datetime) -> bool:
    """Whether the patron has agreed to be told once that an answer waits."""
    rows = _admitting(ledger, now, announcing=True)
    return any(row["left"] is None or row["left"] > 0 for row in rows)


def spend(
    ledger: Sequence[dict[str, Any]], *, now: datetime, count: int = 1, announcing: bool = False
) -> Ledger:
    """The ledger after so many messages went out: the window that ends first pays."""
    rows = [dict(row) for row in ledger if _is_open(row, now)]
    for _ in range(count):
        paying = _admitting(rows, now, announcing=announcing)
        if any(row["left"] is None for row in paying):
            break
        payable = sorted(
            (row for row in paying if row["left"] > 0), key=lambda row: row["until"] or "~"
        )
        if payable:
            payable[0]["left"] -= 1
    return rows


def closes_at(ledger: Sequence[dict[str, Any]], *, now: datetime) -> datetime | None:
    """When the last open window ends; None when one never does or none is open."""
    rows = _admitting(ledger, now, announcing=False)
    ends = [row["until"] for row in rows if row["left"] != 0]
    if not ends or None in ends:
        return None
    return max(parse_instant(end) for end in ends)


def _row(window: Window, at: datetime) -> dict[str, Any]:
    until = None
    if window.seconds is not None:
        until = (at + timedelta(seconds=window.seconds)).isoformat()
    row = {"opened_by": window.opened_by, "until": until, "left": window.max_messages}
    return {**row, "announces": True} if window.announces else row


def _admitting(
    ledger: Sequence[dict[str, Any]], now: datetime, *, announcing: bool
) -> list[dict[str, Any]]:
    return [
        row for row in ledger if _is_open(row, now) and row.get("announces", False) is announcing
    ]


def _is_open(row: dict[str, Any], now: datetime) -> bool:
    return row["until"] is None or parse_instant(row["until"]) > now
