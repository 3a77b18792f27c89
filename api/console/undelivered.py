"""Replies that did not arrive, or of which nobody knows: a librarian decides."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import audit
from api.auth import Librarian
from api.console.queue import listed
from api.console.receipts import attempts, why
from api.errors import NotFound
from api.screens import Screen, changing, reading
from bot.delivery import confirm, needing_attention, retry
from bot.models import Outbox, OutboxState

STUCK = (OutboxState.DEAD, OutboxState.UNCERTAIN, OutboxState.FENCED)

router = APIRouter(include_in_schema=False)


class UnknownReply(NotFound):
    """There is no such reply, or it has been dealt with."""


@router.get("/desk/undelivered")
def undelivered(request: Request, caller: Librarian) -> HTMLResponse:
    """The replies that need a decision, oldest first."""
    with reading(request, caller, section="desk") as (session, screen):
        around = listed(session, screen, "all")
        context = {
            **around,
            "case": None,
            "view": "undelivered",
            "replies": [
                _shown(screen, row) for row in needing_attention(session, screen.library.id)
            ],
        }
        return screen.render("desk/undelivered.html", context)


def _shown(screen: Screen, row: Outbox) -> dict[str, Any]:
    patron = row.conversation.patron
    return {
        "id": row.id,
        "consultation_id": row.consultation_id,
        "text": row.reply["text"],
        "channel_name": screen.channel_name(row.via or row.conversation.account.kind),
        "patron": patron.display_name if patron is not None else None,
        "at": row.created_at,
        "attempts": row.attempts,
        "why": why(screen, row),
        "tries": attempts(screen, row),
        "state": screen.text(f"desk.delivery.{row.state}"),
        "is_uncertain": row.state == OutboxState.UNCERTAIN,
    }


@router.post("/desk/undelivered/{number}")
def decide(
    request: Request,
    caller: Librarian,
    number: int,
    decision: Annotated[Literal["retry", "arrived"], Form()],
    view: Annotated[str, Form(max_length=20)] = "undelivered",
) -> Response:
    """Send it once more, or take it as arrived; then back to the page that asked."""
    with changing(request, caller, section="desk") as (session, screen):
        row = _stuck(session, screen.library.id, number)
        case = row.consultation_id
        if decision == "retry":
            retry(session, row, now=screen.now)
        else:
            confirm(session, row, now=screen.now)
        audit.record(
            session,
            actor=caller.email,
            action=f"reply.{decision}",
            subject=row.key,
            now=screen.now,
            library_id=screen.library.id,
        )
    said = "retried" if decision == "retry" else "confirmed"
    page = "/desk/undelivered?"
    if view != "undelivered" and case is not None:
        page = f"/desk/c/{case}?view={quote(view)}&"
    return RedirectResponse(f"{page}said={said}", status_code=303)


def _stuck(session: Session, library_id: int, number: int) -> Outbox:
    row = session.scalar(
        select(Outbox).where(
            Outbox.library_id == library_id, Outbox.id == number, Outbox.state.in_(STUCK)
        )
    )
    if row is None:
        raise UnknownReply
    return row
