"""What a channel does on its platform, entered by hand or by file."""

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from tests.tracker.samples import NOW
from tracker.activity import BadActivity, enter, enter_file, have_channel, indicators, survey
from tracker.models import Library

MARCH = {"start": date(2026, 3, 2), "end": date(2026, 3, 29)}


def test_a_week_is_summed_with_growth_and_engagement(session: Session, library: Library) -> None:
    rows = [
        {"channel": "wechat", "week": "2026-03-02", "pushes": 1, "followers": 900, "reads": 100},
        {"channel": "wechat", "week": "2026-03-12", "pushes": 2, "followers": 950, "likes": 7},
        {"channel": "wechat", "week": "2026-03-16", "shares": "3", "comments": "", "posts": None},
    ]
    enter(session, library, enumerate(rows, start=1), now=NOW, by="lin")

    found = indicators(session, library, **MARCH)["wechat"]

    assert (found["pushes"], found["followers"], found["growth"]) == (3, 950, 50)
    assert found["engagement"] == 0.1
    assert (found["weeks"], found["weeks_entered"], found["weeks_with_push"]) == (4, 3, 2)
    assert found["pushes_weekly"] is False


def test_the_same_week_is_replaced(session: Session, library: Library) -> None:
    for pushes in (1, 5):
        row = {"channel": "wechat", "week": "2026-03-04", "pushes": pushes}
        enter(session, library, [(1, row)], now=NOW, by="lin")

    assert indicators(session, library, **MARCH)["wechat"]["pushes"] == 5


def test_nothing_entered_is_not_nothing_done(session: Session, library: Library) -> None:
    enter(session, library, [(1, {"channel": "weibo", "week": "2026-01-05"})], now=NOW, by="lin")

    found = indicators(session, library, **MARCH)["weibo"]

    assert found["engagement"] is found["growth"] is found["pushes_weekly"] is None


def test_followers_alone_say_nothing_of_pushes(session: Session, library: Library) -> None:
    row = {"channel": "wechat", "week": "2026-03-02", "followers": 900}
    enter(session, library, [(1, row)], now=NOW, by="lin")

    cell = survey(session, [library], **MARCH)["wechat"]["push_weekly"]

    assert (cell["denominator"], cell["rate"]) == (0, None)


def test_a_file_is_all_or_nothing_with_every_bad_row(
    session: Session, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "activity.csv"
    path.write_text(
        "channel,week,pushes\nwechat,2026-03-02,1\n,2026-03-02,1\nwechat,soon,1\n"
        "wechat,2026-03-09,-1\nwechat,2026-03-09,99999999999\n",
        encoding="utf-8",
    )

    with pytest.raises(BadActivity) as caught:
        enter_file(session, library, path, now=NOW, by="lin")

    assert [number for number, _ in caught.value.rows] == [3, 4, 5, 6]
    assert indicators(session, library, **MARCH) == {}


def test_a_good_file_comes_in(session: Session, library: Library, tmp_path: Path) -> None:
    path = tmp_path / "activity.csv"
    path.write_text("\ufeffchannel,week,pushes\nwechat,2026-03-02,1\n", encoding="utf-8")

    assert enter_file(session, library, path, now=NOW, by="lin") == 1


def test_of_what_nobody_entered_the_survey_makes_no_share(
    session: Session, library: Library
) -> None:
    have_channel(session, library, "weibo")

    cells = survey(session, [library], **MARCH)["weibo"]

    assert (cells["have"]["numerator"], cells["have"]["denominator"]) == (1, 1)
    for name in ("push_weekly", "many_posts", "following"):
        assert (cells[name]["denominator"], cells[name]["rate"]) == (0, None)
