"""Which library a request or a command is about."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import BadRequest, NoDefaultLibrary, UnknownLibrary
from kb.columns import Base as KnowledgeModels
from tracker.models import Library

DEMO = "demo"
LANGUAGES = ("zh", "en", "vi")


class LibraryExists(BadRequest):
    """A library of that name exists already."""

    status = 409


def library_by_slug(session: Session, slug: str) -> Library:
    """The library of that short name. Raises UnknownLibrary."""
    found = session.scalar(select(Library).where(Library.slug == slug))
    if found is None:
        raise UnknownLibrary(f'There is no library "{slug}".')
    return found


def default_library(session: Session, preferred: str | None) -> Library:
    """The library that is meant when none is named: the preferred, the only one, else demo."""
    if preferred:
        return library_by_slug(session, preferred)
    libraries = session.scalars(select(Library).order_by(Library.id).limit(2)).all()
    if not libraries:
        raise NoDefaultLibrary
    return libraries[0] if len(libraries) == 1 else library_by_slug(session, DEMO)


def all_libraries(session: Session) -> Sequence[Library]:
    """Every library, by its short name."""
    return session.scalars(select(Library).order_by(Library.slug)).all()


def add_library(
    session: Session,
    slug: str,
    *,
    name: str,
    timezone: str,
    now: datetime,
    languages: Sequence[str] = LANGUAGES,
) -> Library:
    """Add a library. Raises BadRequest for a name, zone or language that cannot be."""
    _check(slug, timezone, languages)
    if session.scalar(select(Library.id).where(Library.slug == slug)) is not None:
        raise LibraryExists(f'A library "{slug}" exists already.')
    library = Library(
        slug=slug,
        name=name,
        timezone=timezone,
        languages=list(languages),
        settings={},
        created_at=now,
    )
    session.add(library)
    session.flush()
    return library


def _check(slug: str, timezone: str, languages: Sequence[str]) -> None:
    plain = slug.replace("-", "").replace("_", "")
    if not (plain.isascii() and plain.isalnum() and slug == slug.lower() and len(slug) <= 63):
        raise BadRequest(f'"{slug}" is no short name: use small letters, digits and hyphens.')
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise BadRequest(
            f'"{timezone}" is no time zone: use a name such as Asia/Shanghai.'
        ) from None
    unknown = [language for language in languages if language not in LANGUAGES]
    if unknown or not languages:
        raise BadRequest(
            f"Languages are {', '.join(LANGUAGES)}, not {', '.join(unknown) or 'none'}."
        )


def remove_library(session: Session, library: Library) -> None:
    """Remove a library with all that belongs to it, its knowledge base included."""
    own = [table for table in KnowledgeModels.metadata.sorted_tables if "library_id" in table.c]
    for table in own:  # what no library owns (vectors of words) belongs to all
        session.execute(table.delete().where(table.c.library_id == library.id))
    session.delete(library)
    session.flush()
