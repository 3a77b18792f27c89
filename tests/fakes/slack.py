"""Slack's side of one app in one workspace, for tests and for the demo."""

import hashlib
import hmac
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from tests.fakes.platform import Answer, Asked, Call, Exchange, Platform, Shown, Webhook

ME = "U0REFDESK"
ROOM = "C0LIBRARIANS"
RESPONSES, RESPONSE_LIFE = 5, timedelta(minutes=30)
TEXT_LIMIT, SECTION_LIMIT = 40_000, 3000
LABEL, VALUE, BUTTONS = 75, 2000, 25


@dataclass
class Member:
    """Somebody in the workspace."""

    email: str | None
    is_guest: bool = False
    is_confirmed: bool = True


@dataclass
class Slack(Platform):
    """The Events API, the commands and the Web API of one app."""

    signing_secret: str = "slackDemoSigningSecret"
    bot_token: str = "xoxb-demo-not-real"
    answer_within: float = 3.0
    repeats_after: tuple[float, ...] = (1.0, 60.0, 300.0)
    members: dict[str, Member] = field(default_factory=dict)
    rooms: set[str] = field(default_factory=lambda: {ROOM})  # that the app is in

    def __post_init__(self) -> None:
        super().__post_init__()
        self._last = 0
        self._responses: dict[str, tuple[str, datetime, int]] = {}
        self.threads: defaultdict[str, list[str]] = defaultdict(list)  # ts of the first: texts

    # --- the library's webhook ----------------------------------------------------------

    def verify(self, webhook: Webhook) -> bool:
        """The check when the address is saved."""
        document = {"token": "deprecated", "challenge": "word0001", "type": "url_verification"}
        exchange = self.deliver(self.json_call(document), webhook)
        return exchange.taken and exchange.body == b"word0001"

    def person(self, user: str, webhook: Webhook, *, email: str | None = None) -> "Person":
        self.members[user] = Member(email)
        return Person(self, user, webhook)

    def json_call(self, document: dict[str, Any]) -> Call:
        return self.call(json.dumps(document, separators=(",", ":")).encode(), "application/json")

    def form_call(self, fields: dict[str, str]) -> Call:
        return self.call(urlencode(fields).encode(), "application/x-www-form-urlencoded")

    def call(self, body: bytes, content_type: str) -> Call:
        timestamp = str(int(self.clock().timestamp()))
        signed = f"v0:{timestamp}:".encode() + body
        digest = hmac.digest(self.signing_secret.encode(), signed, hashlib.sha256).hex()
        headers = {
            "content-type": content_type,
            "x-slack-request-timestamp": timestamp,
            "x-slack-signature": f"v0={digest}",
        }
        return Call(body, headers=headers)

    def event(self, **event: Any) -> Call:
        """A signed event, with a fresh id."""
        number = self.next_number()
        document = {
            "token": "deprecated",
            "team_id": "T0DEMO",
            "type": "event_callback",
            "event_id": f"Ev{number:06}",
            "event_time": int(self.clock().timestamp()),
            "authorizations": [{"team_id": "T0DEMO", "user_id": ME, "is_bot": True}],
            "event": {"ts": self.next_ts(), **event},
        }
        return self.json_call(document)

    def next_number(self) -> int:
        self._last += 1
        return self._last

    def next_ts(self) -> str:
        return f"{int(self.clock().timestamp())}.{self.next_number():06}"

    def response_url(self, user: str) -> str:
        path = f"/commands/T0DEMO/{self.next_number()}/fake"
        self._responses[path] = (user, self.clock() + RESPONSE_LIFE, RESPONSES)
        return f"https://hooks.slack.com{path}"

    # --- the interface that the library calls -------------------------------------------

    def handle(self, asked: Asked) -> Answer:
        if asked.path in self._responses:
            return self._respond(asked)
        if asked.headers.get("authorization") != f"Bearer {self.bot_token}":
            return error("invalid_auth")
        match asked.path.rpartition("/")[2]:
            case "auth.test":
                return Answer({"ok": True, "user_id": ME, "team": "Demo"})
            case "users.info":
                return self._member(asked.query.get("user", ""))
            case "conversations.info":
                room = asked.query.get("channel", "")
                return Answer(
                    {"ok": True, "channel": {"id": room, "is_member": room in self.rooms}}
                )
            case "chat.postMessage":
                return self._post(asked.document)
            case _:
                return error("unknown_method")

    def _member(self, user: str) -> Answer:
        found = self.members.get(user)
        if found is None:
            return error("user_not_found")
        profile = {"email": found.email} if found.email else {}
        content = {
            "id": user,
            "is_restricted": found.is_guest,
            "is_email_confirmed": found.is_confirmed,
            "profile": profile,
        }
        return Answer({"ok": True, "user": content})

    def _post(self, message: dict[str, Any]) -> Answer:
        shown = self._shown(message)
        if isinstance(shown, Answer):
            return shown
        place = message["channel"]
        if place not in self.members and place not in self.rooms and place[0] != "D":
            return error("channel_not_found")
        ts = self.next_ts()
        self.threads[message.get("thread_ts", ts)].append(shown.text)
        self.show(place, shown)
        return Answer({"ok": True, "channel": place, "ts": ts})

    def _respond(self, asked: Asked) -> Answer:
        user, until, left = self._responses[asked.path]
        if until <= self.clock() or not left:
            return Answer({"ok": False, "error": "used_url"}, 404)
        self._responses[asked.path] = (user, until, left - 1)
        shown = self._shown(asked.document)
        if isinstance(shown, Answer):
            return shown
        self.show(user, shown)
        return Answer(b"ok")

    def _shown(self, message: dict[str, Any]) -> Shown | Answer:
        text = message.get("text", "")
        if not text:
            return error("no_text")
        if len(text) > TEXT_LIMIT:
            return error("msg_too_long")
        choices: tuple[tuple[str, str], ...] = ()
        for block in message.get("blocks", ()):
            if block["type"] == "section" and not 1 <= len(block["text"]["text"]) <= SECTION_LIMIT:
                return error("invalid_blocks")
            if block["type"] == "actions":
                buttons = block["elements"]
                choices = tuple((each["value"], each["text"]["text"]) for each in buttons)
                ids = {each["action_id"] for each in buttons}
                fits = all(
                    1 <= len(value) <= VALUE and 1 <= len(label) <= LABEL
                    for value, label in choices
                )
                if not fits or len(ids) != len(choices) or not 1 <= len(choices) <= BUTTONS:
                    return error("invalid_blocks")
        for escape, sign in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
            text = text.replace(escape, sign)
        return Shown(text, self.clock(), choices)


@dataclass
class Person:
    """Somebody's hands on the keyboard. Every deed returns what it led to."""

    slack: Slack
    user: str
    webhook: Webhook
    _last: Call = field(default_factory=Call)

    @property
    def place(self) -> str:
        """Their direct messages with the app."""
        return f"D{self.user}"

    @property
    def screen(self) -> list[Shown]:
        both = self.slack.screens[self.place] + self.slack.screens[self.user]
        return sorted(both, key=lambda shown: shown.at)

    def says(self, text: str, **more: Any) -> Exchange:
        """A direct message."""
        facts = {"channel_type": "im", "channel": self.place, "user": self.user, "text": text}
        return self.sends(self.slack.event(**{"type": "message", **facts, **more}))

    def mentions(self, text: str, *, room: str, thread: str | None = None) -> Exchange:
        """A call of the app's name in a channel."""
        facts: dict[str, Any] = {"type": "app_mention", "channel": room, "user": self.user}
        if thread:
            facts["thread_ts"] = thread
        self.slack.rooms.add(room)
        return self.sends(self.slack.event(text=f"<@{ME}> {text}", **facts))

    def commands(self, text: str) -> Exchange:
        """The slash command, typed anywhere."""
        fields = {
            "command": "/ask-library",
            "text": text,
            "user_id": self.user,
            "user_name": self.user.lower(),
            "channel_id": "C0ANYWHERE",
            "team_id": "T0DEMO",
            "trigger_id": f"13.{self.slack.next_number()}.fake",
            "response_url": self.slack.response_url(self.user),
        }
        return self.sends(self.slack.form_call(fields))

    def taps(self, label: str, *, room: str | None = None) -> Exchange:
        """A button of the newest choice on the screen."""
        screen = self.slack.screens[room] if room else self.screen
        newest = next(shown for shown in reversed(screen) if shown.choices)
        value = next(value for value, shown in newest.choices if shown == label)
        payload = {
            "type": "block_actions",
            "user": {"id": self.user},
            "channel": {"id": room or self.place},
            "container": {"type": "message"},
            "actions": [
                {
                    "value": value,
                    "text": {"type": "plain_text", "text": label},
                    "action_ts": self.slack.next_ts(),
                }
            ],
        }
        return self.sends(self.slack.form_call({"payload": json.dumps(payload)}))

    def answers(self, text: str, *, thread: str, **more: Any) -> Exchange:
        """A message in a thread of the librarians' channel."""
        facts = {
            "type": "message",
            "channel_type": "channel",
            "channel": ROOM,
            "user": self.user,
            "thread_ts": thread,
            "parent_user_id": ME,
        }
        return self.sends(self.slack.event(text=text, **{**facts, **more}))

    def again(self) -> Exchange:
        return self.slack.deliver(self._last, self.webhook)

    def sends(self, call: Call) -> Exchange:
        self._last = call
        return self.slack.deliver(call, self.webhook)


def error(code: str) -> Answer:
    return Answer({"ok": False, "error": code})
