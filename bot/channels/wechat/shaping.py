"""From replies to WeChat's messages: text within its bytes, choices, the passive reply."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bot.messages import Choice, Reply, ReplyKind

# Undocumented. Communities measured 2048 bytes for pushed text; the passive reply is
# documented with the same figure. A longer push is refused with 45002.
TEXT_BYTES = 2048
# Undocumented for official accounts: the limits of the sister platform WeCom.
MENU_CHOICES = 10
MENU_LABEL_BYTES = 128

NOTICE_CHARACTERS = 20  # documented for the fields called thing…
ELLIPSIS = "…"
_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_GOOD_BREAKS = ("\n", "。", "！", "？", ". ", "! ", "? ", "，", ", ", " ")


def clean(text: str) -> str:
    """Text without the characters that neither XML nor JSON may carry."""
    return _NOT_XML.sub("", text)


def passive_text(replies: Sequence[Reply]) -> str:
    """All replies as the one text that a response can hold; a menu cannot travel in it."""
    body = "\n\n".join(filter(None, (said(reply) for reply in replies)))
    tail = _typed_choices([choice for reply in replies for choice in reply.choices])
    text = _shortened(body, TEXT_BYTES - _size(tail)) + tail if body else tail.strip()
    return _shortened(text, TEXT_BYTES)


def pushed(reply: Reply) -> list[dict[str, Any]]:
    """The reply as the fewest messages that hold it, the last one with its choices."""
    tapped = [choice for choice in reply.choices if not _is_rating(choice)]
    if not 0 < len(tapped) <= MENU_CHOICES:
        return pushed_as_text(reply)
    *before, head = split(said(reply))
    return [*map(_text_message, before), _menu_message(head, tapped, _rating(reply.choices))]


def pushed_as_text(reply: Reply) -> list[dict[str, Any]]:
    """The reply with numbered choices, for accounts that may not send menus."""
    text = (said(reply) + _typed_choices(reply.choices)).strip()
    return [_text_message(part) for part in split(text)]


def said(reply: Reply) -> str:
    """What the reply says, after the question that a late answer belongs to."""
    text = clean(reply.text).strip()
    if reply.quote:
        text = f"「{_one_line(reply.quote)}」\n{text}"
    if reply.link and reply.link not in text:
        text = f"{text}\n{clean(reply.link)}"
    return text


def with_consent(reply: Reply, text: str | None) -> Reply:
    """A promise, with the place where the patron can agree to be told of the answer."""
    if text is None or reply.kind is not ReplyKind.ACKNOWLEDGEMENT:
        return reply
    return replace(reply, text=f"{reply.text}\n{text}")


def notice_words(reply: Reply) -> str:
    """The question that is answered, as short as a notice's field wants it."""
    words = _one_line(reply.quote or reply.text)
    return words if len(words) <= NOTICE_CHARACTERS else words[: NOTICE_CHARACTERS - 1] + ELLIPSIS


def passive_xml(text: str, *, to: str, sender: str, seconds: int) -> bytes:
    """The reply that travels in the response to the patron's message."""
    return (
        f"<xml><ToUserName>{_cdata(to)}</ToUserName>"
        f"<FromUserName>{_cdata(sender)}</FromUserName>"
        f"<CreateTime>{seconds}</CreateTime>"
        f"<MsgType>{_cdata('text')}</MsgType>"
        f"<Content>{_cdata(text)}</Content></xml>"
    ).encode()


def sealed_xml(encrypted: str, *, signature: str, timestamp: str, nonce: str) -> bytes:
    """The envelope around an encrypted passive reply."""
    return (
        f"<xml><Encrypt>{_cdata(encrypted)}</Encrypt>"
        f"<MsgSignature>{_cdata(signature)}</MsgSignature>"
        f"<TimeStamp>{timestamp}</TimeStamp>"
        f"<Nonce>{_cdata(nonce)}</Nonce></xml>"
    ).encode()


def split(text: str, limit: int = TEXT_BYTES) -> list[str]:
    """The text in parts of at most `limit` bytes, cut where a reader would pause."""
    parts = []
    while _size(text) > limit:
        head = _good_break(_head(text, limit))
        parts.append(head.rstrip())
        text = text[len(head) :].lstrip()
    return [*parts, text] if text else parts or [text]


def _typed_choices(choices: Sequence[Choice]) -> str:
    """Choices to answer by typing their number or words.

    A number counts all offered choices in their order, because that is how the typed answer
    is understood. A rating is answered by its words, so that an answer does not end in a
    numbered questionnaire.
    """
    lines = [
        f"{number}. {_one_line(choice.label)}"
        for number, choice in enumerate(choices, start=1)
        if not _is_rating(choice)
    ]
    menu = "\n" + "\n".join(lines) if lines else ""
    rating = _rating(choices)
    return menu + (f"\n\n{rating}" if rating else "")


def _rating(choices: Sequence[Choice]) -> str:
    labels = " / ".join(_one_line(choice.label) for choice in choices if _is_rating(choice))
    return f"[{labels}]" if labels else ""


def _is_rating(choice: Choice) -> bool:
    return choice.payload.split(" ", 1)[0] == "/helped"


def _text_message(text: str) -> dict[str, Any]:
    return {"msgtype": "text", "text": {"content": text}}


def _menu_message(head: str, choices: Sequence[Choice], tail: str) -> dict[str, Any]:
    rows = [
        {"id": choice.payload, "content": _shortened(_one_line(choice.label), MENU_LABEL_BYTES)}
        for choice in choices
    ]
    menu: dict[str, Any] = {"head_content": head, "list": rows}
    if tail:
        menu["tail_content"] = tail
    return {"msgtype": "msgmenu", "msgmenu": menu}


def _shortened(text: str, limit: int) -> str:
    if _size(text) <= limit:
        return text
    return _head(text, limit - _size(ELLIPSIS)).rstrip() + ELLIPSIS


def _head(text: str, limit: int) -> str:
    """As much of the text as fits the bytes, never ending inside what reads as one character."""
    head = text.encode()[: max(limit, 0)].decode("utf-8", "ignore")
    cut = len(head)
    while 0 < cut < len(text) and _continues(text, cut):
        cut -= 1
    return text[:cut] if cut else head


def _continues(text: str, cut: int) -> bool:
    """Whether the character at `cut` belongs to the one before it: an accent, an emoji's part."""
    following = text[cut]
    return (
        unicodedata.category(following).startswith("M")
        or _JOINER in (following, text[cut - 1])
        or ord(following) in _SKIN_TONES
    )


def _good_break(head: str) -> str:
    """The head up to its last pause, if that keeps at least half of it."""
    for mark in _GOOD_BREAKS:
        end = head.rfind(mark)
        if end >= len(head) // 2:
            return head[: end + len(mark)]
    return head


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())


def _cdata(text: str) -> str:
    return "<![CDATA[" + clean(text).replace("]]>", "]]]]><![CDATA[>") + "]]>"


def _size(text: str) -> int:
    return len(text.encode())
