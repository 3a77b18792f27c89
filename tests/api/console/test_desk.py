"""The desk over HTTP: what it lists, what its forms do, and whom it refuses."""

import re

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.audit import AuditEntry
from api.db import Database
from bot.delivery import needing_attention
from bot.models import Outbox, OutboxState
from kb.library import import_entries
from tests.api.conftest import HOURS, Libraries, SignIn
from tests.api.console.conftest import LIBRARIAN, kinds, patron_asks, row_of, says, send
from tests.conftest import MONDAY, StandingClock
from tracker.models import Consultation

# --- the queue ---------------------------------------------------------------------------------


def test_a_waiting_question_is_listed_with_its_time_left(desk: TestClient, number: int) -> None:
    page = desk.get("/desk").text

    assert f'href="/desk/c/{number}?view=unassigned"' in page
    assert "剩" in page
    assert '未认领 <span class="number">1</span>' in page


def test_the_most_urgent_stands_first_and_the_overdue_before_the_rest(
    signed_in: SignIn, clock: StandingClock, client: TestClient, number: int
) -> None:
    clock.advance(hours=30)
    patron_asks(client, clock, "第二个问题，刚刚来的")
    patron_asks(client, clock, "我不想活了")

    page = signed_in(LIBRARIAN).get("/desk?view=all").text
    titles = re.findall(r'class="line title" dir="auto">([^<]+)<', page)

    assert titles[0] == "我不想活了"
    assert "手稿" in titles[1]
    assert "超时" in page


def test_a_search_finds_words_of_the_conversation(desk: TestClient, number: int) -> None:
    assert f"/desk/c/{number}" in desk.get("/desk?q=祖父的手稿").text
    assert f"/desk/c/{number}" not in desk.get("/desk?q=100%25").text


def test_the_list_alone_is_sent_to_a_page_that_is_open(desk: TestClient) -> None:
    piece = desk.get("/desk/queue?view=all", headers={"HX-Request": "true"}).text

    assert "<html" not in piece
    assert 'class="rows"' in piece


# --- one consultation --------------------------------------------------------------------------


def test_the_page_shows_what_was_said_and_why_it_is_here(desk: TestClient, number: int) -> None:
    page = desk.get(f"/desk/c/{number}").text

    assert "馆藏里有没有我祖父的手稿" in page
    assert "转人工" in page
    assert page.count('class="suggestion"') == 2  # of the two entries that there are


def test_a_piece_is_sent_where_the_page_is_open(desk: TestClient, number: int) -> None:
    piece = desk.get(f"/desk/c/{number}", headers={"HX-Request": "true"}).text

    assert "<html" not in piece
    assert 'id="thread"' in piece


def test_a_reply_reaches_the_patron_and_stops_the_clock(
    desk: TestClient, client: TestClient, number: int, database: Database
) -> None:
    answer = send(desk, f"/desk/c/{number}/reply", text="特藏室有一部。", mode="answer")

    assert answer.status_code == 303
    row = row_of(database, number)
    assert row.answered_by == row.assigned_to == LIBRARIAN
    assert kinds(database, number)[-2:] == ["assigned", "feedback"]
    assert "特藏室有一部" in desk.get(f"/desk/c/{number}/thread").text


def test_a_double_click_sends_one_reply(desk: TestClient, number: int, database: Database) -> None:
    for _ in range(2):
        send(desk, f"/desk/c/{number}/reply", text="特藏室有一部。", mode="answer")

    assert kinds(database, number).count("feedback") == 1


def test_a_holding_reply_is_a_first_response_and_no_answer(
    desk: TestClient, number: int, database: Database
) -> None:
    send(desk, f"/desk/c/{number}/reply", text="已收到，正在查。", mode="holding")

    row = row_of(database, number)
    assert row.feedback_at is not None
    assert row.answered_at is None


def test_a_note_is_seen_by_colleagues_only(
    desk: TestClient, client: TestClient, number: int, database: Database
) -> None:
    send(desk, f"/desk/c/{number}/reply", text="问过采访部", mode="note")

    assert "问过采访部" in desk.get(f"/desk/c/{number}").text
    assert row_of(database, number).feedback_at is None
    with database.snapshot() as session:
        said = [row.reply["text"] for row in session.scalars(select(Outbox))]
    assert "问过采访部" not in said


def test_an_empty_reply_is_refused_with_a_sentence(desk: TestClient, number: int) -> None:
    answer = send(desk, f"/desk/c/{number}/reply", text="   ", mode="answer")

    assert answer.status_code == 400
    assert "没有写内容" in answer.text


def test_what_a_colleague_claimed_is_not_taken_and_the_draft_is_kept(
    desk: TestClient, signed_in: SignIn, number: int
) -> None:
    other = signed_in("manager@north")
    send(other, f"/desk/c/{number}/claim")

    answer = send(desk, f"/desk/c/{number}/reply", text="写了很久的一段", mode="answer")

    assert answer.status_code == 409
    assert "manager已先认领" in answer.text
    assert "写了很久的一段" in answer.text


def test_every_action_has_its_line_in_the_log(
    desk: TestClient, number: int, database: Database
) -> None:
    send(desk, f"/desk/c/{number}/claim")
    send(desk, f"/desk/c/{number}/scale", scale="3")
    send(desk, f"/desk/c/{number}/close")

    with database.snapshot() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    actions = [entry.action for entry in entries if entry.actor == LIBRARIAN]
    assert actions[-3:] == ["consultation.claim", "consultation.scale", "consultation.close"]


def test_a_refused_action_leaves_no_line(desk: TestClient, number: int, database: Database) -> None:
    answer = send(desk, f"/desk/c/{number}/reopen")

    assert answer.status_code == 409
    with database.snapshot() as session:
        actions = session.scalars(select(AuditEntry.action)).all()
    assert "consultation.reopen" not in actions


def test_assigning_pausing_and_excluding_can_all_be_undone(
    desk: TestClient, number: int, database: Database
) -> None:
    steps = [
        ("assign", {"to": "manager@north"}, "assigned_to", "manager@north"),
        ("assign", {"to": ""}, "assigned_to", None),
        ("exclude", {"reason": "spam"}, "status", "excluded"),
        ("restore", {}, "excluded_at", None),
        ("reply", {"text": "答复", "mode": "answer"}, "status", "answered"),
        ("pause", {}, "status", "paused"),
        ("resume", {}, "status", "answered"),
        ("close", {}, "status", "closed"),
        ("reopen", {}, "closed_at", None),
    ]
    for action, fields, column, expected in steps:
        answer = send(desk, f"/desk/c/{number}/{action}", **fields)
        assert answer.status_code == 303, (action, answer.text[-600:])
        assert getattr(row_of(database, number), column) == expected, action


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("assign", {"to": "stranger@example.org"}),
        ("snooze", {"until": "yesterday"}),
        ("exclude", {"reason": "because"}),
        ("scale", {"scale": "9"}),
        ("reply", {"text": "x", "mode": "shout"}),
        ("reply", {"text": "x" * 4_001, "mode": "answer"}),
        ("merge", {"into": "999999"}),
    ],
)
def test_a_wrong_form_is_refused_and_changes_nothing(
    desk: TestClient, number: int, database: Database, path: str, fields: dict[str, str]
) -> None:
    before = kinds(database, number)

    answer = send(desk, f"/desk/c/{number}/{path}", **fields)

    assert 400 <= answer.status_code < 500
    assert kinds(database, number) == before


def test_a_snoozed_question_leaves_the_queue_until_its_time(
    desk: TestClient, number: int, clock: StandingClock
) -> None:
    send(desk, f"/desk/c/{number}/snooze", until="hour")
    assert f"/desk/c/{number}" not in desk.get("/desk").text
    assert f"/desk/c/{number}" in desk.get("/desk?view=snoozed").text

    clock.advance(minutes=61)

    assert f"/desk/c/{number}" in desk.get("/desk").text


def test_two_questions_of_one_patron_become_one(
    client: TestClient,
    clock: StandingClock,
    libraries: Libraries,
    signed_in: SignIn,
    database: Database,
) -> None:
    session = patron_asks(client, clock, "第一个问题")
    desk = signed_in(LIBRARIAN)
    with database.snapshot() as reading:
        first = reading.scalars(select(Consultation.id)).one()
    send(desk, f"/desk/c/{first}/exclude", reason="test")
    says(client, session, "转人工")
    send(desk, f"/desk/c/{first}/restore")
    with database.snapshot() as reading:
        second = reading.scalars(select(Consultation.id).order_by(Consultation.id.desc())).first()
    assert second != first

    answer = send(desk, f"/desk/c/{second}/merge", into=str(first))

    assert answer.status_code == 303
    assert row_of(database, second or 0).status == "merged"


def test_a_patrons_words_are_escaped(
    client: TestClient, clock: StandingClock, libraries: Libraries, signed_in: SignIn
) -> None:
    patron_asks(client, clock, "<script>alert(1)</script><img src=x onerror=alert(1)>")
    desk = signed_in(LIBRARIAN)

    page = desk.get("/desk?view=all").text

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


# --- whom it refuses ---------------------------------------------------------------------------

ACTIONS = [
    *("claim", "reply", "assign", "snooze", "pause", "resume"),
    *("close", "reopen", "exclude", "restore", "merge", "scale", "presence"),
]


@pytest.mark.parametrize("action", ACTIONS)
def test_staff_of_another_library_find_nothing(
    signed_in: SignIn, number: int, database: Database, action: str
) -> None:
    stranger = signed_in("manager@south")
    before = kinds(database, number)
    fields = {"text": "x", "reason": "spam", "into": "1", "scale": "1", "until": "hour"}

    answer = send(stranger, f"/desk/c/{number}/{action}", **fields)

    assert answer.status_code == 404
    assert kinds(database, number) == before
    assert stranger.get(f"/desk/c/{number}").status_code == 404
    assert stranger.get(f"/desk/c/{number}/thread").status_code == 404
    assert "手稿" not in stranger.get("/desk?view=all").text


@pytest.mark.parametrize("action", ACTIONS)
def test_a_form_without_its_token_changes_nothing(
    desk: TestClient, number: int, database: Database, action: str
) -> None:
    before = kinds(database, number)

    answer = desk.post(f"/desk/c/{number}/{action}", data={"text": "x", "reason": "spam"})

    assert answer.status_code == 403
    assert kinds(database, number) == before


def test_strangers_are_sent_to_the_sign_in_page(client: TestClient, number: int) -> None:
    answer = client.get(f"/desk/c/{number}", headers={"Accept": "text/html"})

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=")


# --- replies that did not arrive ---------------------------------------------------------------


def test_a_dead_reply_is_listed_and_tried_again(
    desk: TestClient, number: int, database: Database, libraries: Libraries
) -> None:
    send(desk, f"/desk/c/{number}/reply", text="特藏室有一部。", mode="answer")
    with database.transaction() as session:
        row = session.scalars(select(Outbox).where(Outbox.by == LIBRARIAN)).one()
        row.state = OutboxState.DEAD
        row.attempt_log = [
            {"at": MONDAY.isoformat(), "what": "permanent", "why": "拒收", "code": None}
        ]
        stuck = row.id

    page = desk.get("/desk/undelivered").text
    assert "特藏室有一部" in page
    assert "拒收" in page
    answer = send(desk, f"/desk/undelivered/{stuck}", decision="retry")

    assert answer.status_code == 303
    with database.snapshot() as session:
        assert list(needing_attention(session, libraries.north)) == []
    assert send(desk, f"/desk/undelivered/{stuck}", decision="retry").status_code == 404


def test_suggested_hours_are_those_of_the_calendar(
    client: TestClient,
    signed_in: SignIn,
    clock: StandingClock,
    database: Database,
    libraries: Libraries,
) -> None:
    with database.transaction() as session:
        import_entries(session, libraries.north, [HOURS], now=clock(), by="tests")
    patron_asks(client, clock, "周日几点开门")
    librarian = signed_in(LIBRARIAN)
    with database.snapshot() as session:
        number = session.scalars(select(Consultation.id)).one()

    page = librarian.get(f"/desk/c/{number}").text

    assert "周日：主馆不开放" in page
    assert "typed text" not in page
