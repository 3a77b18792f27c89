"""Channel activity over the JSON API, and questions that were answered on a platform itself."""

import csv
import io
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from api import audit
from api.auth import StaffMember, require_api
from api.errors import BadRequest
from api.models import Role
from api.state import state_of
from tracker.activity import enter, indicators
from tracker.history import BadRow, import_rows
from tracker.models import Library

MOST_ROWS = 2_000  # of one request
LONGEST_TEXT = 4_000
COMMENT_COLUMNS = ("channel", "received_at", "question", "answered_at", "answer", "by", "id")

router = APIRouter(prefix="/api/v1", tags=["v1"])
Manager = Annotated[StaffMember, Depends(require_api(Role.MANAGER))]
Librarian = Annotated[StaffMember, Depends(require_api(Role.LIBRARIAN))]


class WeekIn(BaseModel):
    """One week of one channel; a count that is not known is left out."""

    channel: str = Field(min_length=1, max_length=40)
    week: date = Field(description="Any date of the week.")
    posts: int | None = Field(None, ge=0)
    pushes: int | None = Field(None, ge=0)
    followers: int | None = Field(None, ge=0, description="At the end of the week.")
    reads: int | None = Field(None, ge=0)
    likes: int | None = Field(None, ge=0)
    comments: int | None = Field(None, ge=0)
    shares: int | None = Field(None, ge=0)
    total_posts: int | None = Field(None, ge=0, description="Since the channel was opened.")


class WeeksIn(BaseModel):
    """Weeks to enter: all of them or none."""

    weeks: list[WeekIn] = Field(min_length=1, max_length=MOST_ROWS)


class Entered(BaseModel):
    """How many weeks were entered."""

    weeks: int


@router.post("/activity", status_code=201)
def enter_weeks(request: Request, caller: Manager, sent: WeeksIn) -> Entered:
    """Enter weeks of channel activity; the same channel and week is replaced."""
    state = state_of(request)
    now = state.clock()
    rows = [week.model_dump(mode="json") for week in sent.weeks]
    with state.database.transaction() as session:
        library = session.get_one(Library, caller.library_id)
        count = enter(session, library, enumerate(rows, start=1), now=now, by=caller.email)
        audit.record(
            session,
            actor=caller.email,
            action="activity.enter",
            subject=library.slug,
            library_id=library.id,
            now=now,
            weeks=count,
            via="api",
        )
    return Entered(weeks=count)


@router.get("/activity")
def show_indicators(
    request: Request,
    caller: Librarian,
    start: Annotated[date, Query(alias="from", description="First date.")],
    end: Annotated[date, Query(alias="to", description="Last date.")],
) -> dict[str, dict[str, Any]]:
    """By channel: sums, growth, engagement, and the share of weeks with a push."""
    with state_of(request).database.snapshot() as session:
        library = session.get_one(Library, caller.library_id)
        return indicators(session, library, start=start, end=end)


# --- answered on the platform itself -------------------------------------------------------


def add_comments(
    session: Session,
    library: Library,
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    *,
    by: str,
    now: datetime,
) -> int:
    """Public comments and mentions as consultations of their channel, all or none.

    Each row has `channel`, `received_at` and `question`, and where it was answered
    `answered_at`, with `answer` and `by` if known. An instant without an offset is on the
    library's clock. The same `id` is replaced. Raises BadHistory naming each bad row.
    """
    made = ((number, _consultation(row, library, by)) for number, row in rows)
    report = import_rows(session, made, now=now)
    return report.added + report.replaced


def _consultation(row: Mapping[str, Any], library: Library, by: str) -> dict[str, Any] | BadRow:
    """The row as `tracker.history` reads it; a BadRow says what is wrong."""
    try:
        received = _instant(row, "received_at", library)
        question = _text(row, "question")
        if received is None or not question:
            return BadRow("received_at and question are needed")
        answered = _instant(row, "answered_at", library)
    except ValueError as error:
        return BadRow(str(error))
    events: list[dict[str, Any]] = [
        {"at": received, "kind": "message", "by": "patron", "text": question}
    ]
    if answered is not None:
        events.append(
            {
                "at": answered,
                "kind": "feedback",
                "by": _text(row, "by") or by,
                "text": _text(row, "answer") or None,
                "substantive": True,
            }
        )
        events.append({"at": answered, "kind": "closed", "by": _text(row, "by") or by})
    return {
        "id": _text(row, "id") or f"public-{secrets.token_hex(8)}",
        "library": library.slug,
        "channel": _text(row, "channel"),
        "received_at": received,
        "events": events,
    }


def _text(row: Mapping[str, Any], name: str) -> str:
    return str(row.get(name) or "").strip()[:LONGEST_TEXT]


def _instant(row: Mapping[str, Any], name: str, library: Library) -> str | None:
    written = _text(row, name)
    if not written:
        return None
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(
            f"{name}: {written[:40]!r} is not a time such as 2026-11-22 09:30"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=ZoneInfo(library.timezone))
    return found.isoformat()


def csv_rows(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """The numbered rows of a CSV file with a heading. Raises BadRequest."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequest("The file is not UTF-8 text: save it as “CSV UTF-8”.") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from enumerate(reader, start=2)
    except csv.Error as error:
        raise BadRequest(f"The file is no CSV: {error}.") from None
