"""refdesk ask: one question to the knowledge base, and why it is answered so."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.kb import open_desk, open_knowledge
from api.cli.shell import (
    AsJson,
    LibrarySlug,
    one_command,
    present_time,
    print_json,
    print_table,
    say,
)
from kb.text import detect_language

if TYPE_CHECKING:
    from collections.abc import Callable

    from kb.entries import EntryData
    from kb.knowledge import KnowledgeBase

app = one_command("ask")
COMMANDS = {"ask": app}


@app.command()
def ask(
    text: Annotated[str, typer.Argument(help="What a patron might write.")],
    kb: Annotated[
        Path | None, typer.Option("--kb", help="A knowledge base file; no database is needed.")
    ] = None,
    library: LibrarySlug = None,
    as_json: AsJson = False,
) -> None:
    """Ask the knowledge base one question and show why it answers as it does.

    Example: refdesk ask 怎么续借图书 --kb kb.yaml
    """
    language = detect_language(text)
    if kb is not None:
        found = _found(open_knowledge(kb, None), text, language, lambda e: e.answer(language))
    else:
        with open_desk(library) as desk:
            now = present_time()
            found = _found(
                desk.knowledge,
                text,
                language,
                lambda entry: desk.answer(entry, text, language=language, now=now),
            )
    if as_json:
        print_json(found)
        return
    _print(found)


def _found(
    knowledge: "KnowledgeBase", text: str, language: str, answer: "Callable[[EntryData], str]"
) -> dict[str, Any]:
    decision = knowledge.ask(text)
    explanation = knowledge.explain(text)
    entries = [knowledge.entry(key) for key in decision.entries]
    return {
        "text": text,
        "language": language,
        "verdict": decision.verdict,
        "entries": decision.entries,
        "answers": [answer(entry) for entry in entries if entry is not None],
        "candidates": [
            {"entry": c.entry, "probability": c.probability} for c in decision.candidates
        ],
        "p_none": decision.p_none,
        "read_as": explanation.text,
        "concepts": explanation.concepts,
        "reasons": [asdict(reason) for reason in explanation.reasons],
        "nearest": [
            {"entry": entry, "phrasing": phrasing, "likeness": likeness}
            for entry, phrasing, likeness in explanation.nearest
        ],
    }


def _print(found: dict[str, Any]) -> None:
    say(f"Verdict: {found['verdict']} ({found['language']})")
    for answer in found["answers"]:
        say(answer)
    print_table(
        ("entry", "probability"),
        [
            *((each["entry"], f"{each['probability']:.3f}") for each in found["candidates"]),
            ("(none of them)", f"{found['p_none']:.3f}"),
        ],
    )
    print_table(
        ("nearest phrasing", "entry", "likeness"),
        [(each["phrasing"], each["entry"], f"{each['likeness']:.2f}") for each in found["nearest"]],
    )
    print_table(
        ("because of", "weight"),
        [tuple(reason.values())[:2] for reason in found["reasons"]],
    )
