"""How the matcher does on public sets of questions, from one phrasing an entry to all of them.

    .venv/bin/python -m benchmarks.matching_public DIRECTORY [--semantic MODEL] [--numbered]
        [--only NAME ...]

DIRECTORY holds a folder for each set (clinc150, banking77, hwu64) with kb_1shot_0.jsonl ...
kb_full.jsonl, and valid.jsonl. Prints, beside the goal, the mean over the seeds. The words of an
entry's key ("freeze-account") are a hint as they are in a library's own knowledge base;
`--numbered` puts numbers in their place, as published few-shot figures have it. MODEL is a
sentence model's directory or package. Its vectors are computed once for each set and not counted
in the time of a question. The full sets take minutes.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from kb.entries import EntryData, phrasings
from kb.evaluate import Query, evaluate, read_queries
from kb.files import load_file
from kb.knowledge import KnowledgeBase
from kb.meaning import SentenceMeaning, meaning
from kb.reading import essence
from kb.segment import use_cache

# Accuracy in per cent, without and with an English sentence model.
GOALS = {
    ("clinc150", "1"): (50, 68),
    ("clinc150", "3"): (69, 84),
    ("clinc150", "5"): (77, 88),
    ("clinc150", "10"): (85, 91),
    ("clinc150", "full"): (93.5, 96.5),
    ("banking77", "1"): (40, 58),
    ("banking77", "5"): (69, 82),
    ("banking77", "10"): (78, 87),
    ("banking77", "full"): (92, 94),
    ("hwu64", "5"): (65, 76),
    ("hwu64", "10"): (73, 82),
    ("hwu64", "full"): (89.5, 91.5),
}


def numbered(entries: list[EntryData], queries: list[Query]) -> tuple[list[EntryData], list[Query]]:
    """The same entries and queries, each entry known by a number."""
    number = {entry.id: str(at) for at, entry in enumerate(entries)}
    asked = [
        replace(query, right=frozenset(number[entry] for entry in query.right if entry in number))
        for query in queries
    ]
    return [replace(entry, id=number[entry.id]) for entry in entries], asked


def measured(
    folder: Path, shots: str, chosen: Any, *, is_numbered: bool = False
) -> list[dict[str, Any]]:
    """The scores of each seed."""
    name = "kb_full.jsonl" if shots == "full" else f"kb_{shots}shot_*.jsonl"
    queries = read_queries(folder / "valid.jsonl")
    if isinstance(chosen, SentenceMeaning):
        every = [phrasing.text for phrasing in phrasings(load_file(folder / "kb_full.jsonl"))]
        remember(chosen, [*every, *(query.text for query in queries)])
    found = []
    for path in sorted(folder.glob(name)):
        entries, asked = load_file(path), queries
        if is_numbered:
            entries, asked = numbered(entries, queries)
        started = time.perf_counter()
        knowledge = KnowledgeBase(entries, meaning=chosen)
        seconds = time.perf_counter() - started
        found.append(evaluate(asked, knowledge, fit_seconds=seconds).scores)
    return found


def remember(chosen: SentenceMeaning, texts: list[str]) -> None:
    wanted = [text for text in dict.fromkeys(map(essence, texts)) if not chosen.knows(text)]
    if wanted:
        started = time.perf_counter()
        chosen.know(dict(zip(wanted, chosen.encoded(wanted), strict=True)))
        seconds = time.perf_counter() - started
        print(f"{len(wanted):,} sentences: {1000 * seconds / len(wanted):.1f} ms each", flush=True)


def mean(scores: list[dict[str, Any]], name: str) -> str:
    values = [score[name] for score in scores]
    if any(value is None for value in values):
        return "-"
    return f"{100 * statistics.mean(values):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--semantic")
    parser.add_argument("--numbered", action="store_true")
    parser.add_argument("--only", nargs="*", help="such as clinc150:5 or hwu64:full")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        use_cache(Path(directory) / "jieba")
        chosen = meaning(given.semantic)
        print("set          shots  accuracy  goal   AUROC  wrong   ECE    p50 ms  fit s")
        for (name, shots), goals in GOALS.items():
            if given.only and f"{name}:{shots}" not in given.only:
                continue
            folder = given.directory / name
            scores = measured(folder, shots, chosen, is_numbered=given.numbered)
            goal = goals[1 if given.semantic else 0]
            p50 = statistics.mean(score["milliseconds"]["p50"] for score in scores)
            fit = statistics.mean(score["fit_seconds"] for score in scores)
            print(
                f"{name:12s} {shots:>5s}  {mean(scores, 'accuracy_at_1'):>8s}  {goal:<5}"
                f"  {mean(scores, 'auroc_none'):>5s}  {mean(scores, 'wrong_among_answered'):>5s}"
                f"  {mean(scores, 'ece'):>5s}  {p50:6.2f}  {fit:5.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
