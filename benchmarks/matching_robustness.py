"""What it costs the matcher when patrons type otherwise: script, marks, slips, half sentences.

    .venv/bin/python -m benchmarks.matching_robustness KB QUERIES.jsonl [DIALOGUES.jsonl]

Asks every question of QUERIES that an entry answers as it is, and again changed: in traditional
characters, without Vietnamese marks, with one slip and with two. DIALOGUES are follow-ups, asked
with what was said before and without. Slips are made as fingers make them, not as the matcher
mends them: a neighbouring key, a letter twice, a letter or space missing, a Telex key that came
too late, a Chinese character missed, doubled or picked wrongly.
"""

import random
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from kb.evaluate import Query, read_queries
from kb.knowledge import KnowledgeBase
from kb.segment import use_cache
from kb.text import fold_marks, has_han, to_traditional

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
TELEX = {"\u0300": "f", "\u0301": "s", "\u0309": "r", "\u0303": "x", "\u0323": "j"}
SEEDS = 3
# Characters that one input-method key sequence offers side by side.
PICKED = {
    **dict(zip("借书馆座位还期打印室网证", "接数管坐为换其达引是忘正", strict=True)),
    **dict(zip("怎在几能开门时间可以", "咋再己嫩凯们是见克已", strict=True)),
}


def slip(text: str, draw: random.Random) -> str:
    """The text with one slip, somewhere inside a word."""
    return _chinese_slip(text, draw) if has_han(text) else _latin_slip(text, draw)


def _chinese_slip(text: str, draw: random.Random) -> str:
    at = draw.choice([at for at, character in enumerate(text) if has_han(character)])
    made = [text[:at] + text[at + 1 :], text[: at + 1] + text[at:]]
    if text[at] in PICKED:
        made.append(text[:at] + PICKED[text[at]] + text[at + 1 :])
    return draw.choice(made)


def _latin_slip(text: str, draw: random.Random) -> str:
    words = text.split(" ")
    long = [at for at, word in enumerate(words) if sum(map(str.isalpha, word)) > 3]
    marked = [at for at, word in enumerate(words) if telex(word) != word]
    if marked and draw.random() < 0.5:
        at = draw.choice(marked)
        words[at] = telex(words[at])
    elif len(words) > 2 and draw.random() < 0.15:
        at = draw.randrange(len(words) - 1)
        words[at : at + 2] = [words[at] + words[at + 1]]
    elif long:
        at = draw.choice(long)
        words[at] = _mistyped(words[at], draw)
    return " ".join(words)


def _mistyped(word: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(word))
    kind = draw.choice(("neighbour", "twice", "missing"))
    if kind == "twice":
        return word[:at] + word[at] + word[at:]
    if kind == "missing":
        return word[:at] + word[at + 1 :]
    row = next((row for row in ROWS if word[at].lower() in row), None)
    if row is None:
        return word[:at] + word[at + 1 :]
    place = row.index(word[at].lower())
    near = [row[other] for other in (place - 1, place + 1) if 0 <= other < len(row)]
    return word[:at] + draw.choice(near) + word[at + 1 :]


def telex(word: str) -> str:
    """A Vietnamese word whose tone key came after the word and stayed a letter: "hạn" as "hanj"."""
    apart = unicodedata.normalize("NFD", word)
    tones = [mark for mark in apart if mark in TELEX]
    bare = "".join(mark for mark in apart if mark not in TELEX)
    return unicodedata.normalize("NFC", bare) + "".join(TELEX[mark] for mark in tones[:1])


def accuracy(knowledge: KnowledgeBase, queries: Iterable[Query], made: Callable[[str], str]) -> str:
    asked = list(queries)
    hits = 0
    for query in asked:
        found = knowledge.ask(made(query.text)).candidates
        hits += bool(found) and found[0].entry in query.right
    return f"{100 * hits / max(1, len(asked)):5.1f} % of {len(asked)}"


def slips(knowledge: KnowledgeBase, queries: list[Query], count: int) -> str:
    total = []
    for seed in range(SEEDS):
        draw = random.Random(seed)

        def made(text: str, draw: random.Random = draw) -> str:
            for _ in range(count):
                text = slip(text, draw)
            return text

        total.append(float(accuracy(knowledge, queries, made).split("%")[0]))
    return f"{sum(total) / SEEDS:5.1f} %"


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        use_cache(Path(directory) / "jieba")
        knowledge = KnowledgeBase.from_file(Path(sys.argv[1]))
        asked = [query for query in read_queries(Path(sys.argv[2])) if query.right]
        chinese = [query for query in asked if has_han(query.text)]
        marked = [q for q in asked if q.lang == "vi" and fold_marks(q.text) != q.text]
        print("Chinese as asked:     ", accuracy(knowledge, chinese, str))
        print("  traditional:        ", accuracy(knowledge, chinese, to_traditional))
        print("Vietnamese with marks:", accuracy(knowledge, marked, str))
        print("  without:            ", accuracy(knowledge, marked, fold_marks))
        for lang in ("zh", "en", "vi"):
            mine = [query for query in asked if query.lang == lang]
            print(f"{lang}: as asked {accuracy(knowledge, mine, str)},", end=" ")
            print(f"one slip {slips(knowledge, mine, 1)}, two {slips(knowledge, mine, 2)}")
        print(f"all: as asked {accuracy(knowledge, asked, str)},", end=" ")
        print(f"one slip {slips(knowledge, asked, 1)}, two {slips(knowledge, asked, 2)}")
        if len(sys.argv) > 3:
            turns = [query for query in read_queries(Path(sys.argv[3])) if query.right]
            whole = [knowledge.ask(turn.text, context=turn.context).candidates for turn in turns]
            hits = sum(
                bool(found) and found[0].entry in turn.right
                for turn, found in zip(turns, whole, strict=True)
            )
            print("follow-ups alone:     ", accuracy(knowledge, turns, str))
            print(f"  with context:        {100 * hits / len(turns):5.1f} %")


if __name__ == "__main__":
    main()
