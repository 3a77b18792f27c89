"""Where alerts go: robots and programs, staff by e-mail, when, and what became of the last ones."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import audit
from api.alerts import SOON_MINUTES, WAITING_MINUTES
from api.announcements import DIGEST_HOUR
from api.announcer import Announcer
from api.auth import Manager
from api.dashboard.typed import Typed
from api.destinations import LONGEST_NAME, UnknownDestination, add_destination, destinations_of
from api.errors import BadRequest
from api.i18n import NAMES
from api.mail import create_mailer
from api.models import AlertDestination, AlertMessage, Staff
from api.robots import KINDS, WEBHOOK
from api.screens import Screen, changing, reading
from api.staff import staff_of
from bot.channels.base import SendError
from tracker.models import Library

PAGE = "/manage/alerts"
RECENT = 20  # messages on the page
TONES = {"sent": "good", "new": "soon", "sending": "soon", "uncertain": "late", "dead": "late"}

router = APIRouter(prefix=PAGE, include_in_schema=False)


@router.get("")
def alerts(request: Request, caller: Manager) -> HTMLResponse:
    """The destinations of alerts, who gets e-mails, and the latest messages."""
    with reading(request, caller, section="manage") as (session, screen):
        return _page(session, screen)


def _page(
    session: Session,
    screen: Screen,
    *,
    typed: dict[str, Any] | None = None,
    problem: str | None = None,
    secret: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    library = screen.library
    found = destinations_of(session, library.id)
    context = {
        "page": "alerts",
        "destinations": [_destination(screen, row) for row in found],
        "kinds": KINDS,
        "languages_known": NAMES,
        "typed": Typed(typed or {}),
        "problem": problem,
        "secret": secret,
        "has_mail": screen.state.settings.smtp_host is not None,
        "people": [_person(person) for person in staff_of(session, library.id)],
        "times": {
            "alert_minutes": library.settings.get("alert_minutes", WAITING_MINUTES),
            "alert_soon_minutes": library.settings.get("alert_soon_minutes", SOON_MINUTES),
            "digest_hour": library.settings.get("digest_hour", DIGEST_HOUR),
            "digest": library.settings.get("digest") is not False,
        },
        "messages": _messages(session, screen, {row.id: row.name for row in found}),
    }
    return screen.render("manage/alerts.html", context, status=status)


def _destination(screen: Screen, row: AlertDestination) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "kind": screen.text(f"alerts.kind.{row.kind}"),
        "host": row.host,
        "language": NAMES.get(row.language, row.language),
        "wants_digest": row.wants_digest,
        "is_on": row.disabled_at is None,
        "problem": row.problem,
    }


def _person(person: Staff) -> dict[str, Any]:
    return {
        "id": person.id,
        "name": person.name,
        "email": person.email,
        "is_disabled": person.disabled_at is not None,
        "alerts": person.settings.get("alerts", True),
        "is_manager": person.role != "librarian",
        "digest": person.settings.get("digest", True),
    }


def _messages(session: Session, screen: Screen, names: dict[int, str]) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(AlertMessage)
        .where(AlertMessage.library_id == screen.library.id)
        .order_by(AlertMessage.id.desc())
        .limit(RECENT)
    )
    return [
        {
            "at": row.created_at,
            "to": row.email or names.get(row.destination_id or 0, ""),
            "kind": screen.text(f"alerts.message.{row.kind.rpartition('.')[2]}"),
            "state": screen.text(f"alerts.state.{row.state}"),
            "tone": TONES.get(row.state, ""),
            "problem": row.problem,
        }
        for row in rows
    ]


# --- destinations --------------------------------------------------------------------------


class DestinationForm(BaseModel):
    """A destination as it was typed."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    kind: str = Field("", max_length=20)
    name: str = Field("", max_length=LONGEST_NAME)
    url: str = Field("", max_length=2_000)
    secret: str = Field("", max_length=200)
    language: str = Field("", max_length=10)
    digest: bool = False


@router.post("/add")
def add(request: Request, caller: Manager, form: Annotated[DestinationForm, Form()]) -> Response:
    """Add a destination. A webhook's secret is made here and shown only now."""
    problem = secret = None
    try:
        with changing(request, caller, section="manage") as (session, screen):
            kept = add_destination(
                session,
                screen.library,
                kind=form.kind,
                name=form.name,
                url=form.url,
                secret=form.secret or None,
                language=form.language,
                wants_digest=form.digest,
                keyring=screen.state.keyring,
                now=screen.now,
                allow_private=screen.state.settings.private_webhooks,
            )
            _log(session, screen, "alert.add", form.name)
            if form.kind == WEBHOOK and not form.secret:
                secret = kept.secret
    except BadRequest as error:
        problem = screen.text("alerts.refused", why=str(error))
    if problem is None and secret is None:
        return _back("alert_added")
    with reading(request, caller, section="manage") as (session, screen):
        typed = form.model_dump(exclude={"secret"}) if problem else None
        return _page(
            session,
            screen,
            typed=typed,
            problem=problem,
            secret=secret,
            status=422 if problem else 200,
        )


@router.post("/{number}/test")
def try_out(request: Request, caller: Manager, number: int) -> Response:
    """Send a test message now, and say whether it arrived."""
    with reading(request, caller, section="manage") as (session, screen):
        row = _named(session, screen.library, number)
        library = screen.library
        session.expunge_all()
    settings = screen.state.settings
    announcer = Announcer(screen.state, mailer=create_mailer(settings), worker=caller.email)
    try:
        announcer.test(row, library=library)
    except SendError as error:
        problem = screen.text("alerts.not_delivered", name=row.name, why=str(error))
        with reading(request, caller, section="manage") as (session, screen):
            return _page(session, screen, problem=problem, status=422)
    return _back("alert_tested")


@router.post("/{number}/switch")
def switch(request: Request, caller: Manager, number: int) -> Response:
    """Tell a destination no more, or again."""
    with changing(request, caller, section="manage") as (session, screen):
        row = _named(session, screen.library, number)
        row.disabled_at = screen.now if row.disabled_at is None else None
        row.problem = None
        _log(session, screen, "alert.off" if row.disabled_at else "alert.on", row.name)
    return _back("alert_switched")


@router.post("/{number}/remove")
def remove(request: Request, caller: Manager, number: int) -> Response:
    """Forget a destination and what waits for it."""
    with changing(request, caller, section="manage") as (session, screen):
        row = _named(session, screen.library, number)
        _log(session, screen, "alert.remove", row.name)
        session.delete(row)
    return _back("alert_removed")


def _named(session: Session, library: Library, number: int) -> AlertDestination:
    row = session.get(AlertDestination, number)
    if row is None or row.library_id != library.id:
        raise UnknownDestination
    return row


# --- who and when --------------------------------------------------------------------------


class TimesForm(BaseModel):
    """When alerts and the digest go."""

    model_config = ConfigDict(frozen=True)

    alert_minutes: int = Field(WAITING_MINUTES, ge=1, le=24 * 60)
    alert_soon_minutes: int = Field(SOON_MINUTES, ge=5, le=12 * 60)
    digest_hour: int = Field(DIGEST_HOUR, ge=0, le=23)
    digest: bool = False


@router.post("/times")
def save_times(request: Request, caller: Manager, form: Annotated[TimesForm, Form()]) -> Response:
    """Keep when alerts and the digest go."""
    with changing(request, caller, section="manage") as (session, screen):
        screen.library.settings = {**screen.library.settings, **form.model_dump()}
        _log(session, screen, "alert.times", screen.library.slug)
    return _back("settings")


class PeopleForm(BaseModel):
    """Whose boxes are ticked, by their numbers."""

    model_config = ConfigDict(frozen=True)

    alerts: list[int] = Field(default_factory=list, max_length=2_000)
    digest: list[int] = Field(default_factory=list, max_length=2_000)


@router.post("/people")
def save_people(request: Request, caller: Manager, form: Annotated[PeopleForm, Form()]) -> Response:
    """Keep which of the staff get e-mails."""
    with changing(request, caller, section="manage") as (session, screen):
        for person in staff_of(session, screen.library.id):
            wanted = {"alerts": person.id in form.alerts, "digest": person.id in form.digest}
            person.settings = {**person.settings, **wanted}
        _log(session, screen, "alert.people", screen.library.slug)
    return _back("settings")


def _log(session: Session, screen: Screen, action: str, subject: str) -> None:
    audit.record(
        session,
        actor=screen.caller.email,
        action=action,
        subject=subject,
        now=screen.now,
        library_id=screen.library.id,
    )


def _back(said: str) -> RedirectResponse:
    return RedirectResponse(f"{PAGE}?said={said}", status_code=303)
