"""The arithmetic of rates: the worked cases, statsmodels and lifelines as judges."""

import json
import random
import warnings
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import AalenJohansenFitter, KaplanMeierFitter
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from tests.tracker.stats_oracle import aalen_johansen
from tracker import rates

CASES = json.loads((Path(__file__).parent / "cases" / "rate_cases.json").read_text())["cases"]
SECOND = 1_000_000
DAY = 86_400 * SECOND


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] == kind]


def close(expected: float | None) -> Any:
    return None if expected is None else pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", of_kind("wilson"))
def test_wilson_cases_come_out(case: dict[str, Any]) -> None:
    successes, trials = case["input"]["successes"], case["input"]["trials"]
    expected = case["expect"]

    result = rates.wilson(successes, trials)

    assert result.rate == close(expected["rate"])
    assert result.low == close(expected["low"])
    assert result.high == close(expected["high"])
    assert rates.percent(successes, trials, places=2) == expected["percent_2dp"]
    if trials:
        assert rates.percent(successes, trials) == expected["percent_1dp"]


@pytest.mark.parametrize("case", of_kind("difference"))
def test_differences_come_out(case: dict[str, Any]) -> None:
    a, b = (tuple(case["input"][name]) for name in ("a", "b"))
    expected = case["expect"]

    result = rates.newcombe(a, b)

    assert result is not None
    assert result.difference == close(expected["difference"])
    assert result.low == close(expected["low"])
    assert result.high == close(expected["high"])
    assert result.distinguishable is expected["distinguishable"]


def test_a_clear_difference_is_told_from_chance() -> None:
    result = rates.newcombe((90, 100), (50, 100))

    assert result is not None
    assert result.distinguishable
    reverse = rates.newcombe((50, 100), (90, 100))
    assert reverse is not None
    assert reverse.distinguishable
    assert rates.newcombe((0, 0), (1, 2)) is None
    assert rates.newcombe((1, 2), (0, 0)) is None


@pytest.mark.parametrize("case", of_kind("censored"))
def test_live_estimates_come_out(case: dict[str, Any]) -> None:
    items = case["input"]["consultations"]
    answered = [i["answered_after_seconds"] * SECOND for i in items if i["answered_after_seconds"]]
    waiting = [i["age_seconds"] * SECOND for i in items if not i["answered_after_seconds"]]
    expected = case["expect"]["km"]

    result = rates.live_estimate(answered, (), waiting)

    assert result is not None
    assert result.rate == close(expected["answered_within_24h_km"])
    assert result.low == close(expected["low"])
    assert result.high == close(expected["high"])


@pytest.mark.parametrize("case", of_kind("competing"))
def test_a_withdrawal_competes_with_the_answer(case: dict[str, Any]) -> None:
    by_kind: dict[str, list[int]] = {"answered": [], "withdrawn": [], "waiting": []}
    for row in case["input"]["rows"]:
        by_kind[row["event"]].append(row["seconds"] * SECOND)

    result = rates.live_estimate(by_kind["answered"], by_kind["withdrawn"], by_kind["waiting"])
    censored = rates.live_estimate(
        by_kind["answered"], (), by_kind["withdrawn"] + by_kind["waiting"]
    )

    assert result is not None
    assert censored is not None
    assert result.rate == close(case["expect"]["aalen_johansen"])
    assert censored.rate == close(case["expect"]["km_censoring_withdrawals"])


@pytest.mark.parametrize("case", of_kind("percentile"))
def test_percentiles_are_observed_values(case: dict[str, Any]) -> None:
    seconds = case["input"]["seconds"]

    values = [rates.nearest_rank(seconds, round(p * 100)) for p in case["input"]["p"]]

    assert values == case["expect"]["values"]


def test_unanswered_ones_rank_above_every_answer() -> None:
    assert rates.nearest_rank([1, 2], 50, unreached=2) == 2
    assert rates.nearest_rank([1, 2], 51, unreached=2) is None
    assert rates.nearest_rank([], 50, unreached=1) is None
    assert rates.nearest_rank([], 50) is None
    assert rates.nearest_rank([7], 1) == 7


@pytest.mark.parametrize("case", of_kind("consortium"))
def test_the_three_consortium_figures_differ(case: dict[str, Any]) -> None:
    libraries = [(item["within"], item["matured"]) for item in case["input"]["libraries"]]
    expected = case["expect"]

    result = rates.consortium(libraries)
    qualifying = rates.wilson(*result.qualifying)

    assert result.qualifying == (
        expected["qualifying"]["numerator"],
        expected["qualifying"]["denominator"],
    )
    assert qualifying.low == close(expected["qualifying"]["low"])
    assert (result.too_few, result.not_observed) == (
        expected["too_few"],
        expected["no_consultations"],
    )
    assert result.mean_of_rates == close(expected["mean_of_rates"])
    assert Fraction(*result.pooled) == Fraction(167, 226)


def test_a_consortium_without_consultations_has_no_rates() -> None:
    result = rates.consortium([(0, 0)])

    assert result.qualifying == (0, 0)
    assert result.mean_of_rates is None
    assert result.pooled == (0, 0)
    assert result.not_observed == 1


@settings(deadline=None)
@given(st.integers(1, 5_000), st.data())
def test_wilson_agrees_with_statsmodels(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))

    result = rates.wilson(successes, trials)

    low, high = proportion_confint(successes, trials, method="wilson")
    assert result.low == close(low)
    assert result.high == close(high)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_newcombe_agrees_with_statsmodels(n: int, m: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))

    result = rates.newcombe((a, n), (b, m))

    low, high = confint_proportions_2indep(a, n, b, m, method="newcomb", compare="diff")
    assert result is not None
    assert result.low == close(low)
    assert result.high == close(high)


def observations(seed: int) -> tuple[list[int], list[int], list[int]]:
    dice = random.Random(seed)
    edges = [0, 60, 3600, 86_399, 86_400, 86_401]

    def times(count: int) -> list[int]:
        return [dice.choice((*edges, *range(0, 200_000, 977))) * SECOND for _ in range(count)]

    return times(dice.randrange(30)), times(dice.choice((0, 0, 5))), times(dice.randrange(1, 20))


@pytest.mark.parametrize("seed", range(60))
def test_the_live_estimate_agrees_with_the_step_by_step_sum(seed: int) -> None:
    answered, withdrawn, waiting = observations(seed)
    seen = [(t / SECOND, "answered") for t in answered]
    seen += [(t / SECOND, "withdrawn") for t in withdrawn]
    seen += [(t / SECOND, "waiting") for t in waiting]

    result = rates.live_estimate(answered, withdrawn, waiting)

    expected = aalen_johansen(seen)
    assert result is not None
    assert result.rate == close(expected["rate"])
    assert result.low == close(expected["low"])
    assert result.high == close(expected["high"])


@pytest.mark.parametrize("seed", range(20))
def test_without_withdrawals_it_is_kaplan_meier_by_lifelines(seed: int) -> None:
    answered, _, waiting = observations(seed)
    durations = [t / SECOND for t in answered + waiting]
    observed = [True] * len(answered) + [False] * len(waiting)

    result = rates.live_estimate(answered, (), waiting)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = KaplanMeierFitter().fit(durations, observed, timeline=[0.0, *sorted(durations)])
        before = [t for t in fit.survival_function_.index if t <= 86_400]
        survival = float(fit.survival_function_.loc[max(before)].iloc[0])
        interval = fit.confidence_interval_.loc[max(before)]
    assert result is not None
    assert result.rate == close(1 - survival)
    if 1e-12 < survival < 1 - 1e-12:
        assert result.low == close(1 - float(interval.iloc[1]))
        assert result.high == close(1 - float(interval.iloc[0]))


@pytest.mark.parametrize("seed", range(10))
def test_with_withdrawals_it_is_aalen_johansen_by_lifelines(seed: int) -> None:
    dice = random.Random(seed)
    times = dice.sample(range(1, 86_400), 40)
    kinds = [dice.choice((0, 1, 1, 2)) for _ in times]

    result = rates.live_estimate(
        *(
            [t * SECOND for t, kind in zip(times, kinds, strict=True) if kind == k]
            for k in (1, 2, 0)
        )
    )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = AalenJohansenFitter().fit(times, kinds, event_of_interest=1)
    assert result is not None
    assert result.rate == close(float(fit.cumulative_density_.iloc[-1].iloc[0]))


def test_nothing_observed_has_no_estimate() -> None:
    assert rates.live_estimate([], [], []) is None


def test_a_share_must_be_a_share() -> None:
    for successes, trials in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="not a share"):
            rates.wilson(successes, trials)


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (Fraction(1, 16) * 100, 1, "6.3"),
        (Fraction(1, 8), 2, "0.13"),
        (Fraction(-1, 8), 2, "-0.13"),
        (Fraction(1, 3), 0, "0"),
        (Fraction(5, 2), 0, "3"),
        (Fraction(100), 1, "100.0"),
    ],
)
def test_rounding_is_half_up_from_the_fraction(value: Fraction, places: int, text: str) -> None:
    assert str(rates.rounded(value, places=places)) == text


def test_fewer_than_twenty_are_too_few_to_judge() -> None:
    assert rates.too_few(19)
    assert not rates.too_few(20)


def test_a_hidden_cell_cannot_be_found_by_subtraction() -> None:
    table = [[3, 50, 60], [40, 50, 70], [80, 90, 99]]

    result = rates.suppress(table)

    assert result[0][0] is None
    for line in [*result, *map(list, zip(*result, strict=True))]:
        assert sum(cell is None for cell in line) != 1
    assert result[2][2] == 99


def test_large_counts_hide_nothing() -> None:
    table = [[10, 11], [12, 13]]

    assert rates.suppress(table) == table
    assert rates.suppress([]) == []
    assert rates.suppress([[4, 6]], below=5) == [[None, None]]


# --- edges that the cases leave alone ------------------------------------------------------

HOUR = 3_600 * SECOND
few_times = st.lists(st.integers(1, 30).map(lambda hours: hours * HOUR), max_size=8)


@settings(deadline=None, max_examples=300)
@given(few_times, few_times, few_times)
def test_answers_withdrawals_and_waits_of_one_instant_are_told_apart(
    answered: list[int], withdrawn: list[int], waiting: list[int]
) -> None:
    seen = [(t / SECOND, "answered") for t in answered]
    seen += [(t / SECOND, "withdrawn") for t in withdrawn]
    seen += [(t / SECOND, "waiting") for t in waiting]

    result = rates.live_estimate(answered, withdrawn, waiting)

    if not seen:
        assert result is None
        return
    expected = aalen_johansen(seen)
    assert result is not None
    assert result.rate == close(expected["rate"])
    assert result.low == close(expected["low"])
    assert result.high == close(expected["high"])


def test_at_the_limit_an_answer_is_in_and_a_withdrawal_still_competes() -> None:
    answered, withdrawn = [HOUR, DAY, DAY + 1], [DAY, DAY]
    seen = [(t / SECOND, "answered") for t in answered]
    seen += [(t / SECOND, "withdrawn") for t in withdrawn]

    result = rates.live_estimate(answered, withdrawn, [])

    expected = aalen_johansen(seen)
    assert result is not None
    assert (result.rate, result.low, result.high) == (
        close(0.4),
        close(expected["low"]),
        close(expected["high"]),
    )


def test_all_or_none_answered_has_no_interval() -> None:
    assert rates.live_estimate([1, 2, 2]) == rates.Rate(1.0, None, None)
    assert rates.live_estimate([DAY + 1]) == rates.Rate(0.0, None, None)
    assert rates.live_estimate([], [5], [7]) == rates.Rate(0.0, None, None)
    one = rates.live_estimate([1], [], [2])
    assert one is not None
    assert one.rate == 0.5
    assert one.low is not None


def test_the_first_of_two_answered_at_once_with_a_withdrawal() -> None:
    result = rates.live_estimate([5, 5], [5], [9])

    assert result is not None
    assert result.rate == close(0.5)


def test_times_may_come_packed() -> None:
    times, gone, open_ = [5, 2**40, 7, DAY], [3, 9], [1, DAY + 5]

    def packed(values: list[int]) -> "array[int]":
        return array("q", values)

    assert rates.live_estimate(packed(times), packed(gone), packed(open_)) == (
        rates.live_estimate(times, gone, open_)
    )
    assert rates.nearest_rank(packed(times), 50) == rates.nearest_rank(times, 50) == 7
    assert rates.nearest_rank(packed([]), 50) is None
    assert rates.nearest_rank(packed([2**40]), 50, unreached=0) == 2**40
    assert rates.live_estimate(packed([])) is None


@given(
    st.lists(st.integers(0, 9), max_size=40),
    st.lists(st.integers(1, 100), min_size=1, max_size=5),
    st.integers(0, 5),
)
def test_percentiles_are_what_sorting_gives(
    values: list[int], percents: list[int], unreached: int
) -> None:
    ordered: list[int | None] = [*sorted(values), *[None] * unreached]
    expected = [
        next(
            (value for rank, value in enumerate(ordered, 1) if 100 * rank >= p * len(ordered)),
            None,
        )
        for p in percents
    ]

    assert rates.nearest_ranks(values, percents, unreached=unreached) == expected


def test_by_itself_nothing_is_unreached() -> None:
    assert rates.nearest_ranks([4], [100]) == [4]
    assert rates.nearest_rank([4], 100) == 4
    assert rates.nearest_ranks(list(range(101)), [100, 1, 99]) == [100, 1, 99]
    assert rates.nearest_ranks(range(1, 1_001), [50, 90, 95]) == [500, 900, 950]


def test_no_rate_lies_outside_its_interval_by_rounding() -> None:
    for trials in range(1, 500):
        assert rates.wilson(0, trials).low == 0.0
        assert rates.wilson(trials, trials).high == 1.0


def test_nothing_has_no_sign() -> None:
    assert str(rates.rounded(Fraction(0), places=1)) == "0.0"
    assert str(rates.rounded(Fraction(-1, 1_000), places=1)) in {"0.0", "-0.0"}


def test_the_smallest_shown_cell_is_hidden_beside_a_small_one() -> None:
    assert rates.suppress([[3, 70, 20, 90]]) == [[None, 70, None, 90]]
    assert rates.suppress([[3, 20, 20]]) == [[None, None, 20]]
    assert rates.suppress([[3, 50, 60], [40, 45, 70]]) == [[None, None, 60], [None, None, 70]]


def test_ten_are_enough_to_judge_and_one_is_too_few() -> None:
    found = rates.consortium([(9, 10), (1, 1), (0, 0), (9, 9)], minimum=10)

    assert found.qualifying == (1, 1)
    assert (found.too_few, found.not_observed) == (2, 1)
    assert found.pooled == (19, 20)
    assert found.mean_of_rates == pytest.approx((0.9 + 1 + 1) / 3)
