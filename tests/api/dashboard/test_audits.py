"""Correct answers: managers draw, two people rate without seeing each other's verdicts."""

import re
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from api.db import Database
from tests.api.conftest import Libraries, SignIn, csrf_of, post_form
from tests.conftest import MONDAY
from tracker.history import import_rows

DRAW = {"name": "2026-11", "start": "2026-11-01", "end": "2026-11-23", "size": "25"}


@pytest.fixture
def answers(database: Database, libraries: Libraries) -> None:
    """25 questions that the librarian answered, and one that nobody did."""
    rows = []
    for number in range(26):
        at = MONDAY - timedelta(days=5, minutes=number)
        events = [
            {"at": at.isoformat(), "kind": "message", "by": "patron", "text": f"问题{number}"},
            {"at": at.isoformat(), "kind": "escalated", "by": "bot"},
        ]
        if number < 25:
            said = {"by": "librarian@north", "text": f"答复{number}", "substantive": True}
            answered = (at + timedelta(hours=1)).isoformat()
            events.append({"at": answered, "kind": "feedback", **said})
        rows.append(
            {
                "id": f"c{number}",
                "library": "north",
                "channel": "web",
                "received_at": at.isoformat(),
                "events": events,
            }
        )
    with database.transaction() as session:
        import_rows(session, enumerate(rows, start=1), now=MONDAY)


def english(client: TestClient) -> TestClient:
    client.headers["Accept-Language"] = "en"
    return client


def rate_all(client: TestClient, sheet: str, *, wrong: int = 0) -> int:
    """Go through a sample as a rater does; returns how many were rated."""
    for count in range(100):
        found = re.search(r'name="consultation" value="(\d+)"', client.get(sheet).text)
        if found is None:
            return count
        verdict = "false" if count < wrong else "true"
        post_form(client, sheet, page=sheet, consultation=found[1], correct=verdict)
    raise AssertionError("the sample has no end")


def test_two_raters_make_a_rate(signed_in: SignIn, answers: None) -> None:
    manager, admin = english(signed_in("manager@north")), english(signed_in("admin@north"))
    drawn = post_form(manager, "/manage/audits", page="/manage/audits", **DRAW)
    assert drawn.status_code == 303
    sheet = re.search(r'href="(/desk/audits/\d+)"', manager.get("/manage/audits").text)[1]  # type: ignore[index]

    assert rate_all(manager, sheet) == 25
    page = manager.get("/manage/audits").text
    assert "too few to judge" in page
    assert rate_all(admin, sheet, wrong=1) == 25

    page = manager.get("/manage/audits").text
    assert "100.0%" in page  # 24 of the 24 that both agree on
    assert "24/24" in page
    assert "86.2–100.0" in page  # Wilson
    again = post_form(manager, "/manage/audits", page="/manage/audits", **DRAW)
    assert again.status_code == 422
    assert "a sample is drawn once" in again.text


def test_a_rater_sees_neither_the_author_nor_the_other_verdict(
    signed_in: SignIn, answers: None
) -> None:
    manager, admin = english(signed_in("manager@north")), english(signed_in("admin@north"))
    post_form(manager, "/manage/audits", page="/manage/audits", **DRAW)
    rate_all(manager, "/desk/audits/1")

    page = admin.get("/desk/audits/1").text

    assert "答复" in page
    assert "librarian@north" not in page
    assert "manager@north" not in page
    assert "0 of 25 rated by you" in page


def test_who_wrote_the_answers_rates_none_of_them(signed_in: SignIn, answers: None) -> None:
    manager = signed_in("manager@north")
    post_form(manager, "/manage/audits", page="/manage/audits", **DRAW)
    author = english(signed_in("librarian@north"))

    assert "Nothing left for you to rate" in author.get("/desk/audits/1").text
    shown = re.search(r'name="consultation" value="(\d+)"', manager.get("/desk/audits/1").text)
    assert shown is not None
    forged = author.post(
        "/desk/audits/1",
        data={"csrf": csrf_of(author, "/desk/mine"), "consultation": shown[1], "correct": "true"},
    )
    assert forged.status_code == 403


def test_a_sample_is_its_librarys_own(signed_in: SignIn, answers: None) -> None:
    post_form(signed_in("manager@north"), "/manage/audits", page="/manage/audits", **DRAW)

    stranger = signed_in("manager@south")

    assert stranger.get("/desk/audits/1").status_code == 404
    assert "2026-11" not in stranger.get("/desk/audits").text


def test_a_period_without_answers_gives_no_sample(signed_in: SignIn, libraries: Libraries) -> None:
    manager = english(signed_in("manager@north"))

    answer = post_form(manager, "/manage/audits", page="/manage/audits", **DRAW)

    assert answer.status_code == 422
    assert "No question of this period has been answered" in answer.text


def test_only_managers_draw(signed_in: SignIn, libraries: Libraries) -> None:
    assert signed_in("librarian@north").get("/manage/audits").status_code == 403
    assert signed_in("librarian@north").post("/manage/audits").status_code == 403
