"""Staff, their sessions and tokens, and the log of what they did."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from tracker.columns import Base
from tracker.models import Id


class Role(StrEnum):
    """What a member of staff may do; each role may do what those before it may."""

    LIBRARIAN = "librarian"
    MANAGER = "manager"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


class Staff(Base):
    """A member of staff of one library; an admin without a library runs the installation."""

    __tablename__ = "staff"
    __table_args__ = (Index(None, "library_id", "role"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int | None] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(Text, unique=True)  # lower case
    name: Mapped[str] = mapped_column(Text)  # as the patron may read it
    role: Mapped[str] = mapped_column(Text)  # a Role
    language: Mapped[str | None] = mapped_column(Text)  # of the pages; None: the browser's
    password_hash: Mapped[str | None] = mapped_column(Text)  # argon2id; None: not set yet
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class StaffSession(Base):
    """One signed-in browser. Only a hash of its cookie is kept."""

    __tablename__ = "staff_session"
    __table_args__ = (Index(None, "expires_at"),)

    token_hash: Mapped[str] = mapped_column(Text, primary_key=True)
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), index=True)
    library_id: Mapped[int | None] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    staff: Mapped[Staff] = relationship(lazy="joined", innerjoin=True)


class PasswordLink(Base):
    """A single-use link with which somebody sets their password. Only its hash is kept."""

    __tablename__ = "password_link"

    token_hash: Mapped[str] = mapped_column(Text, primary_key=True)
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SignInAttempt(Base):
    """A password that was tried. The account is kept as a keyed hash, known or not."""

    __tablename__ = "sign_in_attempt"
    __table_args__ = (Index(None, "account", "at"), Index("ix_sign_in_attempt_at", "at"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    account: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class ApiToken(Base):
    """A bearer token for the JSON API, of one member of staff or one integration."""

    __tablename__ = "api_token"
    __table_args__ = (Index(None, "library_id", "created_at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    staff_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)  # a Role
    token_hash: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    staff: Mapped[Staff | None] = relationship(lazy="joined")


class AuditEntry(Base):
    """One action of staff. Each row's hash covers the row before it; none is ever changed."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index(None, "library_id", "at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)  # no gaps
    library_id: Mapped[int | None] = mapped_column(Id)  # survives its library
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)  # e-mail address, "cli" or a token's name
    action: Mapped[str] = mapped_column(Text)  # such as "staff.add"
    subject: Mapped[str] = mapped_column(Text)  # what it was done to
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    previous: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary)


class StaffAlert(Base):
    """An e-mail about a waiting question that has been sent to staff, so that it goes once."""

    __tablename__ = "staff_alert"
    __table_args__ = (UniqueConstraint("library_id", "consultation_id", "reason"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    consultation_id: Mapped[int] = mapped_column(ForeignKey("consultation.id", ondelete="CASCADE"))
    reason: Mapped[str] = mapped_column(Text)  # waiting, urgent, due_soon or overdue
    sent_at: Mapped[datetime]


class Erasure(Base):
    """A patron whose data was erased, as a keyed hash: a restored backup erases them again."""

    __tablename__ = "erasure"
    __table_args__ = (UniqueConstraint("library_id", "patron_hash"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    patron_hash: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class AlertDestination(Base):
    """A group robot or a program that is told when somebody waits."""

    __tablename__ = "alert_destination"
    __table_args__ = (UniqueConstraint("library_id", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)  # a kind of api.robots
    host: Mapped[str] = mapped_column(Text)  # of its address, which itself is a secret
    sealed: Mapped[str] = mapped_column(Text)  # address and secret, encrypted
    language: Mapped[str] = mapped_column(Text)
    wants_digest: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]  # it said that it is gone
    problem: Mapped[str | None] = mapped_column(Text)  # of the last attempt


class AlertMessage(Base):
    """One message to one destination or manager, kept until it is sent or given up."""

    __tablename__ = "alert_message"
    __table_args__ = (
        UniqueConstraint("library_id", "once"),
        Index(None, "state", "next_attempt_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    destination_id: Mapped[int | None] = mapped_column(
        ForeignKey("alert_destination.id", ondelete="CASCADE"), index=True
    )
    email: Mapped[str | None] = mapped_column(Text)  # where there is no destination
    once: Mapped[str] = mapped_column(Text)  # of messages that say the same, one is kept
    key: Mapped[str] = mapped_column(Text)  # what the receiver knows a repetition by
    kind: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    state: Mapped[str] = mapped_column(Text, default="new")  # sending, sent, uncertain, dead
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None]
    leased_by: Mapped[str | None] = mapped_column(Text)
    leased_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    problem: Mapped[str | None] = mapped_column(Text)


class Upload(Base):
    """A file that a patron sent, with its content; see api.uploads."""

    __tablename__ = "upload"
    __table_args__ = (Index(None, "library_id", "conversation_id", "at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(Text, unique=True)  # random: nobody can guess a file
    name: Mapped[str] = mapped_column(Text)  # for people; no path is ever made of it
    content_type: Mapped[str] = mapped_column(Text)  # from what is in it, not from its sender
    size: Mapped[int]  # bytes
    data: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    at: Mapped[datetime]
