"""Replies as Rasa's Socket.IO channel emits them: one `bot_uttered` each."""

from collections.abc import Sequence
from typing import Any

from bot.channels.rasa.channel import bot_messages
from bot.messages import Reply


def uttered(replies: Sequence[Reply]) -> list[dict[str, Any]]:
    """The events, with exactly the keys that widgets know.

    Text is split where it has a blank line; buttons become quick replies of the last part.
    """
    events: list[dict[str, Any]] = []
    for message in bot_messages("", replies):
        parts = [part for part in message["text"].split("\n\n") if part.strip()] or [""]
        events += [{"text": part} for part in parts]
        if "buttons" in message:
            events[-1]["quick_replies"] = [
                {"content_type": "text", **button} for button in message["buttons"]
            ]
    return events
