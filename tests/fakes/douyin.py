"""Douyin's side of one business account, for tests and for the demo."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.platform import Answer, Asked, Call, Exchange, Platform, Shown, Webhook

REPLIES, WITHIN = 6, timedelta(hours=24)
ACCESS_LIFE, REFRESH_LIFE = timedelta(days=15), timedelta(days=30)
RENEWALS = 5
TEXT_LIMIT = 1000


@dataclass
class Douyin(Platform):
    """The open platform, its token service, and the events to the app's webhook."""

    client_key: str = "awDemoClientKey"
    client_secret: str = "douyinDemoClientSecret"
    open_id: str = "open-library-01"
    refresh_token: str = "rft.demo0"
    content_as_text: bool = True  # the other lane sends an object
    refreshes: int = 0
    renewals: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._access: tuple[str, datetime] | None = None
        self._refresh_ends = self.clock() + REFRESH_LIFE
        self._answerable: dict[str, tuple[str, datetime, int]] = {}
        self._last = 0

    # --- the library's webhook ----------------------------------------------------------

    def verify(self, webhook: Webhook) -> bool:
        """The set-up of the address."""
        content = {"challenge": 12345}
        event = {"event": "verify_webhook", "client_key": "", "content": content}
        exchange = self.deliver(self.call(event), webhook)
        return exchange.taken and json.loads(exchange.body) == content

    def patron(self, open_id: str, webhook: Webhook, *, name: str = "读者甲") -> "Patron":
        return Patron(self, open_id, name, webhook)

    def call(self, event: dict[str, Any]) -> Call:
        body = json.dumps(event, ensure_ascii=False).encode()
        signed = hashlib.sha1(self.client_secret.encode() + body, usedforsecurity=False)
        self._last += 1
        headers = {"x-douyin-signature": signed.hexdigest(), "msg-id": f"delivery-{self._last}"}
        return Call(body, headers=headers)

    def event(self, name: str, sender: str, receiver: str, **content: Any) -> dict[str, Any]:
        shaped = json.dumps(content, ensure_ascii=False) if self.content_as_text else content
        people = {"from_user_id": sender, "to_user_id": receiver}
        return {"event": name, "client_key": self.client_key, **people, "content": shaped}

    def answerable(self, patron: str) -> str:
        """The id of a new message of the patron, which may be answered from now on."""
        self._last += 1
        number = f"@fakeMsg{self._last}=="
        self._answerable[number] = (patron, self.clock(), REPLIES)
        return number

    # --- the interface that the library calls -------------------------------------------

    def revoke_access(self) -> None:
        """End the access token before its time."""
        self._access = None

    def handle(self, asked: Asked) -> Answer:
        match asked.path:
            case "/oauth/refresh_token/":
                return self._refresh(asked.form)
            case "/oauth/renew_refresh_token/":
                return self._renew(asked.form)
            case "/im/send/msg/":
                return self._send(asked)
        return Answer(b"", 404)

    def _known(self, form: dict[str, str]) -> bool:
        right = form.get("client_key") == self.client_key
        alive = self._refresh_ends > self.clock()
        return right and alive and form.get("refresh_token") == self.refresh_token

    def _refresh(self, form: dict[str, str]) -> Answer:
        if not self._known(form) or form.get("grant_type") != "refresh_token":
            return error(10010, "refresh_token过期")
        self.refreshes += 1
        self._access = (f"act.demo{self.refreshes}", self.clock() + ACCESS_LIFE)
        data = {
            "access_token": self._access[0],
            "expires_in": int(ACCESS_LIFE.total_seconds()),
            "refresh_token": self.refresh_token,
            "refresh_expires_in": int((self._refresh_ends - self.clock()).total_seconds()),
            "error_code": 0,
        }
        return Answer({"data": data, "message": "success"})

    def _renew(self, form: dict[str, str]) -> Answer:
        if not self._known(form) or self.renewals >= RENEWALS:
            return error(10020, "更新refresh_token次数超限")
        self.renewals += 1
        self.refresh_token = f"rft.demo{self.renewals}"
        self._refresh_ends = self.clock() + REFRESH_LIFE
        seconds = int(REFRESH_LIFE.total_seconds())
        data = {"refresh_token": self.refresh_token, "expires_in": seconds, "error_code": 0}
        return Answer({"data": data, "message": "success"})

    def _send(self, asked: Asked) -> Answer:
        token, ends = self._access or ("", self.clock())
        if not token or asked.headers.get("access-token") != token:
            return error(28001003, "access_token无效")
        if ends <= self.clock():
            return error(28001008, "access_token过期")
        message = asked.document
        content = message.get("content", {})
        text = content.get("text", {}).get("text", "")
        right = content.get("msg_type") == 1 and message.get("scene") == "im_reply_msg"
        if not right or not 1 <= len(text) <= TEXT_LIMIT:
            return error(28001007, "参数不合法")
        patron, at, left = self._answerable.get(message["msg_id"], ("", self.clock(), 0))
        mine = asked.query.get("open_id") == self.open_id
        known = patron == message.get("to_user_id") and message.get("conversation_id")
        if not mine or not known or self.clock() - at >= WITHIN or left == 0:
            return error(28003017, "该消息不可回复")
        self._answerable[message["msg_id"]] = (patron, at, left - 1)
        self.show(patron, Shown(text, self.clock()))
        return Answer({"data": {"error_code": 0, "msg_id": f"@sent{len(self.asked)}"}})


@dataclass
class Patron:
    """A patron at their telephone. Every deed returns what it led to."""

    douyin: Douyin
    open_id: str
    name: str
    webhook: Webhook
    _last: Call = field(default_factory=Call)

    @property
    def screen(self) -> list[Shown]:
        return self.douyin.screens[self.open_id]

    def says(self, text: str) -> Exchange:
        return self.sends("text", text=text)

    def sends(self, kind: str, **more: Any) -> Exchange:
        """A message of any type of the interface."""
        content = {
            "conversation_short_id": "@demoConv01==",
            "server_message_id": self.douyin.answerable(self.open_id),
            "message_type": kind,
            "create_time": int(self.douyin.clock().timestamp() * 1000),
            "user_infos": [{"open_id": self.open_id, "nick_name": self.name}],
            **more,
        }
        library = self.douyin.open_id
        event = self.douyin.event("im_receive_msg", self.open_id, library, **content)
        self._last = self.douyin.call(event)
        return self.again()

    def again(self) -> Exchange:
        """Douyin repeats the last event, because the answer got lost."""
        return self.douyin.deliver(self._last, self.webhook)

    def sees_echo(self, text: str) -> Exchange:
        """The library's own message comes back as an event."""
        library = self.douyin.open_id
        event = self.douyin.event("im_send_msg", library, self.open_id, text=text)
        return self.douyin.deliver(self.douyin.call(event), self.webhook)


def error(code: int, description: str) -> Answer:
    """Douyin's refusal: HTTP 200, and a code of its own."""
    data = {"error_code": code, "description": description}
    return Answer({"data": data, "extra": {**data, "logid": "fake"}})
