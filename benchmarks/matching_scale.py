"""One library of 300,000 phrasings: build, load, rank, change; beside named baselines.

    .venv/bin/python benchmarks/matching_scale.py [--entries 100000]

The phrasings are drawn from the shipped thesaurus, so that no data is needed.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rapidfuzz import fuzz, process
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from kb.columns import Base
from kb.entries import EntryData
from kb.knowledge import TRAINED, KnowledgeBase, KnowledgeBases
from kb.large import COMMON, LargeMatcher, features
from kb.library import import_entries, save_entry
from kb.reading import read
from kb.segment import use_cache
from kb.thesaurus import shipped_concepts
from kb.verdict import decide

QUERIES = 300
T = TypeVar("T")


def library(entries: int, seed: int = 1) -> list[EntryData]:
    """Entries of three phrasings, each made of wordings of the thesaurus and a place of its own."""
    draw = random.Random(seed)
    wordings = [
        wording
        for concept in shipped_concepts()
        for lang in ("en", "vi", "zh")
        for wording in concept.says.get(lang, ())
    ]
    syllables = [a + b for a in "bcdfghjklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "or")]
    names = ["".join(draw.choices(syllables, k=3)) for _ in range(entries // 3 + 1)]
    made = []
    for number in range(entries):
        name = names[number % len(names)]
        topic = draw.sample(wordings, 4)
        texts = tuple(
            " ".join([*draw.sample(topic, 2), name, draw.choice(wordings)]) for _ in range(3)
        )
        made.append(EntryData(f"entry-{number}", "scale", {"en": texts}, {}))
    return made


def timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def per_call(work: Callable[[str], object], questions: list[str]) -> float:
    """Milliseconds of the median call, the second time each question is asked."""
    for text in questions:
        work(text)
    return 1000 * statistics.median(timed(lambda text=text: work(text))[1] for text in questions)


def floor(touched: int) -> float:
    """Milliseconds that reading so many postings takes at this machine's memory bandwidth."""
    block = np.ones(64 << 20, np.float32)
    seconds = min(timed(block.sum)[1] for _ in range(5))
    return 1000 * touched * 8 / (block.nbytes / seconds)


def postings(knowledge: KnowledgeBase, text: str) -> int:
    """How many postings the features of a question have, those too common to look up included."""
    matcher = knowledge.matcher
    assert isinstance(matcher, LargeMatcher)
    buckets = np.array([*features(read(text, matcher.concepts))])
    starts = matcher.segments_[0].starts
    return int((starts[buckets + 1].astype(np.int64) - starts[buckets]).sum())


def ranked(knowledge: KnowledgeBase) -> Callable[[str], object]:
    """Looking a question up in the index, without reading it before and deciding after."""
    matcher = knowledge.matcher
    assert isinstance(matcher, LargeMatcher)
    segment, most = matcher.segments_[0], int(COMMON * len(knowledge.entries))

    @cache
    def located(text: str) -> tuple[Any, Any]:
        return matcher._question(read(text, matcher.concepts))

    def rank(text: str) -> object:
        cosines = segment.cosines(*located(text), most)
        return np.argpartition(-cosines, 49)[:50]

    return rank


def resident() -> int:
    """Bytes of this process's own that are in memory."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("this kernel does not tell")


def many_libraries(cache_directory: Path, count: int, wanted: int = 3_000) -> None:
    """What it takes to hold many libraries of a hundred entries, from a sample of them."""
    libraries = [library(100, seed=number) for number in range(count + 1)]
    learned = [
        timed(lambda one=one, at=at: KnowledgeBase(one, cache=cache_directory, owner=f"l{at}"))[1]
        for at, one in enumerate(libraries)
    ]
    held = [KnowledgeBase(libraries[0], cache=cache_directory, owner="l0")]
    before, times = resident(), []
    for number in range(1, count + 1):
        knowledge, seconds = timed(
            lambda at=number: KnowledgeBase(libraries[at], cache=cache_directory, owner=f"l{at}")
        )
        knowledge.ask("how do I renew")
        held.append(knowledge)
        times.append(seconds)
    each = (resident() - before) / count
    print(
        f"{count} libraries of 100 entries: learned in {statistics.median(learned):.2f} s each,"
        f" recalled in {1000 * statistics.median(times):.0f} ms each, {each / 1e6:.1f} MB each;"
        f" {wanted:,} would take {wanted * each / 1e9:.0f} GB"
    )


def edits(entries: list[EntryData], times: int = 9) -> None:
    """What one edit costs, from saving it to being asked by it, the relearning behind it aside."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    bases, now = KnowledgeBases(), datetime(2026, 9, 7, tzinfo=UTC)
    bases._relearn = lambda *_: None  # type: ignore[method-assign]
    with Session(engine) as session:
        import_entries(session, 1, entries, now=now, by="scale")
        session.commit()
        bases.of(session, 1, today=now.date())

    def edit(number: int) -> None:
        asked = f"zzyzx road closes early {number}"
        edited = replace(entries[number], questions={"en": (asked,)})
        with Session(engine) as session:
            save_entry(session, 1, edited, now=now, by="scale")
            session.commit()
        with Session(engine) as session:
            found = bases.of(session, 1, today=now.date()).ask(asked)
        assert found.candidates[0].entry == edited.id

    spent = [timed(partial(edit, number))[1] for number in range(times)]
    print(
        f"{len(entries):,} entries: one changed, saved and asked in"
        f" {1000 * statistics.median(spent):.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--libraries", type=int, default=10)
    given = parser.parse_args()
    wanted = given.entries
    with tempfile.TemporaryDirectory() as directory:
        use_cache(Path(directory) / "jieba")
        kept = Path(directory) / "cache"
        entries = library(wanted)
        texts = [text for entry in entries for text in entry.questions["en"]]
        _, built = timed(lambda: KnowledgeBase(entries, cache=kept))
        knowledge, loaded = timed(lambda: KnowledgeBase(entries, cache=kept))
        print(f"{len(texts):,} phrasings: built in {built:.1f} s, loaded again in {loaded:.2f} s")
        print(f"index: {knowledge.index_bytes / len(texts):.0f} bytes a phrasing")
        draw = random.Random(2)
        questions = [draw.choice(texts)[4:] for _ in range(QUERIES)]
        ours = per_call(
            lambda text: decide(knowledge.matcher.rank(text), knowledge.thresholds), questions
        )
        touched = int(statistics.median(postings(knowledge, text) for text in questions))
        lowest = floor(touched)
        ranking = per_call(ranked(knowledge), questions)
        print(f"one question, end to end: p50 {ours:.2f} ms, of which ranking {ranking:.2f} ms")
        print(
            f"floor, {touched:,} postings: {lowest:.2f} ms; ranking is {ranking / lowest:.1f},"
            f" all of it {ours / lowest:.1f} times that"
        )
        slow = per_call(
            lambda text: process.extractOne(text, texts, scorer=fuzz.ratio), questions[:3]
        )
        print(f"rapidfuzz extractOne (ratio): {slow:.0f} ms, {slow / ours:.0f} times ours")
        found = sum(
            knowledge.ask(text).candidates[0].entry == f"entry-{number}"
            for number in range(0, wanted, max(1, wanted // 200))
            for text in [entries[number].questions["en"][0]]
        )
        print(
            f"own phrasings found first: {found} of {len(range(0, wanted, max(1, wanted // 200)))}"
        )
        edited = replace(entries[7], questions={"en": ("zzyzx road closes early",)})
        changed, seconds = timed(
            lambda: knowledge.changed([*entries[:7], edited, *entries[8:]], version=2)
        )
        assert changed is not None
        print(f"one entry changed in {1000 * seconds:.0f} ms")
        edits(library(TRAINED))
        many_libraries(kept, given.libraries)


if __name__ == "__main__":
    main()
