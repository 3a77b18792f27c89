"""From WeChat's XML to a patron's message.

Events that are no deed of the patron (a template was delivered, an agent's session ended)
are no message. A message of a kind that we do not know is kept as a file, so that a
librarian hears of it.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from bot.messages import Inbound, InboundKind

MAX_BODY = 64 * 1024  # bytes; the platform's own messages stay under 10 KB
MAX_ID = 128  # characters; an openid has 28, a MsgId 20
LATEST = 4_102_444_800  # 2100-01-01: a later CreateTime is not a time
TAP = "CLICK"  # opens the same reply window as a menu click: see channel.py
CONSENT = "subscribe_msg_popup_event"
_WEB_ADDRESS = re.compile(r"https?://\S+\Z")


class Unreadable(Exception):
    """The XML is broken, or lacks what a message must have."""


def parsed(data: bytes) -> Element:
    """The message's root element; raises Unreadable. No DOCTYPE gets through."""
    if len(data) > MAX_BODY:
        raise Unreadable("the message is too large")
    try:
        # As text, so that an encoding declared inside cannot choose another codec.
        root: Element = fromstring(data.decode("utf-8"), forbid_dtd=True)
    except UnicodeDecodeError:
        raise Unreadable("the message is not UTF-8") from None
    except DefusedXmlException:
        raise Unreadable("the message declares a document type or entities") from None
    except (ParseError, ValueError):  # ValueError: a NUL or a lone surrogate in the text
        raise Unreadable("the message is not XML") from None
    if root.tag != "xml":
        raise Unreadable("the message has another form")
    return root


def field(root: Element, name: str) -> str:
    """An element's text, empty when absent; twice the same element is nobody's to guess."""
    found = root.findall(name)
    if len(found) > 1:
        raise Unreadable(f"{name} appears twice")
    return (found[0].text or "") if found else ""


def identifier(root: Element, name: str) -> str:
    """A field that must be there and be of a sensible length."""
    value = field(root, name).strip()
    if not value:
        raise Unreadable(f"{name} is missing")
    if len(value) > MAX_ID:
        raise Unreadable(f"{name} is too long")
    return value


def name_of(root: Element) -> str:
    """What kind of message or event it is, as WeChat calls it."""
    kind = field(root, "MsgType").strip()
    return field(root, "Event").strip() if kind == "event" else kind


def inbound(root: Element) -> Inbound | None:
    """The patron's message, or None for an event that is none."""
    kind = identifier(root, "MsgType")
    if kind == "event":
        read_event = _EVENTS.get(identifier(root, "Event"))
        return read_event(root) if read_event else None
    return _MESSAGES.get(kind, _file)(root)


def _text(root: Element) -> Inbound:
    tapped = field(root, "bizmsgmenuid").strip()
    content = field(root, "Content")
    if tapped:
        return _message(root, InboundKind.CHOICE, content, payload=tapped, event=TAP)
    return _message(root, InboundKind.TEXT, content)


def _image(root: Element) -> Inbound:
    address = field(root, "PicUrl").strip()
    media = address if _WEB_ADDRESS.match(address) else field(root, "MediaId").strip()
    return _message(root, InboundKind.IMAGE, media=media)


def _voice(root: Element) -> Inbound:
    words = field(root, "Recognition")
    return _message(root, InboundKind.VOICE, words, media=field(root, "MediaId").strip())


def _location(root: Element) -> Inbound:
    latitude, longitude = field(root, "Location_X").strip(), field(root, "Location_Y").strip()
    label = quote(field(root, "Label").strip())
    media = f"geo:{quote(latitude)},{quote(longitude)}" + (f"?q={label}" if label else "")
    return _message(root, InboundKind.LOCATION, media=media)


def _link(root: Element) -> Inbound:
    parts = (field(root, name).strip() for name in ("Title", "Url"))
    return _message(root, InboundKind.TEXT, "\n".join(part for part in parts if part))


def _file(root: Element) -> Inbound:
    return _message(root, InboundKind.FILE, media=field(root, "MediaId").strip())


def _follow(root: Element) -> Inbound:
    return _event(root, InboundKind.FOLLOW, payload=field(root, "EventKey").strip())


def _unfollow(root: Element) -> Inbound:
    return _event(root, InboundKind.UNFOLLOW)


def _click(root: Element) -> Inbound:
    """A menu button whose key is a command, such as /person, counts as that quick reply."""
    key = field(root, "EventKey").strip()
    if key.startswith("/"):
        return _event(root, InboundKind.CHOICE, text=key, payload=key, event=TAP)
    return _event(root, InboundKind.EVENT, payload=key, event=TAP)


def _other(root: Element) -> Inbound:
    key = field(root, "EventKey").strip()
    return _event(root, InboundKind.EVENT, payload=key, event=identifier(root, "Event"))


def _consent(root: Element) -> Inbound | None:
    """The patron agreed to be told once; the payload is the template's id."""
    for answer in root.iterfind("SubscribeMsgPopupEvent/List"):
        if field(answer, "SubscribeStatusString").strip() == "accept":
            template = identifier(answer, "TemplateId")
            return _event(root, InboundKind.EVENT, payload=template, event=CONSENT)
    return None


def _message(
    root: Element,
    kind: InboundKind,
    text: str = "",
    *,
    payload: str | None = None,
    media: str | None = None,
    event: str | None = None,
) -> Inbound:
    return Inbound(
        identifier(root, "FromUserName"),
        text,
        identifier(root, "MsgId"),
        kind,
        payload=payload,
        sent_at=_sent_at(root),
        media=media or None,
        event=event,
    )


def _event(
    root: Element,
    kind: InboundKind,
    *,
    text: str = "",
    payload: str | None = None,
    event: str | None = None,
) -> Inbound:
    return Inbound(
        identifier(root, "FromUserName"),
        text,
        _event_key(root),
        kind,
        payload=payload or None,
        sent_at=_sent_at(root),
        event=event,
    )


def _event_key(root: Element) -> str:
    """Events have no MsgId. Patron and second are the documented key; two different events
    within one second are told apart by their name and key."""
    _sent_at(root)
    names = ("FromUserName", "CreateTime", "Event", "EventKey")
    joined = "\n".join(field(root, name).strip() for name in names)
    return "event:" + hashlib.sha256(joined.encode()).hexdigest()


def _sent_at(root: Element) -> datetime:
    seconds = identifier(root, "CreateTime")
    if not (seconds.isascii() and seconds.isdigit() and int(seconds) < LATEST):
        raise Unreadable("CreateTime is not a time")
    return datetime.fromtimestamp(int(seconds), UTC)


_Reader = Callable[[Element], Inbound]
_MESSAGES: dict[str, _Reader] = {
    "text": _text,
    "image": _image,
    "voice": _voice,
    "location": _location,
    "link": _link,
    "video": _file,
    "shortvideo": _file,
}
_EVENTS: dict[str, Callable[[Element], Inbound | None]] = {
    CONSENT: _consent,
    "subscribe": _follow,
    "unsubscribe": _unfollow,
    "CLICK": _click,
    "SCAN": _other,
    "VIEW": _other,
    "LOCATION": _other,
}
