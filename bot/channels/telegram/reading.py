"""From Telegram's updates to a patron's message.

Only private chats are read: in a group the bot would answer everybody's talk.
"""

from bot.channels.base import (
    Json,
    identifier,
    instant,
    member,
    members,
    one_line,
    place,
    words,
)
from bot.messages import Inbound, InboundKind

_FILES = ("document", "audio", "video", "video_note", "animation")
_OTHER_CONTENT = ("contact", "poll", "story", "dice", "paid_media", "checklist", "game")
_LEFT = {"kicked", "left"}
_NOTHING = (None, "", None, None)


def inbound(update: Json) -> Inbound | None:
    """The patron's message, or None for an update that is none. Raises Refused."""
    number = identifier(update, "update_id")
    if isinstance(update.get("message"), dict):
        return _message(update["message"], number)
    if isinstance(update.get("callback_query"), dict):
        return _tap(update["callback_query"], number)
    if isinstance(update.get("my_chat_member"), dict):
        return _membership(update["my_chat_member"], number)
    return None


def tap_of(update: Json) -> str | None:
    """The id of a tap, which must be answered, or the button keeps glowing."""
    tap = member(update, "callback_query")
    return identifier(tap, "id") if tap else None


def _message(message: Json, number: str) -> Inbound | None:
    sender = member(message, "from")
    if not _is_private(message) or sender.get("is_bot") is True:
        return None
    kind, text, media, payload = _content(message)
    if kind is None:
        return None
    return Inbound(
        identifier(member(message, "chat"), "id"),
        text,
        number,
        kind,
        payload=payload,
        sent_at=instant(message.get("date")),
        media=media,
        display_name=_name(sender),
    )


def _content(
    message: Json,
) -> tuple[InboundKind | None, str, str | None, str | None]:
    """Kind, text, media and payload; kind None for a notice of the chat itself."""
    text = words(message, "text")
    if text:
        start, _, argument = text.strip().partition(" ")
        if start.split("@", 1)[0] == "/start":
            return InboundKind.FOLLOW, "", None, argument.strip() or None
        return InboundKind.TEXT, text, None, None
    caption = words(message, "caption")
    sizes = members(message, "photo")
    if sizes:
        return InboundKind.IMAGE, caption, _file(sizes[-1]), None
    if "voice" in message:
        return InboundKind.VOICE, caption, _file(member(message, "voice")), None
    if "sticker" in message:
        emoji = words(member(message, "sticker"), "emoji")
        return (InboundKind.TEXT, emoji, None, None) if emoji else _NOTHING
    spot = member(message, "venue", "location") or member(message, "location")
    if spot:
        return InboundKind.LOCATION, words(member(message, "venue"), "title"), place(spot), None
    for name in _FILES:
        if name in message:
            return InboundKind.FILE, caption, _file(member(message, name)), None
    if any(name in message for name in _OTHER_CONTENT):
        return InboundKind.FILE, caption, None, None
    return _NOTHING


def _tap(tap: Json, number: str) -> Inbound | None:
    message = member(tap, "message")
    payload = words(tap, "data")
    if not payload or not _is_private(message):
        return None
    return Inbound(
        identifier(member(message, "chat"), "id"),
        _label(message, payload),
        number,
        InboundKind.CHOICE,
        payload=payload,
        display_name=_name(member(tap, "from")),
        event="message",
    )


def _label(message: Json, payload: str) -> str:
    """What the tapped button says; Telegram sends only its data and the whole keyboard."""
    rows = member(message, "reply_markup").get("inline_keyboard")
    for row in rows if isinstance(rows, list) else []:
        for button in row if isinstance(row, list) else []:
            if isinstance(button, dict) and button.get("callback_data") == payload:
                return words(button, "text")
    return payload


def _membership(change: Json, number: str) -> Inbound | None:
    """The patron blocked the bot. Unblocking comes with a message or /start of its own."""
    if not _is_private(change) or member(change, "new_chat_member").get("status") not in _LEFT:
        return None
    return Inbound(
        identifier(member(change, "chat"), "id"),
        "",
        number,
        InboundKind.UNFOLLOW,
        sent_at=instant(change.get("date")),
    )


def _is_private(message: Json) -> bool:
    return member(message, "chat").get("type") == "private"


def _file(fields: Json) -> str | None:
    return words(fields, "file_id") or None


def _name(person: Json) -> str | None:
    full = f"{words(person, 'first_name')} {words(person, 'last_name')}"
    return one_line(full) or None
