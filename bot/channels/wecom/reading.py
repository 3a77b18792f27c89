"""From WeCom's callback and its fetched messages to patrons' messages.

The callback says only that a desk has something; what it has comes as JSON. System events
that are no deed of the patron are no message, nor is what a librarian typed inside WeCom. A
message of a kind that we do not know is kept as a file, so that a librarian hears of it.
"""

from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from bot.channels.base import (
    MAX_IDENTIFIER,
    Json,
    Refused,
    SendFailure,
    Undelivered,
    identifier,
    instant,
    member,
    place,
    words,
)
from bot.channels.wecom.shaping import key_of
from bot.messages import Inbound, InboundKind

MAX_XML = 64 * 1024  # bytes; a callback stays under 1 KB
CALLBACK = "kf_msg_or_event"
BY_PATRON, BY_SYSTEM = 3, 4  # `origin`; 5 is a librarian who types in WeCom
_CLOSED, _PERMANENT = SendFailure.WINDOW_CLOSED, SendFailure.PERMANENT
# Documented: what became of a message that had been accepted.
_FAIL_TYPES = {
    4: (_CLOSED, "the patron's 48 hours were over"),
    5: (_CLOSED, "the session had been closed"),
    6: (_CLOSED, "five messages had been sent since the patron's last one"),
    10: (_PERMANENT, "the patron refuses messages of this desk"),
}


@dataclass(frozen=True, slots=True)
class Welcome:
    """A patron opened the chat and may be greeted once, within seconds."""

    patron: str
    code: str


def parsed(body: bytes) -> Element:
    """The XML's root element. Raises Refused; no DOCTYPE gets through."""
    if len(body) > MAX_XML:
        raise Refused("the message is too large", status=413)
    try:
        # As text, so that an encoding declared inside cannot choose another codec.
        root: Element = fromstring(body.decode("utf-8"), forbid_dtd=True)
    except UnicodeDecodeError:
        raise Refused("the message is not UTF-8", status=400) from None
    except DefusedXmlException:
        raise Refused("the message declares a document type or entities", status=400) from None
    except (ParseError, ValueError):  # ValueError: a NUL or a lone surrogate in the text
        raise Refused("the message is not XML", status=400) from None
    if root.tag != "xml":
        raise Refused("the message has another form", status=400)
    return root


def field(root: Element, name: str) -> str:
    """An element's text, empty when absent; twice the same element is nobody's to guess."""
    found = root.findall(name)
    if len(found) > 1:
        raise Refused(f"{name} appears twice", status=400)
    text = (found[0].text or "").strip() if found else ""
    if name != "Encrypt" and len(text) > MAX_IDENTIFIER:
        raise Refused(f"{name} is too long", status=400)
    return text


def patron_id(message: Json, desk: str) -> str:
    """A patron is known per desk: a person who writes to two has two conversations."""
    return f"{desk}/{identifier(message, 'external_userid')}"


def address(patron: str) -> tuple[str, str]:
    """The desk (open_kfid) and the person (external_userid) behind our id of a patron."""
    desk, _, person = patron.partition("/")
    return desk, person


def inbound(message: Json, desk: str) -> Inbound | None:
    """The patron's message, or None for what is none. Raises Refused when it lacks an id."""
    origin = message.get("origin")
    if words(message, "msgtype") == "event":
        return _entered(message, desk) if origin == BY_SYSTEM else None
    if origin != BY_PATRON:
        return None
    kind = words(message, "msgtype")
    shape, text, media, payload = _content(kind, member(message, kind))
    return Inbound(
        patron_id(message, desk),
        text,
        identifier(message, "msgid"),
        shape,
        payload=payload or None,
        sent_at=instant(message.get("send_time")),
        media=media or None,
        # A tap comes as the text of its label: it opens the window as any message does.
        event="message" if shape is InboundKind.CHOICE else None,
    )


def welcome(message: Json, desk: str) -> Welcome | None:
    """The right to greet a patron, which WeCom gives once in 48 hours."""
    event = member(message, "event")
    code = words(event, "welcome_code")
    if message.get("origin") != BY_SYSTEM or not code:
        return None
    return Welcome(patron_id(event, desk), code)


def undelivered(message: Json) -> Undelivered | None:
    """News that a message of ours did not arrive."""
    event = member(message, "event")
    if message.get("origin") != BY_SYSTEM or words(event, "event_type") != "msg_send_fail":
        return None
    key = key_of(words(event, "fail_msgid"))
    kind = event.get("fail_type")
    if key is None or not isinstance(kind, int):
        return None
    failure, reason = _FAIL_TYPES.get(kind, (_PERMANENT, "WeCom could not deliver the message"))
    return Undelivered(key, failure, f"{reason} (fail_type {kind}).", code=f"fail_type {kind}")


def _entered(message: Json, desk: str) -> Inbound | None:
    """A patron opened the chat. Only one who may be greeted is worth a message."""
    event = member(message, "event")
    if words(event, "event_type") != "enter_session" or not words(event, "welcome_code"):
        return None
    return Inbound(
        patron_id(event, desk),
        "",
        identifier(message, "msgid"),
        InboundKind.FOLLOW,
        payload=words(event, "scene_param") or words(event, "scene") or None,
        sent_at=instant(message.get("send_time")),
    )


def _content(kind: str, content: Json) -> tuple[InboundKind, str, str | None, str]:
    """Kind, text, media and payload of a message."""
    match kind:
        case "text":
            tapped = words(content, "menu_id")
            shape = InboundKind.CHOICE if tapped else InboundKind.TEXT
            return shape, words(content, "content"), None, tapped
        case "image":
            return InboundKind.IMAGE, "", words(content, "media_id"), ""
        case "voice":
            return InboundKind.VOICE, "", words(content, "media_id"), ""
        case "location":
            labels = (words(content, "name"), words(content, "address"))
            text = "\n".join(label for label in labels if label)
            return InboundKind.LOCATION, text, place(content), ""
        case "link":
            parts = (words(content, "title"), words(content, "url"))
            return InboundKind.TEXT, "\n".join(part for part in parts if part), None, ""
        case _:
            return InboundKind.FILE, "", words(content, "media_id"), ""
