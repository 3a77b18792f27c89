"""Bring consultations in from elsewhere, and give them out: JSON lines, CSV and spreadsheets.

All or nothing: every row is read before anything counts, and one bad row refuses the file
with the number of each. Rows go to the database in batches, so that memory stays flat.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from json import JSONDecodeError, JSONDecoder, dumps
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from openpyxl import load_workbook
from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker import bulk, calendars
from tracker.clock import zone
from tracker.dirty import mark_dirty
from tracker.errors import TrackerError
from tracker.fold import CAUSE, EARLIEST, LATEST, EventData, Kind, Stream
from tracker.models import Consultation, Event, Library

BATCH = 4_000
PLAN_ANEW = frozenset(2 + 4**power for power in range(12))  # batches: 3, 6, 18, 66 ...
LONGEST_ROW = 1_000_000  # bytes
LONGEST_NAME = 255
CSV_COLUMNS = ("id", "library", "channel", "received_at", "feedback_at", "closed_at", "by")
REQUIRED_COLUMNS = ("id", "library", "channel", "received_at")
PLAIN_KEYS = frozenset({"at", "kind", "by", "text"})
INSTANT_KEYS = frozenset({"promised_at", "feedback_at"})
FORMS: Mapping[str, tuple[UnionType | type, str]] = {
    "substantive": (bool, "true or false"),
    "moved": (list | None, "a list of instants"),
    "read_scale": (int | None, "a number"),
    **dict.fromkeys(("into", "reason", "entry", "to", "language", "topic"), (str | None, "a text")),
}
# Full-width signs count too: spreadsheets of Chinese and Japanese systems accept them.
FORMULA = re.compile("[\\s\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
MOST_ERRORS = 100_000  # that are named one by one; the others are counted
TOLD_EVERY = 65_536  # bytes, so that drawing a bar costs no time

Progress = Callable[[int], None]  # told how many bytes (or rows of a sheet) were read


class BadHistory(TrackerError):
    """Nothing was imported, because some rows cannot be read."""

    status = 422

    def __init__(self, rows: list[tuple[int, str]], count: int) -> None:
        super().__init__(f"{count} bad rows, the first in row {rows[0][0]}: {rows[0][1]}")
        self.rows = rows  # (row number, what is wrong), the first 100,000
        self.count = count


class BadRow(Exception):
    """One row that cannot be read; its message says why."""


@dataclass(slots=True)
class ImportReport:
    """What an import did."""

    added: int = 0
    replaced: int = 0
    events: int = 0


class Incoming(NamedTuple):
    """One consultation of a file."""

    library: str
    stream: Stream


def import_file(
    session: Session, path: Path, *, now: datetime, progress: Progress | None = None
) -> ImportReport:
    """Import consultations from .jsonl, .csv or .xlsx; the same (library, id) is replaced.

    Raises BadHistory naming every bad row; the caller then rolls back.
    """
    readers: Mapping[str, Callable[[Path, Progress], Iterator[tuple[int, Any]]]] = {
        ".csv": _csv_rows,
        ".xlsx": _sheet_rows,
    }
    reader = readers.get(path.suffix.lower(), _json_rows)
    return import_rows(session, reader(path, progress or _silent), now=now)


def import_rows(
    session: Session, rows: Iterable[tuple[int, Any]], *, now: datetime
) -> ImportReport:
    """Import numbered rows: mappings as in DESIGN 4.4, or a BadRow where one is unreadable."""
    with bulk.filling(session) as inserts:
        importing = _Import(session, inserts, now)
        for number, row in rows:
            importing.take(number, row)
        return importing.finish()


@dataclass(slots=True)
class _Library:
    """What an import needs to know of a library, read once."""

    id: int
    tz: ZoneInfo
    desk: calendars.DeskCalendar | None
    days: set[date] = field(default_factory=set)
    orphaned: set[str] = field(default_factory=set)


class _Import:
    """One import in progress: a batch in hand, and what has gone wrong so far."""

    def __init__(self, session: Session, inserts: bulk.Inserts, now: datetime) -> None:
        bulk.widen_cache(session)
        self.session = session
        self.inserts = inserts
        self.now = now
        self.report = ImportReport()
        self.libraries = {
            row.slug: _Library(row.id, zone(row.timezone), calendars.desk(session, row.id))
            for row in session.scalars(select(Library))
        }
        self.batch: dict[tuple[int, str], Incoming] = {}
        self.bad: list[tuple[int, str]] = []
        self.bad_count = 0
        self.batches = 0

    def take(self, number: int, row: Any) -> None:
        """Read one row; write the batch when it is full, unless the file is refused anyway."""
        try:
            if isinstance(row, BadRow):
                raise row
            incoming = read_consultation(row)
            if incoming.library not in self.libraries:
                raise BadRow(f"there is no library {incoming.library!r}")
        except BadRow as error:
            self.bad_count += 1
            if len(self.bad) < MOST_ERRORS:
                self.bad.append((number, str(error)))
            return
        if self.bad_count:
            return
        library = self.libraries[incoming.library]
        self.batch[library.id, incoming.stream.key] = incoming
        if len(self.batch) >= BATCH:
            self._write()

    def finish(self) -> ImportReport:
        if self.bad_count:
            raise BadHistory(self.bad, self.bad_count)
        self._write()
        self.inserts.wait()
        for library in self.libraries.values():
            if library.days:
                library.days |= bulk.refold_merged(
                    self.session, library.id, library.tz, now=self.now, also=library.orphaned
                )
                mark_dirty(self.session, library.id, library.days)
        self.session.flush()
        self.session.expire_all()
        return self.report

    def _write(self) -> None:
        by_library: dict[str, list[Stream]] = {}
        for incoming in self.batch.values():
            by_library.setdefault(incoming.library, []).append(incoming.stream)
        self.batch = {}
        self.batches += 1
        if self.batches in PLAN_ANEW:
            self.inserts.wait()
            bulk.refresh_plans(self.session)
        for slug, streams in by_library.items():
            library = self.libraries[slug]
            written = bulk.write(
                self.session,
                library.id,
                streams,
                inserts=self.inserts,
                tz=library.tz,
                desk=library.desk,
                now=self.now,
            )
            library.days |= written.days
            library.orphaned |= written.orphaned
            self.report.added += written.added
            self.report.replaced += written.replaced
            self.report.events += written.events


def read_consultation(row: Any) -> Incoming:
    """Check one consultation of DESIGN 4.4's form. Raises BadRow with what is wrong."""
    if not isinstance(row, dict):
        raise BadRow("a row is an object")
    key = _name(row, "id")
    events = row.get("events")
    if events is None:
        events = ()
    elif not isinstance(events, list):
        raise BadRow("events is not a list")
    stream = Stream(
        key,
        _instant(row.get("received_at"), "received_at"),
        _name(row, "channel"),
        [_event(event, key) for event in events],
    )
    return Incoming(_name(row, "library"), stream)


def _event(item: Any, key: str) -> EventData:
    if not isinstance(item, dict):
        raise BadRow("an event is an object")
    kind = item.get("kind")
    if not isinstance(kind, str) or kind not in CAUSE:
        raise BadRow(f"{kind!r} is not a kind of event")
    at = _instant(item.get("at"), "at")
    by, text = item.get("by"), item.get("text")
    if not (by is None or isinstance(by, str)) or not (text is None or isinstance(text, str)):
        raise BadRow("by and text are texts")
    if len(item) - ("by" in item) - ("text" in item) == 2:
        data = None
    else:
        data = {name: value for name, value in item.items() if name not in PLAIN_KEYS}
        _check_data(data)
    if kind == Kind.MERGED and (data is None or data.get("into") in (None, "", key)):
        raise BadRow("merged needs into: the id of another consultation")
    return EventData(kind, at, by, text, data)


def _check_data(data: Mapping[str, Any]) -> None:
    for name, value in data.items():
        if name in FORMS:
            form, wrong = FORMS[name]
            if not isinstance(value, form):
                raise BadRow(f"{name} is {wrong}")
        elif name in INSTANT_KEYS and value is not None:
            _instant(value, name)
    if not all(isinstance(at, str) for at in data.get("moved") or ()):
        raise BadRow("moved is a list of instants")


def _instant(text: Any, name: str) -> datetime:
    if not isinstance(text, str):
        raise BadRow(f"{name} is missing" if text is None else f"{name} is not a text")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise BadRow(f"{name}: {text[:40]!r} is not an ISO-8601 instant") from None
    if instant.tzinfo is None:
        raise BadRow(f"{name}: {text!r} has no offset; write it with Z or with +08:00")
    if instant.tzinfo is not UTC:
        try:
            instant = instant.astimezone(UTC)
        except OverflowError:
            raise BadRow(f"{name}: {text!r} is too far from today") from None
    if not EARLIEST <= instant < LATEST:
        raise BadRow(f"{name}: {text!r} is too far from today")
    return instant


def _name(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"{name} is missing")
    if len(value) > LONGEST_NAME:
        raise BadRow(f"{name} is longer than {LONGEST_NAME} characters")
    return value


def _json_rows(path: Path, progress: Progress) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as lines, _in_steps(progress) as passed:
        number = 0
        while line := lines.readline(LONGEST_ROW + 1):
            number += 1
            size = len(line)
            while len(line) > LONGEST_ROW and not line.endswith(b"\n"):
                more = lines.readline(LONGEST_ROW)
                size += len(more)
                if not more or more.endswith(b"\n"):
                    break
            passed(size)
            if size > LONGEST_ROW:
                yield number, BadRow(f"the row is longer than {LONGEST_ROW:,} bytes")
            elif not line.isspace():
                yield number, _parsed(line, first=number == 1)


def _parsed(line: bytes, *, first: bool) -> Any:
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
        row = _read_json(text)
        if "\\u" in text or "\x00" in text:
            _storable(dumps(row, ensure_ascii=False))
    except UnicodeError:
        return BadRow("the row is not UTF-8 text")
    except JSONDecodeError as error:
        return BadRow(f"the row is not JSON: {error.msg} at character {error.pos + 1}")
    except RecursionError:
        return BadRow("the row is nested too deeply")
    except BadRow as error:
        return error
    except ValueError as error:  # a number with thousands of digits
        return BadRow(f"the row is not JSON: {error}")
    return row


def _no_constant(name: str) -> None:
    raise BadRow(f"{name} is not a JSON number")


_read_json = JSONDecoder(parse_constant=_no_constant).decode


def _storable(text: str) -> None:
    text.encode()
    if "\\u0000" in text:
        raise BadRow("a text holds the NUL character")


@contextmanager
def _in_steps(progress: Progress) -> Iterator[Progress]:
    """Tell of many small pieces seldom, and of all of them by the end."""
    untold = 0

    def passed(size: int) -> None:
        nonlocal untold
        untold += size
        if untold >= TOLD_EVERY:
            progress(untold)
            untold = 0

    yield passed
    if untold:
        progress(untold)


def _csv_rows(path: Path, progress: Progress) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as raw, _in_steps(progress) as passed:
        reader = csv.reader(_csv_lines(raw, passed), strict=True)
        header: list[str] | None = None
        number = 0
        while True:
            number += 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, UnicodeError, BadRow) as error:
                yield number, BadRow(f"the row cannot be read: {error}")
                return
            if header is None:
                header = [cell.strip().lower() for cell in cells]
                yield from _missing_columns(header)
            elif any(cells):
                yield number, _from_cells(dict(zip(header, cells, strict=False)))


def _csv_lines(lines: Iterable[bytes], progress: Progress) -> Iterator[str]:
    for position, line in enumerate(lines):
        progress(len(line))
        if len(line) > LONGEST_ROW:
            raise BadRow(f"it is longer than {LONGEST_ROW:,} bytes")
        text = line.decode("utf-8-sig" if position == 0 else "utf-8")
        if "\x00" in text:
            raise BadRow("a text holds the NUL character")
        yield text


def _sheet_rows(path: Path, progress: Progress) -> Iterator[tuple[int, Any]]:
    book = load_workbook(path, read_only=True, data_only=True)
    try:
        header: list[str] | None = None
        for number, cells in enumerate(book.worksheets[0].iter_rows(values_only=True), start=1):
            progress(1)
            if header is None:
                header = [str(cell or "").strip().lower() for cell in cells]
                yield from _missing_columns(header)
            elif any(cell is not None for cell in cells):
                texts = ["" if cell is None else _cell_text(cell) for cell in cells]
                yield number, _from_cells(dict(zip(header, texts, strict=False)))
    finally:
        book.close()


def _cell_text(cell: Any) -> str:
    return cell.isoformat() if isinstance(cell, datetime) else str(cell)


def _missing_columns(header: list[str]) -> Iterator[tuple[int, BadRow]]:
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        yield 1, BadRow(f"the first row names the columns; {', '.join(missing)} is missing")


def _from_cells(cells: Mapping[str, str]) -> dict[str, Any]:
    """A row of a spreadsheet as a consultation: its feedback is an answer of `by`."""
    row = {name: _as_exported((value or "").strip()) for name, value in cells.items()}
    by = row.get("by") or None
    events = [
        {"at": row[column], "kind": kind.value, "by": by}
        for column, kind in (("feedback_at", Kind.FEEDBACK), ("closed_at", Kind.CLOSED))
        if row.get(column)
    ]
    plain = {name: row.get(name) or None for name in REQUIRED_COLUMNS}
    return {**plain, "events": events}


def _silent(_: int) -> None:
    """Progress that nobody watches."""


def export_file(
    session: Session,
    path: Path,
    *,
    library: Library | None = None,
    texts: bool = True,
    progress: Progress | None = None,
) -> int:
    """Write consultations to .csv or else JSON lines; returns how many.

    The CSV holds one first feedback and one close of each; JSON lines hold everything, and
    importing them again gives the same figures.
    """
    rows = exported(session, library=library, texts=texts)
    written = 0
    if path.suffix.lower() == ".csv":
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            sheet = csv.writer(file)
            sheet.writerow(CSV_COLUMNS)
            for row in rows:
                sheet.writerow(_cells(row))
                written += 1
                (progress or _silent)(1)
        return written
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(dumps(row, ensure_ascii=False) + "\n")
            written += 1
            (progress or _silent)(1)
    return written


def exported(
    session: Session, *, library: Library | None = None, texts: bool = True
) -> Iterator[dict[str, Any]]:
    """Every consultation in DESIGN 4.4's form, oldest row first."""
    slugs: dict[int, str] = {row.id: row.slug for row in session.scalars(select(Library))}
    last = 0
    while True:
        query = select(
            Consultation.id,
            Consultation.library_id,
            Consultation.key,
            Consultation.opened_channel,
            Consultation.opened_at,
        ).where(Consultation.id > last)
        if library is not None:
            query = query.where(Consultation.library_id == library.id)
        batch = session.execute(query.order_by(Consultation.id).limit(BATCH)).all()
        if not batch:
            return
        last = batch[-1].id
        events = _exported_events(session, [row.id for row in batch], texts=texts)
        for row in batch:
            yield {
                "id": row.key,
                "library": slugs[row.library_id],
                "channel": row.opened_channel,
                "received_at": row.opened_at.isoformat(),
                "events": events.get(row.id, []),
            }


def _exported_events(
    session: Session, ids: list[int], *, texts: bool
) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    rows = session.execute(
        select(Event.consultation_id, Event.at, Event.kind, Event.by, Event.text, Event.data)
        .where(Event.consultation_id.in_(ids))
        .order_by(Event.consultation_id, Event.at, Event.id)
    )
    for owner, at, kind, by, text, data in rows:
        event: dict[str, Any] = {"at": at.isoformat(), "kind": kind}
        if by is not None:
            event["by"] = by
        if texts and text is not None:
            event["text"] = text
        found.setdefault(owner, []).append({**event, **(data or {})})
    return found


def _cells(row: Mapping[str, Any]) -> list[str]:
    firsts: dict[str, Mapping[str, Any]] = {}
    for event in row["events"]:
        firsts.setdefault(event["kind"], event)
    feedback, closed = firsts.get(Kind.FEEDBACK, {}), firsts.get(Kind.CLOSED, {})
    cells = [
        row["id"],
        row["library"],
        row["channel"],
        row["received_at"],
        feedback.get("at", ""),
        closed.get("at", ""),
        feedback.get("by") or closed.get("by") or "",
    ]
    return [unformulated(cell) for cell in cells]


def unformulated(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: a doubtful one begins with '."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def _as_exported(cell: str) -> str:
    """A cell as it was before `unformulated`."""
    return cell[1:] if cell[:1] == "'" and FORMULA.match(cell, 1) else cell
