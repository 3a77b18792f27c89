"""Knowledge bases as files: YAML, JSON lines, CSV and Excel, read with every mistake reported."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from kb.documents import BadDocument, concept_from_document, entry_from_document
from kb.entries import LANGUAGES, Concept, EntryData
from kb.errors import BadFile

FORMATS = (".yaml", ".yml", ".jsonl", ".csv", ".xlsx")
_PLAIN = ("id", "category", "url", "valid_from", "valid_until", "review_by", "owner")
COLUMNS = (
    *_PLAIN,
    "tags",
    *(f"questions_{lang}" for lang in LANGUAGES),
    *(f"answers_{lang}" for lang in LANGUAGES),
)
# Full-width signs count too: spreadsheets of Chinese and Japanese systems accept them.
_FORMULA = re.compile("[\\s\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load_file(path: Path) -> list[EntryData]:
    """The entries of a file. Raises BadFile, which names every row that cannot be used."""
    entries, mistakes, seen = [], [], set()
    for place, document in _documents(path):
        try:
            entry = entry_from_document(document)
        except BadDocument as bad:
            mistakes += [f"{place}: {reason}" for reason in bad.reasons]
            continue
        if entry.id in seen:
            mistakes.append(f"{place}: the id {entry.id} occurs twice")
        seen.add(entry.id)
        entries.append(entry)
    if mistakes:
        raise BadFile(path, mistakes)
    return entries


def load_concepts(path: Path) -> list[Concept]:
    """A library's own concepts, from the `concepts` of its YAML file; none in other formats."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return []
    document = _read_yaml(path)
    concepts, mistakes = [], []
    for number, row in enumerate(document.get("concepts") or (), start=1):
        try:
            concepts.append(concept_from_document(row))
        except BadDocument as bad:
            mistakes += [f"concept {number}: {reason}" for reason in bad.reasons]
    if mistakes:
        raise BadFile(path, mistakes)
    return concepts


def write_file(path: Path, entries: Iterable[EntryData], concepts: Iterable[Concept] = ()) -> None:
    """Write entries in the format that the file's ending names.

    Raises BadFile for another ending. Concepts are kept only in YAML.
    """
    documents = [entry.as_document() for entry in entries]
    match path.suffix.lower():
        case ".yaml" | ".yml":
            _write_yaml(path, documents, [concept.as_document() for concept in concepts])
        case ".jsonl":
            lines = (json.dumps(document, ensure_ascii=False) for document in documents)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        case ".csv":
            with path.open("w", encoding="utf-8-sig", newline="") as file:
                csv.writer(file).writerows([COLUMNS, *map(_row, documents)])
        case ".xlsx":
            _write_xlsx(path, [COLUMNS, *map(_row, documents)])
        case ending:
            raise BadFile(path, [f"cannot write {ending or 'a file without ending'}"])


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    match path.suffix.lower():
        case ".yaml" | ".yml":
            rows = _read_yaml(path).get("entries")
            if not isinstance(rows, list):
                raise BadFile(path, ["there is no list of `entries`"])
            for number, row in enumerate(rows, start=1):
                yield _place(f"entry {number}", row), row
        case ".jsonl":
            yield from _json_lines(path)
        case ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from _table(path, list(csv.reader(file)))
        case ".xlsx":
            yield from _table(path, _read_xlsx(path))
        case ending:
            raise BadFile(path, [f"{ending or 'no ending'} is none of {', '.join(FORMATS)}"])


def _place(place: str, row: Any) -> str:
    name = row.get("id") if isinstance(row, dict) else None
    return f"{place} ({name})" if isinstance(name, str) else place


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (safe)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadFile(path, [f"not readable as YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(document, dict):
        raise BadFile(path, ["there is no list of `entries`"])
    return document


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            row = error
        yield _place(f"line {number}", row), row


def _table(path: Path, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Any]]:
    if not rows:
        raise BadFile(path, ["the table is empty"])
    names = [str(name or "").strip() for name in rows[0]]
    missing = [name for name in ("id", "category") if name not in names]
    if missing:
        raise BadFile(path, [f"there is no column {name}" for name in missing])
    for number, row in enumerate(rows[1:], start=2):
        cells = {
            name: cell for name, cell in zip(names, row, strict=False) if cell not in ("", None)
        }
        if cells:
            yield _place(f"row {number}", cells), _from_cells(cells)


def _from_cells(cells: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table as a document; cells with several values hold one a line."""
    document: dict[str, Any] = {name: _cell(cells[name]) for name in _PLAIN if name in cells}
    document["questions"], document["answers"] = {}, {}
    for lang in LANGUAGES:
        if f"questions_{lang}" in cells:
            lines = _text(cells[f"questions_{lang}"]).splitlines()
            document["questions"][lang] = [line.strip() for line in lines if line.strip()]
        if f"answers_{lang}" in cells:
            document["answers"][lang] = _text(cells[f"answers_{lang}"])
    if "tags" in cells:
        document["tags"] = [tag.strip() for tag in _text(cells["tags"]).split(",") if tag.strip()]
    return document


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else _text(value).strip()


def _row(document: Mapping[str, Any]) -> list[str]:
    row = [str(document.get(name) or "") for name in _PLAIN]
    row.append(", ".join(document.get("tags", ())))
    row += ["\n".join(document["questions"].get(lang, ())) for lang in LANGUAGES]
    row += [document["answers"].get(lang, "") for lang in LANGUAGES]
    return [_safe(cell) for cell in row]


def _safe(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: a doubtful one begins with '."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _text(value: Any) -> str:
    """What a cell says, as it was before `_safe`."""
    text = str(value)
    return text[1:] if text[:1] == "'" and _FORMULA.match(text, 1) else text


def _write_yaml(path: Path, documents: list[Any], concepts: list[Any]) -> None:
    whole = {"entries": documents} | ({"concepts": concepts} if concepts else {})
    text = yaml.dump(whole, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=100)
    path.write_text(text, encoding="utf-8")


def _read_xlsx(path: Path) -> list[tuple[Any, ...]]:
    from zipfile import BadZipFile  # noqa: PLC0415

    from openpyxl import load_workbook  # noqa: PLC0415  (heavy, and seldom needed)
    from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (BadZipFile, InvalidFileException, KeyError, OSError) as error:
        raise BadFile(path, [f"not readable as Excel: {error}"]) from error
    try:
        return list(book.worksheets[0].iter_rows(values_only=True))
    finally:
        book.close()


def _write_xlsx(path: Path, rows: Iterable[Sequence[str]]) -> None:
    from openpyxl import Workbook  # noqa: PLC0415

    book = Workbook(write_only=True)
    sheet = book.create_sheet("entries")
    for row in rows:
        sheet.append(list(row))
    book.save(path)
