"""What a channel is: its declaration, and the four things that it can do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import httpx

from bot.messages import Received, Reply, WebhookRequest, WebhookResponse


class Refused(Exception):
    """The request cannot be verified or read; nothing of it is kept."""

    def __init__(self, message: str, *, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


class SendFailure(StrEnum):
    """Why a message did not go out, and so what to do next."""

    RETRY = "retry"  # try again later; nothing reached the patron
    WINDOW_CLOSED = "window_closed"  # the channel's reply window is over: use the next way
    PERMANENT = "permanent"  # retrying cannot help
    UNCERTAIN = "uncertain"  # it may have arrived; a librarian decides


class SendError(Exception):
    """A message was not, or not certainly, accepted by the channel."""

    def __init__(
        self,
        message: str,
        *,
        failure: SendFailure,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.code = code
        self.retry_after = retry_after  # seconds, where the channel says


@dataclass(frozen=True, slots=True)
class Window:
    """How long, and how often, we may write after something the patron did."""

    opened_by: str  # an InboundKind's value, or the channel's own event name
    seconds: int | None  # None: for ever
    max_messages: int | None  # None: unlimited
    refills_on_message: bool = True


@dataclass(frozen=True, slots=True)
class TextLimit:
    """The longest text that one message may hold, in the channel's own unit."""

    limit: int | None
    unit: str = "chars"  # chars | bytes | utf16


@dataclass(frozen=True, slots=True)
class QuickReplies:
    """Tappable choices: how many and how long; max 0 means that we number them in the text."""

    max: int = 0
    label_limit: int = 0
    opens_window: bool = True


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the core must know of a channel (CHANNELS.md section 15)."""

    inbound: str  # push | push_then_pull | poll | socket
    signature_covers_body: bool
    ack_seconds: float
    passive_reply: bool  # the answer may travel in the webhook's response
    pushes: bool  # a late answer can be sent
    windows: tuple[Window, ...]
    late_reply: tuple[str, ...]  # in_window | template | idle_until_contact | email | web_link
    text: TextLimit
    quick_replies: QuickReplies
    idempotent_send: bool
    required_settings: tuple[str, ...]
    secret_settings: tuple[str, ...]
    optional_settings: tuple[str, ...] = ()
    typing: bool = False
    stored: bool = False  # our own log is the channel: what is stored has been accepted
    late_only_to_issued: bool = False  # late answers go only to patron ids that we made
    built_in: bool = False  # exists in every library without being added
    availability: str = "open"  # open | verified_account | paid | closed_to_new
    unverified: tuple[str, ...] = ()  # facts to confirm on a live account


class TokenStore(Protocol):
    """Access tokens that all workers share; `fetch` runs under one lock per key."""

    def get(
        self, key: str, fetch: Callable[[], tuple[str, float]], *, stale: str | None = None
    ) -> str:
        """The cached token, or what `fetch` returns (token, life in seconds).

        `stale`: a token that the platform just refused; it is never returned again.
        """
        ...


class Channel(Protocol):
    """One account on one messaging channel. It translates; it decides nothing."""

    kind: ClassVar[str]
    declaration: ClassVar[Declaration]

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify over the raw bytes, then translate. An event we do not handle is no message.

        Raises Refused when it cannot be verified or read.
        """
        ...

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """The response that stops the platform's retries, with the passive reply where it can.

        `at` is when the first reply was made: a retry gets the same bytes' worth of meaning.
        """
        ...

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send one message; returns the channel's message id. Raises SendError.

        `key` is stable over retries, for channels that take a client's id.
        """
        ...

    def check(self) -> list[str]:
        """Ask the platform whether the settings work: sentences of trouble, empty when well."""
        ...


ChannelFactory = Callable[..., Channel]
"""Called as factory(name, settings, http=httpx.Client, tokens=TokenStore)."""

Settings = Mapping[str, str]
Json = dict[str, Any]
Http = httpx.Client
