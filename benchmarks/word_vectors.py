"""Make kb/wordvectors from a sentence model: what single English words mean to it.

    .venv/bin/python -m benchmarks.word_vectors MODEL_DIRECTORY

Each whole word of the model's vocabulary is embedded alone; the directions in which words differ
most are kept, frequent words weigh less (by rank), and figures are rounded to a byte. Needs the
semantic extra.
"""

import sys
from pathlib import Path

import numpy as np

from kb import wordvectors
from kb.background import shipped_background
from kb.concepts import shipped_index
from kb.reading import read
from kb.sentences import SentenceModel
from kb.vectors import Floats

DIMENSIONS = 128
TARGET = Path(wordvectors.__file__).parent


def words_of(directory: Path) -> list[str]:
    """The whole words of the vocabulary, the most frequent first."""
    vocabulary = (directory / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return [word for word in vocabulary if len(word) > 1 and word.isascii() and word.isalpha()]


def spread(vectors: Floats) -> Floats:
    """The vectors in their strongest directions, rare words longer."""
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    rarity = np.log(2.0 + np.arange(len(vectors), dtype=np.float32))
    return np.asarray((centred @ directions[:DIMENSIONS].T) * rarity[:, None], np.float32)


def usual(number: dict[str, int], rows: Floats) -> Floats:
    """The mean of the shipped background questions."""
    total = np.zeros(rows.shape[1], np.float32)
    asked = [question.text for question in shipped_background() if question.lang == "en"]
    for text in asked:
        known = [number[w] for w in read(text, shipped_index()).folded if w in number]
        whole = rows[known].sum(axis=0)
        total += whole / (float(np.linalg.norm(whole)) or 1.0)
    return total / len(asked)


def main() -> None:
    directory = Path(sys.argv[1])
    words = words_of(directory)
    rows = spread(SentenceModel(directory).encode(words))
    rows = np.vstack([rows, usual({word: at for at, word in enumerate(words)}, rows)])
    scales = np.abs(rows).max(axis=1) / 127
    np.save(TARGET / "english.npy", np.round(rows / scales[:, None]).astype(np.int8))
    np.save(TARGET / "english_scales.npy", scales.astype(np.float32))
    (TARGET / "english.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    print(f"{len(words):,} words, {DIMENSIONS} figures each")


if __name__ == "__main__":
    main()
