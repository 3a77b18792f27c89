"""October 2026 of a library: 80 questions to staff, 33 of them answered in time."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from api.db import Database
from api.libraries import add_library, library_by_slug
from api.reports.compose import compose
from api.reports.content import Content
from api.reports.gather import gather
from api.reports.periods import Period, month
from tests.tracker.samples import desk_document
from tracker.calendars import save_calendar
from tracker.history import import_rows
from tracker.models import Library

LATER = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # noon in Shanghai, October is final
FIRST = datetime(2026, 9, 30, 17, 0, tzinfo=UTC)  # 01:00 on 1 October in Shanghai
OCTOBER = month("2026-10")


def asked(
    number: int, *, at: datetime, answered_after: float | None, **changes: Any
) -> dict[str, Any]:
    """One question to staff, answered after so many hours or never."""
    events: list[dict[str, Any]] = [{"at": at.isoformat(), "kind": "escalated", "by": "bot"}]
    if answered_after is not None:
        answer = at + timedelta(hours=answered_after)
        events.append(
            {"at": answer.isoformat(), "kind": "feedback", "by": "lin", "substantive": True}
        )
    return {
        "id": f"q{number}",
        "library": "demo",
        "channel": "wechat" if number % 4 else "weibo",
        "received_at": at.isoformat(),
        "events": events,
        **changes,
    }


def october(in_time: int = 33, late: int = 27, never: int = 20) -> list[dict[str, Any]]:
    """33 of 80 is 41.25 %, which half up is 41.3 %."""
    outcomes = [5.0] * in_time + [30.0] * late + [None] * never
    return [
        asked(number, at=FIRST + timedelta(hours=9 * number), answered_after=after)
        for number, after in enumerate(outcomes)
    ]


def september(in_time: int = 20, late: int = 10) -> list[dict[str, Any]]:
    outcomes = [5.0] * in_time + [30.0] * late
    return [
        asked(1_000 + number, at=FIRST - timedelta(days=20, hours=number), answered_after=after)
        for number, after in enumerate(outcomes)
    ]


def put(session: Session, rows: list[dict[str, Any]], *, now: datetime = LATER) -> None:
    import_rows(session, enumerate(rows, start=1), now=now)
    session.flush()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.transaction() as opened:
        yield opened


@pytest.fixture
def library(session: Session) -> Library:
    """An empty library with a staffed desk."""
    made = add_library(session, "demo", name="云岭大学图书馆", timezone="Asia/Shanghai", now=FIRST)
    save_calendar(session, made.id, "desk", desk_document(), now=FIRST, by="tests")
    return made


@pytest.fixture
def busy(session: Session, library: Library) -> Library:
    """The library with its September and October."""
    put(session, [*september(), *october()])
    return library_by_slug(session, "demo")


Told = Callable[..., Content]


@pytest.fixture
def told(session: Session) -> Told:
    """The report on a period: `told(library, language="en")`."""

    def tell(
        library: Library,
        period: Period = OCTOBER,
        *,
        at: datetime = LATER,
        language: str = "en",
        **options: Any,
    ) -> Content:
        findings = gather(session, library, period, at=at)
        return compose(findings, language=language, **options)

    return tell
