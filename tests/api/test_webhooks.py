"""The doors: what comes in is on the disk before we say so, and what is forged leaves nothing."""

import json
import threading
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from api.accounts import account_named, add_account
from api.app import create_state
from api.db import Database
from api.settings import Settings
from api.state import State
from api.webhooks import take_push
from bot.channels.base import Refused
from bot.messages import WebhookRequest
from bot.models import Conversation, Inbox, Outbox
from tests.api.conftest import Libraries
from tests.conftest import StandingClock
from tests.fakes.stages import STAGES
from tests.fakes.wechat import Credentials
from tests.fakes.weibo import Weibo
from tracker.models import Consultation, Library

WEBHOOK = "/webhooks/rest/webhook"


def counted(database: Database, model: type[Any]) -> int:
    with database.snapshot() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def ask(client: TestClient, message: str, sender: str = "reader-1") -> list[dict[str, Any]]:
    answer = client.post(WEBHOOK, json={"sender": sender, "message": message})
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def test_a_question_that_an_entry_answers_is_answered_and_kept(
    client: TestClient, libraries: Libraries, database: Database
) -> None:
    replies = ask(client, "怎么续借图书")

    assert "续借" in replies[0]["text"]
    assert replies[0]["recipient_id"] == "reader-1"
    assert counted(database, Inbox) == counted(database, Consultation) == 1
    assert counted(database, Outbox) >= 1


def test_rasa_clients_find_the_channel(client: TestClient) -> None:
    assert client.get("/webhooks/rest/").json() == {"status": "ok"}


def test_a_widget_that_says_text_plain_is_understood(
    client: TestClient, libraries: Libraries
) -> None:
    body = json.dumps({"sender": "x", "message": "怎么续借图书"})

    answer = client.post(WEBHOOK, content=body, headers={"content-type": "text/plain"})

    assert answer.status_code == 200
    assert answer.json()


def test_a_stream_is_one_reply_a_line(client: TestClient, libraries: Libraries) -> None:
    sent = {"sender": "x", "message": "怎么续借图书"}

    answer = client.post(f"{WEBHOOK}?stream=true", json=sent)

    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert all(line["recipient_id"] == "x" for line in lines)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b'"text"',
        b"{}",
        b'{"sender": "x"}',
        b'{"message": "hello"}',
        b'{"sender": "", "message": "hello"}',
        b'{"sender": 7, "message": "hello"}',
        b'{"sender": "x", "message": 7}',
        b'{"sender": "x", "message": "\\ud800"}',
        b'{"sender": "x\\u0000", "message": "hello"}',
        b"[" * 60_000,
        json.dumps({"sender": "x" * 256, "message": "hello"}).encode(),
    ],
)
def test_what_is_no_message_is_refused_and_leaves_nothing(
    client: TestClient, libraries: Libraries, database: Database, body: bytes
) -> None:
    answer = client.post(WEBHOOK, content=body)

    assert answer.status_code == 400
    assert answer.json()["message"]
    assert counted(database, Inbox) == 0


def test_without_any_library_it_says_what_to_do(client: TestClient) -> None:
    answer = client.post(WEBHOOK, json={"sender": "x", "message": "hello"})

    assert answer.status_code in {404, 503}
    assert "library" in answer.json()["message"]


def test_a_library_may_name_the_pages_that_may_ask(
    client: TestClient, libraries: Libraries, database: Database
) -> None:
    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        library.settings = {"allowed_origins": ["https://library.example.org"]}
    sent = {"sender": "x", "message": "hello"}

    statuses = {
        origin: client.post(WEBHOOK, json=sent, headers=headers).status_code
        for origin, headers in (
            ("none", {}),
            ("ours", {"origin": "https://library.example.org"}),
            ("other", {"origin": "https://elsewhere.example.org"}),
        )
    }

    assert statuses == {"none": 200, "ours": 200, "other": 403}


def test_another_page_may_read_the_answer_but_no_cookie_counts(
    client: TestClient, libraries: Libraries
) -> None:
    headers = {"origin": "https://library.example.org"}

    asked = client.options(WEBHOOK, headers=headers)
    answer = client.post(WEBHOOK, json={"sender": "x", "message": "hello"}, headers=headers)

    assert asked.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


# --- WeChat through the generic route ----------------------------------------------------


@pytest.fixture
def wechat(state: State, libraries: Libraries, database: Database, clock: StandingClock) -> None:
    """A platform that knows our account `main`."""
    known = Credentials()
    values = {
        "token": known.token,
        "app_id": known.app_id,
        "encoding_aes_key": known.encoding_aes_key,
        "app_secret": known.app_secret,
    }
    with database.transaction() as session:
        north = session.get_one(Library, libraries.north)
        add_account(
            session,
            north,
            kind="wechat",
            name="main",
            values=values,
            keyring=state.keyring,
            now=clock(),
        )


def test_secrets_of_an_account_are_kept_encrypted(wechat: None, database: Database) -> None:
    with database.snapshot() as session:
        account = account_named(session, "main")
        kept = f"{account.settings} {account.secrets}"

    assert Credentials().app_secret not in kept
    assert Credentials().encoding_aes_key not in kept


@pytest.mark.parametrize(
    "path", ["/channels/wechat/other", "/channels/nothing/main", "/channels/web/web:north"]
)
def test_an_address_that_leads_nowhere_is_not_found(
    client: TestClient, wechat: None, path: str
) -> None:
    assert client.get(path).status_code == 404
    assert client.post(path, content=b"x").status_code == 404


def test_what_cannot_be_verified_is_refused_and_leaves_nothing(
    client: TestClient, wechat: None, database: Database
) -> None:
    forged = {"signature": "0" * 40, "timestamp": "1", "nonce": "2"}

    for query in ({}, forged, {**forged, "encrypt_type": "aes", "msg_signature": "ü"}):
        answer = client.post("/channels/wechat/main", params=query, content=b"<xml></xml>")
        assert answer.status_code in {400, 403}

    assert counted(database, Inbox) == 0


def test_a_disabled_account_is_closed(client: TestClient, wechat: None, database: Database) -> None:
    with database.transaction() as session:
        account_named(session, "main").enabled = False

    assert client.get("/channels/wechat/main").status_code == 404


def test_ten_messages_of_a_new_patron_at_once_make_one_conversation(
    client: TestClient, libraries: Libraries, database: Database
) -> None:
    def send(number: int) -> None:
        ask(client, f"请问第{number}个问题怎么办理呢", sender="eager")

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counted(database, Conversation) == 1
    assert counted(database, Inbox) == 10


# --- signatures that do not cover the body ------------------------------------------------


def test_a_captured_signature_carries_no_second_body_in_another_process_either(
    state: State,
    settings: Settings,
    libraries: Libraries,
    database: Database,
    clock: StandingClock,
) -> None:
    weibo = Weibo(clock)
    with database.transaction() as session:
        add_account(
            session,
            session.get_one(Library, libraries.north),
            kind="weibo",
            name="main",
            values=STAGES["weibo"].account(weibo),
            keyring=state.keyring,
            now=clock(),
        )
    calls: list[Any] = []
    weibo.patron(5004003002, lambda call: (calls.append(call), (200, b""))[1]).says("县志在哪里？")
    genuine = calls[0]
    changed = genuine.body.replace("县志".encode(), "校园卡".encode())
    other = create_state(settings, clock=clock, database=database, knowledge=state.knowledge)

    def post(to: State, body: bytes) -> int:
        sent = WebhookRequest("POST", genuine.query, genuine.headers, body)
        try:
            return take_push(to, "weibo", "main", sent).status
        except Refused as refusal:
            return refusal.status

    assert post(state, genuine.body) == 200
    assert post(other, changed) == 403
    assert post(other, genuine.body) == 200
    assert counted(database, Inbox) == 1
    other.channels.close()
