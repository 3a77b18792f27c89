"""Learn how sure a matcher may be that has too few phrasings to find out by itself.

    .venv/bin/python -m benchmarks.default_confidence DIRECTORY

Draws small knowledge bases from the starter and from the training folds of the public sets in
DIRECTORY (clinc150, banking77, hwu64), asks each what the rest says and the background that was
kept from it, and learns from all of them together. Writes kb/default_confidence.yaml.
"""

import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from kb.background import shipped_background
from kb.confidence import NONE, RIGHT, WRONG, Confidence, evidence
from kb.entries import EntryData, hints, phrasings
from kb.files import load_file
from kb.matcher import Matcher
from kb.reading import read
from kb.segment import use_cache
from kb.vectors import Floats

PACKAGE = Path(__file__).parents[1] / "kb"
TARGET = PACKAGE / "default_confidence.yaml"
STARTER = PACKAGE / "starter" / "kb.yaml"
PUBLIC = ("clinc150", "banking77", "hwu64")
# Phrasings an entry and language, and the seed; 0 takes the first ones. Odd seeds put numbers in
# the place of the entries' keys: not every library gives them names.
STARTER_DRAWS = ((4, 0), (3, 2), (6, 4))
PUBLIC_DRAWS = ((1, 2), (1, 4), (1, 1), (3, 2), (3, 4), (3, 1), (5, 2), (5, 4), (5, 1), (10, 2))
LIBRARIES = 5  # how often a draw from the starter counts: it is what most knowledge bases are like
ASKED = 1_200
OUTSIDE = 1 / 6  # of what is asked
KEPT_BACK = 5  # one in five of the background is asked instead of learned
# A question of the starter belongs to one entry alone, though a librarian would accept others for
# some: right answers are likelier by this, in log-odds, than their labels say.
LENIENCE = 0.4
OFFER = 0.3  # choices are offered from here on: below, the right one is seldom among them


def drawn(
    entries: list[EntryData], count: int, seed: int
) -> tuple[list[EntryData], list[tuple[str, str]]]:
    """Entries of `count` phrasings a language, and the other phrasings with their entry."""
    draw, kept, rest = random.Random(seed), [], []
    for number, entry in enumerate(entries):
        key = str(number) if seed % 2 else entry.id
        questions = {}
        for lang, texts in entry.questions.items():
            mixed = draw.sample(texts, len(texts)) if seed else list(texts)
            questions[lang] = tuple(mixed[:count])
            rest += [(text, key) for text in mixed[count:]]
        kept.append(replace(entry, id=key, questions=questions))
    return kept, draw.sample(rest, min(ASKED, len(rest)))


def observed(entries: list[EntryData], asked: list[tuple[str, str]]) -> tuple[Floats, list[int]]:
    """Evidence and outcome of every question, and of background that was kept back."""
    langs = {lang for entry in entries for lang in entry.questions}
    background = shipped_background()
    kept_back = background[::KEPT_BACK]
    outside = [one.text for one in kept_back if one.lang in langs]
    wanted = int(len(asked) * OUTSIDE / (1 - OUTSIDE))
    outside = random.Random(0).sample(outside, min(wanted, len(outside)))
    known = [one for one in background if one not in kept_back]
    matcher = Matcher(background=known).fit(phrasings(entries), hints(entries))
    seen, outcomes = [], []
    for text, right in [*asked, *((text, None) for text in outside)]:
        reading = read(text, matcher.concepts, matcher.spelling_)
        judged = matcher.model_.judge(matcher._locate([reading]))
        if len(judged.points.numbers):
            seen.append(evidence(matcher.model_, [reading.glance()], judged)[0])
            best = matcher.entries_[int(judged.scores[0, :-1].argmax())]
            outcomes.append(NONE if right is None else RIGHT if best == right else WRONG)
    return np.array(seen, np.float32), outcomes


def every_draw(directory: Path) -> Iterator[tuple[Floats, list[int]]]:
    """What each small knowledge base makes of its questions."""
    paths = [(STARTER, STARTER_DRAWS, LIBRARIES)]
    paths += [(directory / name / "kb_full.jsonl", PUBLIC_DRAWS, 1) for name in PUBLIC]
    for path, draws, times in paths:
        entries = load_file(path)
        for count, seed in draws:
            found = observed(*drawn(entries, count, seed))
            share = found[1].count(RIGHT) / len(found[1])
            print(f"{path.parent.name}, {count} phrasings: {100 * share:.0f} % right", flush=True)
            yield from [found] * times


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        use_cache(Path(directory) / "jieba")
        found = list(every_draw(Path(sys.argv[1])))
    outcomes = [outcome for _, some in found for outcome in some]
    learned = Confidence.learn(np.concatenate([seen for seen, _ in found]), outcomes)
    learned.weights[-1, RIGHT] += LENIENCE
    document = {**learned.as_document(), "offer": OFFER}
    TARGET.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    print(f"answers from {learned.thresholds.sure:.3f}")


if __name__ == "__main__":
    main()
