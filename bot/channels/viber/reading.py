"""From Viber's callbacks to a patron's message.

Viber tells of our deliveries too (delivered, seen, failed): those are news, no message. Neither
is `conversation_started`, which comes before the patron has said anything: they may not be
written to until they write or subscribe.
"""

from bot.channels.base import Json, identifier, instant, member, one_line, place, words
from bot.messages import Arrived, Inbound, InboundKind, SendFailure, Undelivered

MILLISECONDS = 1000
_MEDIA = {"picture": InboundKind.IMAGE}
_COUNT_AS_MESSAGE = {InboundKind.CHOICE, InboundKind.EVENT}


def inbound(event: Json) -> Inbound | None:
    """The patron's message, or None for an event that is none. Raises Refused."""
    match words(event, "event"):
        case "message":
            return _message(event)
        case "subscribed":
            return _membership(event, member(event, "user"), "id", InboundKind.FOLLOW)
        case "unsubscribed":
            return _membership(event, event, "user_id", InboundKind.UNFOLLOW)
    return None


def undelivered(event: Json) -> Undelivered | None:
    """News that a message of ours did not arrive."""
    if words(event, "event") != "failed":
        return None
    told = one_line(words(event, "desc"))[:200] or "no reason given"
    reason = f"Viber could not deliver it: {told}."
    number = identifier(event, "message_token")
    return Undelivered(None, SendFailure.PERMANENT, reason, provider_id=number)


def arrived(event: Json) -> Arrived | None:
    """News that a message of ours is on the patron's telephone, or was seen there."""
    name = words(event, "event")
    if name not in {"delivered", "seen"}:
        return None
    at = instant(event.get("timestamp"), per_second=MILLISECONDS)
    return Arrived(None, identifier(event, "message_token"), at, seen=name == "seen")


def _message(event: Json) -> Inbound:
    sender, message = member(event, "sender"), member(event, "message")
    kind, text, media = _content(message)
    payload = None
    if kind is InboundKind.TEXT and event.get("silent") is True:
        kind, payload = InboundKind.CHOICE, text  # our keyboards are silent, typing is not
    return Inbound(
        identifier(sender, "id"),
        text,
        identifier(event, "message_token"),
        kind,
        payload=payload,
        sent_at=instant(event.get("timestamp"), per_second=MILLISECONDS),
        media=media,
        display_name=one_line(words(sender, "name")) or None,
        event="message" if kind in _COUNT_AS_MESSAGE else None,
    )


def _content(message: Json) -> tuple[InboundKind, str, str | None]:
    """Kind, text and media."""
    kind, text = words(message, "type"), words(message, "text")
    address = words(message, "media")
    match kind:
        case "text":
            return InboundKind.TEXT, text, None
        case "url":  # a pasted address comes as media
            return InboundKind.TEXT, text or address, None
        case "location":
            spot = place(member(message, "location"), "lat", "lon")
            return InboundKind.LOCATION, text, spot
        case "sticker":  # it opens the window like any message, and asks nothing
            return InboundKind.EVENT, "", None
    return _MEDIA.get(kind, InboundKind.FILE), text, address or None


def _membership(event: Json, person: Json, name: str, kind: InboundKind) -> Inbound:
    return Inbound(
        identifier(person, name),
        "",
        identifier(event, "message_token"),
        kind,
        sent_at=instant(event.get("timestamp"), per_second=MILLISECONDS),
        display_name=one_line(words(person, "name")) or None,
    )
