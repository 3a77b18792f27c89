"""What the account's console had set up, and server mode switches off: menu and auto-replies."""

from collections.abc import Iterator
from typing import Any

from bot.channels.base import Json, KeywordReply, member, members, words

TOP, BELOW = 3, 5  # documented: buttons beside each other, and above one of them
TOP_BYTES, BELOW_BYTES = 16, 60  # documented for names
KEY_BYTES, URL_BYTES = 128, 1024
# What the interface takes; the console's own kinds (a text, a picture) exist there only.
_NEEDS = {
    "click": ("key",),
    "view": ("url",),
    "scancode_push": ("key",),
    "scancode_waitmsg": ("key",),
    "pic_sysphoto": ("key",),
    "pic_photo_or_album": ("key",),
    "pic_weixin": ("key",),
    "location_select": ("key",),
    "media_id": ("media_id",),
    "article_id": ("article_id",),
    "miniprogram": ("url", "appid", "pagepath"),
}


def mistakes(menu: Json) -> list[str]:
    """Every mistake in a menu, in sentences."""
    buttons = members(menu, "button")
    if not buttons or set(menu) != {"button"}:
        return ["A menu is {button: [...]} with one to three buttons."]
    found = [f"There are {len(buttons)} buttons; {TOP} fit."] if len(buttons) > TOP else []
    for button in buttons:
        below = members(button, "sub_button")
        found += _wrong_name(button, TOP_BYTES)
        if len(below) > BELOW:
            name = words(button, "name")
            found.append(f"Above {name} are {len(below)} buttons; {BELOW} fit.")
        for each in below:
            found += [*_wrong_name(each, BELOW_BYTES), *_wrong_kind(each)]
        if not below:
            found += _wrong_kind(button)
    return found


def _wrong_name(button: Json, limit: int) -> Iterator[str]:
    name = words(button, "name")
    if not 1 <= len(name.encode()) <= limit:
        yield f'The name "{name}" must have 1 to {limit} bytes (a Chinese character has three).'


def _wrong_kind(button: Json) -> Iterator[str]:
    name, kind = words(button, "name"), words(button, "type")
    if kind not in _NEEDS:
        yield f"The button {name} has an unknown type: {kind or 'none'}."
        return
    for need in _NEEDS[kind]:
        limit = URL_BYTES if need == "url" else KEY_BYTES
        if not 1 <= len(words(button, need).encode()) <= limit:
            yield f"The button {name} needs {need}, of at most {limit} bytes."


def settable(menu: Json) -> Json:
    """The console's menu in the form that the interface takes.

    A button that the console answered by itself (with a text, a picture) becomes a click whose
    key names what it was: a library then chooses what it shall do.
    """
    buttons = [_settable(button) for button in members(menu, "button")]
    return {"button": buttons} if buttons else {}


def _settable(button: Json) -> Json:
    name = words(button, "name")
    below = members(member(button, "sub_button"), "list") or members(button, "sub_button")
    if below:
        return {"name": name, "sub_button": [_settable(each) for each in below]}
    kind = words(button, "type")
    if kind in _NEEDS:
        return {"name": name, "type": kind, **{need: words(button, need) for need in _NEEDS[kind]}}
    key = f"{kind}:{words(button, 'value')}".encode()[:KEY_BYTES].decode("utf-8", "ignore")
    return {"name": name, "type": "click", "key": key}


def keyword_replies(export: Json) -> list[KeywordReply]:
    """The keyword auto-replies in what get_current_autoreply_info answers."""
    rules = members(member(export, "keyword_autoreply_info"), "list")
    return [_rule(rule) for rule in rules]


def _rule(rule: Json) -> KeywordReply:
    keywords = [words(each, "content").strip() for each in members(rule, "keyword_list_info")]
    said, left_out = [], []
    for reply in members(rule, "reply_list_info"):
        text = _said(reply)
        if text:
            said.append(text)
        else:
            left_out.append(words(reply, "type") or "unknown")
    unique = tuple(dict.fromkeys(word for word in keywords if word))
    return KeywordReply(words(rule, "rule_name"), unique, "\n\n".join(said), tuple(left_out))


def _said(reply: dict[str, Any]) -> str:
    match words(reply, "type"):
        case "text":
            return words(reply, "content").strip()
        case "news":
            return "\n".join(
                f"{words(each, 'title')}\n{words(each, 'content_url')}".strip()
                for each in members(member(reply, "news_info"), "list")
            )
    return ""
