"""An account of the library, WeChat's side of it, and the clock that both go by."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import httpx
import pytest

from bot.channels.base import Refused
from bot.channels.wechat import WeChat
from bot.messages import Inbound, Reply, WebhookRequest
from tests.fakes.wechat import Call, Credentials, Platform

PAYLOADS = Path(__file__).parent / "payloads"
NOON = datetime.fromtimestamp(1795305600, UTC)  # of the recorded payloads
EARLY = timedelta(minutes=5)  # a token is renewed this long before it ends
SETTINGS = {
    "token": "readingRoom7",
    "app_id": "wx5d1f0c7e9a2b4c68",
    "encoding_aes_key": "Qm9va3NoZWxmV2luZG93TGFtcERlc2tRdWlldEhvdXb",
    "app_secret": "demo-secret-not-real",
}


@dataclass
class Clock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, *, seconds: float = 0, hours: float = 0) -> None:
        self.now += timedelta(seconds=seconds, hours=hours)


@dataclass
class Tokens:
    """A token store like the core's: one cached token a key, fetched under a lock."""

    clock: Clock
    cached: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    fetches: int = 0
    lock: Lock = field(default_factory=Lock)

    def get(
        self, key: str, fetch: Callable[[], tuple[str, float]], *, stale: str | None = None
    ) -> str:
        with self.lock:
            token, ends = self.cached.get(key, ("", self.clock()))
            if token and token != stale and ends - EARLY > self.clock():
                return token
            self.fetches += 1
            token, seconds = fetch()
            self.cached[key] = (token, self.clock() + timedelta(seconds=seconds))
            return token


@dataclass
class Desk:
    """The library's end: answers each new message once, and a repetition with the first."""

    channel: WeChat
    clock: Clock
    answer: Callable[[Inbound], tuple[Reply, ...]] = lambda inbound: ()
    stored: dict[str, tuple[Inbound, tuple[Reply, ...], datetime]] = field(default_factory=dict)
    refusals: list[Refused] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    takes: float = 0  # seconds to answer

    def __call__(self, call: Call) -> tuple[int, bytes]:
        request = WebhookRequest(call.method, call.query, {"content-type": "text/xml"}, call.body)
        try:
            received = self.channel.receive(request, now=self.clock())
        except Refused as refusal:
            self.refusals.append(refusal)
            return refusal.status, b""
        replies, at = (), self.clock()
        for inbound in received.messages:
            if inbound.dedupe_key not in self.stored:
                self.stored[inbound.dedupe_key] = (inbound, self.answer(inbound), self.clock())
            _, replies, at = self.stored[inbound.dedupe_key]
        response = self.channel.acknowledge(received, replies, at=at)
        self.clock.advance(seconds=self.takes)
        self.bodies.append(response.body)
        return response.status, response.body

    @property
    def heard(self) -> list[Inbound]:
        return [inbound for inbound, _, _ in self.stored.values()]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def platform(clock: Clock) -> Platform:
    return Platform(clock, Credentials(), wait=lambda seconds: clock.advance(seconds=seconds))


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(clock)


@pytest.fixture
def account(platform: Platform, tokens: Tokens) -> Callable[..., WeChat]:
    """Makes the library's account, with further settings."""

    def make(**more: str) -> WeChat:
        http = httpx.Client(transport=platform.transport)
        return WeChat("main", {**SETTINGS, **more}, http=http, tokens=tokens)

    return make


@pytest.fixture
def channel(account: Callable[..., WeChat]) -> WeChat:
    return account()


@pytest.fixture
def desk(channel: WeChat, clock: Clock) -> Desk:
    return Desk(channel, clock)


@pytest.fixture(scope="session")
def vector() -> dict[str, Any]:
    """Encrypted and signed with wechatpy, computed anew with cryptography."""
    loaded: dict[str, Any] = json.loads((PAYLOADS / "aes-vector.json").read_bytes())
    return loaded


def payload(name: str) -> bytes:
    return (PAYLOADS / name).read_bytes().strip()
