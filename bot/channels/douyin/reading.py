"""From Douyin's events to a patron's message.

`content` is an object or a JSON string, depending on how the app was admitted. Our own
messages come back as `im_send_msg` and are no message.
"""

from dataclasses import dataclass

from bot.channels.base import (
    Json,
    identifier,
    instant,
    json_object,
    member,
    members,
    one_line,
    words,
)
from bot.messages import Inbound, InboundKind

MILLISECONDS = 1000
RECEIVED = "im_receive_msg"
HANDSHAKE = "verify_webhook"


@dataclass(frozen=True, slots=True)
class Message:
    """A patron's message, and what a reply to it must quote."""

    inbound: Inbound
    message_id: str
    conversation_id: str


def challenge(event: Json) -> int | None:
    """The number to give back when the address is set up; None for any other event."""
    number = _content(event).get("challenge") if event.get("event") == HANDSHAKE else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def message(event: Json, open_id: str) -> Message | None:
    """The patron's message, or None for an event that is none or another account's."""
    if event.get("event") != RECEIVED or event.get("to_user_id") != open_id:
        return None
    patron = identifier(event, "from_user_id")
    if patron == open_id:
        return None
    content = _content(event)
    number = identifier(content, "server_message_id")
    kind, text = _kind(words(content, "message_type")), words(content, "text")
    inbound = Inbound(
        patron,
        text if kind is InboundKind.TEXT else "",
        # Not the header Msg-Id: the signature does not cover it, and a captured request
        # could come again under another one.
        number,
        kind,
        sent_at=instant(content.get("create_time"), per_second=MILLISECONDS),
        display_name=_name(content, patron),
    )
    return Message(inbound, number, identifier(content, "conversation_short_id"))


def _content(event: Json) -> Json:
    found = event.get("content")
    if isinstance(found, str):
        return json_object(found.encode("utf-8", "replace"))
    return member(event, "content")


def _kind(name: str) -> InboundKind:
    if name == "text":
        return InboundKind.TEXT
    return InboundKind.IMAGE if "image" in name else InboundKind.FILE


def _name(content: Json, patron: str) -> str | None:
    people = [
        person for person in members(content, "user_infos") if person.get("open_id") == patron
    ]
    return one_line(words(people[0], "nick_name")) or None if people else None
