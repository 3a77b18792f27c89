"""The yardstick for several processes: a FastAPI route that commits one row to PostgreSQL."""

import os
from datetime import UTC, datetime

from fastapi import FastAPI
from sqlalchemy import DateTime, create_engine
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    """The one table's base."""


class Row(Base):
    """What one message leaves behind."""

    __tablename__ = "bare_row"

    id: Mapped[int] = mapped_column(primary_key=True)
    sender: Mapped[str]
    message: Mapped[str]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


def build() -> FastAPI:
    """The application, for the database at BARE_URL."""
    engine = create_engine(os.environ["BARE_URL"], pool_size=20, max_overflow=20)
    try:
        Base.metadata.create_all(engine)
    except (IntegrityError, ProgrammingError):  # the other process has just made it
        engine.dispose()
    app = FastAPI()

    @app.post("/")
    def take(sent: dict[str, str]) -> dict[str, str]:
        with Session(engine) as session:
            session.add(Row(sender=sent["sender"], message=sent["message"], at=datetime.now(UTC)))
            session.commit()
        return {"text": "ok"}

    return app
