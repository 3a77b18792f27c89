"""The platform's side of a WeChat official account, for tests and for the demo.

It signs, encrypts, repeats, keeps reply windows and quotas, and fails on demand, all on an
injected clock. It is written from the protocol, not from our adapter: nothing here imports
ours. Reach its interface in-process through `transport`, or over HTTP as an ASGI app.
"""

import hashlib
import json
import re
import struct
import threading
from base64 import b64decode, b64encode
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any
from urllib.parse import parse_qsl

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from defusedxml.ElementTree import ParseError, fromstring

SEND = "/cgi-bin/message/custom/send"
TOKEN = "/cgi-bin/stable_token"
TYPING = "/cgi-bin/message/custom/typing"
NOTICE = "/cgi-bin/message/subscribe/bizsend"
MENU, CONSOLE_MENU = "/cgi-bin/menu/", "/cgi-bin/get_current_selfmenu_info"
AUTOREPLIES = "/cgi-bin/get_current_autoreply_info"

ANSWER_WITHIN = timedelta(seconds=5)
RETRIES = 3
MESSAGE_WINDOW = (timedelta(hours=48), 5)
CLICK_WINDOW = (timedelta(minutes=1), 3)
TOKEN_LIFE = timedelta(seconds=7200)
TOKEN_OVERLAP = timedelta(minutes=5)
FORCED_APART = timedelta(seconds=30)
FORCED_A_DAY = 20
TEXT_BYTES = 2048
_ESCAPED = re.compile(rb"(?<!\\)(?:\\\\)*\\u[0-9a-fA-F]{4}")


@dataclass(frozen=True)
class Credentials:
    """What the account's console shows."""

    token: str = "readingRoom7"
    app_id: str = "wx5d1f0c7e9a2b4c68"
    encoding_aes_key: str = "Qm9va3NoZWxmV2luZG93TGFtcERlc2tRdWlldEhvdXb"
    app_secret: str = "demo-secret-not-real"
    account_id: str = "gh_4b7riverbend"


class Mode(StrEnum):
    """How the console is set to send messages."""

    SAFE = "safe"
    COMPATIBLE = "compatible"  # both forms in one body
    PLAIN = "plain"


class Fault(StrEnum):
    """What may go wrong on the way to the interface, beside an errcode or a status."""

    REFUSED = "refused"  # no connection: nothing was sent
    TIMEOUT = "timeout"  # no answer; the message was not taken
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"  # no answer, though the patron has it
    RESET_AFTER_ACCEPT = "reset_after_accept"
    GARBAGE = "garbage"  # a proxy's page instead of JSON


@dataclass(frozen=True)
class Call:
    """One request to the library's webhook."""

    method: str
    query: dict[str, str]
    body: bytes = b""


class NoAnswer(Exception):
    """The webhook did not answer in time, or the connection broke."""


Webhook = Callable[[Call], tuple[int, bytes]]
"""Takes a request to its answer (status, body); raises NoAnswer."""


@dataclass(frozen=True)
class Exchange:
    """What a patron's message led to, after all repetitions."""

    attempts: int
    statuses: tuple[int | None, ...]
    reply: str | None  # the passive reply's text
    outage: bool  # the patron was told that the account is out of service


@dataclass(frozen=True)
class Shown:
    """One thing on the patron's screen."""

    text: str
    at: datetime
    passive: bool = False
    choices: tuple[tuple[str, str], ...] = ()  # (id, label) of a menu


@dataclass
class _Open:
    until: datetime
    left: int


@dataclass
class _Token:
    value: str
    ends: datetime


@dataclass
class Platform:
    """WeChat, for one account."""

    clock: Callable[[], datetime]
    credentials: Credentials = field(default_factory=Credentials)
    mode: Mode = Mode.SAFE
    may_push: bool = True  # the account has the customer-service right
    wait: Callable[[float], None] = lambda seconds: None  # between repetitions
    repeat_nonce: bool = False  # undocumented whether repetitions keep timestamp and nonce
    random: Random = field(default_factory=lambda: Random(1))
    screens: defaultdict[str, list[Shown]] = field(default_factory=lambda: defaultdict(list))
    blocked: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)  # paths, in order
    lose_answers: int = 0  # so many answers of the webhook get lost on the way
    templates: dict[str, str] = field(default_factory=lambda: {"noticeTemplate01": "thing1"})
    menu: dict[str, Any] | None = None  # set through the interface
    console_menu: dict[str, Any] = field(default_factory=dict)
    autoreplies: dict[str, Any] = field(default_factory=dict)
    typing: list[str] = field(default_factory=list)  # to whom the sign was shown

    def __post_init__(self) -> None:
        self._consents: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._following: set[str] = set()
        self._windows: defaultdict[str, dict[str, _Open]] = defaultdict(dict)
        self._tokens: list[_Token] = []
        self._forced: list[datetime] = []
        self._faults: defaultdict[str, deque[Fault | int | tuple[str, int]]] = defaultdict(deque)
        self._last_id = 24_795_305_600_000_000
        self._lock = threading.RLock()

    # --- the library's webhook ----------------------------------------------------------

    def verify(self, webhook: Webhook) -> bool:
        """The handshake when the callback address is saved in the console."""
        echo = str(self.random.getrandbits(60))
        query = {**self._plain_query(), "echostr": echo}
        try:
            status, body = webhook(Call("GET", query))
        except NoAnswer:
            return False
        return status == 200 and body == echo.encode()

    def patron(self, openid: str, webhook: Webhook) -> "Patron":
        """A follower with a telephone in their hand."""
        self._following.add(openid)
        return Patron(self, openid, webhook)

    def call(self, message: str, *, query: dict[str, str] | None = None) -> Call:
        """The request that carries a message in the account's mode."""
        query = dict(query or self._plain_query())
        if self.mode is Mode.PLAIN:
            return Call("POST", query, message.encode())
        encrypted = self._encrypt(message.encode())
        query["encrypt_type"] = "aes"
        query["msg_signature"] = self._sign(query["timestamp"], query["nonce"], encrypted)
        extra = f"<Encrypt><![CDATA[{encrypted}]]></Encrypt>"
        if self.mode is Mode.COMPATIBLE:
            return Call("POST", query, message.replace("</xml>", extra + "</xml>").encode())
        to = f"<ToUserName><![CDATA[{self.credentials.account_id}]]></ToUserName>"
        return Call("POST", query, f"<xml>{to}{extra}</xml>".encode())

    def deliver(self, openid: str, message: str, webhook: Webhook) -> Exchange:
        """Send a message, again after 5 s without an answer, four times in all."""
        query = self._plain_query()
        statuses: list[int | None] = []
        for attempt in range(1 + RETRIES):
            if attempt:
                self.wait(ANSWER_WITHIN.total_seconds())
                query = query if self.repeat_nonce else self._plain_query()
            answer = self._answer_in_time(webhook, self.call(message, query=query))
            statuses.append(answer[0] if answer else None)
            if answer and answer[0] == 200:
                return self._take(openid, answer[1], query, tuple(statuses))
        return self._outage(openid, tuple(statuses))

    def next_message_id(self) -> str:
        self._last_id += 1
        return str(self._last_id)

    def opens(self, openid: str, what: str) -> None:
        """A deed of the patron that lets the account write to them."""
        span, count = MESSAGE_WINDOW if what == "message" else CLICK_WINDOW
        self._windows[openid][what] = _Open(self.clock() + span, count)

    def follow(self, openid: str, *, following: bool) -> None:
        (self._following.add if following else self._following.discard)(openid)

    def _answer_in_time(self, webhook: Webhook, call: Call) -> tuple[int, bytes] | None:
        began = self.clock()
        try:
            answer = webhook(call)
        except NoAnswer:
            return None
        if self.lose_answers:
            self.lose_answers -= 1
            return None
        return answer if self.clock() - began <= ANSWER_WITHIN else None

    def _take(
        self, openid: str, body: bytes, query: dict[str, str], statuses: tuple[int | None, ...]
    ) -> Exchange:
        if body in {b"", b"success"}:
            return Exchange(len(statuses), statuses, None, outage=False)
        text = self.read_reply(openid, body)
        if text is None:
            return self._outage(openid, statuses)
        self.screens[openid].append(Shown(text, self.clock(), passive=True))
        return Exchange(len(statuses), statuses, text, outage=False)

    def _outage(self, openid: str, statuses: tuple[int | None, ...]) -> Exchange:
        notice = "该公众号提供的服务出现故障，请稍后再试"
        self.screens[openid].append(Shown(notice, self.clock(), passive=True))
        return Exchange(len(statuses), statuses, None, outage=True)

    def read_reply(self, openid: str, body: bytes) -> str | None:
        """The text of a passive reply, or None when it is not what WeChat takes."""
        try:
            root = fromstring(body.decode("utf-8"), forbid_dtd=True)
            if self.mode is not Mode.PLAIN:
                parts = {child.tag: child.text or "" for child in root}
                signed = self._sign(parts["TimeStamp"], parts["Nonce"], parts["Encrypt"])
                if signed != parts["MsgSignature"]:
                    return None
                root = fromstring(self._decrypt(parts["Encrypt"]), forbid_dtd=True)
            reply = {child.tag: child.text or "" for child in root}
            to, sender = reply["ToUserName"], reply["FromUserName"]
            int(reply["CreateTime"])
        except (ParseError, ValueError, KeyError):
            return None
        right = (to, sender) == (openid, self.credentials.account_id)
        fits = len(reply.get("Content", "").encode()) <= TEXT_BYTES
        return reply["Content"] if right and fits and reply["MsgType"] == "text" else None

    def _plain_query(self) -> dict[str, str]:
        timestamp = str(int(self.clock().timestamp()))
        nonce = str(self.random.randrange(10**8, 10**10))
        return {
            "timestamp": timestamp,
            "nonce": nonce,
            "signature": self._sign(timestamp, nonce),
        }

    def _sign(self, *parts: str) -> str:
        ordered = "".join(sorted([self.credentials.token, *parts]))
        return hashlib.sha1(ordered.encode(), usedforsecurity=False).hexdigest()

    def _cipher(self) -> Cipher[CBC]:
        key = b64decode(self.credentials.encoding_aes_key + "=")
        return Cipher(AES(key), CBC(key[:16]))

    def _encrypt(self, message: bytes) -> str:
        plain = self.random.randbytes(16) + struct.pack("!I", len(message)) + message
        plain += self.credentials.app_id.encode()
        missing = 32 - len(plain) % 32
        work = self._cipher().encryptor()
        return b64encode(work.update(plain + bytes([missing] * missing)) + work.finalize()).decode()

    def _decrypt(self, encrypted: str) -> str:
        work = self._cipher().decryptor()
        plain = work.update(b64decode(encrypted, validate=True)) + work.finalize()
        plain = plain[16 : len(plain) - plain[-1]]
        size = int.from_bytes(plain[:4], "big")
        if plain[4 + size :] != self.credentials.app_id.encode():
            raise ValueError("another account's message")
        return plain[4 : 4 + size].decode()

    # --- the interface that the library calls -------------------------------------------

    def fail_next(
        self,
        fault: Fault | int | None = None,
        *,
        status: int | None = None,
        path: str = SEND,
        times: int = 1,
    ) -> None:
        """Let the next calls fail: with an errcode, an HTTP status, or on the way."""
        entry: Fault | int | tuple[str, int]
        if status is not None:
            entry = ("status", status)
        else:
            assert fault is not None
            entry = fault
        self._faults[path].extend([entry] * times)

    def revoke_token(self) -> None:
        """Make the current token invalid; asking for one gives a new one."""
        self._tokens.clear()

    def answer(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, bytes] | Fault:
        """The interface's answer to a POST, or what happens on the way instead."""
        with self._lock:
            self.calls.append(path)
            fault = self._faults[path].popleft() if self._faults[path] else None
            match fault:
                case Fault.TIMEOUT_AFTER_ACCEPT | Fault.RESET_AFTER_ACCEPT:
                    self._handle(path, query, body)
                    return fault
                case Fault.GARBAGE:
                    return 200, b"<html>gateway</html>"
                case Fault():
                    return fault
                case int():
                    return 200, _json({"errcode": fault, "errmsg": "on demand rid: fake"})
                case ("status", int(status)):
                    return status, b"upstream error"
            return 200, _json(self._handle(path, query, body))

    def _handle(self, path: str, query: dict[str, str], body: bytes) -> dict[str, Any]:
        try:
            message = json.loads(body) if body else {}
        except ValueError:
            return _error(47001, "data format error")
        token = query.get("access_token", "")
        if path == TOKEN:
            return self._stable_token(message)
        if path == SEND:
            return self._send(token, message, body)
        refusal = self._token_refused(token)
        if refusal:
            return refusal
        match path:
            case _ if path == TYPING:
                self.typing.append(message["touser"])
                return _error(0, "ok")
            case _ if path == NOTICE:
                return self._notify(message)
            case _ if path.startswith(MENU):
                return self._menu(path.removeprefix(MENU), message)
            case _ if path == CONSOLE_MENU:
                return {"is_menu_open": 1, "selfmenu_info": self.console_menu}
            case _ if path == AUTOREPLIES:
                return self.autoreplies
        return _error(40066, "invalid url")

    def agrees(self, openid: str, template: str) -> None:
        """One consent admits one notice."""
        self._consents[openid, template] += 1

    def _notify(self, message: dict[str, Any]) -> dict[str, Any]:
        openid, template = message["touser"], message["template_id"]
        if template not in self.templates:
            return _error(40037, "invalid template_id")
        if set(message["data"]) != {self.templates[template]}:
            return _error(47003, "argument invalid! data mismatch")
        words = message["data"][self.templates[template]]["value"]
        if not 1 <= len(words) <= 20:
            return _error(47003, "argument invalid! thing too long")
        if not self._consents[openid, template]:
            return _error(43101, "user refuse to accept the msg")
        self._consents[openid, template] -= 1
        self.screens[openid].append(Shown(f"[notice] {words}", self.clock()))
        return _error(0, "ok")

    def _menu(self, what: str, menu: dict[str, Any]) -> dict[str, Any]:
        match what:
            case "create":
                if not 1 <= len(menu.get("button", [])) <= 3:
                    return _error(40016, "invalid button size")
                self.menu = menu
                return _error(0, "ok")
            case "delete":
                self.menu = None
                return _error(0, "ok")
        return {"menu": self.menu} if self.menu is not None else _error(46003, "menu no exist")

    def _token_refused(self, token: str) -> dict[str, Any] | None:
        if token not in {known.value for known in self._tokens}:
            return _error(40001, "invalid credential, access_token is invalid or not latest")
        if all(known.ends <= self.clock() for known in self._tokens if known.value == token):
            return _error(42001, "access_token expired")
        return None

    def _stable_token(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted.get("grant_type") != "client_credential":
            return _error(40002, "invalid grant_type")
        if wanted.get("appid") != self.credentials.app_id:
            return _error(40013, "invalid appid")
        if wanted.get("secret") != self.credentials.app_secret:
            return _error(40125, "invalid appsecret")
        now = self.clock()
        if wanted.get("force_refresh"):
            refusal = self._force(now)
            if refusal:
                return refusal
        if not self._tokens or self._tokens[-1].ends - TOKEN_OVERLAP <= now:
            self._tokens = [old for old in self._tokens if old.ends > now][-1:]
            self._tokens.append(_Token(f"{self.random.getrandbits(2048):0512x}", now + TOKEN_LIFE))
        current = self._tokens[-1]
        return {
            "access_token": current.value,
            "expires_in": int((current.ends - now).total_seconds()),
        }

    def _force(self, now: datetime) -> dict[str, Any] | None:
        today = [at for at in self._forced if at > now - timedelta(days=1)]
        if today and now - today[-1] < FORCED_APART:
            return _error(45011, "force_refresh too frequent")
        if len(today) >= FORCED_A_DAY:
            return _error(45009, "force_refresh quota reached")
        self._forced = [*today, now]
        self._tokens.clear()
        return None

    def _send(self, token: str, message: dict[str, Any], raw: bytes) -> dict[str, Any]:
        now = self.clock()
        refusal = self._token_refused(token)
        if refusal:
            return refusal
        if not self.may_push:
            return _error(48001, "api unauthorized")
        openid = message.get("touser", "")
        shown = _shown(message, now)
        if shown is None or _ESCAPED.search(raw):
            return _error(40033, "invalid charset")
        if len(shown.text.encode()) > TEXT_BYTES:
            return _error(45002, "content size out of limit")
        refusal = self._recipient_refuses(openid, now)
        if refusal:
            return refusal
        self.screens[openid].append(shown)
        return {"errcode": 0, "errmsg": "ok"}

    def _recipient_refuses(self, openid: str, now: datetime) -> dict[str, Any] | None:
        if openid in self.blocked:
            return _error(43019, "user is in the blacklist")
        if openid not in self._following:
            return _error(43004, "require subscribe")
        windows = sorted(self._windows[openid].values(), key=lambda window: window.until)
        open_now = [window for window in windows if window.until > now]
        if not open_now:
            return _error(45015, "response out of time limit or subscription is canceled")
        payable = [window for window in open_now if window.left]
        if not payable:
            return _error(45047, "out of response count limit")
        payable[0].left -= 1
        return None

    # --- how to reach it ----------------------------------------------------------------

    @property
    def transport(self) -> httpx.BaseTransport:
        """For `httpx.Client(transport=...)`: the interface without a network."""
        return _Transport(self)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """ASGI: the same interface over HTTP."""
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            part = await receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        query = dict(parse_qsl(scope["query_string"].decode()))
        answer = self.answer(scope["path"], query, body)
        if isinstance(answer, Fault):
            await _break(answer, receive, send)
            return
        status, content = answer
        headers = [(b"content-type", b"application/json; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


@dataclass
class Patron:
    """A patron's hand on the telephone. Every deed returns what it led to."""

    platform: Platform
    openid: str
    webhook: Webhook
    _last: str = ""

    @property
    def screen(self) -> list[Shown]:
        return self.platform.screens[self.openid]

    def says(self, text: str) -> Exchange:
        return self._message("text", f"<Content>{_cdata(text)}</Content>")

    def taps(self, label: str) -> Exchange:
        """Tap a choice of the newest menu on the screen."""
        menu = next(shown for shown in reversed(self.screen) if shown.choices)
        menu_id = next(key for key, shown_label in menu.choices if shown_label == label)
        parts = f"<Content>{_cdata(label)}</Content><bizmsgmenuid>{_cdata(menu_id)}</bizmsgmenuid>"
        return self._message("text", parts, opens="tap")

    def sends_image(self, address: str = "http://mmbiz.qpic.cn/demo/0") -> Exchange:
        parts = f"<PicUrl>{_cdata(address)}</PicUrl><MediaId>{_cdata('mediaDemo0001')}</MediaId>"
        return self._message("image", parts)

    def speaks(self, recognised: str | None = None) -> Exchange:
        parts = f"<MediaId>{_cdata('mediaDemo0002')}</MediaId><Format>{_cdata('amr')}</Format>"
        if recognised is not None:
            parts += f"<Recognition>{_cdata(recognised)}</Recognition>"
        return self._message("voice", parts)

    def sends_location(self, latitude: float, longitude: float, label: str) -> Exchange:
        parts = f"<Location_X>{latitude}</Location_X><Location_Y>{longitude}</Location_Y>"
        return self._message("location", f"{parts}<Scale>16</Scale><Label>{_cdata(label)}</Label>")

    def follows(self, scene: str = "") -> Exchange:
        self.platform.follow(self.openid, following=True)
        return self._event("subscribe", f"qrscene_{scene}" if scene else "", opens="follow")

    def unfollows(self) -> Exchange:
        self.platform.follow(self.openid, following=False)
        return self._event("unsubscribe")

    def clicks(self, key: str) -> Exchange:
        return self._event("CLICK", key, opens="click")

    def agrees(self, template: str = "noticeTemplate01") -> Exchange:
        """Tap "allow" where the library offers a notice."""
        self.platform.agrees(self.openid, template)
        answer = (
            f"<List><TemplateId>{_cdata(template)}</TemplateId>"
            f"<SubscribeStatusString>{_cdata('accept')}</SubscribeStatusString>"
            "<PopupScene>2</PopupScene></List>"
        )
        parts = f"<Event>{_cdata('subscribe_msg_popup_event')}</Event>"
        parts += f"<SubscribeMsgPopupEvent>{answer}</SubscribeMsgPopupEvent>"
        return self._deliver("event", parts, None)

    def sends_event(self, event: str, key: str = "") -> Exchange:
        """Any other event of the account."""
        return self._event(event, key)

    def scans(self, scene: str) -> Exchange:
        return self._event("SCAN", scene, opens="scan")

    def again(self) -> Exchange:
        """The platform repeats the last message, same MsgId, because the answer got lost."""
        return self.platform.deliver(self.openid, self._last, self.webhook)

    def _message(self, kind: str, parts: str, *, opens: str = "message") -> Exchange:
        number = f"<MsgId>{self.platform.next_message_id()}</MsgId>"
        return self._deliver(kind, parts + number, opens)

    def _event(self, event: str, key: str = "", *, opens: str | None = None) -> Exchange:
        parts = f"<Event>{_cdata(event)}</Event><EventKey>{_cdata(key)}</EventKey>"
        return self._deliver("event", parts, opens)

    def _deliver(self, kind: str, parts: str, opens: str | None) -> Exchange:
        if opens:
            self.platform.opens(self.openid, opens)
        self._last = (
            f"<xml><ToUserName>{_cdata(self.platform.credentials.account_id)}</ToUserName>"
            f"<FromUserName>{_cdata(self.openid)}</FromUserName>"
            f"<CreateTime>{int(self.platform.clock().timestamp())}</CreateTime>"
            f"<MsgType>{_cdata(kind)}</MsgType>{parts}</xml>"
        )
        return self.again()


def over_http(client: httpx.Client, address: str) -> Webhook:
    """The library's webhook at an address, reached with this client."""

    def webhook(call: Call) -> tuple[int, bytes]:
        try:
            response = client.request(
                call.method,
                address,
                params=call.query,
                content=call.body,
                headers={"content-type": "text/xml"},
                timeout=ANSWER_WITHIN.total_seconds(),
            )
        except httpx.TransportError as error:
            raise NoAnswer(type(error).__name__) from error
        return response.status_code, response.content

    return webhook


class _Transport(httpx.BaseTransport):
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        query = dict(parse_qsl(request.url.query.decode()))
        answer = self._platform.answer(request.url.path, query, request.read())
        match answer:
            case Fault.REFUSED:
                raise httpx.ConnectError("connection refused", request=request)
            case Fault.TIMEOUT | Fault.TIMEOUT_AFTER_ACCEPT:
                raise httpx.ReadTimeout("timed out", request=request)
            case Fault():
                raise httpx.ReadError("connection reset", request=request)
            case status, content:
                return httpx.Response(status, content=content, request=request)


async def _break(
    fault: Fault,
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Over real HTTP: keep silent until the caller hangs up, or hang up mid-answer.

    A refused connection needs a server that is not there; here it is a broken one.
    """
    if fault in {Fault.TIMEOUT, Fault.TIMEOUT_AFTER_ACCEPT}:
        while (await receive())["type"] != "http.disconnect":
            continue
        return
    headers = [(b"content-length", b"64")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{"})


def _shown(message: dict[str, Any], at: datetime) -> Shown | None:
    match message:
        case {"msgtype": "text", "text": {"content": str(text)}} if text:
            return Shown(text, at)
        case {"msgtype": "msgmenu", "msgmenu": {"head_content": str(head), "list": list(rows)}}:
            tail = message["msgmenu"].get("tail_content", "")
            choices = tuple((row["id"], row["content"]) for row in rows)
            return Shown(
                "\n".join(filter(None, _menu_lines(head, choices, tail))), at, False, choices
            )
    return None


def _menu_lines(head: str, choices: tuple[tuple[str, str], ...], tail: str) -> Iterator[str]:
    yield head
    yield from (label for _, label in choices)
    yield tail


def _error(code: int, message: str) -> dict[str, Any]:
    return {"errcode": code, "errmsg": f"{message} rid: fake"}


def _json(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, ensure_ascii=False).encode()


def _cdata(text: str) -> str:
    return "<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>"
