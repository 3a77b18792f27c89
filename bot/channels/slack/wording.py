"""Slack's markup, both ways: what people wrote as plain text, and our text as it stands."""

import re

from bot.channels.base import storable

_LINK = re.compile(r"<(?:(?P<sign>[@#!])(?P<id>[^>|]*)|(?P<link>[^>|]*))(?:\|(?P<label>[^>]*))?>")
_UNESCAPED = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
_TO_COLLEAGUE = re.compile(r"\s*(?://|<@(?P<user>[A-Z0-9]+)(?:\|[^>]*)?>)")


def plain(text: str, *, me: str | None = None) -> str:
    """What a person wrote, as they read it themselves; a call of our own name goes."""

    def said(found: re.Match[str]) -> str:
        label = found["label"] or ""
        match found["sign"]:
            case "@":
                return "" if found["id"] == me else f"@{label or found['id']}"
            case "#":
                return f"#{label or found['id']}"
            case "!":
                return f"@{label or found['id'].split('^')[0]}"
            case _:
                link = found["link"] or ""
                address = link.removeprefix("mailto:")
                return address if label in {"", address, link} else f"{label} ({address})"

    shown = _LINK.sub(said, text)
    for escaped, sign in _UNESCAPED:
        shown = shown.replace(escaped, sign)
    return storable(shown).strip()


def escaped(text: str) -> str:
    """Our text so that Slack finds no mention or link hidden in it."""
    text = storable(text)
    for escape, sign in reversed(_UNESCAPED):
        text = text.replace(sign, escape)
    return text


def is_for_colleagues(text: str, *, me: str | None) -> bool:
    """Whether a librarian's message is a note: it begins with // or with a colleague's name."""
    found = _TO_COLLEAGUE.match(text)
    return found is not None and (found["user"] is None or found["user"] != me)


def without_mark(text: str) -> str:
    """A note without the // before it."""
    return text.removeprefix("//").strip()
