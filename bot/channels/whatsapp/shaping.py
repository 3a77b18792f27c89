"""From a reply to WhatsApp's messages: text, up to three buttons, or a list."""

import re
from typing import Any

from bot.channels.base import Json, TextLimit, one_line, said, said_with_choices, shorten, split
from bot.messages import Choice, Reply

TEXT = TextLimit(4096)
BODY = 1024  # characters, with buttons or a list under it
BUTTONS, BUTTON_LABEL, BUTTON_ID = 3, 20, 256
ROWS, ROW_LABEL, ROW_MORE, ROW_ID = 10, 24, 72, 200
TEMPLATE_WORDS = 60  # characters of the question, quoted in the template
# A business-scoped user id: country, dot, id. Reported; the documents show examples only.
_USER_ID = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]+")


def messages(to: str, reply: Reply, *, list_label: str) -> list[Json]:
    """The fewest messages that hold the reply; choices that fit nowhere are written out."""
    interactive = _interactive(reply, list_label)
    if interactive is not None:
        return [_message(to, "interactive", interactive)]
    parts = split(said_with_choices(reply), TEXT)
    return [_message(to, "text", {"body": part, "preview_url": False}) for part in parts]


def template(to: str, reply: Reply, *, name: str, language: str) -> Json:
    """The approved message "your answer is ready", which names the question."""
    question = shorten(reply.quote or reply.text, TEMPLATE_WORDS)
    parameters = [{"type": "text", "text": question}]
    content = {
        "name": name,
        "language": {"code": language},
        "components": [{"type": "body", "parameters": parameters}],
    }
    return _message(to, "template", content)


def _message(to: str, kind: str, content: Json) -> Json:
    addressee = "recipient" if _USER_ID.fullmatch(to) else "to"
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        addressee: to,
        "type": kind,
        kind: content,
    }


def _interactive(reply: Reply, list_label: str) -> Json | None:
    text, choices = said(reply), reply.choices
    if not choices or not 1 <= len(text) <= BODY:
        return None
    labels = [one_line(choice.label) for choice in choices]
    body = {"text": text}
    if _fit(choices, labels, BUTTONS, BUTTON_LABEL, BUTTON_ID):
        replies = [{"type": "reply", "reply": _titled(c, BUTTON_LABEL)} for c in choices]
        return {"type": "button", "body": body, "action": {"buttons": replies}}
    if _fit(choices, labels, ROWS, ROW_MORE, ROW_ID):
        action = {"button": list_label, "sections": [{"rows": [_row(c) for c in choices]}]}
        return {"type": "list", "body": body, "action": action}
    return None


def _fit(
    choices: tuple[Choice, ...], labels: list[str], count: int, label: int, payload: int
) -> bool:
    return (
        len(choices) <= count
        and len(set(labels)) == len(labels)  # WhatsApp refuses two of the same
        and all(1 <= len(each) <= label for each in labels)
        and all(len(choice.payload) <= payload for choice in choices)
    )


def _titled(choice: Choice, limit: int) -> dict[str, Any]:
    return {"id": choice.payload, "title": shorten(choice.label, limit)}


def _row(choice: Choice) -> dict[str, Any]:
    """A row's title is short; a longer label stands whole below it."""
    row = _titled(choice, ROW_LABEL)
    if len(one_line(choice.label)) > ROW_LABEL:
        row["description"] = one_line(choice.label)
    return row
