"""Numbers, days and characters that no calendar and no database knows."""

import json
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.db import Database, Unkeepable
from api.libraries import add_library
from kb.documents import BadDocument, entry_from_document
from tests.api.conftest import Libraries, SignIn, csrf_of, post_form
from tests.conftest import MONDAY
from tracker.models import Library

HUGE = 2**63
HALF = '"\\ud800"'  # half of a character, as JSON writes it
UNKEEPABLE = ["a\0b", "a\ud800b"]


@pytest.fixture
def database(each_database: Database) -> Database:
    """Everything here happens on SQLite and on PostgreSQL alike."""
    return each_database


@pytest.mark.parametrize(
    "path",
    [
        f"/desk/c/{HUGE}",
        f"/api/v1/consultations?before={HUGE}",
        "/api/v1/stats?from=9999-12-31&to=9999-12-31",
        "/manage?period=custom&from=9999-12-31&to=9999-12-31",
    ],
)
def test_what_cannot_be_is_refused_and_breaks_nothing(signed_in: SignIn, path: str) -> None:
    assert 400 <= signed_in("manager@north").get(path).status_code < 500


@pytest.mark.parametrize("host", ["[::1", "[bad]", '"><script>'])
def test_a_host_that_is_none_is_not_ours(client: TestClient, host: str) -> None:
    assert client.get("/sign-in", headers={"host": host}).status_code == 421


def test_half_a_character_loses_no_message(client: TestClient, libraries: Libraries) -> None:
    body = f'{{"sender": "p", "message": "hi", "metadata": {{"message_id": {HALF}}}}}'

    answers = [client.post("/webhooks/rest/webhook", content=body) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json() != []


@pytest.mark.parametrize("path", ["messages", "read", "unlink", "answers"])
def test_a_session_of_half_characters_is_nobodys(
    client: TestClient, libraries: Libraries, path: str
) -> None:
    answer = client.post(f"/widget/north/{path}", content='{"session": "\\ud800.x"}')

    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("bad", UNKEEPABLE)
def test_an_address_that_cannot_be_kept_is_refused(
    client: TestClient, libraries: Libraries, bad: str
) -> None:
    session = client.post("/widget/north/sessions", content=b"{}").json()["session"]
    asked = {"session": session, "id": "a-first-message", "text": "人工"}
    assert client.post("/widget/north/messages", content=json.dumps(asked)).status_code == 200
    sent = {"session": session, "email": f"{bad}@example.org"}

    answer = client.post("/widget/north/email", content=json.dumps(sent))

    assert answer.status_code == 400
    assert "cannot be kept" in answer.json()["error"]


@pytest.mark.parametrize("bad", UNKEEPABLE)
def test_a_token_whose_name_cannot_be_kept_is_not_made(signed_in: SignIn, bad: str) -> None:
    manager = signed_in("manager@north")
    token = csrf_of(manager, "/manage/kb/new")
    headers = {"x-csrf-token": token, "content-type": "application/json"}

    answer = manager.post("/api/v1/tokens", content=json.dumps({"name": bad}), headers=headers)

    assert answer.status_code in {400, 422}
    assert manager.get("/api/v1/tokens").json() == []


def test_a_form_with_a_nul_changes_nothing(
    signed_in: SignIn, database: Database, libraries: Libraries
) -> None:
    manager = signed_in("manager@north")

    answer = post_form(
        manager,
        "/manage/kb/save",
        page="/manage/kb/new",
        id="piano",
        category="a\0b",
        questions_en="where is the piano",
        answer_en="upstairs",
    )

    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("bad", UNKEEPABLE)
def test_a_librarys_name_and_settings_hold_only_what_can_be_kept(
    database: Database, libraries: Libraries, bad: str
) -> None:
    def named() -> None:
        with database.transaction() as session:
            add_library(session, "west", name=bad, timezone="Asia/Shanghai", now=MONDAY)

    def set_up() -> None:
        with database.transaction() as session:
            session.get_one(Library, libraries.north).settings = {"deep": [{"in": bad}]}

    for change in (named, set_up):
        with pytest.raises(Unkeepable):
            change()
    with database.snapshot() as session:
        assert set(session.scalars(select(Library.slug))) == {"north", "south"}


@pytest.mark.parametrize("fine", ["😀", "\\u0000 as typed", "续借"])
def test_whole_characters_are_kept(database: Database, libraries: Libraries, fine: str) -> None:
    kept: dict[str, Any] = {"text": fine}
    with database.transaction() as session:
        session.get_one(Library, libraries.north).settings = kept

    with database.snapshot() as session:
        assert session.get_one(Library, libraries.north).settings == kept


def test_an_entry_with_half_a_character_is_refused() -> None:
    document = {
        "id": "piano",
        "category": "rooms",
        "questions": {"en": ["where is the piano", "piano"]},
        "answers": {"en": "Upstairs \ud800"},
    }

    with pytest.raises(BadDocument, match="half of a character"):
        entry_from_document(document)
