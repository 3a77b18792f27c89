"""WeCom's side of a company's customer service, for tests and for the demo."""

import hashlib
import struct
from base64 import b64decode, b64encode
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from tests.fakes.platform import Answer, Asked, Call, Exchange, NoAnswer, Platform, Shown, Webhook

DESK = "wkDemoDesk01"
WINDOW, BUDGET = timedelta(hours=48), 5
HISTORY = timedelta(days=3)
HINT_LIFE = timedelta(minutes=10)
TOKEN_LIFE = timedelta(seconds=7200)
WELCOME_LIFE = timedelta(seconds=20)
TEXT_BYTES, HEAD_BYTES, LABEL_BYTES, ID_BYTES = 2048, 1024, 128, 64
MENU = 10
BY_API, BY_PERSON = 1, 3  # session states: answered by programs, by a person in WeCom


@dataclass
class WeCom(Platform):
    """The console, the callbacks and the interface of one company."""

    token: str = "lendingDesk3"
    encoding_aes_key: str = "Qm9va3NoZWxmV2luZG93TGFtcERlc2tRdWlldEhvdXb"
    corp_id: str = "ww8c41f7a2d90b35e6"
    secret: str = "wecomDemoSecret"
    desks: set[str] = field(default_factory=lambda: {DESK})
    random: Random = field(default_factory=lambda: Random(1))
    lose_messages_for: set[str] = field(default_factory=set)  # accepted, then never delivered

    def __post_init__(self) -> None:
        super().__post_init__()
        self._log: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._tokens: dict[str, datetime] = {}
        self._hints: dict[str, datetime] = {}
        self._welcome_codes: dict[str, tuple[str, datetime]] = {}
        self._windows: dict[str, tuple[datetime, int]] = {}
        self._used_ids: set[tuple[str, str]] = set()
        self.states: defaultdict[str, int] = defaultdict(lambda: BY_API)
        self._last = 0

    # --- the library's webhook ----------------------------------------------------------

    def verify(self, webhook: Webhook) -> bool:
        """The handshake when the callback address is saved in the console."""
        echo = str(self.random.getrandbits(60))
        encrypted = self.encrypt(echo)
        query = {**self.signed(encrypted), "echostr": encrypted}
        began = self.clock()
        try:
            status, body = webhook(Call(method="GET", query=query))
        except NoAnswer:
            return False
        in_time = self.clock() - began <= timedelta(seconds=1)
        return status == 200 and body == echo.encode() and in_time

    def callback(self, desk: str = DESK) -> Call:
        """The request that says: this desk has something."""
        hint = f"ENCfake{self._next():04}"
        self._hints[hint] = self.clock() + HINT_LIFE
        fields = {
            "ToUserName": self.corp_id,
            "MsgType": "event",
            "Event": "kf_msg_or_event",
            "Token": hint,
            "OpenKfId": desk,
        }
        inner = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
        encrypted = self.encrypt(f"<xml>{inner}</xml>")
        body = f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
        return Call(body.encode(), query=self.signed(encrypted))

    def patron(self, person: str, webhook: Webhook, *, desk: str = DESK) -> "Patron":
        return Patron(self, person, desk, webhook)

    def keep(self, desk: str, **message: Any) -> str:
        """Put a message into a desk's log, to be fetched."""
        number = f"{'fakeMessage':0<40}{self._next():04}"
        kept = {"msgid": number, "open_kfid": desk, "send_time": int(self.clock().timestamp())}
        self._log[desk].append({**kept, **message})
        return number

    def tell(self, desk: str, event: str, **facts: Any) -> str:
        content = {"event_type": event, "open_kfid": desk, **facts}
        return self.keep(desk, origin=4, msgtype="event", event=content)

    def opens(self, person: str) -> None:
        self._windows[person] = (self.clock() + WINDOW, BUDGET)

    def welcome_code(self, person: str) -> str:
        code = f"welcome{self._next():04}"
        self._welcome_codes[code] = (person, self.clock() + WELCOME_LIFE)
        return code

    def signed(self, encrypted: str) -> dict[str, str]:
        timestamp = str(int(self.clock().timestamp()))
        nonce = str(self.random.randrange(10**8, 10**10))
        ordered = "".join(sorted([self.token, timestamp, nonce, encrypted]))
        digest = hashlib.sha1(ordered.encode(), usedforsecurity=False).hexdigest()
        return {"msg_signature": digest, "timestamp": timestamp, "nonce": nonce}

    def encrypt(self, message: str) -> str:
        raw = message.encode()
        plain = self.random.randbytes(16) + struct.pack("!I", len(raw)) + raw
        plain += self.corp_id.encode()
        missing = 32 - len(plain) % 32
        key = b64decode(self.encoding_aes_key + "=")
        work = Cipher(AES(key), CBC(key[:16])).encryptor()
        return b64encode(work.update(plain + bytes([missing] * missing)) + work.finalize()).decode()

    def _next(self) -> int:
        self._last += 1
        return self._last

    # --- the interface that the library calls -------------------------------------------

    def revoke_tokens(self) -> None:
        self._tokens.clear()

    def handle(self, asked: Asked) -> Answer:
        path = asked.path.removeprefix("/cgi-bin/")
        if path == "gettoken":
            return self._give_token(asked.query)
        ends = self._tokens.get(asked.query.get("access_token", ""))
        if ends is None:
            return error(40014, "invalid access_token")
        if ends <= self.clock():
            return error(42001, "access_token expired")
        handlers = {
            "kf/sync_msg": self._sync,
            "kf/send_msg": self._send,
            "kf/send_msg_on_event": self._greet,
            "kf/account/list": self._list,
        }
        return handlers[path](asked.document) if path in handlers else error(48002, "forbidden")

    def _give_token(self, query: dict[str, str]) -> Answer:
        if query.get("corpid") != self.corp_id:
            return error(40013, "invalid corpid")
        if query.get("corpsecret") != self.secret:
            return error(40001, "invalid credential")
        live = [token for token, ends in self._tokens.items() if ends > self.clock()]
        token = live[0] if live else f"token{self._next():04}"
        self._tokens.setdefault(token, self.clock() + TOKEN_LIFE)
        seconds = int((self._tokens[token] - self.clock()).total_seconds())
        return Answer({"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": seconds})

    def _list(self, _asked: dict[str, Any]) -> Answer:
        accounts = [{"open_kfid": desk, "name": "Desk"} for desk in sorted(self.desks)]
        return Answer({"errcode": 0, "errmsg": "ok", "account_list": accounts})

    def _sync(self, asked: dict[str, Any]) -> Answer:
        hint = asked.get("token")
        if hint is not None and self._hints.get(hint, self.clock()) <= self.clock():
            return error(95007, "invalid msg token")
        if asked["open_kfid"] not in self.desks:
            return error(95000, "invalid open_kfid")
        oldest = int((self.clock() - HISTORY).timestamp())
        log = self._log[asked["open_kfid"]]
        start = int(asked.get("cursor", "cursor0").removeprefix("cursor"))
        end = min(start + asked["limit"], len(log))
        page = [each for each in log[start:end] if each["send_time"] >= oldest]
        return Answer(
            {
                "errcode": 0,
                "errmsg": "ok",
                "next_cursor": f"cursor{end}",
                "has_more": int(end < len(log)),
                "msg_list": page,
            }
        )

    def _send(self, message: dict[str, Any]) -> Answer:
        desk, person = message.get("open_kfid", ""), message.get("touser", "")
        if desk not in self.desks:
            return error(95000, "invalid open_kfid")
        if self.states[person] == BY_PERSON:
            return error(95018, "send msg session status invalid")
        until, left = self._windows.get(person, (self.clock(), 0))
        if until <= self.clock() or not left:
            return error(95001, "send msg count limit")
        answer = self._show(desk, person, message)
        if answer.content["errcode"] == 0:
            self._windows[person] = (until, left - 1)
        return answer

    def _greet(self, message: dict[str, Any]) -> Answer:
        person, until = self._welcome_codes.pop(message.get("code", ""), ("", self.clock()))
        if until <= self.clock():
            return error(95012, "invalid code")
        return self._show("", person, message)

    def _show(self, desk: str, person: str, message: dict[str, Any]) -> Answer:
        number = message.get("msgid", "")
        if not number or len(number) > 32 or not number.replace("-", "").replace("_", "").isalnum():
            return error(40058, "invalid msgid")
        if (desk, number) in self._used_ids:
            return error(95099, "msgid has been used")
        shown = self._shown(message)
        if shown is None:
            return error(40058, "invalid Request Parameter")
        self._used_ids.add((desk, number))
        if person in self.lose_messages_for:
            facts = {"external_userid": person, "fail_msgid": number, "fail_type": 10}
            self.tell(desk, "msg_send_fail", **facts)
        else:
            self.show(person, shown)
        return Answer({"errcode": 0, "errmsg": "ok", "msgid": number})

    def _shown(self, message: dict[str, Any]) -> Shown | None:
        now = self.clock()
        match message:
            case {"msgtype": "text", "text": {"content": str(text)}}:
                return Shown(text, now) if 1 <= len(text.encode()) <= TEXT_BYTES else None
            case {"msgtype": "msgmenu", "msgmenu": {"list": list(rows)} as menu}:
                clicks = [row["click"] for row in rows if row["type"] == "click"]
                fits = all(
                    1 <= len(click["id"].encode()) <= ID_BYTES
                    and 1 <= len(click["content"].encode()) <= LABEL_BYTES
                    for click in clicks
                )
                head = menu.get("head_content", "")
                if fits and 1 <= len(rows) <= MENU and len(head.encode()) <= HEAD_BYTES:
                    choices = tuple((click["id"], click["content"]) for click in clicks)
                    return Shown(head, now, choices)
        return None


@dataclass
class Patron:
    """A patron's hand on the telephone. Every deed returns what the callback led to."""

    wecom: WeCom
    person: str
    desk: str
    webhook: Webhook

    @property
    def screen(self) -> list[Shown]:
        return self.wecom.screens[self.person]

    def says(self, text: str) -> Exchange:
        return self.sends("text", {"content": text})

    def taps(self, label: str) -> Exchange:
        """Tap a row of the newest menu on the screen."""
        newest = next(shown for shown in reversed(self.screen) if shown.choices)
        number = next(given for given, shown_label in newest.choices if shown_label == label)
        return self.sends("text", {"content": label, "menu_id": number})

    def sends(self, kind: str, content: dict[str, Any]) -> Exchange:
        self.wecom.opens(self.person)
        message = {"msgtype": kind, kind: content, "external_userid": self.person}
        self.wecom.keep(self.desk, origin=3, **message)
        return self.calls()

    def enters(self, *, may_be_greeted: bool = True) -> Exchange:
        """Open the chat, without a word."""
        facts: dict[str, Any] = {"external_userid": self.person, "scene": "homepage"}
        if may_be_greeted:
            facts["welcome_code"] = self.wecom.welcome_code(self.person)
        self.wecom.tell(self.desk, "enter_session", **facts)
        return self.calls()

    def again(self) -> Exchange:
        """The callback comes once more, though nothing new lies ready."""
        return self.calls()

    def calls(self) -> Exchange:
        """The callback, repeated until it is taken."""
        return self.wecom.deliver(self.wecom.callback(self.desk), self.webhook)


def error(code: int, message: str) -> Answer:
    return Answer({"errcode": code, "errmsg": f"{message}, hint: [fake]"})
