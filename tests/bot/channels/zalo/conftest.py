"""The library's account, Zalo's side of it, and the clock that both go by."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bot.channels.zalo import Zalo
from tests.bot.channels.library import Clock, Desk, Tokens
from tests.fakes import zalo as fake

PAYLOADS = Path(__file__).parent / "payloads"
USER_ID = "8001002003004005006"
SETTINGS = {
    "app_id": "1234567890123456789",
    "app_secret": "zaloDemoAppSecret",
    "oa_secret_key": "zaloDemoOASecretKey",
    "refresh_token": "zaloDemoRefreshToken0",
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(clock)


@pytest.fixture
def platform(clock: Clock) -> fake.Zalo:
    return fake.Zalo(clock, wait=lambda seconds: clock.advance(seconds=seconds))


@pytest.fixture
def account(platform: fake.Zalo, tokens: Tokens) -> Callable[..., Zalo]:
    """Makes the library's account, with further settings."""

    def make(**more: str) -> Zalo:
        http = httpx.Client(transport=platform.transport)
        return Zalo("main", {**SETTINGS, **more}, http=http, tokens=tokens)

    return make


@pytest.fixture
def channel(account: Callable[..., Zalo]) -> Zalo:
    return account()


@pytest.fixture
def desk(channel: Zalo, clock: Clock) -> Desk:
    return Desk(channel, clock)


@pytest.fixture
def patron(platform: fake.Zalo, desk: Desk) -> fake.Patron:
    return platform.patron(USER_ID, desk)
