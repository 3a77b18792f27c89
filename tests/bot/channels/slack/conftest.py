"""The library's app, Slack's side of it, and the clock that both go by."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bot.channels.slack import Slack
from tests.bot.channels.library import Clock, Desk, Tokens
from tests.fakes import slack as fake

PAYLOADS = Path(__file__).parent / "payloads"
READER = "U0READER"
SETTINGS = {"bot_token": "xoxb-demo-not-real", "signing_secret": "slackDemoSigningSecret"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def platform(clock: Clock) -> fake.Slack:
    return fake.Slack(clock, wait=lambda seconds: clock.advance(seconds=seconds))


@pytest.fixture
def account(platform: fake.Slack, clock: Clock) -> Callable[..., Slack]:
    """Makes the library's app, with further settings."""

    def make(**more: str) -> Slack:
        http = httpx.Client(transport=platform.transport)
        return Slack("main", {**SETTINGS, **more}, http=http, tokens=Tokens(clock))

    return make


@pytest.fixture
def channel(account: Callable[..., Slack]) -> Slack:
    return account(staff_channel=fake.ROOM)


@pytest.fixture
def desk(channel: Slack, clock: Clock) -> Desk:
    return Desk(channel, clock)


@pytest.fixture
def patron(platform: fake.Slack, desk: Desk) -> fake.Person:
    return platform.person(READER, desk)
