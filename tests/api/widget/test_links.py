"""Linking from the widget's side: codes given, codes taken, and where answers go."""

import json
import uuid
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.db import Database
from api.privacy import erase_again, erase_patron
from api.state import State
from bot.models import Conversation
from tests.api.conftest import Libraries, SignIn
from tests.api.widget.conftest import Patron
from tests.conftest import StandingClock
from tracker.models import Consultation, Library


@pytest.fixture
def database(each_database: Database) -> Database:
    """Conversations are locked and joined: that must hold on both databases."""
    return each_database


def over_rasa(client: TestClient, text: str, sender: str = "r-1") -> str:
    """The same patron on another channel."""
    sent = {"sender": sender, "message": text}
    answer = client.post("/webhooks/rest/webhook", content=json.dumps(sent))
    assert answer.status_code == 200, answer.text
    return "\n".join(each["text"] for each in answer.json())


def linked(patron: Patron, client: TestClient) -> None:
    code = patron.posts("link/code").json()["code"]
    assert "已关联" in over_rasa(client, code)


def test_a_code_of_the_widget_is_taken_on_another_channel(
    patron: Patron, client: TestClient
) -> None:
    patron.says("人工")
    linked(patron, client)

    answer = patron.reads()

    assert [place["name"] for place in answer["linked"]] == ["网页咨询", "Rasa"]
    assert answer["answers"] is None


def test_what_was_said_there_is_shown_here_and_named(patron: Patron, client: TestClient) -> None:
    patron.says("人工")
    over_rasa(client, "怎么续借图书")
    linked(patron, client)

    elsewhere = patron.reads()["elsewhere"]

    assert {message["place"] for message in elsewhere} == {"Rasa"}
    assert "怎么续借图书" in [message["text"] for message in elsewhere]
    assert all(isinstance(message["seq"], str) for message in elsewhere)
    assert "elsewhere" not in patron.reads(after=1)


def test_a_code_of_another_channel_is_taken_in_the_widget(
    patron: Patron, client: TestClient
) -> None:
    text = over_rasa(client, "关联对话")
    code = next(word for word in text.replace("：", " ").replace("。", " ").split() if "-" in word)

    answer = patron.posts("link", code=code.lower())

    assert answer.status_code == 200
    assert len(answer.json()["linked"]) == 2


@pytest.mark.parametrize("code", ["AAAA-2222", "", None, 7, "x" * 500, "AAAA2222"])
def test_a_wrong_code_is_refused(patron: Patron, code: object) -> None:
    answer = patron.posts("link", code=code)

    assert answer.status_code == 400
    assert "error" in answer.json()


def test_guessing_ends(patron: Patron) -> None:
    tried = [patron.posts("link", code="AAAA-2222").status_code for _ in range(6)]

    assert tried == [400] * 5 + [429]


def test_a_stranger_gets_no_code_for_somebody_else(patron: Patron) -> None:
    patron.session = "made.up.session"

    assert patron.posts("link/code").status_code == 403
    assert patron.posts("link", code="AAAA-2222").status_code == 403


def test_the_patron_chooses_where_answers_go(
    patron: Patron, client: TestClient, signed_in: SignIn, database: Database
) -> None:
    patron.says("人工")
    linked(patron, client)
    here = patron.reads()["linked"][0]["id"]
    assert patron.posts("answers", to=here).json()["answers"] == here
    over_rasa(client, "有消息了吗")

    desk = signed_in("librarian@north")
    with database.snapshot() as session:
        number = session.scalars(select(Consultation.id).order_by(Consultation.id)).first()
    page = desk.get(f"/desk/c/{number}").text
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    desk.post(f"/desk/c/{number}/reply", data={"csrf": csrf, "text": "有了。", "mode": "answer"})

    assert "希望答复到" in page
    assert [m["text"] for m in patron.reads()["messages"] if m["role"] == "librarian"] == ["有了。"]
    shown = desk.get(f"/desk/c/{number}").text
    assert shown.count("有了。") == 1
    assert "有消息了吗" in shown


@pytest.mark.parametrize("to", [999, "1", True, -1])
def test_answers_go_to_no_conversation_of_somebody_else(
    patron: Patron, client: TestClient, to: object
) -> None:
    patron.says("人工")
    linked(patron, client)
    Patron(client).says("人工")

    assert patron.posts("answers", to=to).status_code == 400


def test_a_link_can_be_undone_in_the_widget(patron: Patron, client: TestClient) -> None:
    patron.says("人工")
    linked(patron, client)

    assert patron.posts("unlink").json() == {"linked": [], "answers": None}
    assert "elsewhere" not in patron.reads()


def test_the_desk_shows_both_channels_and_what_was_asked_there(
    patron: Patron, client: TestClient, signed_in: SignIn, database: Database, clock: StandingClock
) -> None:
    over_rasa(client, "怎么续借图书")
    clock.advance(hours=25)
    patron.says("人工")
    linked(patron, client)
    clock.advance(minutes=5)
    over_rasa(client, "有消息了吗")
    with database.snapshot() as session:
        last = select(Consultation.id).order_by(Consultation.id.desc())
        number = session.scalars(last).first()

    page = signed_in("librarian@north").get(f"/desk/c/{number}").text

    assert "同时使用" in page
    assert '<span class="muted">Rasa</span>' in page
    assert '<span class="muted">网页咨询</span>' in page
    assert "怎么续借图书" in page  # the patron's earlier question, on the other channel


def test_erasing_one_conversation_erases_the_patron_on_every_linked_channel(
    patron: Patron,
    client: TestClient,
    database: Database,
    state: State,
    libraries: Libraries,
) -> None:
    patron.says("人工")
    linked(patron, client)
    over_rasa(client, "别人的问题", sender="r-2")
    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        facts: dict[str, Any] = {"keyring": state.keyring, "now": state.clock()}
        erased = erase_patron(session, library, channel="web", patron=patron.session, **facts)

    assert erased == 2
    with database.snapshot() as session:
        assert session.scalars(select(Conversation.external_id)).all() == ["r-2"]
    over_rasa(client, f"回来了 {uuid.uuid4()}")
    with database.transaction() as session:
        assert erase_again(session, state.keyring) == 1  # as after a restored backup
