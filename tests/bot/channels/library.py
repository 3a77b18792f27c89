"""The library's end of a channel: a small desk that answers, and what its account needs."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any

from hypothesis import strategies as st

from bot.channels.base import Channel, Refused
from bot.messages import (
    Inbound,
    Received,
    Reply,
    ReplyKind,
    WebhookRequest,
    WebhookResponse,
)
from bot.windows import Ledger, can_send, open_window, spend
from tests.fakes.platform import Call

SUNDAY = datetime(2026, 11, 22, 0, 0, tzinfo=UTC)  # 1795305600, the time of the payloads
LATE = Reply("The atlas is in the east branch.", ReplyKind.LIBRARIAN, by="Ms Li")


@dataclass
class Clock:
    now: datetime = SUNDAY

    def __call__(self) -> datetime:
        return self.now

    def advance(self, *, seconds: float = 0, hours: float = 0) -> None:
        self.now += timedelta(seconds=seconds, hours=hours)


@dataclass
class Tokens:
    """A token store like the core's: one cached token a key, fetched under that key's lock."""

    clock: Clock
    cached: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    fetches: list[str] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock)

    def get(
        self, key: str, fetch: Callable[[], tuple[str, float]], *, stale: str | None = None
    ) -> str:
        with self.lock:
            token, ends = self.cached.get(key, ("", self.clock()))
            if token and token != stale and ends > self.clock():
                return token
            self.fetches.append(key)
            token, seconds = fetch()
            self.cached[key] = (token, self.clock() + timedelta(seconds=seconds))
            return token


@dataclass
class Desk:
    """Answers each new message once, and writes late only where a window is open."""

    channel: Channel
    clock: Clock
    answer: Callable[[Inbound], tuple[Reply, ...]] = lambda inbound: ()
    stored: dict[str, tuple[Inbound, tuple[Reply, ...]]] = field(default_factory=dict)
    refusals: list[Refused] = field(default_factory=list)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    deliveries: int = 0
    threads: dict[str, dict[str, str] | None] = field(default_factory=dict)

    def __call__(self, call: Call) -> tuple[int, bytes]:
        self.deliveries += 1
        try:
            received = self.channel.receive(request_of(call), now=self.clock())
        except Refused as refusal:
            self.refusals.append(refusal)
            return refusal.status, b""
        if received.handshake is not None:
            return received.handshake.status, received.handshake.body
        replies = tuple(reply for inbound in received.messages for reply in self._take(inbound))
        response: WebhookResponse = self.channel.acknowledge(received, replies, at=self.clock())
        return response.status, response.body

    def _take(self, inbound: Inbound) -> tuple[Reply, ...]:
        if inbound.dedupe_key in self.stored:
            return self.stored[inbound.dedupe_key][1]
        declaration = self.channel.declaration
        ledger = self.ledgers.get(inbound.patron, [])
        self.ledgers[inbound.patron] = open_window(ledger, declaration, inbound, at=self.clock())
        self.threads[inbound.patron] = inbound.thread or self.threads.get(inbound.patron)
        replies = self.answer(inbound)
        self.stored[inbound.dedupe_key] = (inbound, replies)
        if not declaration.passive_reply:
            for reply in replies:
                self.send(inbound.patron, reply)
        return replies

    def send(self, patron: str, reply: Reply = LATE) -> str | None:
        """Send now, and count it against the window."""
        threaded = replace(reply, thread=self.threads.get(patron))
        sent = self.channel.send(patron, threaded, key="k1", now=self.clock())
        self.ledgers[patron] = spend(self.ledgers.get(patron, []), now=self.clock())
        return sent

    def may_send(self, patron: str) -> bool:
        return can_send(self.ledgers.get(patron, []), now=self.clock())

    @property
    def heard(self) -> list[Inbound]:
        return [inbound for inbound, _ in self.stored.values()]


def request_of(call: Call) -> WebhookRequest:
    return WebhookRequest(call.method, call.query, call.headers, call.body)


def outcome(channel: Channel, request: WebhookRequest, *, now: datetime = SUNDAY) -> Any:
    """What a request was read as, or how it was refused; any other failure is one."""
    try:
        received: Received = channel.receive(request, now=now)
    except Refused as refusal:
        return refusal
    for inbound in received.messages:
        kept = (inbound.patron, inbound.text, inbound.dedupe_key, inbound.payload or "")
        assert inbound.patron
        assert inbound.dedupe_key
        assert "\x00" not in "".join(kept).encode().decode()
    return received


# --- what attackers send -----------------------------------------------------------------

_NOISE = ("", "\xff\xe9", "字", "\x00", "0" * 64, "sha256=", "mac=", "a" * 10_000)


def mutations(
    call: Call, count: int, *, header: str | None, seed: int = 1, body: bool = True
) -> Iterator[Call]:
    """Requests that differ from a valid one in what its verification covers."""
    source = random.Random(seed)
    made = 0
    while made < count:
        changed = _mutated(call, source, header, body)
        if changed != call:
            made += 1
            yield changed


def _mutated(call: Call, source: random.Random, header: str | None, body: bool) -> Call:
    if header is not None and (not body or source.random() < 0.3):
        return _with_header(call, header, source)
    raw = bytearray(call.body)
    for _ in range(source.choice((1, 1, 1, 2, 8))):
        at = source.randrange(len(raw) or 1)
        match source.randrange(4):
            case 0:
                raw[at : at + 1] = bytes([source.randrange(256)])
            case 1:
                raw[at:at] = source.randbytes(source.randrange(1, 5))
            case 2:
                del raw[at : at + source.randrange(1, 9)]
            case _:
                raw = raw[at:] + raw[:at]
    return replace(call, body=bytes(raw))


def _with_header(call: Call, header: str, source: random.Random) -> Call:
    headers = dict(call.headers)
    if source.random() < 0.1:
        del headers[header]
        return replace(call, headers=headers)
    value = headers[header]
    at = source.randrange(len(value))
    headers[header] = source.choice(
        (
            source.choice(_NOISE),
            value[:at] + chr(source.randrange(32, 0x250)) + value[at + 1 :],
            value[:at],
            value + chr(source.randrange(32, 0x250)),
        )
    )
    if headers[header].strip().lower() == value.lower():
        headers[header] = ""
    return replace(call, headers=headers)


_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["\x00", "\ud800", "9" * 400, 10**30, -1, "1e999", {}, [], [[]], {"id": {}}]),
)
VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@st.composite
def altered(draw: Callable[[Any], Any], document: Any) -> Any:
    """The document with some of its parts replaced or left out."""
    if isinstance(document, dict) and document and draw(st.integers(0, 3)):
        changed = {}
        for name, value in document.items():
            match draw(st.integers(0, 7)):
                case 0:
                    continue
                case 1 | 2:
                    changed[name] = draw(altered(value))
                case _:
                    changed[name] = value
        return changed
    if isinstance(document, list) and document and draw(st.integers(0, 3)):
        return [draw(altered(value)) for value in document]
    return draw(VALUES)
