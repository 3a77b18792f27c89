"""From Weibo's JSON to a patron's message.

There is no message id: who, when, what kind and what was said make one.
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta

from bot.channels.base import Json, identifier, member, place, words
from bot.messages import Inbound, InboundKind

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EVENTS = {
    "follow": InboundKind.FOLLOW,
    "scan_follow": InboundKind.FOLLOW,
    "unfollow": InboundKind.UNFOLLOW,
    "unsubscribe": InboundKind.UNFOLLOW,
    "click": InboundKind.EVENT,
    "scan": InboundKind.EVENT,
}
_FILES = {"image": InboundKind.IMAGE, "voice": InboundKind.VOICE}
_FILE_KEYS = ("tovfid", "vfid")  # of the copy that the receiver may fetch, else the sender's


def inbound(message: Json, uid: str | None) -> Inbound | None:
    """The patron's message, or None for what is none, or another account's."""
    patron, account = identifier(message, "sender_id"), identifier(message, "receiver_id")
    if uid not in {None, account} or patron in {uid, account}:
        return None
    data = member(message, "data")
    kind = words(message, "type")
    match kind:
        case "text":
            return _made(message, patron, InboundKind.TEXT, text=words(message, "text"))
        case "image" | "voice":
            return _made(message, patron, _FILES[kind], media=_file(data))
        case "position":
            return _made(message, patron, InboundKind.LOCATION, media=place(data))
        case "event":
            return _event(message, patron, data)
    return None


def _event(message: Json, patron: str, data: Json) -> Inbound | None:
    """A menu button whose key is a command, such as /person, counts as that quick reply."""
    name, key = words(data, "subtype"), words(data, "key")
    if name not in _EVENTS:
        return None
    if name == "click" and key.startswith("/"):
        return _made(message, patron, InboundKind.CHOICE, text=key, payload=key, event=name)
    return _made(message, patron, _EVENTS[name], payload=key or None)


def _made(
    message: Json,
    patron: str,
    kind: InboundKind,
    *,
    text: str = "",
    payload: str | None = None,
    media: str | None = None,
    event: str | None = None,
) -> Inbound:
    return Inbound(
        patron,
        text,
        _key(message, patron),
        kind,
        payload=payload,
        sent_at=created_at(words(message, "created_at")),
        media=media,
        event=event,
    )


def _key(message: Json, patron: str) -> str:
    """Sender and second are the documented key; kind and content tell two in one second apart."""
    content = [words(message, name) for name in ("created_at", "type", "text")]
    data = member(message, "data")
    plain = {name: value for name, value in data.items() if isinstance(value, str | int | float)}
    canonical = json.dumps([patron, *content, plain], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _file(data: Json) -> str | None:
    for name in _FILE_KEYS:
        if isinstance(data.get(name), str | int) and not isinstance(data[name], bool):
            return identifier(data, name)
    return None


def created_at(text: str) -> datetime | None:
    """Weibo's "Sun Nov 22 10:20:00 +0800 2026", in whatever language the server speaks."""
    try:
        _, month, day, clock, offset, year = text.split(" ")
        hours, minutes, seconds = (int(part) for part in clock.split(":"))
        local = datetime(
            int(year), _MONTHS.index(month) + 1, int(day), hours, minutes, seconds, tzinfo=UTC
        )
        ahead = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
        return local + ahead if offset.startswith("-") else local - ahead
    except (ValueError, OverflowError):  # another form, or no such day
        return None
