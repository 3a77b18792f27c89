"""A probe is drawn by chance, asked once, told from nothing, and flagged after exactly a day."""

from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.tracker.samples import NOW
from tests.tracker.test_consortium import add
from tracker import activity, consortium
from tracker.consultations import escalate, exclude, feedback, open_consultation
from tracker.figures import ANSWERED, INCLUSIVE
from tracker.models import Consultation, Library, Probe
from tracker.probes import (
    NothingToProbe,
    asked_by_hand,
    flag,
    found,
    plan,
    recognise,
    take_due,
)
from tracker.stats import stats

DAYS: dict[str, Any] = {"start": date(2026, 3, 11), "end": date(2026, 3, 20)}
QUESTION = "贵馆周日开门吗，校外读者能进吗？"
DAY = timedelta(days=1)


@pytest.fixture
def taking_part(session: Session) -> list[Library]:
    """Three libraries, two of which have WeChat."""
    libraries = [add(session, name) for name in "ABC"]
    for library in libraries[:2]:
        activity.have_channel(session, library, "wechat")
    return libraries


def planned(session: Session, libraries: list[Library], seed: int = 1) -> list[Probe]:
    return plan(
        session,
        libraries,
        channel="wechat",
        questions=[QUESTION, " "],
        by="tests",
        now=NOW,
        random=Random(seed),
        **DAYS,
    )


def arrives(session: Session, library: Library, text: str, at: datetime) -> Consultation:
    row = open_consultation(
        session,
        library,
        channel="wechat",
        conversation_id=None,
        at=at,
        now=at,
        text=text,
        language="zh-Hans",
    )
    escalate(session, row, at=at, now=at, reason="unknown")
    return row


def test_each_library_with_the_channel_gets_one_at_an_hour_of_its_own(
    session: Session, taking_part: list[Library]
) -> None:
    probes = planned(session, taking_part)

    assert [probe.library_id for probe in probes] == [row.id for row in taking_part[:2]]
    assert all(probe.question == QUESTION for probe in probes)
    assert probes[0].due_at != probes[1].due_at
    days = {(probe.due_at + timedelta(hours=8)).date() for probe in probes}
    assert all(DAYS["start"] <= day <= DAYS["end"] for day in days)
    hours = {p.due_at.hour for seed in range(40) for p in planned(session, taking_part, seed)}
    assert len(hours) > 20  # nights and weekends too


def test_without_a_channel_or_a_question_there_is_nothing_to_plan(
    session: Session, taking_part: list[Library]
) -> None:
    with pytest.raises(NothingToProbe):
        planned(session, taking_part[2:])


def test_a_period_that_is_over_is_refused(session: Session, taking_part: list[Library]) -> None:
    with pytest.raises(ValueError, match="is over"):
        plan(
            session,
            taking_part,
            channel="wechat",
            questions=[QUESTION],
            start=date(2026, 1, 1),
            end=date(2026, 1, 31),
            by="tests",
            now=NOW,
            random=Random(1),
        )


def test_a_probe_is_taken_once_and_not_before_its_instant(
    session: Session, taking_part: list[Library]
) -> None:
    first = min(probe.due_at for probe in planned(session, taking_part))
    late = NOW + timedelta(days=30)

    assert take_due(session, channel="wechat", now=first - timedelta(seconds=1), limit=9) == []
    assert len(take_due(session, channel="wechat", now=late, limit=9)) == 2
    assert take_due(session, channel="wechat", now=late, limit=9) == []


def test_what_was_asked_by_hand_is_recognised_by_its_words(
    session: Session, taking_part: list[Library]
) -> None:
    probe = planned(session, taking_part)[0]
    asked = NOW + 2 * DAY
    arrives(session, taking_part[0], QUESTION, asked - DAY)  # somebody's real question, earlier
    asked_by_hand(session, probe, now=asked)
    assert recognise(session, now=asked) == 0
    arrives(session, taking_part[0], "另一个问题", asked)
    arrived = arrives(session, taking_part[0], QUESTION, asked + timedelta(minutes=2))

    assert recognise(session, now=asked + timedelta(minutes=3)) == 1
    assert (probe.state, probe.consultation_id) == ("found", arrived.id)
    with pytest.raises(ValueError, match="found"):
        asked_by_hand(session, probe, now=asked)


def test_what_never_arrives_says_nothing_about_the_library(
    session: Session, taking_part: list[Library]
) -> None:
    probe = planned(session, taking_part)[0]
    asked_by_hand(session, probe, now=NOW)

    recognise(session, now=NOW + 3 * DAY)

    assert (probe.state, probe.problem) == ("failed", "the question has not arrived")


@pytest.mark.parametrize(("hours", "met"), [(2, True), (30, False), (None, False)])
def test_a_probe_is_like_any_question_for_a_day_and_then_no_part_of_the_librarys_rates(
    session: Session, taking_part: list[Library], hours: int | None, met: bool
) -> None:
    library = taking_part[0]
    probe = planned(session, taking_part)[0]
    row = arrives(session, library, QUESTION, NOW)
    probe.state = "asked"
    found(session, probe, row.id)
    if hours == 2:
        answered = NOW + timedelta(hours=2)
        feedback(session, row, at=answered, now=answered, by="lin", text="开。")

    assert flag(session, now=NOW + DAY - timedelta(seconds=1)) == 0
    assert row.excluded_at is None
    if hours == 30:
        late = NOW + timedelta(hours=30)
        feedback(session, row, at=late, now=late, by="lin", text="开。")
    assert flag(session, now=NOW + DAY + timedelta(minutes=1)) == 1
    assert flag(session, now=NOW + DAY + timedelta(minutes=2)) == 0

    at = NOW + 4 * DAY
    total = stats(session, library, at=at)["total"]
    assert (total["received"], total["excluded"]) == (1, 1)
    assert total[ANSWERED]["matured"] == total[INCLUSIVE]["matured"] == 0
    assert row.excluded_late is False  # nobody took it out to hide a miss
    share = consortium.probes(session, at=at)["wechat"]
    assert (share["numerator"], share["denominator"]) == (int(met), 1)
    assert share["with_channel"] == 2


def test_a_librarian_who_took_a_probe_for_spam_did_not_answer(
    session: Session, taking_part: list[Library]
) -> None:
    probe = planned(session, taking_part)[0]
    row = arrives(session, taking_part[0], QUESTION, NOW)
    found(session, probe, row.id)
    soon = NOW + timedelta(hours=1)
    exclude(session, row, at=soon, now=soon, by="lin", reason="spam")

    flag(session, now=NOW + DAY)

    assert row.excluded_reason == "probe"
    share = consortium.probes(session, at=NOW + 2 * DAY)["wechat"]
    assert (share["numerator"], share["denominator"]) == (0, 1)
