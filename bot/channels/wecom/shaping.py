"""From a reply to WeCom's messages: text within its bytes, choices as a menu, and its ids."""

import base64
import hashlib
import re

from bot.channels.base import (
    Json,
    TextLimit,
    measure,
    one_line,
    said,
    said_with_choices,
    shorten,
    split,
)
from bot.messages import Choice, Reply

TEXT = TextLimit(2048, "bytes")
MENU_CHOICES, MENU_LABEL_BYTES, MENU_ID_BYTES = 10, 128, 64
MENU_HEAD = TextLimit(1024, "bytes")
PARTS = 100  # more than a reply ever has; two digits of the id
_HEX = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(r"r([A-Za-z0-9_-]{22})-[0-9]{2}")


def messages(reply: Reply) -> list[Json]:
    """The fewest messages that hold the reply, the last one with its choices."""
    if not reply.choices or not _fits_menu(reply.choices):
        return [_text(part) for part in split(said_with_choices(reply), TEXT)]
    text = said(reply)
    if measure(text, "bytes") <= (MENU_HEAD.limit or 0):
        return [_menu(text, reply.choices)]
    *before, head = split(text, TEXT)
    if measure(head, "bytes") <= (MENU_HEAD.limit or 0):
        return [*map(_text, before), _menu(head, reply.choices)]
    return [*map(_text, before), _text(head), _menu("", reply.choices)]


def message_id(key: str, part: int) -> str:
    """Our id of one part: at most 32 letters, digits, "_" and "-", always the same.

    The keys that the core makes are 32 hexadecimal digits; they can be read back.
    """
    digits = key if _HEX.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()[:32]
    short = base64.urlsafe_b64encode(bytes.fromhex(digits)).decode().rstrip("=")
    return f"r{short}-{part % PARTS:02}"


def key_of(message_id: str) -> str | None:
    """The key behind an id that `message_id` made, None for any other."""
    found = _OURS.fullmatch(message_id)
    return base64.urlsafe_b64decode(found[1] + "==").hex() if found else None


def _fits_menu(choices: tuple[Choice, ...]) -> bool:
    return len(choices) <= MENU_CHOICES and all(
        choice.payload
        and measure(choice.payload, "bytes") <= MENU_ID_BYTES
        and one_line(choice.label)
        for choice in choices
    )


def _text(text: str) -> Json:
    return {"msgtype": "text", "text": {"content": text}}


def _menu(head: str, choices: tuple[Choice, ...]) -> Json:
    rows = [
        {
            "type": "click",
            "click": {
                "id": choice.payload,
                "content": shorten(choice.label, MENU_LABEL_BYTES, "bytes"),
            },
        }
        for choice in choices
    ]
    menu: Json = {"list": rows}
    if head:
        menu["head_content"] = head
    return {"msgtype": "msgmenu", "msgmenu": menu}
