"""What became of a reply, as a librarian reads it: sent, arrived, waiting, or why it did not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.screens import Screen, known_text
from bot.channels import CHANNELS
from bot.delivery import EMAIL
from bot.models import Outbox, OutboxState
from bot.wording import parse_instant

ARRIVED, SEEN = "arrived", "seen"
"""What a channel's own news of a reply is noted as in its attempts."""
_QUIET = {ARRIVED, SEEN}
_KNOWN = {  # reasons that the core gives itself; a platform's own words are shown as they are
    "the channel's reply window is closed": "window_closed",
    "this channel cannot carry a late answer": "not_late",
    "the patron was told that an answer waits": "told",
    "the worker stopped while sending": "worker_stopped",
    "no mail server is set (REFDESK_SMTP_HOST)": "no_mail",
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """One line about a reply, its tone, and whether a librarian must decide."""

    text: str
    tone: str = ""
    detail: str | None = None  # why, where something went wrong on the way
    stuck: int | None = None  # the reply's number, where it can be tried again
    is_uncertain: bool = False


def receipt_of(screen: Screen, row: Outbox) -> Receipt:
    """What became of a reply."""
    match row.state:
        case OutboxState.SENT:
            return _sent(screen, row)
        case OutboxState.NEW | OutboxState.SENDING:
            return _under_way(screen, row)
    tone = "late" if row.state == OutboxState.DEAD else "soon"
    return Receipt(
        screen.text(f"desk.delivery.{row.state}"),
        tone,
        why(screen, row),
        stuck=row.id,
        is_uncertain=row.state == OutboxState.UNCERTAIN,
    )


def _sent(screen: Screen, row: Outbox) -> Receipt:
    if row.via == EMAIL:
        return Receipt(screen.text("desk.delivery.emailed"), "", why(screen, row))
    news = {entry["what"] for entry in row.attempt_log}
    conversation = row.conversation
    is_ours = CHANNELS[conversation.account.kind].declaration.stored
    if SEEN in news or (is_ours and conversation.read_position >= row.position):
        return Receipt(screen.text("desk.delivery.seen"))
    if ARRIVED in news:
        return Receipt(screen.text("desk.delivery.arrived"))
    return Receipt(screen.text("desk.delivery.sent"))


def _under_way(screen: Screen, row: Outbox) -> Receipt:
    reason = why(screen, row)
    if row.state == OutboxState.NEW and row.next_attempt_at is None:
        return Receipt(screen.text("desk.delivery.held"), "soon", reason)
    if row.via == EMAIL:
        return Receipt(screen.text("desk.delivery.emailing"), "soon", reason)
    if row.state == OutboxState.NEW and row.attempts and row.next_attempt_at is not None:
        when = screen.reader.when(row.next_attempt_at, screen.now)
        return Receipt(screen.text("desk.delivery.again", when=when), "soon", reason)
    return Receipt(screen.text(f"desk.delivery.{row.state}"), "", reason)


def why(screen: Screen, row: Outbox) -> str | None:
    """The last thing that went wrong with a reply, in the librarian's language where we can."""
    troubles = [entry for entry in row.attempt_log if entry["what"] not in _QUIET]
    return reason_text(screen, troubles[-1]) if troubles else None


def reason_text(screen: Screen, entry: Mapping[str, Any]) -> str:
    """One line of a reply's attempts."""
    said = str(entry.get("why") or "")
    if said in _KNOWN:
        return screen.text(f"desk.why.{_KNOWN[said]}")
    word = known_text(screen.reader, "desk.why", str(entry["what"]))
    text = said if word == entry["what"] else f"{word}: {said}" if said else word
    code = entry.get("code")
    return f"{text} ({code})" if code and str(code) not in text else text


def attempts(screen: Screen, row: Outbox) -> list[dict[str, str]]:
    """Everything that was tried with a reply, oldest first."""
    return [
        {
            "when": screen.reader.when(parse_instant(entry["at"]), screen.now),
            "text": reason_text(screen, entry),
        }
        for entry in row.attempt_log
    ]
