"""A desk that remembers what it was asked, and trackers as Rasa sends them."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher

from bot.actions import all_actions
from bot.assistants import Answer, Line
from bot.messages import Choice, Inbound, Reply, ReplyKind

CHOICES = (Choice("Holds", "/entry holds"), Choice("None of these", "/none"))
ANSWER = Answer(
    (Reply("Renew in My Library.", ReplyKind.ANSWER, choices=CHOICES, entry="renew-books"),),
    "sure",
    "renew-books",
    0.93,
    "c-1",
    "en",
)


@dataclass
class Desk:
    """Implements bot.actions.ReferenceDesk."""

    answer: Answer = ANSWER
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def take(self, inbound: Inbound, language: str | None) -> Answer:
        return self._noted("take", inbound, language)

    def hand_over(self, inbound: Inbound, before: list[Line], language: str | None) -> Answer:
        return self._noted("hand_over", inbound, list(before), language)

    def opening_hours(self, inbound: Inbound, language: str | None) -> Answer:
        return self._noted("opening_hours", inbound, language)

    def waiting_replies(self, inbound: Inbound, language: str | None) -> Answer:
        return self._noted("waiting_replies", inbound, language)

    def keep_email(self, patron: str, address: str) -> None:
        self._noted("keep_email", patron, address)

    def _noted(self, *call: Any) -> Answer:
        self.calls.append(call)
        return self.answer


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def run(desk: Desk):
    """Run an action by its name; returns its messages and its slots."""
    actions = {action.name(): action for action in all_actions(desk)}

    def act(name: str, state: dict[str, Any], domain: dict[str, Any] | None = None):
        dispatcher = CollectingDispatcher()
        tracker = Tracker.from_dict(state)
        events = asyncio.run(actions[name].run(dispatcher, tracker, domain or {}))
        slots = {e["name"]: e["value"] for e in events if e["event"] == "slot"}
        return dispatcher.messages, slots

    return act


def user(text: str, at: float, number: str, **parsed: Any) -> dict[str, Any]:
    """A user event."""
    data = {"text": text, "message_id": number, "entities": [], **parsed}
    return {
        "event": "user",
        "timestamp": at,
        "text": text,
        "parse_data": data,
        "message_id": number,
        "metadata": {},
        "input_channel": "rest",
    }


def bot(text: str, at: float) -> dict[str, Any]:
    """A bot event."""
    return {"event": "bot", "timestamp": at, "text": text, "data": {}, "metadata": {}}


def tracker(*events: dict[str, Any], **slots: Any) -> dict[str, Any]:
    """A tracker's state with these events."""
    last = next((e for e in reversed(events) if e["event"] == "user"), None)
    return {
        "sender_id": "visitor-7",
        "slots": slots,
        "latest_message": last["parse_data"] if last else {},
        "events": list(events),
        "paused": False,
        "active_loop": {},
    }
