"""Sina Weibo's side of one verified account, for tests and for the demo."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any
from urllib.parse import unquote

from tests.fakes.platform import Answer, Asked, Call, Exchange, NoAnswer, Platform, Shown, Webhook

WINDOW = timedelta(hours=48)
TEXT_LIMIT = 300
BEIJING = timezone(timedelta(hours=8))
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass
class Weibo(Platform):
    """The message service, its reply interface, and the deliveries to the webhook."""

    app_secret: str = "weiboDemoAppSecret9"
    access_token: str = "2.00demoWeiboToken"
    uid: int = 7001002003
    token_days: float = 300
    random: Random = field(default_factory=lambda: Random(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        self._following: set[int] = set()
        self._open_until: dict[int, datetime] = {}

    # --- the library's webhook ----------------------------------------------------------

    def verify(self, webhook: Webhook) -> bool:
        """The handshake when the address is saved in developer mode."""
        echo = str(self.random.getrandbits(60))
        try:
            status, body = webhook(Call(method="GET", query={**self.query(), "echostr": echo}))
        except NoAnswer:
            return False
        return status == 200 and body == echo.encode()

    def patron(self, uid: int, webhook: Webhook) -> "Patron":
        self._following.add(uid)
        return Patron(self, uid, webhook)

    def query(self) -> dict[str, str]:
        timestamp = str(int(self.clock().timestamp() * 1000))
        nonce = str(self.random.randrange(10**7, 10**9))
        ordered = "".join(sorted([self.app_secret, timestamp, nonce]))
        signed = hashlib.sha1(ordered.encode(), usedforsecurity=False).hexdigest()
        return {"timestamp": timestamp, "nonce": nonce, "signature": signed}

    def call(self, message: dict[str, Any]) -> Call:
        body = json.dumps(message, ensure_ascii=False).encode()
        return Call(body, query=self.query(), headers={"content-type": "application/json"})

    def push(self, message: dict[str, Any], webhook: Webhook) -> Exchange:
        """Deliver, and show the patron the passive reply, if it is one that Weibo takes."""
        exchange = self.deliver(self.call(message), webhook)
        if exchange.taken and exchange.body:
            text = self.read_reply(exchange.body, message["sender_id"])
            if text is not None:
                self.show(str(message["sender_id"]), Shown(text, self.clock()))
        return exchange

    def read_reply(self, body: bytes, patron: int) -> str | None:
        try:
            reply = json.loads(body)
            people = int(reply["sender_id"]), int(reply["receiver_id"])
            text = json.loads(unquote(reply["data"]))["text"]
        except (ValueError, KeyError, TypeError):
            return None
        right = reply.get("result") is True and people == (self.uid, patron)
        return text if right and len(text) < TEXT_LIMIT else None

    def follow(self, uid: int, following: bool) -> None:
        (self._following.add if following else self._following.discard)(uid)

    def opens(self, uid: int) -> None:
        self._open_until[uid] = self.clock() + WINDOW

    # --- the interface that the library calls -------------------------------------------

    def handle(self, asked: Asked) -> Answer:
        if asked.query.get("access_token") != self.access_token:
            return error(21332, "invalid_access_token")
        if asked.path == "/oauth2/get_token_info":
            return Answer({"uid": self.uid, "expire_in": int(self.token_days * 86400)})
        if asked.path == "/2/messages/reply.json":
            return self._reply(asked.form)
        return error(10020, "Request api not found!", 404)

    def _reply(self, form: dict[str, str]) -> Answer:
        try:
            patron = int(form["receiver_id"])
            text = json.loads(form["data"])["text"]
        except (ValueError, KeyError, TypeError):
            return error(10008, "Param error, see doc for more info.")
        if form.get("type") != "text" or not 1 <= len(text) < TEXT_LIMIT:
            return error(10008, "Param error, see doc for more info.")
        open_until = self._open_until.get(patron)
        if patron not in self._following or open_until is None or open_until <= self.clock():
            return error(26404, "not allowed to send a message to this user")
        self.show(str(patron), Shown(text, self.clock()))
        return Answer({"result": True, "sender_id": self.uid, "receiver_id": patron})


@dataclass
class Patron:
    """A patron at their telephone. Every deed returns what it led to."""

    weibo: Weibo
    uid: int
    webhook: Webhook
    _last: dict[str, Any] = field(default_factory=dict)

    @property
    def screen(self) -> list[Shown]:
        return self.weibo.screens[str(self.uid)]

    def says(self, text: str) -> Exchange:
        return self.sends("text", text=text)

    def sends(self, kind: str, text: str = "", **data: Any) -> Exchange:
        """A message of any type of the message service."""
        self.weibo.opens(self.uid)
        return self._push(kind, text, data)

    def follows(self) -> Exchange:
        self.weibo.follow(self.uid, True)
        return self._push("event", "关注事件消息", {"subtype": "follow"})

    def unfollows(self) -> Exchange:
        self.weibo.follow(self.uid, False)
        return self._push("event", "取消关注事件消息", {"subtype": "unfollow"})

    def clicks(self, key: str) -> Exchange:
        return self._push("event", "菜单点击事件", {"subtype": "click", "key": key})

    def again(self) -> Exchange:
        """Weibo repeats the last message, because the answer got lost."""
        return self.weibo.push(self._last, self.webhook)

    def _push(self, kind: str, text: str, data: dict[str, Any]) -> Exchange:
        self._last = {
            "type": kind,
            "receiver_id": self.weibo.uid,
            "sender_id": self.uid,
            "created_at": stamp(self.weibo.clock()),
            "text": text,
            "data": data,
        }
        return self.again()


def stamp(at: datetime) -> str:
    """Weibo's way to write a time, in Beijing's zone."""
    at = at.astimezone(UTC).astimezone(BEIJING)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"{day} {month} {at:%d %H:%M:%S} +0800 {at.year}"


def error(code: int, reason: str, status: int = 400) -> Answer:
    """Weibo's refusal."""
    return Answer(
        {"error": reason, "error_code": code, "request": "/2/messages/reply.json"}, status
    )
