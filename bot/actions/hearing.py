"""What a Rasa tracker holds for us: the patron's latest message, and what was said before."""

from datetime import UTC, datetime
from typing import Any

from rasa_sdk import Tracker

from bot.assistants import Line
from bot.channels.base import opens_chat, storable, words
from bot.channels.rasa_server.payloads import from_rasa
from bot.channels.rasa_server.reading import dedupe_key, is_external, moment
from bot.messages import Inbound, InboundKind
from tracker.fold import BOT, PATRON

LANGUAGE_SLOT = "language"
LONGEST_LINE = 2_000  # characters of one message in a transcript


def heard(tracker: Tracker) -> Inbound:
    """The patron's latest message, with the key by which a repetition is recognised."""
    message: dict[str, Any] = dict(tracker.latest_message)
    event = _latest_event(tracker)
    if not message.get("message_id"):
        message = {**message, "timestamp": (event or {}).get("timestamp")}
    payload = from_rasa(message)
    text = words(message, "text")
    kind = InboundKind.FOLLOW if opens_chat(text) else InboundKind.TEXT
    return Inbound(
        tracker.sender_id,
        text,
        dedupe_key(tracker.sender_id, message),
        InboundKind.CHOICE if payload else kind,
        payload=payload,
        sent_at=moment(event) if event is not None else None,
    )


def language(tracker: Tracker) -> str | None:
    """The assistant's own guess, where it has a slot for it."""
    value = tracker.slots.get(LANGUAGE_SLOT)
    return value if isinstance(value, str) and value else None


def said_before(tracker: Tracker) -> list[Line]:
    """What patron and assistant said since the last restart, before the latest message."""
    events = tracker.events_after_latest_restart()
    latest = next((n for n in reversed(range(len(events))) if _is_said(events[n], "user")), None)
    lines = [_line(tracker.sender_id, event) for event in events[:latest]]
    return [line for line in lines if line is not None]


def _latest_event(tracker: Tracker) -> dict[str, Any] | None:
    return next((each for each in reversed(tracker.events) if each.get("event") == "user"), None)


def _line(sender: str, event: dict[str, Any]) -> Line | None:
    at = moment(event) or datetime.min.replace(tzinfo=UTC)
    if _is_said(event, "user"):
        data = event.get("parse_data")
        message = {**(data if isinstance(data, dict) else {}), "text": event["text"]}
        if is_external(event) or opens_chat(event["text"]) or from_rasa(message) is not None:
            return None
        return Line(PATRON, _text(event), at, dedupe_key(sender, event))
    if _is_said(event, "bot"):
        return Line(BOT, _text(event), at, "")
    return None


def _is_said(event: dict[str, Any], by: str) -> bool:
    text = event.get("text")
    return event.get("event") == by and isinstance(text, str) and bool(text.strip())


def _text(event: dict[str, Any]) -> str:
    return storable(str(event["text"]))[:LONGEST_LINE]
