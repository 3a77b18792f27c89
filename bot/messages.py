"""Inbound and Reply: the only shapes that cross a channel's edge."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self


class InboundKind(StrEnum):
    """What a patron's message is, whatever the channel calls it."""

    TEXT = "text"
    CHOICE = "choice"  # a tapped quick reply; `payload` names it
    IMAGE = "image"
    VOICE = "voice"  # `text` holds the recognised words, where the channel gives them
    LOCATION = "location"
    FILE = "file"
    FOLLOW = "follow"  # the patron opened or subscribed; opens no consultation
    UNFOLLOW = "unfollow"
    EVENT = "event"  # anything else that opens or refreshes a reply window


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message of a patron, verified and translated from its channel's form."""

    patron: str  # the channel's stable id of the patron
    text: str
    dedupe_key: str  # unique per channel account; the same message has the same key
    kind: InboundKind = InboundKind.TEXT
    payload: str | None = None  # of a tapped choice
    sent_at: datetime | None = None  # the provider's time, UTC; None where it gives none
    media: str | None = None  # reference to an image, voice or file
    display_name: str | None = None
    event: str | None = None  # the channel's own name of the event that opened a reply window
    original: str | None = None  # all that was written, where `text` is only what is new in it
    answers: str | None = None  # the key of the reply of ours that this verifiably answers
    thread: dict[str, str] | None = None  # what the channel needs to answer in the same thread
    aliases: tuple[str, ...] = ()  # other ids by which the channel has known this patron
    quiet: bool = False  # perhaps a machine's: a librarian reads it, and nothing answers by itself


@dataclass(frozen=True, slots=True)
class Choice:
    """A quick reply: what the patron reads, and what comes back when it is tapped."""

    label: str
    payload: str


class ReplyKind(StrEnum):
    """Why we say it. Only ANSWER and LIBRARIAN can be feedback (METRICS.md section 1)."""

    ANSWER = "answer"  # the bot's answer from the knowledge base
    CHOICES = "choices"  # "did you mean ...?"
    ACKNOWLEDGEMENT = "acknowledgement"  # a librarian will answer, and by when
    NOTICE = "notice"  # greeting, thanks, privacy, "joined"
    CRISIS = "crisis"
    LIBRARIAN = "librarian"


@dataclass(frozen=True, slots=True)
class Reply:
    """One thing we say to a patron, before any channel has shaped it."""

    text: str
    kind: ReplyKind
    choices: tuple[Choice, ...] = ()
    entry: str | None = None  # the entry that it quotes
    link: str | None = None
    quote: str | None = None  # the question that a late answer belongs to
    by: str | None = None  # the librarian's name as the patron may read it
    thread: dict[str, str] | None = None  # of the patron's last message (Inbound.thread)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without the fields that are empty."""
        said = {
            "text": self.text,
            "kind": self.kind,
            "choices": [{"label": each.label, "payload": each.payload} for each in self.choices],
            "entry": self.entry,
            "link": self.link,
            "quote": self.quote,
            "by": self.by,
            "thread": self.thread,
        }
        return {name: value for name, value in said.items() if value is not None and value != []}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        choices = tuple(Choice(**choice) for choice in data.get("choices", ()))
        return cls(**{**data, "kind": ReplyKind(data["kind"]), "choices": choices})


class SendFailure(StrEnum):
    """Why a message did not go out, and so what to do next."""

    RETRY = "retry"  # try again later; nothing reached the patron
    WINDOW_CLOSED = "window_closed"  # the channel's reply window is over: use the next way
    PERMANENT = "permanent"  # retrying cannot help
    UNCERTAIN = "uncertain"  # it may have arrived; a librarian decides


@dataclass(frozen=True, slots=True)
class Undelivered:
    """News of a message that the channel had accepted: it did not reach the patron after all.

    The message is named by the key that `send` was given, or by the id that it returned.
    """

    key: str | None
    failure: SendFailure  # WINDOW_CLOSED: the next way may still work
    reason: str
    code: str | None = None
    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """News of a message that the channel had accepted: it is on the patron's device."""

    key: str | None
    provider_id: str | None = None
    at: datetime | None = None  # the provider's time
    seen: bool = False  # the patron has opened it


@dataclass(frozen=True, slots=True)
class OneBody:
    """A signature that does not cover the body, and the body that came under it.

    The core admits each signature with one body only, whichever process it comes to.
    """

    signature: str
    digest: str


@dataclass(frozen=True, slots=True)
class Received:
    """What one webhook request held: messages, and what the passive reply must know."""

    messages: tuple[Inbound, ...] = ()
    handshake: "WebhookResponse | None" = None  # answer this and do nothing else
    reply_context: dict[str, str] = field(default_factory=dict)  # the adapter's own, opaque
    waiting: "tuple[Waiting, ...]" = ()  # messages that must be fetched: see base.Pulling
    from_staff: "tuple[StaffMessage, ...]" = ()  # written by librarians: see base.Staffroom
    undelivered: tuple[Undelivered, ...] = ()  # of what we sent
    arrived: tuple[Arrived, ...] = ()
    one_body: OneBody | None = None  # where the signature does not cover the body


@dataclass(frozen=True, slots=True)
class Waiting:
    """A channel's word that messages lie ready for us to fetch."""

    source: str  # the part of the account that they are in
    hint: str | None = None  # what came with the word and lets us fetch, short-lived


@dataclass(frozen=True, slots=True)
class StaffMessage:
    """What a librarian wrote in the thread of a case, on a channel where librarians work."""

    thread: str  # what posting the case returned
    author: str  # the channel's id of the librarian
    text: str
    dedupe_key: str  # unique per channel account
    is_note: bool = False  # for colleagues, not for the patron


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A request as it came: raw bytes, lower-case header names, decoded query."""

    method: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """What the channel's server gets back."""

    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
