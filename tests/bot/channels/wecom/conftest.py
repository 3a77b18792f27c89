"""The library's desk in WeCom, the company's side of it, and the clock that both go by."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bot.channels.wecom import WeCom
from tests.bot.channels.library import Clock, Tokens
from tests.bot.channels.pulled import PullingDesk
from tests.fakes import wecom as fake

PAYLOADS = Path(__file__).parent / "payloads"
READER = "wmDemoReader01"
TO = f"{fake.DESK}/{READER}"
SETTINGS = {
    "corp_id": "ww8c41f7a2d90b35e6",
    "secret": "wecomDemoSecret",
    "token": "lendingDesk3",
    "encoding_aes_key": "Qm9va3NoZWxmV2luZG93TGFtcERlc2tRdWlldEhvdXb",
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def platform(clock: Clock) -> fake.WeCom:
    return fake.WeCom(clock, wait=lambda seconds: clock.advance(seconds=seconds))


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(clock)


@pytest.fixture
def account(platform: fake.WeCom, tokens: Tokens) -> Callable[..., WeCom]:
    """Makes the library's account, with further settings."""

    def make(**more: str) -> WeCom:
        http = httpx.Client(transport=platform.transport)
        return WeCom("main", {**SETTINGS, **more}, http=http, tokens=tokens)

    return make


@pytest.fixture
def channel(account: Callable[..., WeCom]) -> WeCom:
    return account()


@pytest.fixture
def desk(channel: WeCom, clock: Clock) -> PullingDesk:
    return PullingDesk(channel, clock)


@pytest.fixture
def patron(platform: fake.WeCom, desk: PullingDesk) -> fake.Patron:
    return platform.patron(READER, desk)
