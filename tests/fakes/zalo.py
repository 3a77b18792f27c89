"""Zalo's side of one official account, for tests and for the demo."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.platform import Answer, Asked, Call, Exchange, Platform, Shown, Webhook

FREE_WITHIN = timedelta(hours=48)
FREE_REPLIES = 8
PAID_WITHIN = timedelta(days=7)
ACCESS_LIFE = timedelta(hours=25)
TEXT_LIMIT = 2000


@dataclass
class Zalo(Platform):
    """The OpenAPI, its token service, and the events to the account's webhook."""

    answer_within: float = 2.0
    repeats_after: Sequence[float] = (60.0, 300.0, 900.0, 1800.0, 3600.0)
    app_id: str = "1234567890123456789"
    oa_id: str = "3662729599330000000"
    app_secret: str = "zaloDemoAppSecret"
    oa_secret_key: str = "zaloDemoOASecretKey"
    refresh_token: str = "zaloDemoRefreshToken0"
    takes_buttons: bool = True
    refreshes: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._access: tuple[str, datetime] | None = None
        self._following: set[str] = set()
        self._heard_at: dict[str, datetime] = {}
        self._replied: dict[str, int] = {}
        self._last = 0

    # --- the library's webhook ----------------------------------------------------------

    def patron(self, user_id: str, webhook: Webhook) -> "Patron":
        self._following.add(user_id)
        return Patron(self, user_id, webhook)

    def event(self, name: str, **content: Any) -> dict[str, Any]:
        milliseconds = str(int(self.clock().timestamp() * 1000))
        return {"app_id": self.app_id, "event_name": name, **content, "timestamp": milliseconds}

    def call(self, event: dict[str, Any]) -> Call:
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        signed = self.app_id.encode() + body + f"{event['timestamp']}{self.oa_secret_key}".encode()
        return Call(
            body, headers={"x-zevent-signature": f"mac={hashlib.sha256(signed).hexdigest()}"}
        )

    def hears(self, user_id: str) -> None:
        self._heard_at[user_id], self._replied[user_id] = self.clock(), 0

    def follow(self, user_id: str, following: bool) -> None:
        (self._following.add if following else self._following.discard)(user_id)

    def next_id(self) -> str:
        self._last += 1
        return f"cb31fake{self._last:04}"

    # --- the interface that the library calls -------------------------------------------

    def revoke_access(self) -> None:
        """End the access token before its time."""
        self._access = None

    def handle(self, asked: Asked) -> Answer:
        if asked.path == "/v4/oa/access_token":
            return self._refresh(asked)
        token, ends = self._access or ("", self.clock())
        if not token or asked.headers.get("access_token") != token or ends <= self.clock():
            return error(-216, "Access token is invalid")
        if asked.path == "/v2.0/oa/getoa":
            return Answer({"error": 0, "message": "Success", "data": {"oa_id": self.oa_id}})
        if asked.path == "/v3.0/oa/message/cs":
            return self._send(asked.document)
        return Answer(b"", 404)

    def _refresh(self, asked: Asked) -> Answer:
        form = asked.form
        right = form.get("app_id") == self.app_id and form.get("grant_type") == "refresh_token"
        if not right or asked.headers.get("secret_key") != self.app_secret:
            return _oauth_error(-14004, "Invalid app or secret key")
        if form.get("refresh_token") != self.refresh_token:
            return _oauth_error(-14014, "Invalid refresh token.")
        self.refreshes += 1
        self.refresh_token = f"zaloDemoRefreshToken{self.refreshes}"
        access = f"zaloDemoAccessToken{self.refreshes}"
        self._access = (access, self.clock() + ACCESS_LIFE)
        seconds = str(int(ACCESS_LIFE.total_seconds()))
        found = {"access_token": access, "refresh_token": self.refresh_token}
        return Answer({**found, "expires_in": seconds})

    def _send(self, message: dict[str, Any]) -> Answer:
        patron = message.get("recipient", {}).get("user_id", "")
        content = message.get("message", {})
        text = content.get("text") or ""
        choices = _choices(content.get("attachment"))
        if not 1 <= len(text) <= TEXT_LIMIT:
            return error(-210, "Param text exceeds the limit")
        if choices is None or (choices and not self.takes_buttons):
            return error(-201, "Params is invalid")
        if patron not in self._following:
            return error(-213, "User has not followed OA")
        refusal = self._window_refuses(patron)
        if refusal is not None:
            return refusal
        self._replied[patron] += 1
        self.show(patron, Shown(text, self.clock(), choices))
        data = {"message_id": self.next_id(), "user_id": patron}
        return Answer({"error": 0, "message": "Success", "data": data})

    def _window_refuses(self, patron: str) -> Answer | None:
        heard_at = self._heard_at.get(patron)
        if heard_at is None or self.clock() - heard_at > PAID_WITHIN:
            return error(-230, "User has not interacted with the OA in the past 7 days")
        free = self.clock() - heard_at <= FREE_WITHIN and self._replied[patron] < FREE_REPLIES
        return None if free else error(-211, "Out of quota")


@dataclass
class Patron:
    """A patron's hand on the telephone. Every deed returns what it led to."""

    zalo: Zalo
    user_id: str
    webhook: Webhook
    _last: Call = field(default_factory=Call)

    @property
    def screen(self) -> list[Shown]:
        return self.zalo.screens[self.user_id]

    def says(self, text: str) -> Exchange:
        return self.sends("user_send_text", text=text)

    def taps(self, label: str) -> Exchange:
        """Tap a button of the newest choice; its payload comes back as a text."""
        newest = next(shown for shown in reversed(self.screen) if shown.choices)
        return self.says(next(given for given, text in newest.choices if text == label))

    def sends_attached(self, name: str, payload: dict[str, Any], text: str = "") -> Exchange:
        kind = name.removeprefix("user_send_")
        return self.sends(name, text=text, attachments=[{"type": kind, "payload": payload}])

    def sends(self, name: str, **message: Any) -> Exchange:
        self.zalo.hears(self.user_id)
        people = {"sender": {"id": self.user_id}, "recipient": {"id": self.zalo.oa_id}}
        message["msg_id"] = self.zalo.next_id()
        return self._deliver(self.zalo.event(name, **people, message=message))

    def follows(self) -> Exchange:
        return self._membership("follow")

    def unfollows(self) -> Exchange:
        return self._membership("unfollow")

    def again(self) -> Exchange:
        """Zalo repeats the last event, because the answer got lost."""
        return self.zalo.deliver(self._last, self.webhook)

    def _membership(self, name: str) -> Exchange:
        self.zalo.follow(self.user_id, name == "follow")
        people = {"oa_id": self.zalo.oa_id, "follower": {"id": self.user_id}}
        return self._deliver(self.zalo.event(name, **people))

    def _deliver(self, event: dict[str, Any]) -> Exchange:
        self._last = self.zalo.call(event)
        return self.again()


def error(code: int, message: str) -> Answer:
    """Zalo's refusal: HTTP 200, and an error of its own."""
    return Answer({"error": code, "message": message})


def _oauth_error(code: int, name: str) -> Answer:
    return Answer({"error": code, "error_name": name, "error_description": name})


def _choices(attachment: dict[str, Any] | None) -> tuple[tuple[str, str], ...] | None:
    """Payloads and labels; None where Zalo would refuse them."""
    if attachment is None:
        return ()
    buttons = attachment.get("payload", {}).get("buttons", [])
    if attachment.get("type") != "template" or not 1 <= len(buttons) <= 5:
        return None
    if any(len(button["title"]) > 100 or len(button["payload"]) > 1000 for button in buttons):
        return None
    return tuple((button["payload"], button["title"]) for button in buttons)
