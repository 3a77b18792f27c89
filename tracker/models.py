"""The tracker's tables: libraries, calendars, consultations, events, and what is derived."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from tracker.columns import Base

# SQLite numbers rows by itself only in a column that is exactly INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")


def _known(name: str, *columns: str) -> Index:
    """An index of the rows that have a value in its last column; most have none."""
    where = text(f"{columns[-1]} IS NOT NULL")
    return Index(f"ix_consultation_{name}", *columns, sqlite_where=where, postgresql_where=where)


_UNANSWERED = "excluded_at IS NULL AND feedback_at IS NULL AND withdrawn_at IS NULL"


class Library(Base):
    """One library of the installation; every other row belongs to one."""

    __tablename__ = "library"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    timezone: Mapped[str] = mapped_column(Text)  # an IANA zone, never an offset
    languages: Mapped[list[str]] = mapped_column(JSON, default=lambda: ["zh", "en", "vi"])
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime]


class Calendar(Base):
    """One version of one calendar of a library; the newest is in force, none is changed."""

    __tablename__ = "calendar"
    __table_args__ = (UniqueConstraint("library_id", "name", "version"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)  # "desk", "building", or a branch's name
    version: Mapped[int]
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    digest: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Text)


class Consultation(Base):
    """One patron's question, from receipt to close: a fold of its events.

    `opened_at` and `opened_channel` are what came in; `received_at` and `channel` are
    what counts, which after a merge is the earliest receipt of all that was merged.
    """

    __tablename__ = "consultation"
    __table_args__ = (
        UniqueConstraint("library_id", "key"),
        Index("ix_consultation_period", "library_id", "received_at"),
        Index("ix_consultation_late", "library_id", "last_event_at"),
        Index("ix_consultation_queue", "library_id", "status", "next_due_at"),
        _known("conversation", "library_id", "conversation_id"),
        _known("merged", "library_id", "merged_into"),
        _known("due", "next_due_at"),
        _known("idle", "idle_close_at"),
        # The backlog: `tracker.counting.UNANSWERED` asks for just these.
        Index(
            "ix_consultation_unanswered",
            "library_id",
            "received_at",
            sqlite_where=text(f"{_UNANSWERED} AND handed_over = 1"),
            postgresql_where=text(f"{_UNANSWERED} AND handed_over"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(Text)  # stable outside this database; unique in its library
    conversation_id: Mapped[int | None] = mapped_column(Id)
    linked_to: Mapped[str | None] = mapped_column(Text)  # key of the consultation before it
    opened_at: Mapped[datetime]
    opened_channel: Mapped[str] = mapped_column(Text)
    clock_suspect: Mapped[bool] = mapped_column(default=False)

    # Folded from the events by tracker.fold; written by nothing else.
    received_at: Mapped[datetime]
    channel: Mapped[str] = mapped_column(Text)  # a kind of channel
    status: Mapped[str] = mapped_column(Text)
    handed_over: Mapped[bool]
    bot_first: Mapped[bool]
    bot_accepted: Mapped[bool]
    bot_at: Mapped[datetime | None]  # first bot answer that stands unrejected
    bot_rejected_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    promised_at: Mapped[datetime | None]
    first_assigned_at: Mapped[datetime | None]
    assigned_to: Mapped[str | None] = mapped_column(Text)
    feedback_at: Mapped[datetime | None]
    feedback_by: Mapped[str | None] = mapped_column(Text)
    answered_at: Mapped[datetime | None]
    answered_by: Mapped[str | None] = mapped_column(Text)
    feedback_micros: Mapped[int | None] = mapped_column(BigInteger)  # from receipt
    answered_micros: Mapped[int | None] = mapped_column(BigInteger)
    last_feedback_at: Mapped[datetime | None]
    last_reply_at: Mapped[datetime | None]  # bot answer or feedback, whichever came last
    waiting_since: Mapped[datetime | None]  # oldest patron message that nobody answered
    paused_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]  # last close that stands
    first_closed_at: Mapped[datetime | None]
    reopened_at: Mapped[datetime | None]  # first reopening after the first close
    reopen_count: Mapped[int]
    withdrawn_at: Mapped[datetime | None]
    excluded_at: Mapped[datetime | None]
    excluded_reason: Mapped[str | None] = mapped_column(Text)
    excluded_late: Mapped[bool]  # left the rate after it had missed 24 hours
    reclassified_late: Mapped[bool]  # in time only because a correction said so, after the miss
    merged_into: Mapped[str | None] = mapped_column(Text)  # key of the surviving consultation
    failed_at: Mapped[datetime | None]
    topic: Mapped[str | None] = mapped_column(Text)  # key of an entry
    language: Mapped[str | None] = mapped_column(Text)
    urgent: Mapped[bool]
    directional: Mapped[bool]
    read_scale: Mapped[int | None]
    title: Mapped[str | None] = mapped_column(Text)
    last_event_at: Mapped[datetime]
    plain: Mapped[bool] = mapped_column(default=False)
    fold_version: Mapped[int]

    # Derived from the fold and a calendar; the version is kept, so that a later calendar
    # does not change what was counted.
    calendar_version: Mapped[int | None]
    next_day_due_at: Mapped[datetime | None]

    # When the sweep must look; None: no clock runs.
    next_due_at: Mapped[datetime | None]
    idle_close_at: Mapped[datetime | None]


class Event(Base):
    """One thing that happened to a consultation. Added, never changed."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_stream", "library_id", "consultation_id", "at"),
        # Where time waited for the patron: few, and only there a time to the end needs events.
        Index(
            "ix_event_paused",
            "library_id",
            "consultation_id",
            sqlite_where=text("kind = 'paused'"),
            postgresql_where=text("kind = 'paused'"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    # Its consultation's library. A constraint of its own would be checked at every event, in
    # vain: the consultation has one.
    library_id: Mapped[int] = mapped_column(Id)
    consultation_id: Mapped[int] = mapped_column(
        ForeignKey("consultation.id", ondelete="CASCADE"), index=True
    )
    kind: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]  # when it happened, by the provider's clock where it has one
    recorded_at: Mapped[datetime]  # when we learnt of it
    by: Mapped[str | None] = mapped_column(Text)  # "patron", "bot" or a librarian
    text: Mapped[str | None] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Miss(Base):
    """One deadline that passed unmet, noticed once."""

    __tablename__ = "miss"
    __table_args__ = (
        UniqueConstraint("consultation_id", "clock", "due_at"),
        Index("ix_miss_recent", "library_id", "noticed_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    consultation_id: Mapped[int] = mapped_column(ForeignKey("consultation.id", ondelete="CASCADE"))
    clock: Mapped[str] = mapped_column(Text)  # answer, promise, next_day or next_response
    due_at: Mapped[datetime]
    noticed_at: Mapped[datetime]


class DirtyDay(Base):
    """A mark that a day's rollup is stale; many marks may name the same day.

    Marks are only added, so that two transactions of the same day never wait for each other.
    """

    __tablename__ = "dirty_day"
    __table_args__ = (Index("ix_dirty_day_day", "library_id", "day"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    day: Mapped[date] = mapped_column(Date)  # a local date of the library


class Rollup(Base):
    """Counts of one library, local day and channel: a cache, recomputed whole.

    The row of channel "" says that the day was computed, and until when it must be counted
    from its consultations instead.
    """

    __tablename__ = "rollup"
    __table_args__ = (Index("ix_rollup_channel", "library_id", "channel"),)  # which there are

    library_id: Mapped[int] = mapped_column(
        ForeignKey("library.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    channel: Mapped[str] = mapped_column(Text, primary_key=True)
    settled_at: Mapped[datetime]  # after this instant waiting alone changes no count
    received: Mapped[int] = mapped_column(default=0)
    excluded: Mapped[int] = mapped_column(default=0)
    excluded_late: Mapped[int] = mapped_column(default=0)
    withdrawn: Mapped[int] = mapped_column(default=0)
    directional: Mapped[int] = mapped_column(default=0)
    handed_over: Mapped[int] = mapped_column(default=0)
    bot_only: Mapped[int] = mapped_column(default=0)
    inclusive_within: Mapped[int] = mapped_column(default=0)
    answered_within: Mapped[int] = mapped_column(default=0)
    responded_within: Mapped[int] = mapped_column(default=0)
    next_day_within: Mapped[int] = mapped_column(default=0)
    next_day_matured: Mapped[int] = mapped_column(default=0)
    waiting: Mapped[int] = mapped_column(default=0)
    oldest_waiting_at: Mapped[datetime | None]
    confirmed: Mapped[int] = mapped_column(default=0)
    presumed: Mapped[int] = mapped_column(default=0)
    abandoned: Mapped[int] = mapped_column(default=0)
    bot_first: Mapped[int] = mapped_column(default=0)
    hours: Mapped[list[int]] = mapped_column(JSON, default=list)  # received, by local hour
    topics: Mapped[dict[str, list[int]]] = mapped_column(JSON, default=dict)  # TOPIC_COUNTS each
    # Times from receipt, in microseconds as 8-byte integers: to the first feedback, and to what
    # ended the wait for an answer. No sum of days can give a percentile; these can, exactly.
    feedback_times: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    answered_times: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    withdrawn_times: Mapped[bytes] = mapped_column(LargeBinary, default=b"")


class Report(Base):
    """What a manager writes about a period; the figures stand in its versions."""

    __tablename__ = "report"
    __table_args__ = (UniqueConstraint("library_id", "start", "end"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    start: Mapped[date] = mapped_column(Date)
    end: Mapped[date] = mapped_column(Date)
    problems: Mapped[str] = mapped_column(Text, default="")
    measures: Mapped[str] = mapped_column(Text, default="")


class ReportVersion(Base):
    """The figures of a period as they were sealed, or later restated with a reason."""

    __tablename__ = "report_version"
    __table_args__ = (UniqueConstraint("report_id", "number"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id", ondelete="CASCADE"))
    number: Mapped[int]
    sealed_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    figures: Mapped[dict[str, Any]] = mapped_column(JSON)


class ChannelActivity(Base):
    """A week of one channel's life on its platform, as the library reports it."""

    __tablename__ = "channel_activity"

    library_id: Mapped[int] = mapped_column(
        ForeignKey("library.id", ondelete="CASCADE"), primary_key=True
    )
    channel: Mapped[str] = mapped_column(Text, primary_key=True)
    week: Mapped[date] = mapped_column(Date, primary_key=True)  # its Monday
    posts: Mapped[int | None]
    pushes: Mapped[int | None]
    followers: Mapped[int | None]  # at the end of the week
    reads: Mapped[int | None]
    likes: Mapped[int | None]
    comments: Mapped[int | None]
    shares: Mapped[int | None]
    total_posts: Mapped[int | None]  # since the channel was opened
    recorded_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Text)


class ChannelPresence(Base):
    """Whether a library has a channel at all: the consortium's denominator."""

    __tablename__ = "channel_presence"

    library_id: Mapped[int] = mapped_column(
        ForeignKey("library.id", ondelete="CASCADE"), primary_key=True
    )
    channel: Mapped[str] = mapped_column(Text, primary_key=True)
    opened_on: Mapped[date | None] = mapped_column(Date)


class AnswerAudit(Base):
    """One rater's verdict on one answer of a random sample."""

    __tablename__ = "answer_audit"
    __table_args__ = (UniqueConstraint("consultation_id", "rater"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    consultation_id: Mapped[int] = mapped_column(ForeignKey("consultation.id", ondelete="CASCADE"))
    sample: Mapped[str] = mapped_column(Text)  # a name such as 2026-03
    rater: Mapped[str] = mapped_column(Text)
    correct: Mapped[bool]
    at: Mapped[datetime]


class AnswerSample(Base):
    """A random sample of answers to be rated, drawn once and kept as it was drawn."""

    __tablename__ = "answer_sample"
    __table_args__ = (UniqueConstraint("library_id", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    start: Mapped[date] = mapped_column(Date)
    end: Mapped[date] = mapped_column(Date)
    consultations: Mapped[list[int]] = mapped_column(JSON)  # in the order drawn
    drawn_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Text)


class Probe(Base):
    """A test question over a library's channel, at an instant that its staff do not know."""

    __tablename__ = "probe"
    __table_args__ = (
        Index("ix_probe_next", "state", "due_at"),
        Index("ix_probe_library", "library_id", "due_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    library_id: Mapped[int] = mapped_column(ForeignKey("library.id", ondelete="CASCADE"))
    channel: Mapped[str] = mapped_column(Text)
    question: Mapped[str] = mapped_column(Text)
    due_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(Text)  # planned, asked, found, flagged, failed
    asked_at: Mapped[datetime | None]
    consultation_id: Mapped[int | None] = mapped_column(
        ForeignKey("consultation.id", ondelete="SET NULL"), index=True
    )
    problem: Mapped[str | None] = mapped_column(Text)
    by: Mapped[str] = mapped_column(Text)
