from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api import demo
from api.db import Database
from api.demo.history import History
from api.models import Role, Staff
from api.reviews import judged_answers
from api.schedules import weekly_calendar
from kb.files import load_file
from kb.review import learned_lean
from kb.starter import STARTER
from tests.conftest import MONDAY
from tracker.calendars import calendar
from tracker.clock import Calendar, parse_instant
from tracker.models import Consultation, Library
from tracker.queue import waiting
from tracker.stats import stats

DAYS = 20


@pytest.fixture
def loaded(database: Database) -> demo.Loaded:
    with database.transaction() as session:
        return demo.load(session, days=DAYS, seed=1, now=MONDAY)


@pytest.fixture(scope="module")
def desk() -> Calendar:
    return Calendar.from_document(weekly_calendar(demo.ZONE, demo.STAFFED))


def history(desk: Calendar, *, seed: int = 1, days: int = DAYS) -> list[dict[str, Any]]:
    return History(load_file(STARTER), desk, seed=seed, now=MONDAY).days(days)


def library(session: Session) -> Library:
    return session.scalars(select(Library).where(Library.slug == "demo")).one()


def test_the_same_seed_and_time_tell_the_same_story(desk: Calendar) -> None:
    assert history(desk) == history(desk)
    assert history(desk) != history(desk, seed=2)


def test_a_longer_history_ends_with_the_same_days(desk: Calendar) -> None:
    shorter, longer = history(desk, days=5), history(desk, days=DAYS)

    assert longer[-len(shorter) :] == shorter


def test_nothing_has_happened_that_lies_ahead(desk: Calendar) -> None:
    rows = history(desk)

    assert all(parse_instant(event["at"]) <= MONDAY for row in rows for event in row["events"])


def test_there_is_something_of_everything(desk: Calendar) -> None:
    rows = history(desk, days=60)

    kinds = Counter(event["kind"] for row in rows for event in row["events"])
    channels = Counter(row["channel"] for row in rows)
    languages = Counter(row["events"][0].get("language") for row in rows)
    hours = {parse_instant(row["received_at"]).astimezone(desk.tz).hour for row in rows}

    assert set(channels) == {"web", "wechat", "weibo", "email"}
    assert set(languages) >= {"zh-Hans", "en", "vi"}
    assert set(kinds) >= {
        "message",
        "bot_answer",
        "bot_accepted",
        "bot_rejected",
        "acknowledged",
        "escalated",
        "assigned",
        "feedback",
        "closed",
        "reopened",
        "excluded",
        "withdrawn",
    }
    assert hours >= set(range(8, 23))
    assert min(hours) < 7


def test_the_figures_look_like_a_library_s(loaded: demo.Loaded, database: Database) -> None:
    with database.snapshot() as session:
        found = stats(session, library(session), at=MONDAY)

    total = found["total"]
    assert total["received"] == loaded.consultations > 200
    assert 0.3 < total["bot_only"] / total["received"] < 0.8
    assert 0.4 < total["answered_within_24h"]["rate"] < 0.95
    assert total["bot_inclusive_within_24h"]["pending"] > 0
    assert total["excluded"] > 0
    rates = {
        name: block["answered_within_24h"]["rate"] for name, block in found["channels"].items()
    }
    assert rates["weibo"] < rates["web"]


def test_invented_verdicts_do_not_make_the_bot_timid_or_bold(
    loaded: demo.Loaded, database: Database
) -> None:
    with database.snapshot() as session:
        answers = judged_answers(session, library(session), MONDAY)

    assert len(answers) > 80
    assert abs(learned_lean(answers)) < 0.5


def test_there_is_always_somebody_to_answer_and_a_way_to_reach_them(
    loaded: demo.Loaded, database: Database
) -> None:
    with database.snapshot() as session:
        pending = waiting(session, library(session).id, now=MONDAY)
        reachable = [each for each in pending if each.conversation_id is not None]

    assert len(pending) == loaded.waiting
    assert len(reachable) >= 5
    assert all(each.channel == "web" for each in reachable)


def test_loading_again_adds_nothing_twice(loaded: demo.Loaded, database: Database) -> None:
    with database.transaction() as session:
        again = demo.load(session, days=DAYS, seed=1, now=MONDAY + timedelta(minutes=5))

    with database.snapshot() as session:
        count = session.scalar(select(func.count()).select_from(Consultation)) or 0
    assert loaded.consultations <= count <= again.consultations + 2


def test_known_passwords_open_nothing_but_the_demo_library(
    loaded: demo.Loaded, database: Database
) -> None:
    with database.snapshot() as session:
        people = session.scalars(select(Staff)).all()
        demo_id = library(session).id

    assert {person.role for person in people} == set(Role)
    assert {person.library_id for person in people} == {demo_id}


def test_the_desk_is_closed_on_a_national_holiday_and_open_on_the_day_that_makes_up_for_it(
    loaded: demo.Loaded, database: Database
) -> None:
    with database.snapshot() as session:
        found = calendar(session, library(session).id)

    assert found is not None
    national_day, made_up = MONDAY.replace(month=10, day=1), MONDAY.replace(month=10, day=10)
    assert found.spans_on(national_day.date()) == ()
    assert found.spans_on(made_up.date())
