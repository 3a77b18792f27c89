"""How often a caller may come back: a sliding count per key, in this process or in Redis."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import redis
import structlog

log = structlog.get_logger(__name__)

KEYS_KEPT = 50_000  # then the quietest are forgotten
PREFIX = "refdesk-limit:"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` times within `seconds`."""

    count: int
    seconds: int


PUBLIC = Limit(120, 60)  # pages and chat of one address
CHANNEL = Limit(6_000, 60)  # one webhook: the platform's servers share few addresses
FILES = Limit(60, 3_600)  # of one address, which a whole campus may share
LETTERS = Limit(20, 3_600)  # that one address may have us write
STAFF_API = Limit(600, 60)  # one token
SIGN_IN_PER_ADDRESS = Limit(100, 900)


class Limiter(Protocol):
    """Counts callers."""

    def wait(self, key: str, limit: Limit) -> int:
        """Count one call; returns 0 when it may pass, else the seconds to wait."""
        ...


class Unlimited:
    """Lets everybody pass (REFDESK_RATE_LIMITS=off)."""

    def wait(self, key: str, limit: Limit) -> int:
        return 0


class InProcessLimiter:
    """Counts in two neighbouring windows; the older one weighs less as time goes by."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, int, int]] = {}  # window, in it, in the one before

    def wait(self, key: str, limit: Limit) -> int:
        moment = self._clock()
        window, into = int(moment // limit.seconds), moment % limit.seconds
        with self._lock:
            last, now, before = self._counts.pop(key, (window, 0, 0))
            if last != window:
                now, before = 0, now if last == window - 1 else 0
            passes = now + before * (1 - into / limit.seconds) < limit.count
            self._counts[key] = (window, now + passes, before)
            if len(self._counts) > KEYS_KEPT:
                self._counts.pop(next(iter(self._counts)))
        return 0 if passes else max(1, round(limit.seconds - into))


class RedisLimiter:
    """Counts for all processes together. With Redis away everybody passes: a desk stays open."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
        self._clock = clock

    def wait(self, key: str, limit: Limit) -> int:
        moment = self._clock()
        window, into = int(moment // limit.seconds), moment % limit.seconds
        name = f"{PREFIX}{key}:"
        try:
            with self._client.pipeline(transaction=False) as pipe:
                pipe.incr(f"{name}{window}")
                pipe.expire(f"{name}{window}", 2 * limit.seconds)
                pipe.get(f"{name}{window - 1}")
                now, _, before = pipe.execute()
        except redis.RedisError as error:
            log.warning("limits_unavailable", error=type(error).__name__)
            return 0
        weighed = int(before or 0) * (1 - into / limit.seconds)
        return 0 if now + weighed <= limit.count else max(1, round(limit.seconds - into))


def create_limiter(*, enabled: bool, redis_url: str | None) -> Limiter:
    """The limiter that this installation's size asks for."""
    if not enabled:
        return Unlimited()
    return RedisLimiter(redis_url) if redis_url else InProcessLimiter()
