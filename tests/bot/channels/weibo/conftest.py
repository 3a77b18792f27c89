"""The library's account, Weibo's side of it, and the clock that both go by."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bot.channels.weibo import Weibo
from tests.bot.channels.library import Clock, Desk, Tokens
from tests.fakes import weibo as fake

PAYLOADS = Path(__file__).parent / "payloads"
UID = 5004003002
SETTINGS = {"app_secret": "weiboDemoAppSecret9", "access_token": "2.00demoWeiboToken"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def platform(clock: Clock) -> fake.Weibo:
    return fake.Weibo(clock, wait=lambda seconds: clock.advance(seconds=seconds))


@pytest.fixture
def account(platform: fake.Weibo, clock: Clock) -> Callable[..., Weibo]:
    """Makes the library's account, with further settings."""

    def make(**more: str) -> Weibo:
        http = httpx.Client(transport=platform.transport)
        return Weibo("main", {**SETTINGS, **more}, http=http, tokens=Tokens(clock))

    return make


@pytest.fixture
def channel(account: Callable[..., Weibo]) -> Weibo:
    return account()


@pytest.fixture
def desk(channel: Weibo, clock: Clock) -> Desk:
    return Desk(channel, clock)


@pytest.fixture
def patron(platform: fake.Weibo, desk: Desk) -> fake.Patron:
    return platform.patron(UID, desk)
