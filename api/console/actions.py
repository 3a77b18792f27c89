"""What a librarian does to a consultation: each is one form, one verb, one line in the log."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import asides, audit
from api.auth import Librarian, StaffMember
from api.console.case import consultation_of, opened
from api.console.queue import staff_names
from api.console.snoozing import until as snooze_until
from api.errors import BadRequest
from api.screens import Screen, changing, reading
from bot.delivery import conversation_of, reply_as_librarian
from bot.models import Outbox
from tracker import consultations
from tracker.errors import AlreadyAssigned, TrackerError
from tracker.models import Consultation

TWICE = timedelta(seconds=60)  # the same words to the same patron: a double click
LONGEST_REPLY = 4_000

router = APIRouter(prefix="/desk/c/{number}", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """The page that a form was sent from: a consultation, beside a view of the queue."""

    request: Request
    number: int
    view: str


def opened_page(
    request: Request, number: int, view: Annotated[str, Form(max_length=20)] = ""
) -> Opened:
    """Where the form stood."""
    return Opened(request, number, view)


Page = Annotated[Opened, Depends(opened_page)]
Do = Callable[[Session, Screen, Consultation], str]
"""Changes something, and names the sentence that says so (`desk.flash.…`)."""


def act(
    page: Opened, caller: StaffMember, action: str, do: Do, *, draft: str = "", **data: Any
) -> Response:
    """Do it in one transaction with its line in the audit log, and go back to the page.

    When it cannot be done, the page says why and nothing that was typed is lost.
    """
    try:
        with changing(page.request, caller, section="desk") as (session, screen):
            consultation = consultation_of(session, screen.library.id, page.number)
            said = do(session, screen, consultation)
            audit.record(
                session,
                actor=caller.email,
                action=f"consultation.{action}",
                subject=consultation.key,
                now=screen.now,
                library_id=screen.library.id,
                **data,
            )
    except (TrackerError, BadRequest) as refusal:
        return _refused(page, caller, refusal, draft)
    address = f"/desk/c/{page.number}?view={quote(page.view)}&said={said}"
    return RedirectResponse(address, status_code=303)


def _refused(
    page: Opened, caller: StaffMember, refusal: TrackerError | BadRequest, draft: str
) -> Response:
    with reading(page.request, caller, section="desk") as (session, screen):
        problem = str(refusal)
        if isinstance(refusal, AlreadyAssigned):
            names = staff_names(session, screen.library.id)
            name = names.get(refusal.detail, refusal.detail)
            problem = screen.text("desk.taken", name=name)
        return opened(
            session,
            screen,
            page.number,
            page.view,
            draft=draft,
            problem=problem,
            status=refusal.status,
        )


@router.post("/claim")
def claim(page: Page, caller: Librarian) -> Response:
    """Take it; of two who try at once one is told who was quicker."""
    return act(page, caller, "claim", _claim)


def _claim(session: Session, screen: Screen, consultation: Consultation) -> str:
    me = screen.caller.email
    consultations.assign(session, consultation, at=screen.now, now=screen.now, by=me, to=me)
    asides.wake(session, consultation)
    return "claimed"


@router.post("/reply")
def reply(
    page: Page,
    caller: Librarian,
    text: Annotated[str, Form(max_length=LONGEST_REPLY)] = "",
    mode: Annotated[Literal["answer", "close", "holding", "note"], Form()] = "answer",
) -> Response:
    """Answer the patron, or keep a note for colleagues."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        if not text.strip():
            raise BadRequest(screen.text("desk.flash.empty"))
        if mode == "note":
            asides.add_note(session, consultation, by=caller.email, text=text, now=screen.now)
            return "noted"
        _send(session, screen, consultation, text.strip(), substantive=mode != "holding")
        if mode == "close":
            consultations.close(
                session, consultation, at=screen.now, now=screen.now, by=caller.email
            )
        return "sent"

    return act(page, caller, mode, do, draft=text)


def _send(
    session: Session, screen: Screen, consultation: Consultation, text: str, *, substantive: bool
) -> None:
    """Whoever answers has claimed it."""
    if _was_just_sent(session, screen, consultation, text):
        return
    conversation_of(session, consultation)
    if consultation.assigned_to != screen.caller.email:
        _claim(session, screen, consultation)
    asides.wake(session, consultation)
    reply_as_librarian(
        session,
        screen.library,
        consultation,
        by=screen.caller.email,
        name=screen.caller.name,
        text=text,
        now=screen.now,
        substantive=substantive,
    )


def _was_just_sent(session: Session, screen: Screen, consultation: Consultation, text: str) -> bool:
    last = session.scalars(
        select(Outbox)
        .where(
            Outbox.library_id == consultation.library_id,
            Outbox.conversation_id == consultation.conversation_id,
            Outbox.consultation_id == consultation.id,
            Outbox.by == screen.caller.email,
            Outbox.via.is_(None),
            Outbox.created_at > screen.now - TWICE,
        )
        .order_by(Outbox.position.desc())
        .limit(1)
    ).first()
    return last is not None and last.reply["text"] == text


@router.post("/assign")
def assign(
    page: Page,
    caller: Librarian,
    to: Annotated[str, Form(max_length=254)] = "",
) -> Response:
    """Give it to a colleague, or back to the queue."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        if to and to not in staff_names(session, screen.library.id):
            raise BadRequest("Choose a colleague of this library.")
        consultations.assign(
            session,
            consultation,
            at=screen.now,
            now=screen.now,
            by=caller.email,
            to=to or None,
            take_over=True,
        )
        return "assigned" if to else "returned"

    return act(page, caller, "assign", do, to=to)


@router.post("/snooze")
def snooze(
    page: Page,
    caller: Librarian,
    until: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Hide it from the queue until a time; its clock goes on. Nothing chosen: wake it."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        if not until:
            asides.wake(session, consultation)
            return "awake"
        instant = snooze_until(session, screen, until)
        asides.snooze(session, consultation, by=caller.email, until=instant, now=screen.now)
        return "snoozed"

    return act(page, caller, "snooze", do, until=until)


@router.post("/pause")
def pause(page: Page, caller: Librarian) -> Response:
    """Wait for the patron, after an answer."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        now = screen.now
        consultations.pause(session, consultation, at=now, now=now, by=caller.email)
        return "paused"

    return act(page, caller, "pause", do)


@router.post("/resume")
def resume(page: Page, caller: Librarian) -> Response:
    """Stop waiting for the patron."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        now = screen.now
        consultations.resume(session, consultation, at=now, now=now, by=caller.email)
        return "resumed"

    return act(page, caller, "resume", do)


@router.post("/close")
def close(page: Page, caller: Librarian) -> Response:
    """Close it; without a reply it stays a miss."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        now = screen.now
        consultations.close(session, consultation, at=now, now=now, by=caller.email)
        return "closed"

    return act(page, caller, "close", do)


@router.post("/reopen")
def reopen(page: Page, caller: Librarian) -> Response:
    """Open it again; its clock runs from the receipt as before."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        now = screen.now
        consultations.reopen(session, consultation, at=now, now=now, by=caller.email)
        return "reopened"

    return act(page, caller, "reopen", do)


@router.post("/exclude")
def exclude(
    page: Page,
    caller: Librarian,
    reason: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Take it out of the figures, with the reason that is shown beside them."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        consultations.exclude(
            session, consultation, at=screen.now, now=screen.now, by=caller.email, reason=reason
        )
        return "excluded"

    return act(page, caller, "exclude", do, reason=reason)


@router.post("/restore")
def restore(page: Page, caller: Librarian) -> Response:
    """Undo an exclusion."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        now = screen.now
        consultations.restore(session, consultation, at=now, now=now, by=caller.email)
        return "restored"

    return act(page, caller, "restore", do)


@router.post("/merge")
def merge(
    page: Page,
    caller: Librarian,
    into: Annotated[int, Form()],
) -> Response:
    """Make one consultation of two of the same patron."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        other = consultation_of(session, screen.library.id, into)
        now = screen.now
        consultations.merge(session, consultation, at=now, now=now, by=caller.email, into=other)
        return "merged"

    return act(page, caller, "merge", do, into=into)


@router.post("/scale")
def scale(
    page: Page,
    caller: Librarian,
    scale: Annotated[int, Form(ge=1, le=6)],
) -> Response:
    """Note the effort on the READ scale, 1 to 6."""

    def do(session: Session, screen: Screen, consultation: Consultation) -> str:
        now = screen.now
        consultations.correct(
            session, consultation, at=now, now=now, by=caller.email, read_scale=scale
        )
        return "scaled"

    return act(page, caller, "scale", do, scale=scale)
