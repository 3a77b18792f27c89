"""What everyday English words mean, as directions in a small space.

Two words that stand for each other point the same way, so that a question meets a phrasing that
shares no word with it. The table was made from a sentence model by `benchmarks/word_vectors.py`;
its README says which, and under what licence.
"""

from functools import cache
from pathlib import Path

import numpy as np

from kb.vectors import Floats

_DIRECTORY = Path(__file__).parent


@cache
def english() -> tuple[dict[str, int], Floats, Floats]:
    """Each word's row; the rows; and the mean of ordinary questions, which tells nothing."""
    words = (_DIRECTORY / "english.txt").read_text(encoding="utf-8").split()
    rows = np.load(_DIRECTORY / "english.npy", allow_pickle=False).astype(np.float32)
    scales = np.load(_DIRECTORY / "english_scales.npy", allow_pickle=False)
    rows *= scales[:, None]
    return {word: at for at, word in enumerate(words)}, rows[:-1], rows[-1]
