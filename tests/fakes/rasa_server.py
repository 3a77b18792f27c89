"""A Rasa server's HTTP API, as Rasa 3.6.21 answers: trackers, events, triggered intents."""

import re
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.platform import Answer, Asked, Platform, Shown

_PATH = re.compile(r"/conversations/(?P<id>.+)/(?P<what>tracker/events|tracker|trigger_intent)")
SILENT = ("rest", None)  # channels that cannot be written to: what goes there is shown to nobody


@dataclass
class Conversation:
    """One tracker."""

    channel: str | None = "socketio"
    paused: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class RasaServer(Platform):
    """One assistant with `--enable-api`."""

    token: str | None = None
    intents: tuple[str, ...] = ("librarian_replied",)
    model: str | None = "m1"
    conversations: dict[str, Conversation] = field(default_factory=dict)

    def has(self, sender: str) -> Conversation:
        return self.conversations.setdefault(sender, Conversation())

    def hears(self, sender: str, text: str, *, message_id: str) -> dict[str, Any]:
        """The patron writes; returns the event."""
        event = {
            "event": "user",
            "timestamp": self.clock().timestamp(),
            "text": text,
            "parse_data": {"intent": {"name": "x"}, "entities": [], "message_id": message_id},
            "message_id": message_id,
            "metadata": {"model_id": "m1"},
        }
        self.has(sender).events.append(event)
        return event

    def handle(self, asked: Asked) -> Answer:
        if self.token is not None and asked.query.get("token") != self.token:
            return _error(401, "NotAuthenticated", "User is not authenticated.")
        if self.model is None:
            return _error(409, "Conflict", "No agent is currently loaded.")
        if asked.path == "/status":
            return Answer(
                {"model_file": "m", "model_id": self.model, "num_active_training_jobs": 0}
            )
        found = _PATH.fullmatch(asked.path)
        if found is None:
            return _error(404, "Not Found", f"Requested URL {asked.path} not found")
        sender, what = found["id"], found["what"]  # Rasa decodes no path
        if what == "tracker":
            return Answer(self._state(sender, asked))
        if what == "trigger_intent":
            return self._trigger(sender, asked)
        return self._append(sender, asked)

    def _append(self, sender: str, asked: Asked) -> Answer:
        conversation = self.has(sender)
        event = asked.document
        conversation.events.append(event)
        match event["event"]:
            case "pause" | "resume":
                conversation.paused = event["event"] == "pause"
            case "bot" if asked.query.get("execute_side_effects") == "true":
                self._show(sender, asked, event["text"])
        return Answer(self._state(sender, asked))

    def _trigger(self, sender: str, asked: Asked) -> Answer:
        name, entities = asked.document["name"], asked.document["entities"]
        if name not in self.intents:
            return _error(404, "NotFound", "The intent does not exist in the domain.")
        listed = [{"entity": key, "value": value} for key, value in entities.items()]
        event = {
            "event": "user",
            "timestamp": self.clock().timestamp(),
            "text": f"EXTERNAL: {name}",
            "metadata": {"is_external": True},
            "parse_data": {"intent": {"name": name}, "entities": listed},
        }
        self.has(sender).events.append(event)
        self._show(sender, asked, f"intent {name}: {entities['refdesk_reply']}")
        return Answer({"tracker": self._state(sender, asked)})

    def _show(self, sender: str, asked: Asked, text: str) -> None:
        channel = asked.query.get("output_channel")
        if channel == "latest":
            channel = self.has(sender).channel
        if channel not in SILENT:
            self.show(sender, Shown(text, self.clock()))

    def _state(self, sender: str, asked: Asked) -> dict[str, Any]:
        conversation = self.has(sender)
        events = None if asked.query.get("include_events") == "NONE" else conversation.events
        return {
            "sender_id": sender,
            "slots": {},
            "latest_message": {},
            "paused": conversation.paused,
            "events": events,
            "latest_input_channel": conversation.channel,
        }


def _error(code: int, reason: str, message: str) -> Answer:
    shape = {"version": "3.6.21", "status": "failure", "details": {}, "help": None}
    return Answer({**shape, "message": message, "reason": reason, "code": code}, code)
