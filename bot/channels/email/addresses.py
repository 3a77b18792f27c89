"""Addresses and header texts, as they come: often not as any standard says."""

import re
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses

from bot.channels.base import one_line, storable

LONGEST = 254  # RFC 5321: of an address
MAX_HEADER = 16_000  # characters of one header that we look at
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?=.{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


def address_in(text: str) -> str | None:
    """The text as one e-mail address in lower case; None when it is none that we can write to."""
    text = text.strip()
    if len(text) > LONGEST or not _ADDRESS.fullmatch(text):
        return None
    return text.lower()


def header(message: Message, name: str) -> str:
    """A header's raw text, unfolded; empty where there is none."""
    return next(iter(headers(message, name)), "")


def headers(message: Message, name: str) -> list[str]:
    """Every header of that name, unfolded.

    Some programs write other characters than ASCII there, in no declared charset.
    """
    found = [str(value) for given, value in message.raw_items() if given.lower() == name.lower()]
    texts = [value[:MAX_HEADER].encode("utf-8", "surrogateescape") for value in found]
    return [" ".join(text_of(text, None).split()) for text in texts]


def decoded(message: Message, name: str) -> str:
    """A header's text as a person reads it."""
    raw = header(message, name)
    try:
        parts = decode_header(raw)
    except (HeaderParseError, ValueError):  # ValueError: base64 that is none
        return one_line(raw)
    return one_line("".join(_text_of(part, charset) for part, charset in parts))


def addresses(message: Message, *names: str) -> list[tuple[str, str]]:
    """The (name, address) pairs in these headers that can be written to."""
    found = []
    for name in names:
        for display, given in getaddresses(headers(message, name)):
            address = address_in(given)
            if address is not None:
                found.append((_display(display), address))
    return found


def _display(raw: str) -> str:
    try:
        parts = decode_header(raw)
    except (HeaderParseError, ValueError):
        return one_line(raw)
    return one_line("".join(_text_of(part, charset) for part, charset in parts))


def _text_of(part: bytes | str, charset: str | None) -> str:
    return storable(part) if isinstance(part, str) else text_of(part, charset)


def text_of(raw: bytes, charset: str | None) -> str:
    """Bytes as text: in their charset, else UTF-8, else the usual Chinese and Western ones."""
    for name in (charset, "utf-8", "gb18030"):
        try:
            return storable(raw.decode(name)) if name else storable(raw.decode("utf-8"))
        except (LookupError, ValueError):  # no such charset, or not in it
            continue
    return storable(raw.decode("latin-1"))
