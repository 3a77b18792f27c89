"""Viber's side of one bot, for tests and for the demo."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.platform import Answer, Asked, Call, Exchange, Platform, Shown, Webhook

TEXT_LIMIT = 7000
JSON_LIMIT = 30_000
UNANSWERED_AN_HOUR = 100


@dataclass
class Viber(Platform):
    """The bot interface, and the callbacks to the bot's webhook."""

    repeats_after: Sequence[float] = (60.0, 600.0, 3000.0)  # about an hour in all
    auth_token: str = "4f-demo-viber-token-0001"
    address: str = "https://ref.example.edu/channels/viber/demo"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._subscribed: set[str] = set()
        self._unanswered: dict[str, int] = {}
        self._last_token = 5900100200300400500

    def verify(self, webhook: Webhook) -> bool:
        """Viber tries an address before it is set."""
        return self.deliver(self.call(self.event("webhook")), webhook).taken

    def patron(self, user_id: str, webhook: Webhook, *, name: str = "Reader B") -> "Patron":
        return Patron(self, user_id, name, webhook)

    def event(self, event: str, **content: Any) -> dict[str, Any]:
        milliseconds = int(self.clock().timestamp() * 1000)
        token = self.next_token()
        return {"event": event, "timestamp": milliseconds, "message_token": token, **content}

    def next_token(self) -> int:
        self._last_token += 1
        return self._last_token

    def call(self, event: dict[str, Any]) -> Call:
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        digest = hmac.digest(self.auth_token.encode(), body, hashlib.sha256).hex()
        return Call(body, headers={"x-viber-content-signature": digest})

    def subscribe(self, user_id: str, subscribed: bool) -> None:
        (self._subscribed.add if subscribed else self._subscribed.discard)(user_id)

    def hears(self, user_id: str) -> None:
        self._unanswered[user_id] = 0

    def handle(self, asked: Asked) -> Answer:
        if asked.headers.get("x-viber-auth-token") != self.auth_token:
            return status(2, "invalidAuthToken")
        match asked.path:
            case "/pa/get_account_info":
                return Answer({"status": 0, "status_message": "ok", "webhook": self.address})
            case "/pa/send_message":
                return self._send(asked)
        return Answer(b"", 404)

    def _send(self, asked: Asked) -> Answer:
        message = asked.document
        receiver, text = message.get("receiver", ""), message.get("text") or ""
        name = message.get("sender", {}).get("name", "")
        choices = _choices(message.get("keyboard"))
        if not 1 <= len(name) <= 28 or message.get("type") != "text" or choices is None:
            return status(3, "badData")
        if not 1 <= len(text) <= TEXT_LIMIT or len(asked.body) > JSON_LIMIT:
            return status(3, "badData")
        if receiver not in self._subscribed:
            return status(6, "notSubscribed")
        if self._unanswered.get(receiver, 0) >= UNANSWERED_AN_HOUR:
            return status(12, "tooManyRequests")
        self._unanswered[receiver] = self._unanswered.get(receiver, 0) + 1
        self.show(receiver, Shown(text, self.clock(), choices))
        return Answer({"status": 0, "status_message": "ok", "message_token": self.next_token()})


@dataclass
class Patron:
    """A patron's hand on the telephone. Every deed returns what it led to."""

    viber: Viber
    user_id: str
    name: str
    webhook: Webhook
    _last: Call = field(default_factory=Call)

    @property
    def screen(self) -> list[Shown]:
        return self.viber.screens[self.user_id]

    @property
    def _person(self) -> dict[str, Any]:
        return {"id": self.user_id, "name": self.name, "language": "vi", "api_version": 10}

    def opens(self) -> Exchange:
        """The chat is opened; the patron has neither written nor subscribed."""
        event = self.viber.event("conversation_started", user=self._person, subscribed=False)
        return self._deliver(event)

    def subscribes(self) -> Exchange:
        self.viber.subscribe(self.user_id, True)
        return self._deliver(self.viber.event("subscribed", user=self._person))

    def unsubscribes(self) -> Exchange:
        self.viber.subscribe(self.user_id, False)
        return self._deliver(self.viber.event("unsubscribed", user_id=self.user_id))

    def says(self, text: str) -> Exchange:
        return self.sends(type="text", text=text)

    def taps(self, label: str) -> Exchange:
        """Tap a button of the newest keyboard; a silent one shows nothing in the chat."""
        newest = next(shown for shown in reversed(self.screen) if shown.choices)
        action = next(given for given, shown_label in newest.choices if shown_label == label)
        return self._message({"type": "text", "text": action}, silent=True)

    def sends(self, **message: Any) -> Exchange:
        """A message of any type of the interface; writing subscribes."""
        return self._message(message, silent=False)

    def reads(self) -> Exchange:
        return self._deliver(self.viber.event("seen", user_id=self.user_id))

    def receives(self, name: str, token: str, **more: str) -> Exchange:
        """News of a message of the library: delivered, seen or failed."""
        event = self.viber.event(name, user_id=self.user_id, **more)
        return self._deliver({**event, "message_token": int(token)})

    def again(self) -> Exchange:
        """Viber repeats the last callback, because the answer got lost."""
        return self.viber.deliver(self._last, self.webhook)

    def _message(self, message: dict[str, Any], *, silent: bool) -> Exchange:
        self.viber.subscribe(self.user_id, True)
        self.viber.hears(self.user_id)
        event = self.viber.event("message", sender=self._person, message=message, silent=silent)
        return self._deliver(event)

    def _deliver(self, event: dict[str, Any]) -> Exchange:
        self._last = self.viber.call(event)
        return self.again()


def status(code: int, message: str) -> Answer:
    """Viber's refusal: HTTP 200, and a status of its own."""
    return Answer({"status": code, "status_message": message})


def _choices(keyboard: dict[str, Any] | None) -> tuple[tuple[str, str], ...] | None:
    """Actions and labels; None where Viber would refuse the keyboard."""
    if keyboard is None:
        return ()
    buttons = keyboard.get("Buttons") or []
    if keyboard.get("Type") != "keyboard" or not buttons:
        return None
    if any(b.get("ActionType") != "reply" or not b.get("ActionBody") for b in buttons):
        return None
    return tuple((button["ActionBody"], button["Text"]) for button in buttons)
