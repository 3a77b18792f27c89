"""A library's entries in the database: import, export, edit, retire, with their whole history."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from kb.documents import BadDocument, entry_from_document
from kb.entries import Concept, EntryData
from kb.errors import BadEntry, UnknownEntry
from kb.files import load_concepts, load_file, write_file
from kb.models import Entry, EntryVersion, Knowledge
from kb.text import normalise

__all__ = [
    "Conflict",
    "ImportReport",
    "conflicts",
    "entries_since",
    "entry_versions",
    "export_concepts",
    "export_entries",
    "import_entries",
    "knowledge_state",
    "knowledge_version",
    "load_concepts",
    "load_file",
    "restore_version",
    "retire_entry",
    "save_concepts",
    "save_entry",
    "write_file",
]

_FEW = 20  # entries up to which they are read one by one


@dataclass(frozen=True, slots=True)
class Conflict:
    """One wording that several entries claim; the bot will offer them all, never pick one."""

    text: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, by the entries' keys."""

    added: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True)
class Version:
    """One state of an entry: what it said, since when, and who wrote it."""

    number: int
    at: datetime
    by: str
    retired: bool
    entry: EntryData


def conflicts(entries: Iterable[EntryData]) -> list[Conflict]:
    """The wordings that more than one entry claims."""
    claims: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        for texts in entry.questions.values():
            for text in texts:
                claims[normalise(text)].setdefault(entry.id, text)
    return [
        Conflict(next(iter(owners.values())), tuple(owners))
        for owners in claims.values()
        if len(owners) > 1
    ]


def import_entries(
    session: Session, library_id: int, entries: Sequence[EntryData], *, now: datetime, by: str
) -> ImportReport:
    """Add entries and update those of the same key; what is not named stays as it is.

    Saying the same twice changes nothing. An entry that was retired comes back.
    """
    rows = _rows(session, library_id)
    position = max((row.position for row in rows.values()), default=-1) + 1
    done: dict[str, list[str]] = {"added": [], "updated": [], "unchanged": []}
    for entry in entries:
        row = rows.get(entry.id)
        if row is not None and row.retired_at is None and to_data(row) == entry:
            done["unchanged"].append(entry.id)
            continue
        done["added" if row is None else "updated"].append(entry.id)
        rows[entry.id] = _write(session, library_id, entry, row, position, now=now, by=by)
        position += row is None
    if done["added"] or done["updated"]:
        _bump(session, library_id, now=now)
    live = [to_data(row) for row in rows.values() if row.retired_at is None]
    return ImportReport(
        tuple(done["added"]),
        tuple(done["updated"]),
        tuple(done["unchanged"]),
        tuple(conflicts(live)),
    )


def export_entries(session: Session, library_id: int) -> list[EntryData]:
    """The library's entries that are in use, in their order."""
    return [to_data(row) for row in _rows(session, library_id).values() if row.retired_at is None]


def entries_since(
    session: Session, library_id: int, known: Mapping[str, tuple[int, EntryData]]
) -> dict[str, tuple[int, EntryData]]:
    """The entries in use by their keys, in their order, each with its version.

    What is `known` in the same version is not read again: that is quick where little changed.
    """
    query = (
        select(Entry.key, Entry.version)
        .where(Entry.library_id == library_id, Entry.retired_at.is_(None))
        .order_by(Entry.position, Entry.key)
    )
    versions: dict[str, int] = dict(session.execute(query).all())
    fresh = [key for key, version in versions.items() if known.get(key, (0,))[0] != version]
    if len(fresh) > _FEW:
        rows = _rows(session, library_id)
    else:
        rows = {key: _row(session, library_id, key) for key in fresh}
    read = {key: (rows[key].version, to_data(rows[key])) for key in fresh}
    return {key: read.get(key) or known[key] for key in versions}


def save_entry(
    session: Session, library_id: int, entry: EntryData, *, now: datetime, by: str
) -> EntryData:
    """Add or replace one entry. Raises BadEntry when it lacks what every entry needs."""
    try:
        checked = entry_from_document(entry.as_document())
    except BadDocument as bad:
        raise BadEntry(str(bad)) from bad
    row = session.get(Entry, (library_id, checked.id))
    if row is None or row.retired_at is not None or to_data(row) != checked:
        last = select(func.max(Entry.position)).where(Entry.library_id == library_id)
        position = session.scalar(last)
        following = 0 if position is None else position + 1
        _write(session, library_id, checked, row, following, now=now, by=by)
        _bump(session, library_id, now=now)
    return checked


def retire_entry(session: Session, library_id: int, key: str, *, now: datetime, by: str) -> None:
    """Take an entry out of use; its history stays. Raises UnknownEntry."""
    row = _row(session, library_id, key)
    if row.retired_at is not None:
        return
    row.retired_at = row.updated_at = now
    row.version += 1
    _record(session, row, now=now, by=by)
    _bump(session, library_id, now=now)
    session.flush()


def entry_versions(session: Session, library_id: int, key: str) -> list[Version]:
    """Every state that an entry has had, newest first. Raises UnknownEntry."""
    _row(session, library_id, key)
    query = (
        select(EntryVersion)
        .where(EntryVersion.library_id == library_id, EntryVersion.key == key)
        .order_by(EntryVersion.number.desc())
    )
    return [
        Version(row.number, row.at, row.by, row.retired, entry_from_document(row.document))
        for row in session.scalars(query)
    ]


def restore_version(
    session: Session, library_id: int, key: str, number: int, *, now: datetime, by: str
) -> EntryData:
    """Make an entry say again what it said in an earlier version. Raises UnknownEntry."""
    for version in entry_versions(session, library_id, key):
        if version.number == number:
            return save_entry(session, library_id, version.entry, now=now, by=by)
    raise UnknownEntry(f"{key} has no version {number}")


def knowledge_version(session: Session, library_id: int) -> int:
    """The number that moves with every change of a library's knowledge; 0 before the first."""
    query = select(Knowledge.version).where(Knowledge.library_id == library_id)
    return session.scalar(query) or 0


def knowledge_state(session: Session, library_id: int) -> tuple[int, float]:
    """The version of a library's knowledge, and what its patrons taught about its answers."""
    query = select(Knowledge.version, Knowledge.lean).where(Knowledge.library_id == library_id)
    found = session.execute(query).one_or_none()
    return (found[0], found[1]) if found else (0, 0.0)


def export_concepts(session: Session, library_id: int) -> list[Concept]:
    """The library's own concepts: names of buildings, local systems."""
    query = select(Knowledge.concepts).where(Knowledge.library_id == library_id)
    return [Concept.from_document(document) for document in session.scalar(query) or ()]


def save_concepts(
    session: Session, library_id: int, concepts: Iterable[Concept], *, now: datetime
) -> None:
    """Replace the library's own concepts."""
    documents = [concept.as_document() for concept in concepts]
    _bump(session, library_id, now=now)
    session.execute(
        update(Knowledge).where(Knowledge.library_id == library_id).values(concepts=documents)
    )


def to_data(row: Entry) -> EntryData:
    """A stored entry as plain data."""
    return EntryData(
        id=row.key,
        category=row.category,
        questions={lang: tuple(texts) for lang, texts in row.questions.items()},
        answers=dict(row.answers),
        tags=tuple(row.tags),
        url=row.url,
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        review_by=row.review_by,
        owner=row.owner,
    )


def _rows(session: Session, library_id: int) -> dict[str, Entry]:
    query = select(Entry).where(Entry.library_id == library_id)
    rows = session.scalars(query.order_by(Entry.position, Entry.key))
    return {row.key: row for row in rows}


def _row(session: Session, library_id: int, key: str) -> Entry:
    row = session.get(Entry, (library_id, key))
    if row is None:
        raise UnknownEntry(f"this library has no entry {key}")
    return row


def _write(
    session: Session,
    library_id: int,
    entry: EntryData,
    row: Entry | None,
    position: int,
    *,
    now: datetime,
    by: str,
) -> Entry:
    if row is None:
        row = Entry(
            library_id=library_id, key=entry.id, position=position, version=0, created_at=now
        )
        session.add(row)
    for name, value in _columns(entry).items():
        setattr(row, name, value)
    row.version += 1
    row.updated_at = now
    row.retired_at = None
    _record(session, row, now=now, by=by)
    return row


def _columns(entry: EntryData) -> dict[str, Any]:
    return {
        "category": entry.category,
        "questions": {lang: list(texts) for lang, texts in entry.questions.items()},
        "answers": dict(entry.answers),
        "tags": list(entry.tags),
        "url": entry.url,
        "valid_from": entry.valid_from,
        "valid_until": entry.valid_until,
        "review_by": entry.review_by,
        "owner": entry.owner,
    }


def _record(session: Session, row: Entry, *, now: datetime, by: str) -> None:
    session.add(
        EntryVersion(
            library_id=row.library_id,
            key=row.key,
            number=row.version,
            at=now,
            by=by,
            retired=row.retired_at is not None,
            document=to_data(row).as_document(),
        )
    )


def _bump(session: Session, library_id: int, *, now: datetime) -> None:
    """Move the library's version, in the database, so that two editors cannot share a number."""
    session.flush()
    query = select(func.count()).where(Knowledge.library_id == library_id)
    if not session.scalar(query):
        session.add(Knowledge(library_id=library_id, version=1, concepts=[], updated_at=now))
        session.flush()
        return
    session.execute(
        update(Knowledge)
        .where(Knowledge.library_id == library_id)
        .values(version=Knowledge.version + 1, updated_at=now)
    )
