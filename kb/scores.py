"""The figures by which a matcher is judged, from plain lists of outcomes."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

_Z = 1.959964  # two-sided 95 %
_BINS = 15


def wilson(hits: int, total: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share (Wilson 1927); None where there is nothing to share."""
    if not total:
        return None
    share, z2 = hits / total, _Z**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z * sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """How often a positive case scores above a negative one, ties counted half."""
    if not positive or not negative:
        return None
    scores = np.concatenate([np.asarray(positive, float), np.asarray(negative, float)])
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = len(positive)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(negative)))


def reliability(
    probabilities: Sequence[float], right: Sequence[bool], bins: int = _BINS
) -> list[tuple[int, float, float]]:
    """Per bin of probability that is not empty: how many, their mean, and the share right."""
    claimed, true = np.asarray(probabilities, float), np.asarray(right, bool)
    place = np.minimum((claimed * bins).astype(int), bins - 1)
    return [
        (int(inside.sum()), float(claimed[inside].mean()), float(true[inside].mean()))
        for inside in (place == at for at in range(bins))
        if inside.any()
    ]


def calibration_error(probabilities: Sequence[float], right: Sequence[bool]) -> float | None:
    """ECE: by how much claimed and true shares differ on average, over 15 equal bins."""
    total = len(probabilities)
    if not total:
        return None
    bins = reliability(probabilities, right)
    return sum(n * abs(claimed - true) for n, claimed, true in bins) / total
