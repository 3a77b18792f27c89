"""The library's account, Douyin's side of it, and the clock that both go by."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bot.channels.douyin import Douyin
from tests.bot.channels.library import Clock, Desk, Tokens
from tests.fakes import douyin as fake

PAYLOADS = Path(__file__).parent / "payloads"
PATRON = "open-reader-01"
SETTINGS = {
    "client_key": "awDemoClientKey",
    "client_secret": "douyinDemoClientSecret",
    "open_id": "open-library-01",
    "refresh_token": "rft.demo0",
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(clock)


@pytest.fixture
def platform(clock: Clock) -> fake.Douyin:
    return fake.Douyin(clock, wait=lambda seconds: clock.advance(seconds=seconds))


@pytest.fixture
def account(platform: fake.Douyin, tokens: Tokens) -> Callable[..., Douyin]:
    """Makes the library's account, with further settings."""

    def make(**more: str) -> Douyin:
        http = httpx.Client(transport=platform.transport)
        return Douyin("main", {**SETTINGS, **more}, http=http, tokens=tokens)

    return make


@pytest.fixture
def channel(account: Callable[..., Douyin]) -> Douyin:
    return account(access_granted="true")


@pytest.fixture
def desk(channel: Douyin, clock: Clock) -> Desk:
    return Desk(channel, clock)


@pytest.fixture
def patron(platform: fake.Douyin, desk: Desk) -> fake.Patron:
    return platform.patron(PATRON, desk)
