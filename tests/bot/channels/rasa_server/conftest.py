"""The library's assistant, and Rasa's side of it."""

from collections.abc import Callable

import httpx
import pytest

from bot.channels.rasa_server import RasaServer
from tests.bot.channels.library import Clock, Tokens
from tests.fakes import rasa_server as fake

SETTINGS = {"url": "http://rasa:5005"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rasa(clock: Clock) -> fake.RasaServer:
    return fake.RasaServer(clock)


@pytest.fixture
def account(rasa: fake.RasaServer, clock: Clock) -> Callable[..., RasaServer]:
    """Makes the library's account, with other settings."""

    def make(**settings: str) -> RasaServer:
        http = httpx.Client(transport=rasa.transport)
        return RasaServer("main", {**SETTINGS, **settings}, http=http, tokens=Tokens(clock))

    return make


@pytest.fixture
def channel(account: Callable[..., RasaServer]) -> RasaServer:
    return account()
