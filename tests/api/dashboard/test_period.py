"""Periods and figures as the address keeps them."""

from datetime import date

import pytest

from api.dashboard.figures import figure
from api.dashboard.period import Selection, Wanted, chosen, presets
from api.errors import BadRequest

TODAY = date(2026, 11, 22)


def test_without_an_address_it_is_the_last_28_days() -> None:
    selection = chosen(Wanted(None, None, None), today=TODAY)

    assert (selection.start, selection.end) == (date(2026, 10, 26), TODAY)


def test_a_period_that_runs_backwards_is_turned_round() -> None:
    selection = chosen(Wanted("2026-11-10", "2026-11-01", "web"), today=TODAY)

    assert selection == Selection(date(2026, 11, 1), date(2026, 11, 10), "web")


@pytest.mark.parametrize("start", ["yesterday", "2026-13-01", "1990-01-01"])
def test_what_is_no_period_is_refused(start: str) -> None:
    with pytest.raises(BadRequest):
        chosen(Wanted(start, "2026-11-01", None), today=TODAY)


def test_the_presets_are_whole_months_and_round_weeks() -> None:
    spans = {item.name: (item.start, item.end) for item in presets(date(2026, 3, 1))}

    assert spans["last_month"] == (date(2026, 2, 1), date(2026, 2, 28))
    assert spans["month"] == (date(2026, 3, 1), date(2026, 3, 1))
    assert spans["week"][0] == date(2026, 2, 23)


def test_an_address_says_everything() -> None:
    selection = Selection(date(2026, 11, 1), date(2026, 11, 10), "wechat")

    assert selection.address("/manage/cases", figure="received", outcome=None) == (
        "/manage/cases?from=2026-11-01&to=2026-11-10&channel=wechat&figure=received"
    )


def share(within: int, matured: int) -> dict[str, dict[str, float | int | None]]:
    low, high = (0.081, 0.327) if matured else (None, None)
    return {"x": {"within": within, "matured": matured, "pending": 2, "low": low, "high": high}}


def test_few_are_not_judged_and_nothing_is_no_rate() -> None:
    selection = Selection(TODAY, TODAY)

    assert figure(share(3, 19), "x", selection).is_few
    assert not figure(share(6, 35), "x", selection).is_few
    assert figure(share(0, 0), "x", selection).percent == 0.0
    assert figure(share(6, 35), "x", selection).low == pytest.approx(8.1)
