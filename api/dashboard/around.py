"""What surrounds the figures: channels, staff, the log of what they did, settings."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api import audit
from api.accounts import accounts_of
from api.auth import Manager
from api.dashboard.cases import TARGET_MINUTES
from api.dashboard.rates import TARGET
from api.models import AuditEntry
from api.pages import web_address
from api.screens import Screen, changing, reading
from api.staff import staff_of
from bot.channels import CHANNELS
from bot.models import ChannelAccount, Conversation, Outbox, OutboxState
from tracker.models import Library

ENTRIES = 100  # of the log, on one page
RETENTION_DAYS = 180
EMPTY: tuple[Any, ...] = ("", [])  # a setting that was not filled in
USUAL_PORTS = {"https": 443, "http": 80}  # browsers leave them out
STUCK = (OutboxState.DEAD, OutboxState.UNCERTAIN, OutboxState.FENCED)

router = APIRouter(prefix="/manage", include_in_schema=False)


# --- channels ------------------------------------------------------------------------------


@router.get("/channels")
def channels(request: Request, caller: Manager) -> HTMLResponse:
    """The library's channels, whether they work, and the line that embeds the widget."""
    with reading(request, caller, section="manage") as (session, screen):
        stuck = _stuck(session, screen.library.id)
        address = screen.state.settings.public_url
        slug = screen.library.slug
        context = {
            "page": "channels",
            "accounts": [
                _account(screen, account, stuck.get(account.id, 0))
                for account in accounts_of(session, screen.library.id)
            ],
            "embed": f'<script src="{address}/widget.js" data-library="{slug}" defer></script>',
        }
        return screen.render("manage/channels.html", context)


def _stuck(session: Session, library_id: int) -> dict[int, int]:
    rows = session.execute(
        select(Conversation.account_id, func.count())
        .join(Outbox, Outbox.conversation_id == Conversation.id)
        .where(Outbox.library_id == library_id, Outbox.state.in_(STUCK))
        .group_by(Conversation.account_id)
    )
    return dict(rows.all())


def _account(screen: Screen, account: ChannelAccount, stuck: int) -> dict[str, Any]:
    paused = account.paused_until is not None and account.paused_until > screen.now
    state = "off" if not account.enabled else "paused" if paused else "on"
    declaration = CHANNELS[account.kind].declaration
    return {
        "kind_name": screen.channel_name(account.kind),
        "name": account.name,
        "state": state,
        "tone": {"on": "good", "paused": "late"}.get(state, ""),
        "webhook": f"/channels/{account.kind}/{account.name}" if declaration.has_webhook else None,
        "undelivered": stuck,
    }


# --- staff and what they did ---------------------------------------------------------------


@router.get("/staff")
def staff(request: Request, caller: Manager) -> HTMLResponse:
    """Who works here."""
    with reading(request, caller, section="manage") as (session, screen):
        people = [
            {
                "name": person.name,
                "email": person.email,
                "role": person.role,
                "created_at": person.created_at,
                "disabled_at": person.disabled_at,
                "has_password": person.password_hash is not None,
            }
            for person in staff_of(session, screen.library.id)
        ]
        return screen.render("manage/staff.html", {"page": "staff", "people": people})


@router.get("/audit")
def audit_log(
    request: Request, caller: Manager, before: Annotated[int | None, Query(ge=1)] = None
) -> HTMLResponse:
    """What staff of this library did, newest first."""
    with reading(request, caller, section="manage") as (session, screen):
        wanted = select(AuditEntry).where(AuditEntry.library_id == screen.library.id)
        if before is not None:
            wanted = wanted.where(AuditEntry.id < before)
        found = session.scalars(wanted.order_by(AuditEntry.id.desc()).limit(ENTRIES)).all()
        context = {
            "page": "audit",
            "entries": found,
            "older": found[-1].id if len(found) == ENTRIES else None,
        }
        return screen.render("manage/audit.html", context)


# --- settings ------------------------------------------------------------------------------


@router.get("/settings")
def settings(request: Request, caller: Manager) -> HTMLResponse:
    """What a library decides for itself."""
    with reading(request, caller, section="manage") as (_, screen):
        return _settings_form(screen, _values(screen.library))


def _values(library: Library) -> dict[str, Any]:
    return {
        "name": library.name,
        "catalogue_url": library.settings.get("catalogue_url", ""),
        "retention_days": library.settings.get("retention_days", RETENTION_DAYS),
        "privacy_url": library.settings.get("privacy_url", ""),
        "allowed_origins": "\n".join(library.settings.get("allowed_origins", ())),
        "target_percent": library.settings.get("target_percent", TARGET),
        "target_minutes": library.settings.get("target_minutes", TARGET_MINUTES),
    }


def _settings_form(
    screen: Screen, values: dict[str, Any], *, problem: str | None = None, status: int = 200
) -> HTMLResponse:
    fixed = {
        "timezone": screen.library.timezone,
        "languages": ", ".join(screen.language_name(tag) for tag in screen.library.languages),
    }
    context = {"page": "settings", "values": {**fixed, **values}, "problem": problem}
    return screen.render("manage/settings.html", context, status=status)


class SettingsForm(BaseModel):
    """The form of the settings as it was sent."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    name: str = Field("", max_length=200)
    catalogue_url: str = Field("", max_length=500)
    retention_days: int = Field(RETENTION_DAYS, ge=30, le=3650)
    privacy_url: str = Field("", max_length=500)
    target_percent: int = Field(TARGET, ge=1, le=100)
    target_minutes: int = Field(TARGET_MINUTES, ge=1, le=10_000)
    allowed_origins: str = Field("", max_length=4_000)  # one a line


@router.post("/settings")
def save_settings(
    request: Request, caller: Manager, form: Annotated[SettingsForm, Form()]
) -> Response:
    """Keep the settings; the bot follows them from the next message on."""
    values = form.model_dump()
    with changing(request, caller, section="manage") as (session, screen):
        problem = _problem(screen, values)
        if problem is None:
            _keep(session, screen, values)
    if problem is not None:
        with reading(request, caller, section="manage") as (_, screen):
            return _settings_form(screen, values, problem=problem, status=422)
    return RedirectResponse("/manage/settings?said=settings", status_code=303)


def _problem(screen: Screen, values: dict[str, Any]) -> str | None:
    catalogue = values["catalogue_url"]
    if catalogue and (web_address(catalogue) is None or "{title}" not in catalogue):
        return screen.text("settings.wrong_catalogue")
    if values["privacy_url"] and web_address(values["privacy_url"]) is None:
        return screen.text("settings.wrong_address")
    if None in map(_origin, values["allowed_origins"].split()):
        return screen.text("settings.wrong_origin")
    return None if values["name"] else screen.text("settings.no_name")


def _origin(text: str) -> str | None:
    """A website's address as browsers name it in `Origin`; None where it is none."""
    try:
        parts = urlsplit(text.lower())
        port = parts.port
    except ValueError:
        return None
    is_bare = not (parts.username or parts.query or parts.fragment) and parts.path in {"", "/"}
    if parts.scheme not in USUAL_PORTS or not parts.hostname or not is_bare or not text.isascii():
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port in {None, USUAL_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def _keep(session: Session, screen: Screen, values: dict[str, Any]) -> None:
    values = {**values, "allowed_origins": [_origin(t) for t in values["allowed_origins"].split()]}
    kept = {key: value for key, value in values.items() if key != "name" and value not in EMPTY}
    emptied = {key for key, value in values.items() if value in EMPTY}
    old = {key: value for key, value in screen.library.settings.items() if key not in emptied}
    screen.library.name = values["name"]
    screen.library.settings = {**old, **kept}
    audit.record(
        session,
        actor=screen.caller.email,
        action="library.settings",
        subject=screen.library.slug,
        now=screen.now,
        library_id=screen.library.id,
        **values,
    )
