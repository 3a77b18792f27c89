"""Replies as Rasa's Socket.IO channel emits them."""

import json
from pathlib import Path

from bot.channels.rasa import uttered
from bot.messages import Choice, Reply, ReplyKind

PAYLOADS = Path(__file__).parent / "payloads"
CHOICES = (Choice("Yes", "/helped yes"),)


def emitted(name):
    steps = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return [step["data"] for step in steps if step["event"] == "bot_uttered"]


def test_texts_and_quick_replies_have_exactly_the_recorded_keys():
    known = {frozenset(event) for event in emitted("socketio_websocket")}
    quick = next(e for e in emitted("socketio_websocket") if "quick_replies" in e)

    ours = uttered([Reply("Hello.", ReplyKind.NOTICE), Reply("Ok?", ReplyKind.ANSWER, CHOICES)])

    assert {frozenset(event) for event in ours} <= known
    assert set(ours[1]["quick_replies"][0]) == set(quick["quick_replies"][0])


def test_text_is_split_at_blank_lines_and_buttons_stay_at_the_end():
    ours = uttered([Reply("One.\n\nTwo.", ReplyKind.ANSWER, CHOICES)])

    assert [event["text"] for event in ours] == ["One.", "Two."]
    assert "quick_replies" not in ours[0]
    assert ours[1]["quick_replies"][0]["payload"] == "/helped yes"


def test_a_late_answer_quotes_its_question():
    (event,) = uttered([Reply("Yes.", ReplyKind.LIBRARIAN, quote="Open?")])

    assert event["text"] == "「Open?」\nYes."
