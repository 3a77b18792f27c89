"""What a library knows, as rows: its entries, their history, and its version number."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from kb.columns import Base


class Knowledge(Base):
    """One library's knowledge base: a number that moves with every change, and its own concepts."""

    __tablename__ = "knowledge"

    library_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int]
    concepts: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    lean: Mapped[float] = mapped_column(default=0.0)  # log-odds: answers prove righter than claimed
    updated_at: Mapped[datetime]


class Entry(Base):
    """One question that the library answers, as it is now. Retired entries keep their row."""

    __tablename__ = "entry"

    library_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(primary_key=True)
    category: Mapped[str]
    questions: Mapped[dict[str, list[str]]] = mapped_column(JSON)  # per language, title first
    answers: Mapped[dict[str, str]] = mapped_column(JSON)
    tags: Mapped[list[str]] = mapped_column(JSON)
    url: Mapped[str | None]
    valid_from: Mapped[date | None]
    valid_until: Mapped[date | None]
    review_by: Mapped[date | None]
    owner: Mapped[str | None]
    position: Mapped[int]  # the order in which a library lists its entries
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class EntryVersion(Base):
    """What an entry said from one edit to the next, and who wrote it."""

    __tablename__ = "entry_version"

    library_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    by: Mapped[str]
    retired: Mapped[bool]
    document: Mapped[dict[str, Any]] = mapped_column(JSON)


class Review(Base):
    """What came out when a library's confirmed questions were asked again one night."""

    __tablename__ = "knowledge_review"

    library_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    knowledge_version: Mapped[int]
    scores: Mapped[dict[str, Any]] = mapped_column(JSON)
    confusions: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    changes: Mapped[list[dict[str, Any]]] = mapped_column(JSON)  # since the review before
    predictions: Mapped[list[dict[str, Any]]] = mapped_column(JSON)


class SentenceVector(Base):
    """A text's vector by one sentence model, so that it is computed once."""

    __tablename__ = "sentence_vector"

    model: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)  # of the text as it is read
    vector: Mapped[bytes]  # 32-bit floats, little-endian
