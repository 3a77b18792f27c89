"""How fast the matcher learns and answers, beside named baselines in the same run.

    .venv/bin/python benchmarks/matching.py KB [QUERIES.jsonl]

KB is a knowledge-base file; without QUERIES its own phrasings are asked.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rapidfuzz import fuzz, process
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from kb.evaluate import read_queries
from kb.knowledge import KnowledgeBase
from kb.segment import use_cache

ASKED = 1_000


def milliseconds(work: Callable[[str], object], texts: list[str]) -> tuple[float, float]:
    """The median and the 99th percentile of one call."""
    work(texts[0])
    times = []
    for text in texts:
        started = time.perf_counter()
        work(text)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times), sorted(times)[len(times) * 99 // 100]


def report(name: str, fit: float, times: tuple[float, float]) -> None:
    print(f"{name:42s} fit {fit:6.2f} s   p50 {times[0]:7.3f} ms   p99 {times[1]:7.3f} ms")


def main() -> None:
    path = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        use_cache(Path(directory) / "jieba")
        KnowledgeBase([])  # the shipped thesaurus and background are read once a process
        started = time.perf_counter()
        knowledge = KnowledgeBase.from_file(path)
        fit = time.perf_counter() - started
        phrasings = knowledge.matcher.phrasings_
        known = [phrasing.text for phrasing in phrasings]
        asked = [query.text for query in read_queries(Path(sys.argv[2]))] if sys.argv[2:] else known
        asked = asked[:: max(1, len(asked) // ASKED)]
        print(f"{len(known):,} phrasings, {len(knowledge.entries)} entries; {len(asked)} questions")
        report("refdesk, question to verdict", fit, milliseconds(knowledge.ask, asked))

        started = time.perf_counter()
        vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        machine = LinearSVC().fit(vectors.fit_transform(known), [p.entry for p in phrasings])
        fit = time.perf_counter() - started
        plain = milliseconds(
            lambda text: machine.decision_function(vectors.transform([text])), asked
        )
        report("scikit-learn TF-IDF + LinearSVC", fit, plain)
        fuzzy = milliseconds(
            lambda text: process.extractOne(text, known, scorer=fuzz.token_set_ratio), asked[:200]
        )
        report("rapidfuzz extractOne, token_set_ratio", 0.0, fuzzy)

        edited = [*knowledge.entries[1:], knowledge.entries[0]]
        started = time.perf_counter()
        knowledge.changed(edited[:-1], version=1)
        print(f"one entry removed: {1000 * (time.perf_counter() - started):.0f} ms")
        cache = Path(directory) / "cache"
        KnowledgeBase.from_file(path, cache=cache)
        started = time.perf_counter()
        KnowledgeBase.from_file(path, cache=cache)
        print(f"recalled from disk: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
