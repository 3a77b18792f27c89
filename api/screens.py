"""What every page of signed-in staff has in common: whose it is, in which library, and when."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.auth import StaffMember, csrf_token
from api.errors import UnknownLibrary
from api.i18n import Reader, catalogue
from api.rendering import reader_of, render
from api.state import State, state_of
from tracker.models import Library


@dataclass(frozen=True, slots=True)
class Screen:
    """One page for one member of staff."""

    request: Request
    state: State
    caller: StaffMember
    library: Library
    reader: Reader
    now: datetime
    section: str

    def text(self, key: str, **values: object) -> str:
        """A text in the caller's language."""
        return self.reader.text(key, **values)

    def channel_name(self, kind: str) -> str:
        """What people call a channel."""
        return known_text(self.reader, "channel", kind)

    def language_name(self, tag: str | None) -> str:
        """A language in the caller's language."""
        return known_text(self.reader, "language", tag or "zh-Hans")

    def render(
        self, template: str, context: dict[str, Any], *, status: int = 200, **headers: str
    ) -> HTMLResponse:
        """The page, with what every staff page shows around its content."""
        around = {
            "staff": self.caller,
            "library_name": self.library.name,
            "slug": self.library.slug,
            "section": self.section,
            "now": self.now,
            "csrf": csrf_token(self.request),
            "flash": said(self.request, self.reader, self.section),
            "home": "/desk",
        }
        return render(
            self.request,
            template,
            {**around, **context},
            reader=self.reader,
            status=status,
            headers=headers,
        )


@contextmanager
def reading(
    request: Request, caller: StaffMember, *, section: str
) -> Iterator[tuple[Session, Screen]]:
    """A page that only reads."""
    state = state_of(request)
    with state.database.snapshot() as session:
        yield session, screen(request, session, caller, section=section)


@contextmanager
def changing(
    request: Request, caller: StaffMember, *, section: str
) -> Iterator[tuple[Session, Screen]]:
    """A form that changes something: all of it is kept, or nothing."""
    state = state_of(request)
    with state.database.transaction() as session:
        yield session, screen(request, session, caller, section=section)


def screen(request: Request, session: Session, caller: StaffMember, *, section: str) -> Screen:
    """The page of a request. Raises UnknownLibrary when the caller's library is gone."""
    library = session.get(Library, caller.library_id)
    if library is None:
        raise UnknownLibrary
    state = state_of(request)
    reader = reader_of(request, ZoneInfo(library.timezone), preferred=caller.language)
    return Screen(request, state, caller, library, reader, state.clock(), section)


def known_text(reader: Reader, group: str, key: str) -> str:
    """The text of a word that others may have invented, or the word itself."""
    return catalogue(reader.language).get(f"{group}.{key}", key)


def said(request: Request, reader: Reader, section: str) -> dict[str, str] | None:
    """What the page before this one did, from the address; only texts that we know."""
    key = f"{section}.flash.{request.query_params.get('said', '')}"
    found = catalogue(reader.language).get(key)
    return {"text": found, "tone": ""} if found else None
