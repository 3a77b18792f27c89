"""Learn the confidence that a knowledge base gets which is too small to learn its own.

    .venv/bin/python benchmarks/default_confidence.py KB.jsonl QUERIES.jsonl [KB QUERIES ...]

Each knowledge base should hold one phrasing per entry. Writes kb/default_confidence.yaml.
"""

import sys
from pathlib import Path

import numpy as np
import yaml

from kb.confidence import EVIDENCE, NONE, RIGHT, WRONG, Confidence, evidence
from kb.evaluate import read_queries
from kb.knowledge import KnowledgeBase
from kb.matcher import Matcher
from kb.reading import read

TARGET = Path(__file__).parents[1] / "kb" / "default_confidence.yaml"


def observed(knowledge: Path, queries: Path) -> tuple[list[np.ndarray], list[int]]:
    """Evidence and outcome of every query."""
    matcher = KnowledgeBase.from_file(knowledge).matcher
    assert isinstance(matcher, Matcher)
    seen, outcomes = [], []
    for query in read_queries(queries):
        reading = read(query.text, matcher.concepts, matcher.spelling_)
        judged = matcher.model_.judge(matcher._locate([reading]))
        if not len(judged.points.numbers):
            continue
        seen.append(evidence(matcher.model_, [reading.glance()], judged)[0])
        best = matcher.entries_[int(judged.scores[0, :-1].argmax())]
        right = RIGHT if best in query.right else WRONG
        outcomes.append(right if query.right else NONE)
    return seen, outcomes


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]]
    seen: list[np.ndarray] = []
    outcomes: list[int] = []
    for knowledge, queries in zip(paths[::2], paths[1::2], strict=True):
        some, what = observed(knowledge, queries)
        seen += some
        outcomes += what
        print(knowledge, len(what), {name: what.count(name) for name in (RIGHT, WRONG, NONE)})
    learned = Confidence.learn(np.array(seen, np.float32).reshape(-1, EVIDENCE), outcomes)
    TARGET.write_text(yaml.safe_dump(learned.as_document(), sort_keys=False), encoding="utf-8")
    print(f"answers from {learned.thresholds.sure:.3f}")


if __name__ == "__main__":
    main()
