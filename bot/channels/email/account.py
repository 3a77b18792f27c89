"""A library's mailbox: its settings, checked when they are read."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from bot.channels.base import Declaration, read_settings
from bot.channels.email.addresses import address_in

REQUIRED = ("address", "imap_host", "smtp_host", "password")
SECRET = ("password", "smtp_password", "signing_secret")
OPTIONAL = (
    "user",
    "from_name",
    "imap_port",
    "imap_security",
    "folder",
    "smtp_port",
    "smtp_security",
    "smtp_user",
    "smtp_password",
    "plus_addressing",
    "poll_seconds",
    "signing_secret",
)
TLS, STARTTLS, NONE = "tls", "starttls", "none"
_IMAP_PORTS = {TLS: 993, STARTTLS: 143, NONE: 143}
_SMTP_PORTS = {TLS: 465, STARTTLS: 587, NONE: 25}
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}
SOONEST_POLL, LATEST_POLL = 5, 3600  # seconds


@dataclass(frozen=True, slots=True)
class Server:
    """Where a mail server listens, and how we sign in."""

    host: str
    port: int
    security: str  # tls | starttls | none
    user: str
    password: str

    def __repr__(self) -> str:
        return f"Server({self.host!r}, {self.port})"


@dataclass(frozen=True, slots=True)
class Account:
    """One mailbox, and the server that takes our answers."""

    address: str
    from_name: str
    folder: str
    imap: Server
    smtp: Server
    plus_addressing: bool  # the server delivers ask+anything@ to ask@
    poll_seconds: float
    signing_key: bytes

    def __repr__(self) -> str:
        return f"Account({self.address!r})"

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @classmethod
    def read(cls, declaration: Declaration, settings: Mapping[str, str]) -> "Account":
        """Raises ValueError with a sentence for what is wrong."""
        free = ("from_name", "folder", "password", "smtp_password", "signing_secret")
        given = read_settings(declaration, settings, free_text=free)
        address = address_in(given["address"])
        if address is None:
            raise ValueError("The setting address must be the mailbox's e-mail address.")
        if any(not name.isprintable() for name in given.values()):
            raise ValueError("A setting holds a control character.")
        user = given.get("user", address)
        smtp_user = given.get("smtp_user", user)
        smtp_password = given.get("smtp_password", given["password"])
        secret = given.get("signing_secret", given["password"])
        return cls(
            address=address,
            from_name=given.get("from_name", ""),
            folder=given.get("folder", "INBOX"),
            imap=_server(
                given,
                "imap",
                ports=_IMAP_PORTS,
                usual=TLS,
                user=user,
                password=given["password"],
            ),
            smtp=_server(
                given,
                "smtp",
                ports=_SMTP_PORTS,
                usual=STARTTLS,
                user=smtp_user,
                password=smtp_password,
            ),
            plus_addressing=_truth(given, "plus_addressing"),
            poll_seconds=_number(given, "poll_seconds", 20, SOONEST_POLL, LATEST_POLL),
            signing_key=hashlib.sha256(b"refdesk e-mail threads\0" + secret.encode()).digest(),
        )


def _server(
    given: Mapping[str, str],
    kind: str,
    *,
    ports: Mapping[str, int],
    usual: str,
    user: str,
    password: str,
) -> Server:
    host, security = given[f"{kind}_host"], given.get(f"{kind}_security", usual)
    if security not in ports:
        raise ValueError(f"The setting {kind}_security must be tls, starttls or none.")
    if security == NONE and host not in _THIS_MACHINE:
        raise ValueError(f"The setting {kind}_security may be none only for this machine itself.")
    port = int(_number(given, f"{kind}_port", ports[security], 1, 65535))
    return Server(host, port, security, user, password)


def _number(
    given: Mapping[str, str], name: str, usual: float, smallest: int, largest: int
) -> float:
    text = given.get(name, str(usual))
    if not text.isascii() or not text.isdigit() or not smallest <= int(text) <= largest:
        raise ValueError(f"The setting {name} must be a number from {smallest} to {largest}.")
    return int(text)


def _truth(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "false").lower()
    if value not in {"true", "false"}:
        raise ValueError(f"The setting {name} must be true or false.")
    return value == "true"
