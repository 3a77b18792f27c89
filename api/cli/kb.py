"""refdesk kb: the knowledge base as files, and how good it is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.shell import (
    AsJson,
    LibrarySlug,
    actor,
    group,
    library_of,
    load_settings,
    open_database,
    present_time,
    print_json,
    print_table,
    progress,
    readable,
    say,
    warn,
)

if TYPE_CHECKING:
    from api.settings import Settings
    from bot.desk import Desk
    from kb.entries import EntryData
    from kb.knowledge import KnowledgeBase
    from kb.library import ImportReport
    from kb.meaning import Meaning

app = group("kb", "Import, export and evaluate the knowledge base.")
COMMANDS = {"kb": app}


class FileFormat(StrEnum):
    """What is in a file: a knowledge base by its ending, or a Rasa assistant's training data."""

    AUTO = "auto"
    RASA = "rasa"


Format = Annotated[
    FileFormat, typer.Option("--format", help="rasa: an assistant's .yml file, or its folder.")
]


class DryRun(Exception):
    """Leaves a transaction without keeping it."""


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help=".yaml, .csv, .xlsx or .jsonl")],
    library: LibrarySlug = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: AsJson = False,
    file_format: Format = FileFormat.AUTO,
) -> None:
    """Add and update entries by their id and publish them at once: all of the file or nothing.

    Example: refdesk kb import kb.yaml --library demo
    """
    from api import audit
    from kb.files import load_concepts, load_file
    from kb.library import import_entries, save_concepts

    is_rasa = file_format is FileFormat.RASA
    entries = _from_rasa(file) if is_rasa else load_file(readable(file))
    concepts = [] if is_rasa else load_concepts(file)
    now = present_time()
    report = None
    try:
        with open_database() as database, database.transaction() as session:
            owner = library_of(session, library)
            report = import_entries(session, owner.id, entries, now=now, by=actor())
            if concepts:
                save_concepts(session, owner.id, concepts, now=now)
            if dry_run:
                raise DryRun
            audit.record(
                session,
                actor=actor(),
                action="kb.import",
                subject=file.name,
                library_id=owner.id,
                now=now,
                added=len(report.added),
                updated=len(report.updated),
            )
    except DryRun:
        pass
    assert report is not None  # noqa: S101 - set before anything can leave the transaction
    _tell(report, dry_run=dry_run, as_json=as_json)


def _from_rasa(path: Path) -> "list[EntryData]":
    """The entries of an assistant; what gives none is named on standard error."""
    from kb.rasa import load_rasa

    found = load_rasa(path if path.is_dir() else readable(path))
    for intent, reason in found.left_out:
        warn(f"Left out {intent}: {reason}.")
    return list(found.entries)


def _tell(report: "ImportReport", *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "added": report.added,
                "updated": report.updated,
                "unchanged": report.unchanged,
                "conflicts": [
                    {"text": conflict.text, "entries": conflict.entries}
                    for conflict in report.conflicts
                ],
            }
        )
        return
    verb = "Would add" if dry_run else "Added"
    say(
        f"{verb} {len(report.added)}, updated {len(report.updated)}, "
        f"unchanged {len(report.unchanged)}."
    )
    for conflict in report.conflicts:
        say(f"Claimed by several entries ({', '.join(conflict.entries)}): {conflict.text}")


@app.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(help=".yaml, .csv, .xlsx or .jsonl")],
    library: LibrarySlug = None,
    file_format: Format = FileFormat.AUTO,
) -> None:
    """Write the entries in use to a file, which `kb import` reads again.

    Example: refdesk kb export kb.xlsx --library demo
    """
    from kb.files import write_file
    from kb.library import export_concepts, export_entries
    from kb.rasa import write_rasa

    with open_database() as database, database.snapshot() as session:
        owner = library_of(session, library)
        entries = export_entries(session, owner.id)
        concepts = export_concepts(session, owner.id)
    if file_format is FileFormat.RASA:
        write_rasa(file, entries)
    else:
        write_file(file, entries, concepts)
    say(f"Wrote {len(entries)} entries to {file}.")


@app.command()
def evaluate(
    queries: Annotated[Path, typer.Argument(help="Labelled questions, JSON lines.")],
    kb: Annotated[
        Path | None, typer.Option("--kb", help="A knowledge base file; no database is needed.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Write one line per question to this file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write confusions and curves to this folder.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Predictions of an earlier run, to report what changed.")
    ] = None,
    library: LibrarySlug = None,
    as_json: AsJson = False,
) -> None:
    """Score the matcher on labelled questions.

    Example: refdesk kb evaluate questions.jsonl --kb kb.yaml --json
    """
    from kb.evaluate import evaluate as score
    from kb.evaluate import read_queries, write_predictions
    from kb.reports import read_predictions, write_report

    asked = read_queries(readable(queries))
    before = read_predictions(readable(against), asked) if against is not None else None
    started = time.perf_counter()
    knowledge = open_knowledge(kb, library)
    fit_seconds = time.perf_counter() - started
    with progress("Asking", len(asked)) as advance:
        found = score(asked, knowledge, fit_seconds=fit_seconds, progress=advance)
    if predictions is not None:
        write_predictions(predictions, found.predictions)
    if report is not None:
        write_report(report, asked, found.predictions, before)
    if as_json:
        print_json(found.scores)
    else:
        _print_scores(found.scores)


def open_knowledge(file: Path | None, library: str | None) -> "KnowledgeBase":
    """The knowledge base of a file, which needs no database, or of a library."""
    if file is None:
        with open_desk(library) as desk:
            return desk.knowledge
    from kb.knowledge import KnowledgeBase

    return KnowledgeBase.from_file(readable(file), meaning=_meaning(load_settings()))


@contextmanager
def open_desk(library: str | None) -> "Iterator[Desk]":
    """A library's knowledge and calendars, as the bot has them now."""
    from api.desks import Desks
    from kb.knowledge import KnowledgeBases

    settings = load_settings()
    desks = Desks(KnowledgeBases(meaning=_meaning(settings)), settings.public_url)
    with open_database(settings) as database, database.snapshot() as session:
        owner = library_of(session, library)
        yield desks.of(session, owner.id, now=present_time())


def _meaning(settings: "Settings") -> "Meaning":
    """The semantic model where one is set; the word cutter's cache lies with our own files."""
    from kb.meaning import meaning
    from kb.segment import use_cache

    use_cache(settings.var_dir / "jieba")
    return meaning(settings.semantic_model, settings.semantic_languages)


def _print_scores(scores: dict[str, Any]) -> None:
    plain = [(name, _short(value)) for name, value in scores.items() if not _is_table(value)]
    print_table(("score", "value"), plain)
    for name, table in scores.items():
        if _is_table(table):
            columns = sorted({key for row in table.values() for key in row})
            rows = [(key, *(_short(row.get(c)) for c in columns)) for key, row in table.items()]
            print_table((name, *columns), rows)


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(row, dict) for row in value.values())


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    return "–" if value is None else str(value)
