"""How an answer is told to Rasa: messages with buttons, and slots for its rules."""

from typing import Any

from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

from bot.assistants import Answer
from bot.channels.base import said
from bot.channels.rasa_server.payloads import to_rasa

Events = list[dict[str, Any]]
VERDICT = "refdesk_verdict"


def tell(dispatcher: CollectingDispatcher, answer: Answer) -> Events:
    """Utter the replies; the slots say what they are."""
    for reply in answer.replies:
        buttons = [{"title": c.label, "payload": to_rasa(c.payload)} for c in reply.choices]
        dispatcher.utter_message(text=said(reply), buttons=buttons)
    return [
        SlotSet("refdesk_entry", answer.entry),
        SlotSet(VERDICT, answer.verdict),
        SlotSet("refdesk_probability", answer.probability),
        SlotSet("refdesk_consultation", answer.consultation),
    ]
