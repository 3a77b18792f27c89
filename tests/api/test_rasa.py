"""What Rasa's tools ask: the recorded shapes, key for key."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from api.accounts import add_account
from api.db import Database
from api.state import State
from bot.models import Inbox, Outbox, OutboxState
from kb.knowledge import KnowledgeBase
from tests.api.conftest import Libraries
from tests.conftest import MONDAY
from tracker import consultations
from tracker.models import Consultation, Event, Library

WEBHOOK = "/webhooks/rest/webhook"

RECORDED = Path(__file__).parent.parent / "bot" / "channels" / "rasa" / "payloads"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def ask(client: TestClient, message: str) -> list[dict[str, Any]]:
    answer = client.post(WEBHOOK, json={"sender": "u1", "message": message})
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def texts(database: Database) -> list[str]:
    with database.snapshot() as session:
        patrons = select(Event.text).where(Event.kind == "message").order_by(Event.id)
        return [text or "" for text in session.scalars(patrons)]


# --- the REST channel ------------------------------------------------------------------


def test_text_and_buttons_have_exactly_the_recorded_keys(
    client: TestClient, libraries: Libraries
) -> None:
    (with_buttons,) = recorded("rest_buttons")["response"]["json"]
    (plain,) = recorded("rest_text")["response"]["json"]

    (answer,) = ask(client, "怎么续借图书")
    (promise,) = ask(client, "转人工")

    assert set(answer) == set(with_buttons)
    assert [set(each) for each in answer["buttons"]] == [set(with_buttons["buttons"][0])] * 2
    assert set(promise) == set(plain)


def test_a_stream_is_labelled_as_rasa_labels_it(client: TestClient, libraries: Libraries) -> None:
    theirs = recorded("rest_stream")["response"]
    known = [set(json.loads(line)) for line in theirs["text"].splitlines()]

    ours = client.post(f"{WEBHOOK}?stream=true", json={"sender": "u4", "message": "怎么续借图书"})

    assert ours.headers["content-type"].startswith(theirs["headers"]["content-type"])
    assert [set(json.loads(line)) in known for line in ours.text.splitlines()] == [True]


@pytest.mark.parametrize("name", ["rest_bad_json", "rest_unknown_channel"])
def test_a_refusal_has_exactly_the_recorded_keys(
    client: TestClient, libraries: Libraries, name: str
) -> None:
    exchange = recorded(name)
    sent, theirs = exchange["request"], exchange["response"]
    body = sent.get("text") or json.dumps(sent["json"])

    ours = client.post(sent["path"], content=body)

    assert ours.status_code == ours.json()["status"] == theirs["status"]
    assert set(ours.json()) == set(theirs["json"])
    assert ours.json()["description"] == theirs["json"]["description"]
    any_page = "access-control-allow-origin"
    assert ours.headers[any_page] == theirs["headers"][any_page]


def test_what_the_bot_stumbles_over_goes_to_a_librarian(
    client: TestClient,
    libraries: Libraries,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumbling(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(KnowledgeBase, "ask", stumbling)

    (promise,) = ask(client, "How do I renew a book")

    assert "librarian" in promise["text"]
    assert texts(database) == ["How do I renew a book"]
    with database.snapshot() as session:
        assert session.scalars(select(Consultation)).one().status == "waiting"


def test_what_is_written_while_a_librarian_has_it_reaches_them(
    client: TestClient, libraries: Libraries, database: Database
) -> None:
    ask(client, "转人工")
    with database.transaction() as session:
        one = session.scalars(select(Consultation)).one()
        consultations.assign(session, one, at=MONDAY, now=MONDAY, by="lin", to="lin")

    said = ask(client, "怎么续借图书")

    assert said == []
    assert texts(database)[-1] == "怎么续借图书"


@pytest.mark.parametrize(
    "said", ["/get_started", "/session_start", '/greet{"name":"Ann"}', " /greet {} "]
)
def test_what_a_widget_says_when_it_is_opened_is_welcomed_and_no_question(
    client: TestClient, libraries: Libraries, database: Database, said: str
) -> None:
    (welcome,) = ask(client, said)

    assert set(welcome) == {"recipient_id", "text"}
    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(Consultation)) == 0


# --- the model -------------------------------------------------------------------------


def test_a_text_is_parsed_into_a_ranking(client: TestClient, libraries: Libraries) -> None:
    theirs = recorded("model_parse")["response"]["json"]

    ours = client.post("/model/parse", json={"text": "How do I renew a book"}).json()

    assert set(ours) == set(theirs)
    assert set(ours["intent"]) == set(theirs["intent"])
    assert ours["intent"] == ours["intent_ranking"][0]
    assert ours["intent"]["name"] == "renew-books"
    assert all(set(row) == {"name", "confidence"} for row in ours["intent_ranking"])
    assert "nlu_fallback" in [row["name"] for row in ours["intent_ranking"]]
    assert ours["text_tokens"][0] == [0, 3]


def test_what_no_entry_answers_is_rasas_fallback(client: TestClient, libraries: Libraries) -> None:
    ours = client.post("/model/parse", json={"text": "zxqv wpkj qqq"}).json()

    assert ours["intent"]["name"] == "nlu_fallback"


def test_parsing_leaves_nothing(
    client: TestClient, libraries: Libraries, database: Database
) -> None:
    client.post("/model/parse", json={"text": "怎么续借图书"})

    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(Inbox)) == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"text": 7}', b"{nope"])
def test_what_has_no_text_is_refused_in_rasas_shape(client: TestClient, body: bytes) -> None:
    answer = client.post("/model/parse", content=body)

    assert answer.status_code == answer.json()["code"] == 400
    keys = {"version", "status", "message", "reason", "details", "help", "code"}
    assert set(answer.json()) == keys


@pytest.mark.parametrize("text", ["", " ", "\x00", "\ud800", "借" * 5_000, "\u202e🙂\n"])
def test_any_text_is_parsed(client: TestClient, libraries: Libraries, text: str) -> None:
    ours = client.post("/model/parse", content=json.dumps({"text": text, "message_id": 7}))

    assert ours.status_code == 200
    assert set(ours.json()) == set(recorded("model_parse")["response"]["json"])


def test_version_and_status_have_rasas_keys(client: TestClient, libraries: Libraries) -> None:
    version = client.get("/version").json()

    assert set(version) == {"version", "minimum_compatible_version"}
    keys = {"model_file", "model_id", "num_active_training_jobs"}
    assert set(client.get("/status").json()) == keys


# --- callback --------------------------------------------------------------------------


def add_callback(state: State, name: str) -> None:
    with state.database.transaction() as session:
        add_account(
            session,
            session.scalars(select(Library).where(Library.slug == "north")).one(),
            kind="rasa_callback",
            name=name,
            values={"url": "https://portal.example.org/bot"},
            keyring=state.keyring,
            now=MONDAY,
        )


def test_a_callback_is_answered_with_success_and_its_reply_waits_to_be_sent(
    client: TestClient, state: State, libraries: Libraries
) -> None:
    add_callback(state, "portal")

    answer = client.post(
        "/webhooks/callback/webhook", json={"sender": "cb1", "message": "怎么续借图书"}
    )

    assert (answer.status_code, answer.text) == (200, "success")
    assert client.get("/webhooks/callback/").json() == {"status": "ok"}
    with state.database.snapshot() as session:
        row = session.scalars(select(Outbox)).one()
    assert (row.state, row.by) == (OutboxState.NEW, "bot")


def test_without_one_account_there_is_no_callback(
    client: TestClient, state: State, libraries: Libraries
) -> None:
    sent = {"sender": "cb1", "message": "hello"}

    assert client.post("/webhooks/callback/webhook", json=sent).status_code == 404
    add_callback(state, "one")
    add_callback(state, "two")
    assert client.post("/webhooks/callback/webhook", json=sent).status_code == 404
