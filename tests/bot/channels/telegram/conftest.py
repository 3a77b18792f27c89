"""The library's bot, Telegram's side of it, and the clock that both go by."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bot.channels.telegram import Telegram
from tests.bot.channels.library import Clock, Desk, Tokens
from tests.fakes import telegram as fake

PAYLOADS = Path(__file__).parent / "payloads"
SETTINGS = {
    "bot_token": "7001002003:AAdemo-token_for-tests",
    "webhook_secret": "reading-room-secret",
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def platform(clock: Clock) -> fake.Telegram:
    return fake.Telegram(clock, wait=lambda seconds: clock.advance(seconds=seconds))


@pytest.fixture
def account(platform: fake.Telegram, clock: Clock) -> Callable[..., Telegram]:
    """Makes the library's account, with further settings."""

    def make(**more: str) -> Telegram:
        http = httpx.Client(transport=platform.transport)
        return Telegram("main", {**SETTINGS, **more}, http=http, tokens=Tokens(clock))

    return make


@pytest.fixture
def channel(account: Callable[..., Telegram]) -> Telegram:
    return account()


@pytest.fixture
def desk(channel: Telegram, clock: Clock) -> Desk:
    return Desk(channel, clock)


@pytest.fixture
def patron(platform: fake.Telegram, desk: Desk) -> fake.Patron:
    return platform.patron(550660770, desk)
