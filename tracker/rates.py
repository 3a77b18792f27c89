"""The arithmetic of rates: intervals, differences, live estimates, ranks, rounding.

Pure functions over integers and instants in seconds; every number is checked against
statsmodels or lifelines in the tests.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054  # two-sided 95 %
DAY_MICROSECONDS = 86_400_000_000
TOO_FEW_TO_JUDGE = 20
HIDE_BELOW_PUBLISHED = 10
HIDE_BELOW_INTERNAL = 5


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95 % interval; all three are None when nothing was counted."""

    rate: float | None
    low: float | None
    high: float | None


def wilson(successes: int, trials: int) -> Rate:
    """How sure a share can be: Wilson's score interval, 95 %, two-sided."""
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share")
    return Rate(*_wilson(successes, trials)) if trials else Rate(None, None, None)


def _wilson(successes: int, trials: int) -> tuple[float, float, float]:
    share = successes / trials
    square = Z95 * Z95
    centre = share + square / (2 * trials)
    spread = Z95 * sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    # At the ends the formula gives 0 and 1 exactly, were it not for rounding.
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == trials else (centre + spread) / scale
    return share, low, high


@dataclass(frozen=True, slots=True)
class Difference:
    """One rate minus another, with its 95 % interval."""

    difference: float
    low: float
    high: float

    @property
    def distinguishable(self) -> bool:
        """Whether chance alone is an unlikely reason for the difference."""
        return self.low > 0 or self.high < 0


def newcombe(a: tuple[int, int], b: tuple[int, int]) -> Difference | None:
    """How far two shares differ: Newcombe's hybrid of Wilson intervals, 95 %.

    None when either counts nothing.
    """
    if not (a[1] and b[1]):
        return None
    (share_a, low_a, high_a), (share_b, low_b, high_b) = _wilson(*a), _wilson(*b)
    difference = share_a - share_b
    below = sqrt((share_a - low_a) ** 2 + (high_b - share_b) ** 2)
    above = sqrt((high_a - share_a) ** 2 + (share_b - low_b) ** 2)
    return Difference(difference, difference - below, difference + above)


def live_estimate(
    answered: Iterable[int],
    withdrawn: Iterable[int] = (),
    waiting: Iterable[int] = (),
    *,
    limit: int = DAY_MICROSECONDS,
) -> Rate | None:
    """Share answered within the limit, with those still waiting taken into account.

    Aalen-Johansen, with a withdrawal as the competing event; without any it is
    Kaplan-Meier's 1 - S(limit). Each consultation gives the time from receipt to its answer,
    to its withdrawal, or to now; answers come before censoring at equal times. The interval
    is log-log on 1 - F with the variance of Collett, Modelling Survival Data in Medical
    Research, 3rd ed., p. 411, which without withdrawals is Greenwood's; None at 0 and 1.
    None when there is nothing to observe.
    """
    gone, left = Counter(withdrawn), Counter(waiting)
    times = _array(answered)
    estimate = _Incidence(times.size + gone.total() + left.total())
    if not estimate.at_risk:
        return None
    moments = sorted({moment for moment in (*gone, *left) if moment <= limit})
    before, after = _between(times, moments, limit)
    for moment, earlier, same in zip(moments, before, after, strict=False):
        estimate.answers_only(earlier)
        estimate.mixed(same, gone[moment])
        estimate.at_risk -= left[moment]
    estimate.answers_only(before[-1])
    return estimate.result()


def _between(
    times: NDArray[np.int64], moments: Sequence[int], limit: int
) -> tuple[list[int], list[int]]:
    """How many times lie between the moments (the last: up to the limit), and on each."""
    bounds = np.array([*moments, limit + 1], dtype=np.int64)
    size = bounds.size + 1
    below = np.bincount(np.searchsorted(bounds, times, side="right"), minlength=size).cumsum()
    up_to = np.bincount(np.searchsorted(bounds, times, side="left"), minlength=size).cumsum()
    on = up_to[: len(moments)] - below[: len(moments)]
    between = below[: bounds.size] - np.concatenate(([0], up_to[: len(moments)]))
    return between.tolist(), on.tolist()


def _array(values: Iterable[int]) -> NDArray[np.int64]:
    if isinstance(values, array):
        return np.frombuffer(values, dtype=np.int64) if values else np.empty(0, np.int64)
    return np.array(list(values), dtype=np.int64)


class _Incidence:
    """Aalen-Johansen in the making.

    Between two withdrawals or censorings only answers happen, and there the product and
    the sums over single answers telescope, so that a year costs as little as a day: with
    n at risk before and m after, share F and survival S before, such a stretch adds S(n-m)/n
    to the share and (F_end - F - S)^2 (1/m - 1/n) to the variance.
    """

    def __init__(self, at_risk: int) -> None:
        self.at_risk = at_risk
        self.answered = 0
        self.share = 0.0
        self.survival = 1.0
        self._stretches: list[tuple[int, int, float, float]] = []
        self._steps: list[tuple[int, int, int, float, float]] = []

    def answers_only(self, count: int) -> None:
        """A stretch of time in which that many are answered and nobody else leaves."""
        if not count:
            return
        before = self.at_risk
        self._stretches.append((before, before - count, self.share, self.survival))
        self.share += self.survival * count / before
        self._leave(answers=count, others=0)

    def mixed(self, answers: int, withdrawals: int) -> None:
        """One instant at which some are answered and others withdraw."""
        if not withdrawals:
            self.answers_only(answers)
            return
        before, survival = self.at_risk, self.survival
        self.share += survival * answers / before
        self._steps.append((before, answers, answers + withdrawals, survival, self.share))
        self._leave(answers=answers, others=withdrawals)

    def _leave(self, *, answers: int, others: int) -> None:
        after = self.at_risk - answers - others
        self.survival *= after / self.at_risk
        self.at_risk = after
        self.answered += answers

    def result(self) -> Rate:
        """The estimate with its interval."""
        if self.answered == 0:
            return Rate(0.0, None, None)
        if self.survival == 0 and not self._steps:
            return Rate(1.0, None, None)
        variance = 0.0
        for before, after, share, survival in self._stretches:
            rest = self.share - share - survival
            if after:  # else nothing is left to be reached, and `rest` is 0
                variance += rest * rest * (before - after) / (before * after)
        for before, answers, events, survival, share in self._steps:
            rest = self.share - share
            if before > events:
                variance += rest * rest * events / (before * (before - events))
            variance += survival * survival * answers * (before - answers) / before**3
            variance -= 2 * rest * survival * answers / before**2
        return _log_log(self.share, variance)


def _log_log(share: float, variance: float) -> Rate:
    survival = 1 - share
    if not 0 < survival < 1:
        return Rate(share, None, None)
    spread = Z95 * sqrt(max(variance, 0.0)) / (survival * abs(log(survival)))
    centre = log(-log(survival))
    return Rate(share, 1 - exp(-exp(centre - spread)), 1 - exp(-exp(centre + spread)))


def nearest_rank(values: Iterable[int], percent: int, *, unreached: int = 0) -> int | None:
    """The smallest value with at least that percentage of all values at or below it.

    `unreached` counts those without a value, which rank above all others. None means that
    the rank falls among them, or that nothing is ranked.
    """
    return nearest_ranks(values, (percent,), unreached=unreached)[0]


def nearest_ranks(
    values: Iterable[int], percents: Sequence[int], *, unreached: int = 0
) -> list[int | None]:
    """`nearest_rank` for several percentages at once."""
    known = _array(values)
    total = known.size + unreached
    ranks = [-(-percent * total // 100) for percent in percents]
    places = sorted({rank - 1 for rank in ranks if 0 < rank <= known.size})
    if places:
        known = np.partition(known, places)
    return [int(known[rank - 1]) if 0 < rank <= known.size else None for rank in ranks]


def percent(successes: int, trials: int, *, places: int = 1) -> str | None:
    """A share as a percentage, rounded half up from the integers; None of nothing."""
    if trials == 0:
        return None
    return str(rounded(Fraction(100 * successes, trials), places=places))


def rounded(value: Fraction, *, places: int) -> Decimal:
    """A fraction rounded half up (away from zero), never by way of a binary float."""
    scaled = value * 10**places
    whole, rest = divmod(abs(scaled.numerator), scaled.denominator)
    whole += 2 * rest >= scaled.denominator
    sign = -1 if value < 0 else 1
    return (Decimal(sign * whole) / Decimal(10) ** places).quantize(
        Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP
    )


def too_few(trials: int) -> bool:
    """Whether a rate rests on too few consultations to judge by."""
    return trials < TOO_FEW_TO_JUDGE


def suppress(
    table: Sequence[Sequence[int]], *, below: int = HIDE_BELOW_PUBLISHED
) -> list[list[int | None]]:
    """The table with small cells hidden, and one more per row and column.

    Where a row or column would have exactly one hidden cell, its total would give it away,
    so the next smallest is hidden too, until no line gives anything away. Zeros are hidden
    like other small counts; a line of one cell has nothing to hide it behind but itself.
    """
    hidden = {
        (row, column)
        for row, line in enumerate(table)
        for column, count in enumerate(line)
        if count < below
    }
    while extra := _gives_away(table, hidden):
        hidden.add(extra)
    return [
        [None if (row, column) in hidden else count for column, count in enumerate(line)]
        for row, line in enumerate(table)
    ]


def _gives_away(
    table: Sequence[Sequence[int]], hidden: set[tuple[int, int]]
) -> tuple[int, int] | None:
    """The cell to hide next: the smallest shown one of a line with a single hidden cell."""
    rows = len(table)
    columns = len(table[0]) if rows else 0
    lines = [[(row, column) for column in range(columns)] for row in range(rows)]
    lines += [[(row, column) for row in range(rows)] for column in range(columns)]
    for line in lines:
        shown = [cell for cell in line if cell not in hidden]
        if len(line) - len(shown) == 1 and shown:
            return min(shown, key=lambda cell: (table[cell[0]][cell[1]], cell))
    return None


@dataclass(frozen=True, slots=True)
class Pooled:
    """The three figures of a consortium; they differ on the same data, so each has a name."""

    qualifying: tuple[int, int]  # libraries at or above the threshold, libraries judged
    mean_of_rates: float | None
    pooled: tuple[int, int]  # consultations within, consultations matured
    too_few: int
    not_observed: int


def consortium(
    libraries: Iterable[tuple[int, int]],
    *,
    qualify_at: Fraction = Fraction(9, 10),
    minimum: int = HIDE_BELOW_PUBLISHED,
) -> Pooled:
    """Qualifying share, mean of rates and pooled rate from each library's (within, matured).

    A library with fewer than `minimum` matured consultations is too small to qualify or
    fail, yet its consultations are in the mean and the pool: case RC24.
    The threshold is compared in integers: 90 of 100 is at least 90 %.
    """
    counts = list(libraries)
    observed = [(within, matured) for within, matured in counts if matured]
    judged = [(within, matured) for within, matured in observed if matured >= minimum]
    qualifying = sum(
        within * qualify_at.denominator >= matured * qualify_at.numerator
        for within, matured in judged
    )
    total = sum((Fraction(*pair) for pair in observed), Fraction(0))
    return Pooled(
        qualifying=(qualifying, len(judged)),
        mean_of_rates=float(total / len(observed)) if observed else None,
        pooled=(sum(within for within, _ in observed), sum(matured for _, matured in observed)),
        too_few=sum(0 < matured < minimum for _, matured in counts),
        not_observed=sum(matured == 0 for _, matured in counts),
    )
