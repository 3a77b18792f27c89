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
from bot.messages import Arrived, Inbound, InboundKind, SendFailure, Undelivered

ACCOUNT = "whatsapp_business_account"
WINDOW_OVER = 131047
SYSTEM = "system"  # the patron is called something else from now on; it opens no window
# What the patron did, though no words of theirs: nothing to answer, nothing to keep.
_SILENT = {"reaction", "ephemeral", "request_welcome"}
_ARRIVED = {"delivered": False, "read": True}


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


def news(
    document: Json, phone_number_id: str
) -> tuple[tuple[Undelivered, ...], tuple[Arrived, ...]]:
    """What became of our messages, which we named with our own keys."""
    undelivered, arrived = [], []
    for value in _values(document):
        if member(value, "metadata").get("phone_number_id") != phone_number_id:
            continue
        for status in members(value, "statuses"):
            key = words(status, "biz_opaque_callback_data") or None
            number, name = words(status, "id") or None, words(status, "status")
            if name == "failed":
                undelivered.append(_undelivered(status, key, number))
            elif name in _ARRIVED:
                at = instant(status.get("timestamp"))
                arrived.append(Arrived(key, number, at, seen=_ARRIVED[name]))
    return tuple(undelivered), tuple(arrived)


def _undelivered(status: Json, key: str | None, number: str | None) -> Undelivered:
    errors = members(status, "errors")
    code = errors[0].get("code") if errors else None
    told = one_line(words(errors[0], "title"))[:200] if errors else ""
    reason = f"WhatsApp could not deliver it: {told or 'no reason given'} ({code})."
    failure = SendFailure.PERMANENT
    if code == WINDOW_OVER:
        failure = SendFailure.WINDOW_CLOSED
        reason = f"the patron has not written within 24 hours ({code})"
    return Undelivered(key, failure, reason, code=str(code), provider_id=number)


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
    if kind == SYSTEM:
        return _renamed(message)
    return _translated(message, kind, _patron(message, contact), contact)


def _renamed(message: Json) -> Inbound | None:
    """A new number brings a new user id: the conversation goes on under it."""
    change = member(message, "system")
    now_called = words(change, "user_id") or words(change, "wa_id") or words(change, "new_wa_id")
    before = {words(message, "from"), words(message, "from_user_id"), words(change, "customer")}
    before |= {words(change, name) for name in ("previous_user_id", "old_user_id")}
    former = tuple(sorted(before - {"", now_called}))
    if not now_called or not former:
        return None
    return Inbound(
        identifier({"id": now_called}, "id"),
        "",
        identifier(message, "id"),
        InboundKind.EVENT,
        sent_at=instant(message.get("timestamp")),
        event=SYSTEM,
        aliases=former,
    )


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
        thread={"message_id": identifier(message, "id")},  # the typing sign refers to it
        aliases=_other_ids(message, contact, patron),
    )


def _other_ids(message: Json, contact: Json, patron: str) -> tuple[str, ...]:
    """The telephone number of somebody who is known by their user id."""
    number = words(message, "from") or words(contact, "wa_id")
    return (number,) if number and number != patron else ()


def _template_tap(content: Json) -> tuple[InboundKind, str, str, str]:
    """A tap under our "your answer is ready" opens the window, and asks nothing.

    A template may carry a payload that is a command of ours: then it is that choice.
    """
    payload, text = words(content, "payload"), words(content, "text")
    if payload.startswith("/"):
        return InboundKind.CHOICE, payload, text, "message"
    return InboundKind.EVENT, payload, "", "message"
