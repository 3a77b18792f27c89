"""Accounts, patrons, conversations, and what came in and goes out."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from tracker.columns import Base


class ChannelAccount(Base):
    """A library's account on one channel, with its settings; secrets are kept encrypted."""

    __tablename__ = "channel_account"
    __table_args__ = (Index(None, "library_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    kind: Mapped[str]  # a key of bot.channels.CHANNELS
    name: Mapped[str] = mapped_column(unique=True)  # in the webhook's path
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    secrets: Mapped[str | None]  # JSON, encrypted by api.crypto
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]
    failures_in_row: Mapped[int] = mapped_column(default=0)
    paused_until: Mapped[datetime | None]  # the circuit breaker: no sending before this


class Patron(Base):
    """A person who asks, as little of them as an answer needs."""

    __tablename__ = "patron"
    __table_args__ = (Index(None, "library_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    display_name: Mapped[str | None]
    email: Mapped[str | None]  # for late answers, given by the patron
    created_at: Mapped[datetime]


class Conversation(Base):
    """A patron's talk with a library over one channel account; never ends, only pauses."""

    __tablename__ = "conversation"
    __table_args__ = (
        UniqueConstraint("library_id", "account_id", "external_id"),
        Index(None, "library_id", "patron_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    account_id: Mapped[int] = mapped_column(ForeignKey("channel_account.id", ondelete="CASCADE"))
    patron_id: Mapped[int | None] = mapped_column(ForeignKey("patron.id", ondelete="SET NULL"))
    external_id: Mapped[str]  # the channel's id of the patron
    issued: Mapped[bool] = mapped_column(default=False)  # we made the id; late answers may go
    language: Mapped[str] = mapped_column(default="zh-Hans")  # zh-Hans | zh-Hant | en | vi
    position: Mapped[int] = mapped_column(default=0)  # of the newest message, either way
    read_position: Mapped[int] = mapped_column(default=0)  # the newest that the patron has seen
    state: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # bot.conversation.State
    windows: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)  # bot.windows
    thread: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)  # of the last message
    last_patron_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    account: Mapped[ChannelAccount] = relationship(lazy="joined", innerjoin=True)
    patron: Mapped[Patron | None] = relationship()


class Inbox(Base):
    """One message of a patron, stored once whatever the provider repeats."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("library_id", "account_id", "dedupe_key"),
        UniqueConstraint("library_id", "conversation_id", "position"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    account_id: Mapped[int] = mapped_column(ForeignKey("channel_account.id", ondelete="CASCADE"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    consultation_id: Mapped[int | None]
    dedupe_key: Mapped[str]
    position: Mapped[int]
    kind: Mapped[str]  # a bot.messages.InboundKind
    text: Mapped[str] = mapped_column(Text)
    original: Mapped[str | None] = mapped_column(Text)  # with what it quotes; None: `text` is all
    payload: Mapped[str | None]
    media: Mapped[str | None]
    sent_at: Mapped[datetime | None]  # the provider's clock
    received_at: Mapped[datetime]  # ours
    replies: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)  # the first result


class OutboxState(StrEnum):
    """Where a waiting reply stands (RELIABILITY.md)."""

    NEW = "new"  # to be sent at next_attempt_at; none: held until the patron's next contact
    SENDING = "sending"  # leased by a worker until leased_until
    SENT = "sent"  # the channel accepted it
    UNCERTAIN = "uncertain"  # it may have arrived; a librarian decides
    DEAD = "dead"  # given up, with its reason
    FENCED = "fenced"  # restored from a backup; an operator must release it


class Outbox(Base):
    """One reply on its way to a patron, in the order of its conversation."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("library_id", "conversation_id", "position"),
        Index("ix_outbox_due", "state", "next_attempt_at"),  # the worker's lease
        Index(
            "ix_outbox_unsent",  # head of line within a conversation
            "conversation_id",
            "position",
            sqlite_where=text("state IN ('new', 'sending')"),
            postgresql_where=text("state IN ('new', 'sending')"),
        ),
        Index(
            "ix_outbox_provider_id",  # news of a message that the channel had accepted
            "provider_id",
            sqlite_where=text("provider_id IS NOT NULL"),
            postgresql_where=text("provider_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    consultation_id: Mapped[int | None]
    position: Mapped[int]
    key: Mapped[str] = mapped_column(unique=True)  # stable over retries
    via: Mapped[str | None]  # None: the conversation's channel; "email": the patron's address
    reply: Mapped[dict[str, Any]] = mapped_column(JSON)
    by: Mapped[str]  # "bot" or the librarian's e-mail address
    substantive: Mapped[bool] = mapped_column(default=True)  # False: a staff holding reply
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    attempt_log: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    next_attempt_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    leased_by: Mapped[str | None]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    provider_id: Mapped[str | None]

    conversation: Mapped[Conversation] = relationship()


class ChannelToken(Base):
    """An access token that all workers share, refreshed under this row's lock."""

    __tablename__ = "channel_token"

    key: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[str | None]  # encrypted by api.crypto
    expires_at: Mapped[datetime | None]


class ChannelCursor(Base):
    """How far we have read in a source from which a channel's messages must be fetched."""

    __tablename__ = "channel_cursor"
    __table_args__ = (
        UniqueConstraint("library_id", "account_id", "source"),
        Index("ix_channel_cursor_due", "due_at"),  # the worker's round
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    account_id: Mapped[int] = mapped_column(ForeignKey("channel_account.id", ondelete="CASCADE"))
    source: Mapped[str]  # the part of the account, as the channel names it
    cursor: Mapped[str | None] = mapped_column(Text)  # all before it is stored; None: nothing yet
    hint: Mapped[str | None] = mapped_column(Text)  # what the webhook gave to fetch with
    due_at: Mapped[datetime | None]  # None: being fetched, and no further word since
    leased_by: Mapped[str | None]
    leased_until: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(default=0)  # in a row

    account: Mapped[ChannelAccount] = relationship(lazy="joined", innerjoin=True)


class SeenSignature(Base):
    """Which body came under a signature that does not cover it; kept while it could be replayed."""

    __tablename__ = "seen_signature"
    __table_args__ = (Index(None, "at"),)

    account_id: Mapped[int] = mapped_column(
        ForeignKey("channel_account.id", ondelete="CASCADE"), primary_key=True
    )
    signature: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]  # of the body
    at: Mapped[datetime]


class StaffPost(Base):
    """One message between a consultation and the thread that librarians have about it.

    The first, with the key "case:<id>", opens the thread. What librarians write there has the
    key "in:<the channel's id>".
    """

    __tablename__ = "staff_post"
    __table_args__ = (
        UniqueConstraint("library_id", "account_id", "key"),
        Index(None, "account_id", "thread"),
        Index("ix_staff_post_due", "due_at"),  # the worker's round
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    account_id: Mapped[int] = mapped_column(ForeignKey("channel_account.id", ondelete="CASCADE"))
    consultation_id: Mapped[int | None] = mapped_column(
        ForeignKey("consultation.id", ondelete="CASCADE")
    )
    key: Mapped[str]
    thread: Mapped[str | None]  # None until the first message is posted
    author: Mapped[str | None]  # the channel's id of the librarian; None: we wrote it
    text: Mapped[str | None] = mapped_column(Text)  # removed when it has been dealt with
    is_note: Mapped[bool] = mapped_column(default=False)  # for colleagues, not for the patron
    told_event_id: Mapped[int | None]  # of the first post: events up to here are in the thread
    due_at: Mapped[datetime | None]  # None: dealt with, or given up
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]

    account: Mapped[ChannelAccount] = relationship(lazy="joined", innerjoin=True)


class LinkCode(Base):
    """A code that links the conversation of whoever uses it with this one; see bot.linking."""

    __tablename__ = "link_code"
    __table_args__ = (UniqueConstraint("library_id", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    conversation_id: Mapped[int] = mapped_column(
        ForeignKey("conversation.id", ondelete="CASCADE"), index=True
    )
    digest: Mapped[str]
    until: Mapped[datetime]
