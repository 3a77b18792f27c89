"""The JSON API: what the desk and the managers' pages know, for other programs.

A bearer token belongs to one library; nothing of another library is ever found with it.
Figures come from the same functions as the pages and the command line.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import audit, bearer
from api.auth import StaffMember, require_api
from api.errors import BadRequest, NotAllowed, NotFound
from api.models import Role, Staff
from api.state import state_of
from bot import delivery
from kb.documents import BadDocument, entry_from_document
from kb.entries import EntryData
from kb.library import export_entries, retire_entry, save_entry
from tracker import consultations as desk
from tracker.clock import parse_instant
from tracker.fold import Status
from tracker.models import Consultation, Library
from tracker.stats import stats

LONGEST_TEXT = 4_000
PAGE = 50
router = APIRouter(prefix="/api/v1", tags=["v1"])
Librarian = Annotated[StaffMember, Depends(require_api(Role.LIBRARIAN))]
Manager = Annotated[StaffMember, Depends(require_api(Role.MANAGER))]
Key = Annotated[str, Path(max_length=200, description="The consultation's id.")]
EntryKey = Annotated[str, Path(max_length=200, description="The entry's id.")]


class NoEntry(BadRequest):
    """The body describes no entry."""

    status = 422


class Me(BaseModel):
    """Whoever holds the token."""

    email: str
    name: str
    role: str
    library: str


class EventOut(BaseModel):
    """One thing that happened to a consultation."""

    at: datetime
    kind: str
    by: str | None
    text: str | None
    data: dict[str, Any] | None


class ConsultationOut(BaseModel):
    """A patron's question and where it stands."""

    id: str
    channel: str
    received_at: datetime
    status: str
    title: str | None
    language: str | None
    topic: str | None
    urgent: bool
    handed_over: bool
    assigned_to: str | None
    promised_at: datetime | None
    bot_at: datetime | None
    feedback_at: datetime | None
    answered_at: datetime | None
    closed_at: datetime | None


class ConsultationWithEvents(ConsultationOut):
    """A patron's question with its whole history."""

    events: list[EventOut]


class ConsultationPage(BaseModel):
    """Some consultations, newest first; `next` fetches the older ones, null at the end."""

    consultations: list[ConsultationOut]
    next: int | None


class ReplyIn(BaseModel):
    """What a librarian writes to the patron."""

    text: str = Field(min_length=1, max_length=LONGEST_TEXT)
    substantive: bool = Field(True, description='False for "I am looking into it".')


class ReplyOut(BaseModel):
    """Where the reply stands: `sent`, or on its way."""

    state: str


class CloseIn(BaseModel):
    """Why a consultation is closed."""

    reason: str | None = Field(None, max_length=200)


class TokenIn(BaseModel):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=100)
    role: Role = Role.LIBRARIAN


class TokenOut(BaseModel):
    """A token as it is listed; the token itself is shown only when it is made."""

    id: int
    name: str
    role: str
    created_at: datetime
    last_used_at: datetime | None
    revoked: bool


class NewToken(TokenOut):
    """A token that was just made; `token` cannot be read again."""

    token: str


# --- who and how well --------------------------------------------------------------------


@router.get("/me")
def me(request: Request, caller: Librarian) -> Me:
    """Who the token belongs to."""
    with state_of(request).database.snapshot() as session:
        library = session.get_one(Library, caller.library_id)
        return Me(email=caller.email, name=caller.name, role=caller.role, library=library.slug)


@router.get("/stats")
def figures(
    request: Request,
    caller: Librarian,
    *,
    start: Annotated[
        date | None, Query(alias="from", description="First local date; else of all.")
    ] = None,
    end: Annotated[
        date | None, Query(alias="to", description="Last local date; else today.")
    ] = None,
    at: Annotated[str | None, Query(description="As it stood at this instant.")] = None,
    channel: Annotated[str | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    """The within-one-day rates by channel, with intervals and pending cases."""
    state = state_of(request)
    instant = state.clock()
    if at is not None:
        try:
            instant = parse_instant(at)
        except ValueError as error:
            raise BadRequest(f"at: {error}") from None
    with state.database.snapshot() as session:
        library = session.get_one(Library, caller.library_id)
        return stats(session, library, start=start, end=end, at=instant, channel=channel)


# --- consultations -----------------------------------------------------------------------


@router.get("/consultations")
def list_consultations(
    request: Request,
    caller: Librarian,
    *,
    status: Annotated[Status | None, Query()] = None,
    channel: Annotated[str | None, Query(max_length=100)] = None,
    before: Annotated[int | None, Query(ge=1, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> ConsultationPage:
    """The library's consultations, newest first."""
    wanted = select(Consultation).where(Consultation.library_id == caller.library_id)
    if status is not None:
        wanted = wanted.where(Consultation.status == status.value)
    if channel is not None:
        wanted = wanted.where(Consultation.channel == channel)
    if before is not None:
        wanted = wanted.where(Consultation.id < before)
    with state_of(request).database.snapshot() as session:
        rows = session.scalars(wanted.order_by(Consultation.id.desc()).limit(limit + 1)).all()
        shown = rows[:limit]
        return ConsultationPage(
            consultations=[ConsultationOut(**_shown(row)) for row in shown],
            next=shown[-1].id if len(rows) > limit else None,
        )


@router.get("/consultations/{key}")
def show_consultation(request: Request, caller: Librarian, key: Key) -> ConsultationWithEvents:
    """One consultation with its history."""
    with state_of(request).database.snapshot() as session:
        return _whole(session, _consultation(session, caller, key))


@router.post("/consultations/{key}/replies", status_code=201)
def reply(request: Request, caller: Librarian, key: Key, sent: ReplyIn) -> ReplyOut:
    """Answer the patron over the channel that the question came from."""
    state = state_of(request)
    now = state.clock()
    with state.database.transaction() as session:
        consultation = _consultation(session, caller, key)
        library = session.get_one(Library, caller.library_id)
        row = delivery.reply_as_librarian(
            session,
            library,
            consultation,
            by=caller.email,
            name=caller.name,
            text=sent.text,
            substantive=sent.substantive,
            now=now,
        )
        _audit(session, caller, "consultation.reply", consultation.key, now)
        return ReplyOut(state=row.state if row is not None else "sent")


@router.post("/consultations/{key}/claim")
def claim(request: Request, caller: Librarian, key: Key) -> ConsultationWithEvents:
    """Take a consultation; 409 if a colleague has it."""
    state = state_of(request)
    now = state.clock()
    with state.database.transaction() as session:
        consultation = _consultation(session, caller, key)
        desk.assign(session, consultation, at=now, now=now, by=caller.email, to=caller.email)
        _audit(session, caller, "consultation.claim", consultation.key, now)
        return _whole(session, consultation)


@router.post("/consultations/{key}/close")
def close(request: Request, caller: Librarian, key: Key, sent: CloseIn) -> ConsultationWithEvents:
    """Close a consultation. Closing answers nobody: without a reply it stays a miss."""
    state = state_of(request)
    now = state.clock()
    with state.database.transaction() as session:
        consultation = _consultation(session, caller, key)
        desk.close(session, consultation, at=now, now=now, by=caller.email, reason=sent.reason)
        _audit(session, caller, "consultation.close", consultation.key, now)
        return _whole(session, consultation)


# --- entries -----------------------------------------------------------------------------


@router.get("/entries")
def list_entries(request: Request, caller: Librarian) -> list[dict[str, Any]]:
    """The entries in use, in the form of a knowledge-base file."""
    with state_of(request).database.snapshot() as session:
        return [entry.as_document() for entry in export_entries(session, caller.library_id)]


@router.get("/entries/{key}")
def show_entry(request: Request, caller: Librarian, key: EntryKey) -> dict[str, Any]:
    """One entry."""
    with state_of(request).database.snapshot() as session:
        return _entry(session, caller, key).as_document()


@router.put("/entries/{key}")
def put_entry(
    request: Request, caller: Manager, key: EntryKey, document: dict[str, Any]
) -> dict[str, Any]:
    """Add or replace an entry; it is published at once, so a manager must do it."""
    if document.get("id", key) != key:
        raise BadRequest("The id in the body is not the one in the address.")
    state = state_of(request)
    now = state.clock()
    try:
        entry = entry_from_document({**document, "id": key})
    except BadDocument as error:
        raise NoEntry("; ".join(error.reasons)) from None
    with state.database.transaction() as session:
        saved = save_entry(session, caller.library_id, entry, now=now, by=caller.email)
        _audit(session, caller, "entry.save", key, now)
        return saved.as_document()


@router.delete("/entries/{key}", status_code=204)
def delete_entry(request: Request, caller: Manager, key: EntryKey) -> None:
    """Take an entry out of use, which a manager must do; its history stays."""
    state = state_of(request)
    now = state.clock()
    with state.database.transaction() as session:
        retire_entry(session, caller.library_id, key, now=now, by=caller.email)
        _audit(session, caller, "entry.retire", key, now)


@router.get("/ask")
def ask(
    request: Request,
    caller: Librarian,
    text: Annotated[str, Query(min_length=1, max_length=LONGEST_TEXT)],
    language: Annotated[Literal["zh-Hans", "zh-Hant", "en", "vi"] | None, Query()] = None,
) -> dict[str, Any]:
    """What the bot would make of a question; nothing is stored."""
    state = state_of(request)
    with state.database.snapshot() as session:
        knowledge = state.desks.of(session, caller.library_id, now=state.clock()).knowledge
    decision = knowledge.ask(text, lang=language)
    return {
        "verdict": decision.verdict,
        "entries": decision.entries,
        "candidates": [
            {"entry": candidate.entry, "probability": candidate.probability}
            for candidate in decision.candidates
        ],
        "p_none": decision.p_none,
    }


# --- tokens ------------------------------------------------------------------------------


@router.get("/tokens")
def list_tokens(request: Request, caller: Manager) -> list[TokenOut]:
    """The library's tokens, newest first."""
    with state_of(request).database.snapshot() as session:
        return [TokenOut(**_token(row)) for row in bearer.tokens_of(session, caller.library_id)]


@router.post("/tokens", status_code=201)
def make_token(request: Request, caller: Manager, sent: TokenIn) -> NewToken:
    """Make a token of one's own; it is shown only now, and never may more than oneself."""
    if not caller.role.includes(sent.role):
        raise NotAllowed("A token cannot do more than its owner.")
    state = state_of(request)
    now = state.clock()
    with state.database.transaction() as session:
        owner = session.get(Staff, caller.id) if caller.id is not None else None
        token, row = bearer.make(
            session, caller.library_id, name=sent.name, role=sent.role, staff=owner, now=now
        )
        _audit(session, caller, "token.add", sent.name, now)
        return NewToken(token=token, **_token(row))


@router.delete("/tokens/{number}", status_code=204)
def revoke_token(request: Request, caller: Manager, number: int) -> None:
    """End a token."""
    state = state_of(request)
    now = state.clock()
    with state.database.transaction() as session:
        bearer.revoke(session, caller.library_id, number, now=now)
        _audit(session, caller, "token.revoke", str(number), now)


# --- shared ------------------------------------------------------------------------------


def _consultation(session: Session, caller: StaffMember, key: str) -> Consultation:
    found = desk.find(session, caller.library_id, key)
    if found is None:
        raise NotFound("There is no such consultation.")
    return found


def _entry(session: Session, caller: StaffMember, key: str) -> EntryData:
    for entry in export_entries(session, caller.library_id):
        if entry.id == key:
            return entry
    raise NotFound("There is no such entry.")


def _whole(session: Session, row: Consultation) -> ConsultationWithEvents:
    events = [
        EventOut(at=event.at, kind=event.kind, by=event.by, text=event.text, data=event.data)
        for event in desk.events_of(session, row)
    ]
    return ConsultationWithEvents(**_shown(row), events=events)


def _shown(row: Consultation) -> dict[str, Any]:
    names = set(ConsultationOut.model_fields) - {"id"}
    return {"id": row.key, **{name: getattr(row, name) for name in names}}


def _token(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "created_at": row.created_at,
        "last_used_at": row.last_used_at,
        "revoked": row.revoked_at is not None,
    }


def _audit(session: Session, caller: StaffMember, action: str, subject: str, now: datetime) -> None:
    audit.record(
        session,
        actor=caller.email,
        action=action,
        subject=subject,
        library_id=caller.library_id,
        now=now,
        via="api",
    )
