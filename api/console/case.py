"""One consultation on the desk: the conversation, the patron, and what helps to answer."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from api import uploads
from api.asides import snoozed
from api.auth import Librarian
from api.console.queue import known_view, listed, staff_names, time_left
from api.console.snoozing import options as snooze_options
from api.console.thread import Item, handed_over_because, last_question, reason_text, thread
from api.errors import NotFound
from api.i18n import Reader
from api.models import Staff
from api.rendering import is_fragment
from api.screens import Screen, known_text, reading
from bot import linking
from bot.desk import Desk
from bot.models import Conversation
from bot.windows import can_send, closes_at
from kb.entries import EntryData, base_language
from tracker.fold import GONE, Status
from tracker.models import Consultation

NEAREST = 3
OPENING = 60  # characters of an answer that show while it is folded
SHORT = 4  # characters: "and?" says nothing about the question before it
CANNED = ("1", "2", "3")
EARLIER = 8

router = APIRouter(include_in_schema=False)


class UnknownConsultation(NotFound):
    """There is no such consultation in this library."""


def consultation_of(session: Session, library_id: int, number: int) -> Consultation:
    """A library's consultation. Raises UnknownConsultation, for another library's too."""
    found = session.scalar(
        select(Consultation).where(Consultation.library_id == library_id, Consultation.id == number)
    )
    if found is None:
        raise UnknownConsultation
    return found


@router.get("/desk/c/{number}")
def case_page(
    request: Request,
    caller: Librarian,
    number: int,
    view: Annotated[str, Query(max_length=20)] = "unassigned",
) -> HTMLResponse:
    """A consultation beside the queue; the consultation alone where the page is open already."""
    with reading(request, caller, section="desk") as (session, screen):
        return opened(session, screen, number, view)


@router.get("/desk/c/{number}/thread")
def case_thread(request: Request, caller: Librarian, number: int) -> HTMLResponse:
    """The conversation alone, after something was added to it."""
    with reading(request, caller, section="desk") as (session, screen):
        consultation = consultation_of(session, screen.library.id, number)
        context = {
            "thread": thread(session, screen, consultation),
            "case": {"id": consultation.id},
        }
        return screen.render("desk/thread.html", context)


@router.get("/desk/c/{number}/files/{key}")
def case_file(
    request: Request, caller: Librarian, number: int, key: Annotated[str, Path(max_length=64)]
) -> Response:
    """A file that the patron sent: a download, whatever it is, and a page in no browser."""
    with reading(request, caller, section="desk") as (session, screen):
        consultation = consultation_of(session, screen.library.id, number)
        upload = uploads.upload_of(session, screen.library.id, key)
        conversation = _conversation(session, consultation)
        if conversation is None or upload.conversation_id not in _numbers(session, conversation):
            raise uploads.UnknownUpload
        return Response(upload.data, headers=uploads.download_headers(upload))


def _numbers(session: Session, conversation: Conversation) -> set[int]:
    """The conversation and those that its patron has linked with it."""
    linked = conversation.state.get(linking.LINKED)
    rest = linking.others(session, conversation) if linked else ()
    return {each.id for each in (conversation, *rest)}


def opened(
    session: Session,
    screen: Screen,
    number: int,
    view: str,
    *,
    draft: str = "",
    problem: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    """The page of a consultation; `problem` says why the last form was refused."""
    consultation = consultation_of(session, screen.library.id, number)
    context = case_context(session, screen, consultation)
    context |= {"view": known_view(view), "draft": draft}
    if problem:
        context["flash"] = {"text": problem, "tone": "late"}
    if is_fragment(screen.request):
        return screen.render("desk/pane.html", context, status=status)
    around = listed(session, screen, view)
    return screen.render("desk/page.html", {**around, **context}, status=status)


def case_context(session: Session, screen: Screen, consultation: Consultation) -> dict[str, Any]:
    """Everything that the page of a consultation shows."""
    conversation = _conversation(session, consultation)
    said = thread(session, screen, consultation)
    names = staff_names(session, screen.library.id)
    hidden = snoozed(session, screen.library.id, now=screen.now)
    earlier = _earlier(session, consultation, conversation)
    return {
        "case": {
            **_facts(session, screen, consultation, names),
            **_patron(screen, conversation),
            **_channels(session, screen, conversation),
            "is_snoozed": consultation.id in hidden,
        },
        "thread": said,
        "suggestions": _suggestions(session, screen, consultation, said),
        "canned": _canned(screen, consultation.language),
        "colleagues": _colleagues(session, screen.library.id),
        "snooze_options": snooze_options(session, screen),
        "earlier": earlier,
        "channel_name": screen.channel_name,
        "merge_options": [item for item in earlier if item.status not in GONE],
    }


def _facts(
    session: Session, screen: Screen, item: Consultation, names: dict[str, str]
) -> dict[str, Any]:
    left = time_left(screen, item)
    owner = names.get(item.assigned_to or "", item.assigned_to)
    reason = handed_over_because(session, [item.id]).get(item.id)
    return {
        "id": item.id,
        "title": item.title or "…",
        "channel_name": screen.channel_name(item.channel),
        "language": item.language or "zh-Hans",
        "language_name": screen.language_name(item.language),
        "received_at": item.received_at,
        "promised_at": item.promised_at if item.feedback_at is None else None,
        "left": left.text if left else None,
        "tone": left.tone if left else "",
        "status": item.status,
        "status_name": screen.text(f"desk.status.{item.status}"),
        "urgent": item.urgent and item.status not in GONE,
        "is_closed": item.status in GONE,
        "is_excluded": item.status == Status.EXCLUDED,
        "is_paused": item.status == Status.PAUSED,
        "can_pause": item.feedback_at is not None and item.status == Status.ANSWERED,
        "can_claim": item.status not in GONE and item.assigned_to != screen.caller.email,
        "assigned_to": item.assigned_to,
        "owner": owner,
        "reason": reason_text(screen, reason) if reason else None,
        "scale": item.read_scale,
        "closed_note": _closed_note(screen, item),
    }


def _closed_note(screen: Screen, item: Consultation) -> str:
    match item.status:
        case Status.EXCLUDED:
            reason = known_text(screen.reader, "desk.excluded", item.excluded_reason or "")
            return screen.text("desk.excluded_note", reason=reason)
        case Status.MERGED | Status.WITHDRAWN:
            return screen.text(f"desk.{item.status}_note")
    when = item.closed_at or item.last_event_at
    return screen.text("desk.closed_note", when=screen.reader.when(when, screen.now))


def _conversation(session: Session, consultation: Consultation) -> Conversation | None:
    if consultation.conversation_id is None:
        return None
    return session.scalar(
        select(Conversation).where(
            Conversation.library_id == consultation.library_id,
            Conversation.id == consultation.conversation_id,
        )
    )


def _patron(screen: Screen, conversation: Conversation | None) -> dict[str, Any]:
    """Who the patron is, as far as they said, and whether a reply can still reach them."""
    if conversation is None:
        elsewhere = screen.text("desk.window_elsewhere")
        nobody = {"patron": None, "email": None, "window_note": None, "window_tone": ""}
        return {**nobody, "window_state": elsewhere}
    patron = conversation.patron
    email = patron.email if patron is not None else None
    state, note, tone = _window(screen, conversation, email)
    return {
        "patron": patron.display_name if patron is not None else None,
        "email": email,
        "window_state": state,
        "window_note": note,
        "window_tone": tone,
    }


def _window(
    screen: Screen, conversation: Conversation, email: str | None
) -> tuple[str, str | None, str]:
    """The reply window in a word, and a sentence where it restricts what can be sent."""
    if not can_send(conversation.windows, now=screen.now):
        closed = screen.text("desk.window_closed")
        if email:
            return closed, screen.text("desk.window_note_email", email=email), "soon"
        return closed, screen.text("desk.window_note_held"), "late"
    until = closes_at(conversation.windows, now=screen.now)
    if until is None:
        return screen.text("desk.window_open"), None, ""
    when = screen.reader.when(until, screen.now)
    note = screen.text("desk.window_note_soon", when=when)
    return screen.text("desk.window_until", when=when), note, ""


def _suggestions(
    session: Session, screen: Screen, consultation: Consultation, said: Sequence[Item]
) -> list[dict[str, Any]]:
    """The nearest entries, each ready to insert in the patron's language and in others.

    Until it is answered the question is what was asked first; after that, what was asked last.
    """
    last = last_question(said) or ""
    is_new_question = consultation.answered_at is not None and len(last.strip()) >= SHORT
    text = last if is_new_question else consultation.title or last
    if not text.strip():
        return []
    desk = screen.state.desks.of(session, screen.library.id, now=screen.now)
    decision = desk.knowledge.ask(text, lang=consultation.language)
    near = [(desk.knowledge.entry(item.entry), item.probability) for item in decision.candidates]
    return [
        _suggestion(screen, desk, entry, probability, text=text, language=consultation.language)
        for entry, probability in near
        if entry is not None and entry.answers
    ][:NEAREST]


def _suggestion(
    screen: Screen,
    desk: Desk,
    entry: EntryData,
    probability: float,
    *,
    text: str,
    language: str | None,
) -> dict[str, Any]:
    def said(language: str | None) -> str:
        return desk.answer(entry, text, language=language, now=screen.now)

    reading = said(screen.reader.language)
    others = [code for code in entry.answers if code != base_language(language)]
    return {
        "id": entry.id,
        "title": entry.title(screen.reader.language),
        "opening": reading[:OPENING] + ("…" if len(reading) > OPENING else ""),
        "answer": reading,
        "probability": probability,
        "patron_answer": said(language),
        "translations": [
            {"language_name": screen.language_name(code), "answer": said(code)} for code in others
        ],
    }


def _canned(screen: Screen, language: str | None) -> list[str]:
    """Ready-made replies in the patron's language: the library's own, else ours."""
    own = screen.library.settings.get("canned", {}).get(language or "zh-Hans")
    patron = Reader(language or "zh-Hans", screen.reader.zone)
    return own or [patron.text(f"desk.canned_text.{key}") for key in CANNED]


def _colleagues(session: Session, library_id: int) -> Sequence[Staff]:
    return session.scalars(
        select(Staff)
        .where(
            or_(Staff.library_id == library_id, Staff.library_id.is_(None)),
            Staff.disabled_at.is_(None),
        )
        .order_by(Staff.name)
    ).all()


def _channels(
    session: Session, screen: Screen, conversation: Conversation | None
) -> dict[str, Any]:
    """Where else this patron writes, where they want answers, and who says who they are."""
    found: dict[str, Any] = {"is_vouched": False, "also_on": None, "answers_to": None}
    if conversation is None:
        return found
    found["is_vouched"] = bool(conversation.state.get(linking.VOUCHED))
    if conversation.state.get(linking.LINKED):
        rest = linking.others(session, conversation)
        names = dict.fromkeys(screen.channel_name(each.account.kind) for each in rest)
        found["also_on"] = ", ".join(names)
        chosen = [each for each in (conversation, *rest) if each.state.get(linking.ANSWERS_HERE)]
        if chosen:
            found["answers_to"] = screen.channel_name(chosen[0].account.kind)
    return found


def _earlier(
    session: Session, consultation: Consultation, conversation: Conversation | None
) -> Sequence[Consultation]:
    """Other consultations of the same patron, newest first."""
    if conversation is None:
        return []
    return session.scalars(
        select(Consultation)
        .where(
            Consultation.library_id == consultation.library_id,
            Consultation.conversation_id.in_(_numbers(session, conversation)),
            Consultation.id != consultation.id,
            Consultation.status != Status.MERGED,
        )
        .order_by(Consultation.received_at.desc())
        .limit(EARLIER)
    ).all()
