"""The nightly review: what patrons confirmed is asked again, and what they rejected teaches."""

from datetime import timedelta
from typing import Any

import pytest

from api.db import Database
from api.i18n import LANGUAGES
from api.reviews import Reviews, learn_from_feedback, review_libraries
from api.state import State
from kb.library import knowledge_state
from kb.review import latest_reviews
from tests.api.conftest import Libraries, SignIn
from tests.conftest import MONDAY, StandingClock
from tracker.history import import_rows


def row(number: int, text: str, entry: str, *, rejected: bool = False) -> dict[str, Any]:
    received = MONDAY - timedelta(days=2) + timedelta(minutes=number)
    answered, said = received + timedelta(seconds=2), received + timedelta(minutes=1)
    events: list[dict[str, Any]] = [
        {"at": received.isoformat(), "kind": "message", "by": "patron", "text": text},
        {
            "at": answered.isoformat(),
            "kind": "bot_answer",
            "by": "bot",
            "text": "…",
            "entry": entry,
            "probability": 0.93,
        },
    ]
    if rejected:
        events.append(
            {
                "at": said.isoformat(),
                "kind": "bot_rejected",
                "by": "patron",
                "cause": "no",
            }
        )
        events.append({"at": said.isoformat(), "kind": "escalated", "by": "bot"})
    else:
        events.append({"at": said.isoformat(), "kind": "bot_accepted", "by": "patron"})
    return {
        "id": f"web-{number}",
        "library": "north",
        "channel": "web",
        "received_at": received.isoformat(),
        "events": events,
    }


ROWS = [
    row(1, "How do I renew a book", "renew-books"),
    row(2, "my dog ate page 77 of what I borrowed, whom do I tell", "renew-books", rejected=True),
    row(3, "How do I renew a book", "renew-books"),
]


@pytest.fixture
def confirmed(database: Database, libraries: Libraries) -> None:
    with database.transaction() as session:
        import_rows(session, enumerate(ROWS, start=1), now=MONDAY)


def test_what_was_confirmed_is_asked_again_once_a_night(
    state: State, libraries: Libraries, confirmed: None
) -> None:
    first, second = review_libraries(state), review_libraries(state)

    assert (first, second) == (1, 0)
    with state.database.snapshot() as session:
        [made] = latest_reviews(session, libraries.north)
        assert latest_reviews(session, libraries.south) == []
    assert [line["right"] for line in made.predictions] == [["renew-books"], []]


def test_a_review_waits_for_the_night(state: State, clock: StandingClock, confirmed: None) -> None:
    review_libraries(state)
    clock.now += timedelta(hours=15)  # past one in the morning in Shanghai
    early = review_libraries(state)
    clock.now += timedelta(hours=2)

    assert early == 0
    assert review_libraries(state) == 1


def test_rejected_answers_raise_the_bar_of_that_library_alone(
    state: State, libraries: Libraries, confirmed: None
) -> None:
    learn_from_feedback(state)

    with state.database.snapshot() as session:
        assert knowledge_state(session, libraries.north)[1] < 0
        assert knowledge_state(session, libraries.south)[1] == 0


def test_an_answer_that_nobody_rejected_within_a_day_counts_as_right(
    state: State, database: Database, libraries: Libraries
) -> None:
    silent = [row(number, f"q{number}", "renew") for number in range(40)]
    for each in silent:
        each["events"] = [e for e in each["events"] if e["kind"] != "bot_accepted"]
    with database.transaction() as session:
        import_rows(session, enumerate(silent, start=1), now=MONDAY)

    learn_from_feedback(state)

    with state.database.snapshot() as session:
        assert knowledge_state(session, libraries.north)[1] > 0


def test_a_round_runs_beside_the_worker(
    state: State, libraries: Libraries, confirmed: None
) -> None:
    reviews = Reviews(state)

    reviews.start_round()
    reviews.finish()

    with state.database.snapshot() as session:
        assert len(latest_reviews(session, libraries.north)) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_editors_see_the_review_in_their_language(
    state: State, signed_in: SignIn, confirmed: None, language: str
) -> None:
    client = signed_in("manager@north")
    empty = client.get("/manage/kb/review", headers={"Accept-Language": language})
    review_libraries(state)
    page = client.get("/manage/kb/review", headers={"Accept-Language": language})

    assert (empty.status_code, page.status_code) == (200, 200)
    assert "<svg" not in empty.text.split("<main", 1)[-1]
    assert page.text.count('role="img"') >= 2
    assert "review." not in page.text.replace("/manage/kb/review", "")
    assert " style=" not in page.text


def test_librarians_do_not_see_it(signed_in: SignIn) -> None:
    assert signed_in("librarian@north").get("/manage/kb/review").status_code == 403
