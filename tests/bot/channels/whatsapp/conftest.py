"""The library's number, Meta's side of it, and the clock that both go by."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bot.channels.whatsapp import WhatsApp
from tests.bot.channels.library import Clock, Desk, Tokens
from tests.fakes import whatsapp as fake

PAYLOADS = Path(__file__).parent / "payloads"
USER_ID = "VN.9001002003004005"
PHONE = "84900000001"
SETTINGS = {
    "phone_number_id": "200300400500600",
    "access_token": "EAAdemo-system-user-token",
    "app_secret": "whatsappDemoAppSecret",
    "verify_token": "readingRoom7",
}
TEMPLATE = {"template_name": "answer_ready", "template_language": "en"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def platform(clock: Clock) -> fake.WhatsApp:
    return fake.WhatsApp(clock, wait=lambda seconds: clock.advance(seconds=seconds))


@pytest.fixture
def account(platform: fake.WhatsApp, clock: Clock) -> Callable[..., WhatsApp]:
    """Makes the library's account, with further settings."""

    def make(**more: str) -> WhatsApp:
        http = httpx.Client(transport=platform.transport)
        return WhatsApp("main", {**SETTINGS, **more}, http=http, tokens=Tokens(clock))

    return make


@pytest.fixture
def channel(account: Callable[..., WhatsApp]) -> WhatsApp:
    return account(**TEMPLATE)


@pytest.fixture
def desk(channel: WhatsApp, clock: Clock) -> Desk:
    return Desk(channel, clock)


@pytest.fixture
def patron(platform: fake.WhatsApp, desk: Desk) -> fake.Patron:
    return platform.patron(USER_ID, desk, phone=PHONE)
