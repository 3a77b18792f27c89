"""Live notices: whoever watches a desk or a conversation hears that something has changed.

A notice is a hint, never the truth: it says where to look, and a page that missed one finds
everything in the database. So nothing here is stored, and a lost notice loses nothing.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import redis
import structlog

log = structlog.get_logger(__name__)

WAITING_LIMIT = 256  # notices that a slow reader may have before it must look everywhere
RESYNC = "resync"  # the topic of a notice that says: something was missed, read everything anew
CHANNEL = "refdesk:notices"
RECONNECT_SECONDS = 1.0
POLL_SECONDS = 1.0


def desk_topic(library_id: int) -> str:
    """What librarians of a library watch."""
    return f"desk:{library_id}"


def conversation_topic(conversation_id: int) -> str:
    """What a patron's widget, and a librarian reading along, watch."""
    return f"conversation:{conversation_id}"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something has changed; `data` says what, without any text of a patron."""

    topic: str
    data: dict[str, Any]


class Subscription(AsyncIterator[Notice]):
    """The notices of some topics, from the moment it was made. Close it when done."""

    def __init__(self, hub: "Hub", topics: Iterable[str]) -> None:
        self.topics = frozenset(topics)
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Notice] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    def offer(self, notice: Notice) -> None:
        """Hand over a notice from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._put, notice)
        except RuntimeError:  # the reader's event loop has been closed: nobody listens
            self._hub.remove(self)

    def _put(self, notice: Notice) -> None:
        if len(self._waiting) >= WAITING_LIMIT:
            self._waiting.clear()
            notice = Notice(RESYNC, {})
        self._waiting.append(notice)
        self._arrived.set()

    async def __anext__(self) -> Notice:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """Stop listening; a reader who waits is let go."""
        self._closed = True
        self._hub.remove(self)
        self._arrived.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class EventBus(Protocol):
    """Carries notices from whoever changed something to whoever watches it."""

    def publish(self, *notices: Notice) -> None:
        """Tell everyone who watches their topics; callable from any thread, never raises."""
        ...

    async def subscribe(self, topics: Iterable[str]) -> Subscription:
        """Start to listen: `async with await bus.subscribe([...]) as notices`.

        A notice published after this returns is not missed, so read the state afterwards.
        """
        ...

    def is_healthy(self) -> bool: ...

    def close(self) -> None: ...


class Hub:
    """Who listens to what within this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_topic: dict[str, set[Subscription]] = {}

    def add(self, subscription: Subscription) -> None:
        with self._lock:
            for topic in subscription.topics:
                self._by_topic.setdefault(topic, set()).add(subscription)

    def remove(self, subscription: Subscription) -> None:
        with self._lock:
            for topic in subscription.topics:
                listeners = self._by_topic.get(topic, set())
                listeners.discard(subscription)
                if not listeners:
                    self._by_topic.pop(topic, None)

    def spread(self, notice: Notice) -> None:
        with self._lock:
            listeners = list(self._by_topic.get(notice.topic, ()))
        for subscription in listeners:
            subscription.offer(notice)

    def spread_to_all(self, notice: Notice) -> None:
        with self._lock:
            listeners = {each for group in self._by_topic.values() for each in group}
        for subscription in listeners:
            subscription.offer(notice)


class InProcessBus:
    """For one web process with its worker inside: no service needed."""

    def __init__(self) -> None:
        self._hub = Hub()

    def publish(self, *notices: Notice) -> None:
        for notice in notices:
            self._hub.spread(notice)

    async def subscribe(self, topics: Iterable[str]) -> Subscription:
        subscription = Subscription(self._hub, topics)
        self._hub.add(subscription)
        return subscription

    def is_healthy(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing is held."""


class RedisBus:
    """For several processes: each hears all notices over one connection and picks its own."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2)
        self._hub = Hub()
        self._stopping = threading.Event()
        self._listening = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def publish(self, *notices: Notice) -> None:
        """Send to every process; with Redis away, pages catch up when they look again."""
        told = [[notice.topic, notice.data] for notice in notices]
        try:
            self._client.publish(CHANNEL, json.dumps(told))
        except redis.RedisError as error:
            log.warning("notice_not_published", error=type(error).__name__)

    async def subscribe(self, topics: Iterable[str]) -> Subscription:
        self._start()
        subscription = Subscription(self._hub, topics)
        self._hub.add(subscription)
        await asyncio.to_thread(self._listening.wait, 5)
        return subscription

    def is_healthy(self) -> bool:
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    def close(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * POLL_SECONDS)
        self._client.close()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except redis.RedisError as error:
                self._listening.clear()
                log.warning("notices_interrupted", error=type(error).__name__)
                self._stopping.wait(RECONNECT_SECONDS)

    def _listen(self) -> None:
        with self._client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe(CHANNEL)
            while not self._stopping.is_set():
                message = pubsub.get_message(timeout=POLL_SECONDS)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    self._listening.set()
                    self._hub.spread_to_all(Notice(RESYNC, {}))
                elif message["type"] == "message":
                    for topic, data in json.loads(message["data"]):
                        self._hub.spread(Notice(topic, data))


def create_bus(redis_url: str | None) -> EventBus:
    """The bus that this installation's size asks for."""
    return RedisBus(redis_url) if redis_url else InProcessBus()
