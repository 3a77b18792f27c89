"""From WhatsApp's webhook to patrons' messages.

One request may hold many messages, of several numbers; delivery statuses come apart from
them and in no order. Since 2026 a patron with a user name may have no telephone number in it,
only a business-scoped user id: that id comes first wherever both are given.
"""

from collections.abc import Iterator

from bot.channels.base import (
    Json,
    Refused,
    identifier,
    instant,
    member,
    members,
    one_line,
    place,
    words,
)
from bot.messages import Inbound, InboundKind

ACCOUNT = "whatsapp_business_account"
# What the patron did, though no words of theirs: nothing to answer, nothing to keep.
_SILENT = {"reaction", "system", "ephemeral", "request_welcome"}


def inbounds(document: Json, phone_number_id: str) -> list[Inbound]:
    """The messages for our number, in the order of the request. Raises Refused."""
    if document.get("object") != ACCOUNT:
        raise Refused("the message is not of a WhatsApp account", status=400)
    found = []
    for value in _values(document):
        if member(value, "metadata").get("phone_number_id") != phone_number_id:
            continue
        people = members(value, "contacts")
        for message in members(value, "messages"):
            inbound = _inbound(message, _contact(message, people))
            if inbound is not None:
                found.append(inbound)
    return found


def _values(document: Json) -> Iterator[Json]:
    for entry in members(document, "entry"):
        for change in members(entry, "changes"):
            if change.get("field") == "messages":
                yield member(change, "value")


def _contact(message: Json, people: list[Json]) -> Json:
    """Who wrote: the contact with the message's number or user id."""
    for person in people:
        pairs = (("wa_id", "from"), ("user_id", "from_user_id"))
        if any(
            person.get(theirs) and person[theirs] == message.get(ours) for theirs, ours in pairs
        ):
            return person
    return people[0] if len(people) == 1 else {}


def _inbound(message: Json, contact: Json) -> Inbound | None:
    kind = words(message, "type")
    if kind in _SILENT:
        return None
    return _translated(message, kind, _patron(message, contact), contact)


def _patron(message: Json, contact: Json) -> str:
    """The business-scoped user id, else the telephone number."""
    if message.get("from_user_id"):
        return identifier(message, "from_user_id")
    if contact.get("user_id"):
        return identifier(contact, "user_id")
    return identifier(message, "from")


def _translated(message: Json, kind: str, patron: str, contact: Json) -> Inbound:
    content = member(message, kind)
    text, media, payload, event = "", words(content, "id") or None, None, None
    match kind:
        case "text":
            shape, text, media = InboundKind.TEXT, words(content, "body"), None
        case "interactive":
            tapped = member(content, "button_reply") or member(content, "list_reply")
            shape, payload, text = InboundKind.CHOICE, words(tapped, "id"), words(tapped, "title")
            event, media = "message", None
        case "button":
            shape, payload, text, event = _template_tap(content)
        case "image":
            shape, text = InboundKind.IMAGE, words(content, "caption")
        case "sticker":  # it opens the window like any message, and asks nothing
            shape, media, event = InboundKind.EVENT, None, "message"
        case "audio":
            shape = InboundKind.VOICE
        case "location":
            shape, text, media = InboundKind.LOCATION, words(content, "name"), place(content)
        case _:
            shape, text = InboundKind.FILE, words(content, "caption")
    return Inbound(
        patron,
        text,
        identifier(message, "id"),
        shape,
        payload=payload or None,
        sent_at=instant(message.get("timestamp")),
        media=media,
        display_name=one_line(words(member(contact, "profile"), "name")) or None,
        event=event,
    )


def _template_tap(content: Json) -> tuple[InboundKind, str, str, str]:
    """A tap under our "your answer is ready" opens the window, and asks nothing.

    A template may carry a payload that is a command of ours: then it is that choice.
    """
    payload, text = words(content, "payload"), words(content, "text")
    if payload.startswith("/"):
        return InboundKind.CHOICE, payload, text, "message"
    return InboundKind.EVENT, payload, "", "message"
