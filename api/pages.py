"""The public pages: the library's own, its questions and answers, signing in, the language."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api import audit, staff
from api.auth import (
    csrf_token,
    current_member,
    know_browser,
    public,
    public_form,
    safe_next,
    sign_in,
    sign_out,
)
from api.errors import BadRequest, TooManyAttempts, WrongPassword
from api.i18n import NAMES, Reader
from api.libraries import default_library, library_by_slug
from api.rendering import LANGUAGE_COOKIE, reader_of, render
from api.staff import SHORTEST_PASSWORD, WeakPassword
from api.state import state_of
from bot.desk import Desk
from kb.entries import EntryData
from kb.text import normalise
from tracker.clock import Calendar

OFTEN = 6  # entries on the first page
A_YEAR = 365 * 24 * 3600

router = APIRouter(include_in_schema=False)
Public = Depends(public)
PublicForm = Depends(public_form)


# --- the library's own page --------------------------------------------------------------


@router.get("/", dependencies=[Public])
def home(request: Request) -> HTMLResponse:
    """A library's first page with the widget in its corner, as any page could have it."""
    state = state_of(request)
    now = state.clock()
    with state.database.snapshot() as session:
        library = default_library(session, state.settings.default_library)
        desk = state.desks.of(session, library.id, now=now)
        reader = reader_of(request, desk.zone)
        entries = desk.knowledge.entries
        context = {
            "slug": library.slug,
            "library_name": library.name,
            "often": _titles(entries[:OFTEN], reader),
            "entry_count": len(entries),
            "hours": _hours(desk.calendars.get("building"), reader, now),
        }
    return render(request, "home.html", context, reader=reader)


def _hours(calendar: Calendar | None, reader: Reader, now: datetime) -> dict[str, Any] | None:
    if calendar is None:
        return None
    if calendar.is_open(now):
        spans = calendar.spans_on(reader.local(now).date())
        text = reader.text("home.open_now", spans=spans_text(spans, reader))
        return {"is_open": True, "text": text}
    opening = calendar.next_opening(now)
    if opening is None:
        return None
    return {
        "is_open": False,
        "text": reader.text("home.closed_now", when=reader.when(opening, now)),
    }


def spans_text(spans: Iterable[tuple[datetime, datetime]], reader: Reader) -> str:
    """Opening hours of a day: 8:00–12:00, 14:00–17:30."""
    return ", ".join(f"{reader.clock(start)}–{reader.clock(end)}" for start, end in spans)


def _titles(entries: Iterable[EntryData], reader: Reader) -> list[dict[str, str]]:
    return [{"id": entry.id, "title": entry.title(reader.language)} for entry in entries]


# --- questions and answers ---------------------------------------------------------------


@router.get("/faq/{slug}", dependencies=[Public])
def faq(request: Request, slug: str, q: Annotated[str, Query(max_length=200)] = "") -> HTMLResponse:
    """Everything the bot knows, for people who would rather read."""
    state = state_of(request)
    now = state.clock()
    with state.database.snapshot() as session:
        library = library_by_slug(session, slug)
        desk = state.desks.of(session, library.id, now=now)
        reader = reader_of(request, desk.zone)
        found = _found(desk, q)
        context = {
            "slug": library.slug,
            "library_name": library.name,
            "query": q,
            "groups": _groups(found, desk, q, reader, now),
            "open_all": bool(q) and len(found) <= 5,
        }
    return render(request, "faq.html", context, reader=reader)


def _found(desk: Desk, query: str) -> Sequence[EntryData]:
    """The entries that hold the words, with those that the bot would think of first."""
    answered = [entry for entry in desk.knowledge.entries if entry.answers]
    if not query.strip():
        return answered
    wanted = normalise(query)
    near = [candidate.entry for candidate in desk.knowledge.ask(query).candidates[:3]]
    texts = {entry.id: _searchable(entry) for entry in answered}
    return sorted(
        (entry for entry in answered if wanted in texts[entry.id] or entry.id in near),
        key=lambda entry: near.index(entry.id) if entry.id in near else len(near),
    )


def _searchable(entry: EntryData) -> str:
    questions = [text for texts in entry.questions.values() for text in texts]
    return normalise("\n".join([*questions, *entry.answers.values()]))


def _groups(
    entries: Iterable[EntryData], desk: Desk, query: str, reader: Reader, now: datetime
) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        shown = {
            "id": entry.id,
            "title": entry.title(reader.language),
            "answer": desk.answer(entry, query, language=reader.language, now=now),
            "url": web_address(entry.url),
        }
        groups.setdefault(entry.category, []).append(shown)
    return [
        {"name": category_name(reader, category), "entries": members}
        for category, members in groups.items()
    ]


def category_name(reader: Reader, category: str) -> str:
    """A category's name in the reader's language; a library's own category as it is written."""
    try:
        return reader.text(f"category.{category}")
    except KeyError:
        return category.replace("-", " ").capitalize()


def web_address(url: str | None) -> str | None:
    """The address if it leads to the web, so that nothing else can hide in a link."""
    return url if url and url.startswith(("https://", "http://")) else None


# --- signing in --------------------------------------------------------------------------


@router.get("/sign-in", dependencies=[Public])
def sign_in_page(
    request: Request,
    next: Annotated[str | None, Query(max_length=500)] = None,  # noqa: A002
) -> Response:
    """The sign-in form; whoever is signed in already goes where they wanted."""
    if current_member(request) is not None:
        return RedirectResponse(safe_next(next), status_code=303)
    return _sign_in_form(request, goal=safe_next(next))


@router.post("/sign-in", dependencies=[PublicForm])
def sign_in_form(
    request: Request,
    email: Annotated[str, Form(max_length=254)] = "",
    password: Annotated[str, Form(max_length=1024)] = "",
    next: Annotated[str | None, Form(max_length=500)] = None,  # noqa: A002
) -> Response:
    """Sign in, or say in one sentence why not."""
    reader = reader_of(request)
    response = RedirectResponse(safe_next(next), status_code=303)
    try:
        sign_in(request, response, email=email, password=password)
    except WrongPassword:
        error, status = reader.text("signin.wrong"), 403
    except TooManyAttempts as refusal:
        minutes = -(-refusal.retry_after // 60)
        error, status = reader.text("signin.too_many", minutes=minutes), 429
    else:
        return response
    return _sign_in_form(request, goal=safe_next(next), email=email, error=error, status=status)


def _sign_in_form(
    request: Request,
    *,
    goal: str,
    email: str = "",
    error: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    context = {"next": goal, "email": email, "error": error, "csrf": csrf_token(request)}
    return render(request, "signin.html", context, reader=reader_of(request), status=status)


@router.post("/sign-out", dependencies=[PublicForm])
def sign_out_form(request: Request) -> Response:
    """Sign out and go to the start page."""
    response = RedirectResponse("/", status_code=303)
    sign_out(request, response)
    return response


@router.get("/set-password/{token}", dependencies=[Public])
def password_page(request: Request, token: str) -> HTMLResponse:
    """Where a link from `refdesk staff` leads. Raises UsedLink."""
    state = state_of(request)
    with state.database.snapshot() as session:
        person = staff.owner_of_link(session, token, now=state.clock())
        return _password_form(request, token, person.email)


@router.post("/set-password/{token}", dependencies=[PublicForm])
def password_form(
    request: Request,
    token: str,
    password: Annotated[str, Form(max_length=1024)] = "",
) -> Response:
    """Set the password once, then sign in with it."""
    state = state_of(request)
    now = state.clock()
    try:
        with state.database.transaction() as session:
            person = staff.use_password_link(session, token, password, now=now)
            audit.record(
                session,
                actor=person.email,
                action="staff.set_password",
                subject=person.email,
                now=now,
                library_id=person.library_id,
            )
    except WeakPassword:
        with state.database.snapshot() as session:
            email = staff.owner_of_link(session, token, now=now).email
        error = reader_of(request).text("signin.set_hint", n=SHORTEST_PASSWORD)
        return _password_form(request, token, email, error=error, status=422)
    response = RedirectResponse("/sign-in", status_code=303)
    know_browser(response, state, person.email)
    return response


def _password_form(
    request: Request, token: str, email: str, *, error: str | None = None, status: int = 200
) -> HTMLResponse:
    context = {
        "token": token,
        "email": email,
        "error": error,
        "shortest": SHORTEST_PASSWORD,
        "csrf": csrf_token(request),
    }
    headers = {"Referrer-Policy": "no-referrer"}
    reader = reader_of(request)
    return render(request, "password.html", context, reader=reader, status=status, headers=headers)


# --- language ----------------------------------------------------------------------------


@router.post("/language", dependencies=[Public])
def choose_language(
    request: Request,
    language: Annotated[str, Form(max_length=20)] = "",
    next: Annotated[str | None, Form(max_length=500)] = None,  # noqa: A002
) -> Response:
    """Keep the language of the pages in a cookie of its own, and go back."""
    if language not in NAMES:
        raise BadRequest("That is not a language of these pages.")
    response = RedirectResponse(safe_next(next, default="/"), status_code=303)
    response.set_cookie(
        LANGUAGE_COOKIE,
        language,
        max_age=A_YEAR,
        samesite="lax",
        httponly=True,
        secure=state_of(request).settings.is_https,
    )
    return response
