"""What a Rasa server's tracker says: who wrote what, and whether we pushed it."""

from datetime import datetime

from bot.channels.base import (
    MAX_IDENTIFIER,
    Json,
    instant,
    members,
    opens_chat,
    storable,
    words,
)
from bot.channels.rasa_server.payloads import from_rasa
from bot.messages import Inbound, InboundKind

KEY = "refdesk_key"  # marks what we pushed, so that a repetition is recognised
MICRO = 1_000_000
_BEYOND = 1e11  # seconds: thousands of years; no number that is none is below it


def was_pushed(tracker: Json, key: str) -> bool:
    """Whether this reply is in the conversation already."""
    return any(key in _marks(event) for event in members(tracker, "events"))


def _marks(event: Json) -> list[object]:
    """Our keys in an event: in its metadata, or among the entities of a triggered intent."""
    metadata, parsed = event.get("metadata"), event.get("parse_data")
    found = [metadata.get(KEY)] if isinstance(metadata, dict) else []
    entities = members(parsed, "entities") if isinstance(parsed, dict) else []
    return found + [each.get("value") for each in entities if each.get("entity") == KEY]


def messages(sender: str, tracker: Json) -> list[Inbound]:
    """The patron's messages in a tracker, oldest first."""
    found = (_inbound(sender, event) for event in members(tracker, "events"))
    return [inbound for inbound in found if inbound is not None]


def _inbound(sender: str, event: Json) -> Inbound | None:
    text = words(event, "text").strip()
    if event.get("event") != "user" or not text or is_external(event) or opens_chat(text):
        return None
    parsed = event.get("parse_data")
    payload = from_rasa({**(parsed if isinstance(parsed, dict) else {}), "text": text})
    kind = InboundKind.CHOICE if payload else InboundKind.TEXT
    key = dedupe_key(sender, event)
    return Inbound(sender, text, key, kind, payload=payload, sent_at=moment(event))


def is_external(event: Json) -> bool:
    """Whether no patron wrote it: a reminder, or an intent that a program triggered."""
    metadata = event.get("metadata")
    flagged = isinstance(metadata, dict) and bool(metadata.get("is_external"))
    return flagged or words(event, "text").startswith("EXTERNAL: ")


def dedupe_key(sender: str, message: Json) -> str:
    """One key for a message, whether an action or the tracker tells us of it."""
    number = message.get("message_id") or message.get("timestamp") or words(message, "text")
    return f"{sender}:{storable(str(number))[:MAX_IDENTIFIER]}"


def moment(event: Json) -> datetime | None:
    """When Rasa recorded an event: seconds since 1970 with a fraction."""
    stamp = event.get("timestamp")
    if isinstance(stamp, bool) or not isinstance(stamp, int | float) or not 0 < stamp < _BEYOND:
        return None
    return instant(round(stamp * MICRO), per_second=MICRO)
