"""The library's mailbox, its mail server, and the clock that both go by."""

from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from bot.channels.email import Email
from tests.bot.channels.library import Clock
from tests.bot.channels.pulled import PullingDesk
from tests.fakes.email import PASSWORD, USER, MailServer, Writer

PAYLOADS = Path(__file__).parent / "payloads"
READER = "reader.c@example.net"


def read(raw: bytes) -> EmailMessage:
    """A mail as its receiver's program reads it."""
    return message_from_bytes(raw.replace(b"\r\n", b"\n"), policy=policy.default)  # type: ignore[return-value]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[MailServer]:
    with MailServer(clock).listening() as listening:
        yield listening


@pytest.fixture
def account(server: MailServer) -> Callable[..., Email]:
    """Makes the library's account, with further settings."""

    def make(**more: str) -> Email:
        settings = {
            "address": USER,
            "password": PASSWORD,
            "imap_host": "127.0.0.1",
            "imap_port": str(server.imap_port),
            "imap_security": "none",
            "smtp_host": "127.0.0.1",
            "smtp_port": str(server.smtp_port),
            "smtp_security": "none",
            "signing_secret": "threads of the demo",
        }
        return Email("mail", {**settings, **more}, http=None, tokens=None)  # type: ignore[arg-type]

    return make


@pytest.fixture
def channel(account: Callable[..., Email]) -> Email:
    return account(from_name="云岭大学图书馆")


@pytest.fixture
def desk(channel: Email, clock: Clock) -> PullingDesk:
    made = PullingDesk(channel, clock)
    made.fetch("INBOX")  # the first look notes where the mailbox ends
    return made


@pytest.fixture
def reader(server: MailServer) -> Writer:
    return Writer(server, READER, "Reader C")
