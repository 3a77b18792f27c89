"""From Zalo's events to a patron's message.

What the account itself sent (`oa_send_…`) is no message, nor is what patrons received or saw:
those are news of our own messages.
"""

import re

from bot.channels.base import (
    MAX_IDENTIFIER,
    Json,
    identifier,
    instant,
    member,
    members,
    place,
    words,
)
from bot.messages import Arrived, Inbound, InboundKind

MILLISECONDS = 1000
_COMMAND = re.compile(r"/\S+( \S+)?")  # a tap comes back as text: the button's payload
_KINDS = {
    "user_send_text": InboundKind.TEXT,
    "user_send_link": InboundKind.TEXT,
    "user_send_image": InboundKind.IMAGE,
    "user_send_audio": InboundKind.VOICE,
    "user_send_location": InboundKind.LOCATION,
    "user_send_video": InboundKind.FILE,
    "user_send_file": InboundKind.FILE,
    "user_send_business_card": InboundKind.FILE,
    # They open the window like any message, and ask nothing.
    "user_send_sticker": InboundKind.EVENT,
    "user_send_gif": InboundKind.EVENT,
}
_NEWS = {"user_received_message": False, "user_seen_message": True}  # whether it was seen
_MEMBERSHIP = {"follow": InboundKind.FOLLOW, "unfollow": InboundKind.UNFOLLOW}


def inbound(event: Json, oa_id: str | None) -> Inbound | None:
    """The patron's message, or None for an event that is none or another account's."""
    name = words(event, "event_name")
    if name in _KINDS and oa_id in {None, words(member(event, "recipient"), "id")}:
        return _message(event, _KINDS[name])
    if name in _MEMBERSHIP and oa_id in {None, words(event, "oa_id")}:
        return _membership(event, name)
    return None


def arrived(event: Json, oa_id: str | None) -> tuple[Arrived, ...]:
    """News that messages of ours are on the patron's telephone, or were seen there.

    Its form is only reported: what names no message is passed over, never refused, because
    Zalo switches off a webhook that refuses too often.
    """
    name = words(event, "event_name")
    if name not in _NEWS or oa_id not in {None, words(member(event, "sender"), "id")}:
        return ()
    message = member(event, "message")
    several = message.get("msg_ids")
    numbers = several if isinstance(several, list) else [message.get("msg_id")]
    at = instant(event.get("timestamp"), per_second=MILLISECONDS)
    return tuple(
        Arrived(None, number, at, seen=_NEWS[name])
        for number in numbers
        if isinstance(number, str) and number.isprintable() and 0 < len(number) <= MAX_IDENTIFIER
    )


def _message(event: Json, kind: InboundKind) -> Inbound:
    message = member(event, "message")
    text, media = _content(message, kind)
    payload = None
    if kind is InboundKind.TEXT and _COMMAND.fullmatch(text):
        kind, payload = InboundKind.CHOICE, text
    return Inbound(
        identifier(member(event, "sender"), "id"),
        text,
        identifier(message, "msg_id"),
        kind,
        payload=payload,
        sent_at=instant(event.get("timestamp"), per_second=MILLISECONDS),
        media=media,
        event="message" if kind in {InboundKind.CHOICE, InboundKind.EVENT} else None,
    )


def _content(message: Json, kind: InboundKind) -> tuple[str, str | None]:
    """Text and media."""
    text = words(message, "text")
    attachments = members(message, "attachments")
    attached = member(attachments[0], "payload") if attachments else {}
    address = words(attached, "url") or words(attached, "thumbnail")
    match kind:
        case InboundKind.TEXT:
            return text or address, None
        case InboundKind.EVENT:
            return "", None
        case InboundKind.LOCATION:
            return text, place(member(attached, "coordinates"))
    return text, address or None


def _membership(event: Json, name: str) -> Inbound:
    """Following has no message id: who, what and when make one."""
    patron = identifier(member(event, "follower"), "id")
    return Inbound(
        patron,
        "",
        f"{name}:{patron}:{identifier(event, 'timestamp')}",
        _MEMBERSHIP[name],
        sent_at=instant(event.get("timestamp"), per_second=MILLISECONDS),
    )
