"""The yardstick: a FastAPI route that commits one row to SQLite, and nothing else."""

import sys
from datetime import UTC, datetime
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    """The one table's base."""


class Row(Base):
    """What one message leaves behind."""

    __tablename__ = "row"

    id: Mapped[int] = mapped_column(primary_key=True)
    sender: Mapped[str]
    message: Mapped[str]
    at: Mapped[datetime]


def build(path: str) -> FastAPI:
    """The application; its database is as durable as ours."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    Base.metadata.create_all(engine)
    app = FastAPI()

    @app.post("/")
    def take(sent: dict[str, str]) -> dict[str, str]:
        with Session(engine) as session:
            session.add(Row(sender=sent["sender"], message=sent["message"], at=datetime.now(UTC)))
            session.commit()
        return {"text": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(build(sys.argv[1]), port=int(sys.argv[2]), access_log=False, log_level="warning")
