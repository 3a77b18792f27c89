"""Many libraries side by side, and the study of 42 libraries as a fixture."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.tracker.samples import NOW
from tracker import activity, consortium, rates
from tracker.consortium import channels_of, members, not_refusing, probes, published
from tracker.history import import_rows
from tracker.models import Library

AT = datetime(2026, 6, 1, tzinfo=UTC)
PERIOD: dict[str, Any] = {"start": date(2026, 3, 2), "end": date(2026, 3, 29)}
RC24 = {"A": (90, 100), "B": (45, 50), "C": (3, 4), "D": (0, 12), "F": (19, 20), "G": (10, 40)}


def add(session: Session, slug: str) -> Library:
    """A library that takes part."""
    library = Library(
        slug=slug,
        name=slug,
        timezone="Asia/Shanghai",
        settings={"consortium": True},
        created_at=NOW,
    )
    session.add(library)
    session.flush()
    return library


def consultation(
    library: str, number: int, *, met: bool, channel: str = "wechat", probe: bool = False
) -> dict[str, Any]:
    events: list[dict[str, Any]] = [{"at": NOW.isoformat(), "kind": "escalated"}]
    if met:
        at = (NOW + timedelta(hours=2)).isoformat()
        events.append({"at": at, "kind": "feedback", "by": "lin"})
    if probe:
        events.append({"at": NOW.isoformat(), "kind": "excluded", "reason": "probe"})
    return {
        "id": f"{channel}-{number}",
        "library": library,
        "channel": channel,
        "received_at": NOW.isoformat(),
        "events": events,
    }


def load(session: Session, rows: list[dict[str, Any]]) -> None:
    import_rows(session, enumerate(rows, start=1), now=NOW)


@pytest.fixture
def seven(session: Session) -> list[Library]:
    """The libraries of case RC24; E has the channel and no consultation."""
    libraries = [add(session, name) for name in "ABCDEFG"]
    rows = [
        consultation(name, number, met=number < within)
        for name, (within, matured) in RC24.items()
        for number in range(matured)
    ]
    load(session, rows)
    activity.have_channel(session, libraries[4], "wechat")
    return libraries


def test_the_three_figures_are_different_numbers(session: Session, seven: list[Library]) -> None:
    result = consortium.consortium(session, at=AT)

    qualifying = result["qualifying"]["wechat"]
    assert (qualifying["numerator"], qualifying["denominator"]) == (3, 5)
    assert (qualifying["too_few"], qualifying["not_observed"]) == (1, 1)
    assert result["mean"]["wechat"] == {"rate": 0.625, "libraries": 6}
    assert result["pooled"]["wechat"]["rate"] == pytest.approx(0.7389380530973452)
    states = {item["library"]: item["state"] for item in result["libraries"]}
    assert (states["A"], states["C"], states["E"]) == ("judged", "too_few", "not_observed")


def test_the_threshold_is_compared_in_integers(session: Session, seven: list[Library]) -> None:
    above = consortium.consortium(session, at=AT, qualify_at=Fraction(901, 1000))

    assert above["qualifying"]["wechat"]["numerator"] == 1
    assert above["qualify_at"] == 0.901


@pytest.mark.parametrize("setting", [{"consortium": False}, {}])
def test_only_who_chose_to_take_part_is_compared(
    session: Session, seven: list[Library], setting: dict[str, bool]
) -> None:
    seven[0].settings = setting
    session.flush()

    assert [library.slug for library in members(session)] == list("BCDEFG")
    slugs = {item["library"] for item in consortium.consortium(session, at=AT)["libraries"]}
    assert "A" not in slugs


def test_whoever_runs_the_installation_sees_all_that_have_not_refused(
    session: Session, seven: list[Library]
) -> None:
    seven[0].settings, seven[1].settings = {}, {"consortium": False}
    session.flush()

    assert [library.slug for library in not_refusing(session)] == list("ACDEFG")


def test_a_library_without_the_channel_is_not_in_the_denominator(
    session: Session, seven: list[Library]
) -> None:
    add(session, "H")

    result = consortium.consortium(session, at=AT)

    assert result["qualifying"]["wechat"]["not_observed"] == 1
    assert all(item["library"] != "H" for item in result["libraries"])


def test_small_cells_do_not_leave_the_house(session: Session, seven: list[Library]) -> None:
    load(session, [consultation("A", n, met=True, channel="web") for n in range(50)])
    load(session, [consultation("B", n, met=True, channel="web") for n in range(3)])

    result = published(consortium.consortium(session, at=AT))

    cells = {(i["library"], i["channel"]): i["matured"] for i in result["libraries"]}
    assert cells["C", "wechat"] is None
    assert cells["B", "web"] is None
    assert cells["B", "wechat"] is None  # else it could be found by subtraction
    hidden = [item for item in result["libraries"] if item["matured"] is None]
    assert all(item["rate"] is None and item["low"] is None for item in hidden)


# --- the study ---------------------------------------------------------------------------

STUDY = {
    "weibo": {"have": (35, 42), "feedback": (6, 35), "many_posts": (10, 35), "following": (7, 35)},
    "wechat": {"have": (41, 42), "feedback": (7, 41), "push_weekly": (28, 41)},
    "video": {"have": (4, 42)},
}


@pytest.fixture
def study(session: Session) -> list[Library]:
    return forty_two(session)


def forty_two(session: Session) -> list[Library]:
    """42 libraries, probed once on each channel, with what they post."""
    libraries = [add(session, f"library-{number:02d}") for number in range(42)]
    rows = []
    for channel, facts in STUDY.items():
        for number, library in enumerate(libraries[: facts["have"][0]]):
            posts = 1_001 if number < facts.get("many_posts", (0, 0))[0] else 1_000
            followers = 10_000 if number < facts.get("following", (0, 0))[0] else 9_999
            weeks = 4 if number < facts.get("push_weekly", (0, 0))[0] else 3
            for week in range(4):
                monday = date(2026, 3, 2) + timedelta(days=7 * week)
                counts = {"pushes": int(week < weeks), "followers": followers}
                activity.enter(
                    session,
                    library,
                    [(1, {"channel": channel, "week": monday, "total_posts": posts, **counts})],
                    now=NOW,
                    by="test",
                )
            if "feedback" in facts:
                met = number < facts["feedback"][0]
                rows.append(
                    consultation(library.slug, number, met=met, channel=channel, probe=True)
                )
    load(session, rows)
    return libraries


def test_probes_reproduce_the_studys_feedback_within_a_day(
    session: Session, study: list[Library]
) -> None:
    result = probes(session, at=AT, **PERIOD)

    for channel in ("weibo", "wechat"):
        numerator, denominator = STUDY[channel]["feedback"]
        assert (result[channel]["numerator"], result[channel]["denominator"]) == (
            numerator,
            denominator,
        )
        assert result[channel]["with_channel"] == STUDY[channel]["have"][0]
    assert rates.percent(6, 35, places=2) == "17.14"
    assert rates.percent(7, 41, places=2) == "17.07"


def test_the_survey_reproduces_the_studys_table(session: Session, study: list[Library]) -> None:
    table = activity.survey(session, study, **PERIOD)

    for channel, facts in STUDY.items():
        for name in set(facts) - {"feedback"}:
            cell = table[channel][name]
            assert (cell["numerator"], cell["denominator"]) == facts[name], (channel, name)
    shown = {
        name: rates.percent(*STUDY[c][n])
        for c, n, name in (
            ("weibo", "have", "microblog"),
            ("wechat", "have", "wechat"),
            ("wechat", "push_weekly", "weekly"),
            ("video", "have", "video"),
            ("weibo", "following", "following"),
            ("weibo", "many_posts", "posts"),
        )
    }
    assert shown == {
        "microblog": "83.3",
        "wechat": "97.6",
        "weekly": "68.3",
        "video": "9.5",
        "following": "20.0",
        "posts": "28.6",
    }


def test_probes_are_not_in_a_members_own_rate(session: Session, study: list[Library]) -> None:
    result = consortium.consortium(session, at=AT)

    assert result["pooled"]["wechat"]["denominator"] == 0
    assert result["qualifying"]["wechat"]["not_observed"] == 41
    assert channels_of(session, study[0]) == {"weibo", "wechat", "video"}
