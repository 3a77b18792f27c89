"""From replies to Weibo's texts, which are short."""

import json
from collections.abc import Sequence
from urllib.parse import quote

from bot.channels.base import ELLIPSIS, TextLimit, said, said_with_choices, split
from bot.messages import Reply, ReplyKind

# Documented as "fewer than 300 Chinese characters"; how letters count is not said.
CHARACTERS = 299
TEXT = TextLimit(CHARACTERS)


def passive_text(replies: Sequence[Reply]) -> str:
    """All replies as the one text that a response can hold.

    When it is too long, first the rating under an answer is left out, then the answer is cut;
    its last line, the choices or the link to the whole, always stays.
    """
    text = "\n\n".join(filter(None, (said_with_choices(reply) for reply in replies)))
    if _fits(text):
        return text
    text = "\n\n".join(filter(None, (_unrated(reply) for reply in replies)))
    if _fits(text):
        return text
    head, tail = _tail(text)
    room = TextLimit(CHARACTERS - len(tail) - len(ELLIPSIS))
    return split(head, room)[0] + ELLIPSIS + tail


def passive_json(text: str, *, sender: str, receiver: str) -> bytes:
    """The reply that travels in the response; `data` is encoded by hand, once."""
    data = quote(data_of(text), safe="")
    message = {
        "result": True,
        "sender_id": sender,
        "receiver_id": receiver,
        "type": "text",
        "data": data,
    }
    return json.dumps(message).encode()


def data_of(text: str) -> str:
    """The text as Weibo's `data`, before any encoding for the way."""
    return json.dumps({"text": text}, ensure_ascii=False)


def _fits(text: str) -> bool:
    return len(text) <= CHARACTERS


def _unrated(reply: Reply) -> str:
    return said(reply) if reply.kind is ReplyKind.ANSWER else said_with_choices(reply)


def _tail(text: str) -> tuple[str, str]:
    """The text, and what must stay of it: its last block of choices, or its link."""
    for mark in ("\n\n", "\n"):
        head, found, tail = text.rpartition(mark)
        if found and len(tail) <= 200 and ("://" in tail or tail[:1].isdigit()):
            return head, found + tail
    return text, ""
