"""refdesk ask: one question to the knowledge base, and why it is answered so."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.kb import open_knowledge
from api.cli.shell import AsJson, LibrarySlug, one_command, print_json, print_table, say
from kb.text import detect_language

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
    knowledge = open_knowledge(kb, library)
    decision = knowledge.ask(text)
    explanation = knowledge.explain(text)
    language = detect_language(text)
    answers = [knowledge.entry(key) for key in decision.entries]
    found: dict[str, Any] = {
        "text": text,
        "language": language,
        "verdict": decision.verdict,
        "entries": decision.entries,
        "answers": [entry.answer(language) for entry in answers if entry is not None],
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
    if as_json:
        print_json(found)
        return
    say(f"Verdict: {decision.verdict} ({language})")
    for answer in found["answers"]:
        say(answer)
    print_table(
        ("entry", "probability"),
        [
            *((c.entry, f"{c.probability:.3f}") for c in decision.candidates),
            ("(none of them)", f"{decision.p_none:.3f}"),
        ],
    )
    print_table(
        ("nearest phrasing", "entry", "likeness"),
        [(phrasing, entry, f"{likeness:.2f}") for entry, phrasing, likeness in explanation.nearest],
    )
    print_table(
        ("because of", "weight"),
        [tuple(asdict(reason).values())[:2] for reason in explanation.reasons],
    )
