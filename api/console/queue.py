"""The queue: who waits, how long they may still wait, and who has them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from api.asides import snoozed
from api.auth import Librarian
from api.models import Staff
from api.screens import Screen, reading
from bot.models import Conversation, Outbox, OutboxState, Patron
from tracker.consultations import deadlines
from tracker.fold import GONE, Status
from tracker.models import Consultation, Event
from tracker.queue import closed_unanswered, count_closed_unanswered, waiting

CLOSED_UNANSWERED = "closed_unanswered"
VIEWS = ("mine", "unassigned", "all", "snoozed", "done", CLOSED_UNANSWERED)
SOON = timedelta(hours=2)
SHOWN = 100
UNDELIVERED = (OutboxState.DEAD, OutboxState.UNCERTAIN, OutboxState.FENCED)

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Left:
    """How long a patron may still wait, in words and in tone."""

    text: str
    tone: str


@router.get("/desk")
def desk(
    request: Request,
    caller: Librarian,
    view: Annotated[str, Query(max_length=20)] = "unassigned",
    q: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:
    """The desk with nothing opened yet."""
    with reading(request, caller, section="desk") as (session, screen):
        return screen.render("desk/page.html", {"case": None, **listed(session, screen, view, q)})


@router.get("/desk/queue")
def queue_rows(
    request: Request,
    caller: Librarian,
    view: Annotated[str, Query(max_length=20)] = "unassigned",
    q: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:
    """The list alone, for a page that is open already."""
    with reading(request, caller, section="desk") as (session, screen):
        return screen.render(
            "desk/queue.html", {"case": None, **listed(session, screen, view, q), "flash": None}
        )


def known_view(view: str) -> str:
    """A view of the queue; the unassigned where the address names none of ours."""
    return view if view in VIEWS else "unassigned"


def listed(session: Session, screen: Screen, view: str, query: str = "") -> dict[str, Any]:
    """What the list shows."""
    view = known_view(view)
    query = query.strip()
    hidden = snoozed(session, screen.library.id, now=screen.now)
    queue = _queue(session, screen, hidden)
    if query:
        found = _search(session, screen.library.id, query)
    else:
        found = _of_view(session, screen, view, queue, hidden)
    undelivered = session.scalar(
        select(func.count()).where(
            Outbox.library_id == screen.library.id, Outbox.state.in_(UNDELIVERED)
        )
    )
    return {
        "view": view,
        "query": query,
        "list_query": urlencode({"view": view, "q": query}),
        "rows": _rows(session, screen, found),
        "counts": {
            "mine": sum(item.assigned_to == screen.caller.email for item in queue),
            "unassigned": sum(item.assigned_to is None for item in queue),
            "all": len(queue),
            "snoozed": len(hidden),
            "undelivered": undelivered,
            CLOSED_UNANSWERED: count_closed_unanswered(session, screen.library.id),
        },
    }


def _queue(session: Session, screen: Screen, hidden: Mapping[int, datetime]) -> list[Consultation]:
    """Who waits, most urgent first, those with the least time left before the others."""
    found = waiting(session, screen.library.id, now=screen.now)
    shown = [item for item in found if item.id not in hidden]
    return sorted(shown, key=lambda item: (not item.urgent, next_deadline(item)))


def next_deadline(consultation: Consultation) -> datetime:
    """The first deadline that runs, past or not; the wait's begin where none does."""
    running = [due for _, due in deadlines(consultation)]
    return min(running, default=consultation.waiting_since or consultation.received_at)


def _of_view(
    session: Session,
    screen: Screen,
    view: str,
    queue: Sequence[Consultation],
    hidden: Mapping[int, datetime],
) -> Sequence[Consultation]:
    if view == "mine":
        mine = [item for item in queue if item.assigned_to == screen.caller.email]
        return [*mine, *_in_hand(session, screen, {item.id for item in queue})]
    if view == "unassigned":
        return [item for item in queue if item.assigned_to is None][:SHOWN]
    if view == "all":
        return queue[:SHOWN]
    if view == CLOSED_UNANSWERED:
        return closed_unanswered(session, screen.library.id, limit=SHOWN)
    every = select(Consultation).where(Consultation.library_id == screen.library.id)
    if view == "snoozed":
        return session.scalars(every.where(Consultation.id.in_(hidden))).all()
    ended = every.where(
        or_(
            Consultation.status.in_(GONE - {Status.MERGED}),
            Consultation.answered_at.is_not(None) & (Consultation.status == Status.ANSWERED),
        )
    )
    return session.scalars(ended.order_by(Consultation.last_event_at.desc()).limit(SHOWN)).all()


def _in_hand(session: Session, screen: Screen, but: set[int]) -> Sequence[Consultation]:
    """What the caller has claimed and answered, but not closed."""
    found = session.scalars(
        select(Consultation)
        .where(
            Consultation.library_id == screen.library.id,
            Consultation.assigned_to == screen.caller.email,
            Consultation.status.in_((Status.ANSWERED, Status.PAUSED, Status.OPEN)),
        )
        .order_by(Consultation.last_event_at.desc())
        .limit(SHOWN)
    )
    return [item for item in found if item.id not in but]


def _search(session: Session, library_id: int, query: str) -> Sequence[Consultation]:
    """Consultations with the words in a question, an answer, or the patron's name."""
    words = query.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    like = f"%{words}%"
    in_texts = select(Event.consultation_id).where(
        Event.library_id == library_id, Event.text.ilike(like, escape="\\")
    )
    of_patrons = (
        select(Conversation.id)
        .join(Patron, Patron.id == Conversation.patron_id)
        .where(
            Conversation.library_id == library_id,
            or_(
                Patron.display_name.ilike(like, escape="\\"), Patron.email.ilike(like, escape="\\")
            ),
        )
    )
    return session.scalars(
        select(Consultation)
        .where(
            Consultation.library_id == library_id,
            or_(
                Consultation.key == query,
                Consultation.id.in_(in_texts),
                Consultation.conversation_id.in_(of_patrons),
            ),
        )
        .order_by(Consultation.received_at.desc())
        .limit(SHOWN)
    ).all()


def _rows(session: Session, screen: Screen, found: Iterable[Consultation]) -> list[dict[str, Any]]:
    items = list(found)
    names = staff_names(session, screen.library.id)
    patrons = _patron_names(session, items)
    return [_row(screen, item, names, patrons) for item in items]


def _row(
    screen: Screen,
    item: Consultation,
    names: Mapping[str, str],
    patrons: Mapping[int | None, str | None],
) -> dict[str, Any]:
    left = time_left(screen, item)
    owner = names.get(item.assigned_to or "", item.assigned_to) or screen.text("desk.unassigned")
    return {
        "id": item.id,
        "title": item.title or "…",
        "channel_name": screen.channel_name(item.channel),
        "patron": patrons.get(item.conversation_id),
        "urgent": item.urgent and item.status not in GONE,
        "left": left.text if left else None,
        "tone": left.tone if left else "",
        "received_at": item.received_at,
        "owner": owner if item.status not in GONE else screen.text(f"desk.status.{item.status}"),
    }


def time_left(screen: Screen, consultation: Consultation) -> Left | None:
    """How much of the patron's time is left, or by how much it is over; None: no clock runs."""
    running = [due for _, due in deadlines(consultation)]
    if not running:
        return None
    left = min(running) - screen.now
    span = screen.reader.span(left.total_seconds())
    if left < timedelta(0):
        return Left(screen.text("desk.overdue", span=span), "late")
    return Left(screen.text("desk.left", span=span), "soon" if left <= SOON else "")


def staff_names(session: Session, library_id: int) -> dict[str, str]:
    """The names of a library's staff by their addresses."""
    rows = session.execute(
        select(Staff.email, Staff.name).where(
            or_(Staff.library_id == library_id, Staff.library_id.is_(None))
        )
    )
    return dict(rows.all())


def _patron_names(session: Session, items: Iterable[Consultation]) -> dict[int | None, str | None]:
    wanted = {item.conversation_id for item in items if item.conversation_id is not None}
    if not wanted:
        return {}
    rows = session.execute(
        select(Conversation.id, Patron.display_name)
        .join(Patron, Patron.id == Conversation.patron_id)
        .where(Conversation.id.in_(wanted))
    )
    return dict(rows.all())
