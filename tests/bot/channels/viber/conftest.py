"""The library's bot, Viber's side of it, and the clock that both go by."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bot.channels.viber import Viber
from tests.bot.channels.library import Clock, Desk, Tokens
from tests.fakes import viber as fake

PAYLOADS = Path(__file__).parent / "payloads"
USER_ID = "demoViberUser01=="
SETTINGS = {"auth_token": "4f-demo-viber-token-0001", "sender_name": "Library Desk"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def platform(clock: Clock) -> fake.Viber:
    return fake.Viber(clock, wait=lambda seconds: clock.advance(seconds=seconds))


@pytest.fixture
def account(platform: fake.Viber, clock: Clock) -> Callable[..., Viber]:
    """Makes the library's account, with further settings."""

    def make(**more: str) -> Viber:
        http = httpx.Client(transport=platform.transport)
        return Viber("main", {**SETTINGS, **more}, http=http, tokens=Tokens(clock))

    return make


@pytest.fixture
def channel(account: Callable[..., Viber]) -> Viber:
    return account()


@pytest.fixture
def desk(channel: Viber, clock: Clock) -> Desk:
    return Desk(channel, clock)


@pytest.fixture
def patron(platform: fake.Viber, desk: Desk) -> fake.Patron:
    return platform.patron(USER_ID, desk)
