"""Rasa's Socket.IO channel: widgets ask, and late answers find them and nobody else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from websockets.exceptions import InvalidStatus

from api import sockets
from api.state import State
from bot.delivery import reply_as_librarian
from bot.models import Conversation, Inbox
from kb.knowledge import KnowledgeBase
from tests.api.conftest import Libraries
from tests.api.listening import listening
from tests.conftest import StandingClock
from tests.fakes.socketio_client import Widget
from tracker.models import Consultation, Library

RECORDED = Path(__file__).parent.parent / "bot" / "channels" / "rasa" / "payloads"
QUIET = 0.6  # seconds in which nothing must come


@pytest.fixture
def site(app: FastAPI, libraries: Libraries) -> Iterator[str]:
    with listening(app) as url:
        yield url


@pytest.fixture
def librarian(state: State, clock: StandingClock):
    """Answers the patron of a session: librarian(session, text)."""

    def answer(session_id: str, text: str) -> None:
        with state.database.transaction() as session:
            conversation = session.scalars(
                select(Conversation).where(Conversation.external_id == session_id)
            ).one()
            consultation = session.scalars(
                select(Consultation).where(Consultation.conversation_id == conversation.id)
            ).one()
            library = session.get_one(Library, conversation.library_id)
            reply_as_librarian(
                session, library, consultation, by="lin", name="Lin", text=text, now=clock()
            )

    return answer


def recorded(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((RECORDED / f"{name}.json").read_text("utf-8"))
    return found


def test_a_widget_asks_and_is_answered_in_rasas_shape(site: str) -> None:
    trace = recorded("socketio_websocket")
    known = {frozenset(step["data"]) for step in trace if step["event"] == "bot_uttered"}

    with Widget(site) as widget:
        session = widget.begin()
        widget.say("How do I renew a book", session, metadata={"lang": "en"})
        (answer,) = widget.hear()

    assert [name for name, _ in widget.heard] == ["session_confirm", "bot_uttered"]
    assert frozenset(answer) in known
    assert answer["text"] == "Sign in and press Renew."
    assert [set(reply) for reply in answer["quick_replies"]] == [
        {"content_type", "title", "payload"}
    ] * 2


def test_a_tapped_quick_reply_is_understood(site: str) -> None:
    with Widget(site) as widget:
        session = widget.begin()
        widget.say("How do I renew a book", session)
        (answer,) = widget.hear()
        widget.say(answer["quick_replies"][0]["payload"], session)
        (thanks,) = widget.hear()

    assert set(thanks) == {"text"}


def test_a_late_answer_comes_by_itself(site: str, librarian) -> None:
    with Widget(site) as widget:
        session = widget.begin()
        widget.say("找馆员", session)
        widget.hear()
        librarian(session, "图在三楼。")
        (late,) = widget.hear()

    assert late == {"text": "图在三楼。"}


def test_what_was_said_while_the_page_was_closed_comes_with_the_next_visit_once(
    site: str, librarian
) -> None:
    with Widget(site) as widget:
        session = widget.begin()
        widget.say("找馆员", session)
        widget.hear()
    librarian(session, "图在三楼。")

    with Widget(site) as widget:
        assert widget.begin(session) == session
        assert widget.hear() == [{"text": "图在三楼。"}]
    with Widget(site) as widget:
        widget.begin(session)
        assert widget.hear(within=QUIET) == []


def test_two_tabs_of_one_session_hear_the_same(site: str, librarian) -> None:
    with Widget(site) as first, Widget(site) as second:
        session = first.begin()
        second.begin(session)
        first.say("找馆员", session)
        assert first.hear() == second.hear()

        librarian(session, "图在三楼。")

        assert first.hear() == second.hear() == [{"text": "图在三楼。"}]


@pytest.mark.parametrize("forged", ["visitor-7", "a" * 32 + ".", "a" * 32 + "." + "0" * 40, "", 7])
def test_a_session_that_we_did_not_issue_is_replaced(site: str, forged: Any) -> None:
    with Widget(site) as widget:
        confirmed = widget.begin(forged)

    assert confirmed != forged
    assert len(confirmed) > 60


def test_who_asked_under_a_name_of_their_own_hears_late_answers_all_the_same(
    site: str, librarian
) -> None:
    with Widget(site) as widget:
        session = widget.begin("visitor-7")
        widget.say("找馆员", "visitor-7")  # a client that keeps to its own name
        widget.hear()
        librarian(session, "图在三楼。")

        assert widget.hear() == [{"text": "图在三楼。"}]


def test_nobody_hears_another_ones_answers_by_taking_their_name(site: str, state: State) -> None:
    with Widget(site) as patron, Widget(site) as thief:
        patron.say("找馆员", "visitor-7")
        patron.hear()
        thief.begin("visitor-7")
        thief.say("hello", "visitor-7")
        thief.hear()
        with state.database.snapshot() as session:
            names = session.scalars(select(Conversation.external_id)).all()
            issued = session.scalars(select(Conversation.issued)).all()

    assert len(names) == 2
    assert sorted(issued) == [False, True]


def test_what_a_client_sends_beyond_the_message_is_passed_over(site: str) -> None:
    with Widget(site) as widget:
        widget.emit("session_request", {"session_id": None}, "more")
        (session,) = widget.hear()
        sent = {"message": "How do I renew a book", "session_id": session}
        widget.emit("user_uttered", sent, "more", 7)

        assert widget.hear()[0]["text"] == "Sign in and press Renew."


def test_a_repeated_message_makes_no_second_one(site: str, state: State) -> None:
    with Widget(site) as widget:
        session = widget.begin()
        for _ in range(2):
            widget.say("How do I renew a book", session, metadata={"message_id": "7"})
        first, second = widget.hear(2)

    assert first == second
    with state.database.snapshot() as reading:
        assert reading.scalar(select(func.count()).select_from(Inbox)) == 1


@pytest.mark.parametrize(
    "data",
    [None, 7, [], {}, {"message": 7}, {"message": "x", "session_id": 7.5}, {"session_id": "a"}],
)
def test_what_is_no_message_is_answered_with_a_sentence(site: str, data: Any) -> None:
    with Widget(site) as widget:
        widget.emit("user_uttered", data)
        (answer,) = widget.hear()
        widget.say("How do I renew a book", widget.begin())

        assert set(answer) == {"text"}
        assert widget.hear()[0]["text"] == "Sign in and press Renew."


def test_with_the_database_away_the_patron_is_told(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OperationalError("insert", {}, Exception("away"))

    with Widget(site) as widget:
        session = widget.begin()
        monkeypatch.setattr(sockets, "receive", broken)
        widget.say("How do I renew a book", session)

        assert "Sorry" in widget.hear()[0]["text"]


def test_what_the_bot_stumbles_over_goes_to_a_librarian_and_the_late_answer_comes(
    site: str, librarian, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumbling(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(KnowledgeBase, "ask", stumbling)
    with Widget(site) as widget:
        session = widget.begin()
        widget.say("How do I renew a book", session)
        assert "librarian" in widget.hear()[0]["text"]
        librarian(session, "Press Renew.")

        assert widget.hear() == [{"text": "Press Renew."}]


def test_a_flood_of_sessions_ends_the_connection(site: str) -> None:
    with Widget(site) as widget:
        for _ in range(sockets.SESSIONS):
            widget.begin()
        widget.emit("session_request", {"session_id": None})

        assert widget.hear(within=QUIET) == []


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_old_clients_are_told_why_they_cannot_come_in(site: str, transport: str) -> None:
    if transport == "polling":
        answer = httpx.get(f"{site}/socket.io/?EIO=3&transport=polling")
        status, body = answer.status_code, answer.json()
        assert answer.headers["access-control-allow-origin"] == "*"
    else:
        with pytest.raises(InvalidStatus) as refusal:
            Widget(site, eio=3)
        status = refusal.value.response.status_code
        body = json.loads(refusal.value.response.body)

    assert status == 400
    assert "Engine.IO 4" in body["message"]


def test_polling_works_where_websockets_do_not(site: str) -> None:
    with httpx.Client(base_url=site, timeout=30) as http:

        def poll(body: str | None = None) -> str:
            where = f"/socket.io/?EIO=4&transport=polling{session}"
            return (http.post(where, content=body) if body else http.get(where)).text

        session = ""
        session = f"&sid={json.loads(poll()[1:])['sid']}"
        poll("40")
        poll()
        poll('42["user_uttered",{"message":"How do I renew a book","session_id":"p1"}]')
        heard = poll()

    assert heard.startswith('42["bot_uttered"')
    assert "press Renew" in heard


def test_a_page_that_the_library_does_not_name_may_not_ask(site: str, state: State) -> None:
    with state.database.transaction() as session:
        library = session.scalars(select(Library).where(Library.slug == "north")).one()
        library.settings = {"allowed_origins": ["https://lib.example.org"]}

    with Widget(site, origin="https://evil.example.org") as stranger:
        assert "may not ask" in stranger.refusal["message"]
    with Widget(site, origin="https://lib.example.org") as widget:
        assert widget.begin()
