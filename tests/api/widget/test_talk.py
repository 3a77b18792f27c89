"""The widget's side of the server: sessions, messages, history, events."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from starlette.testclient import TestClient

from api.db import Database
from api.state import State
from api.widget.events import _events
from api.widget.sessions import issue
from bot.channels.web import session_patron
from bot.delivery import reply_as_librarian
from bot.models import Conversation, Inbox
from tests.api.conftest import Libraries
from tests.api.widget.conftest import Patron
from tests.conftest import StandingClock
from tracker.models import Consultation, Library

HARD = "你们有没有收藏我祖父一九三八年的家书手稿"


def roles(answer: dict[str, Any]) -> list[str]:
    return [message["role"] for message in answer["messages"]]


def answered_by_librarian(database: Database, clock: StandingClock, text: str) -> None:
    with database.transaction() as session:
        consultation = session.scalars(
            select(Consultation).order_by(Consultation.id.desc())
        ).first()
        assert consultation is not None
        library = session.get_one(Library, consultation.library_id)
        reply_as_librarian(
            session,
            library,
            consultation,
            by="librarian@north",
            name="Lin",
            text=text,
            now=clock(),
        )


# --- sessions --------------------------------------------------------------------------------


def test_opening_stores_nothing(patron: Patron, database: Database) -> None:
    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(Conversation)) == 0


def test_a_session_that_was_not_issued_is_refused(patron: Patron) -> None:
    name, _, signature = patron.session.rpartition(".")
    for forged in ("made-up", f"{name}.{signature[::-1]}", f"x{patron.session}", "a.b.c"):
        sent = {"session": forged, "id": "1", "text": "hello"}
        answer = patron.client.post("/widget/north/messages", json=sent)
        assert answer.status_code == 403, forged


def test_a_session_of_one_library_opens_no_other(patron: Patron) -> None:
    sent = {"session": patron.session, "id": "1", "text": "hello"}

    answer = patron.client.post("/widget/south/messages", json=sent)

    assert answer.status_code == 403


def test_a_conversation_keeps_the_language_of_its_page(
    client: TestClient, libraries: Libraries, database: Database
) -> None:
    Patron(client, language="vi").says("👋")

    with database.snapshot() as session:
        assert session.scalars(select(Conversation.language)).all() == ["vi"]


# --- messages ----------------------------------------------------------------------------------


def test_an_answer_comes_at_once_and_in_order(patron: Patron) -> None:
    answer = patron.says("怎么续借图书")

    assert roles(answer) == ["patron", "bot"]
    assert [message["seq"] for message in answer["messages"]] == [1, 2]
    assert answer["messages"][1]["kind"] == "answer"
    assert "续借" in answer["messages"][1]["text"]
    assert not answer["waiting"]


def test_the_same_id_is_one_message(patron: Patron, database: Database) -> None:
    first = patron.says("怎么续借图书", id="once")
    second = patron.says("怎么续借图书", id="once")

    assert second["messages"] == first["messages"]
    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(Inbox)) == 1


def test_what_nobody_wrote_an_answer_for_waits_for_a_librarian(patron: Patron) -> None:
    patron.says(HARD)

    answer = patron.says("人工")

    assert answer["waiting"]
    assert "17:30" in json.dumps(patron.reads(), ensure_ascii=False)


def test_a_late_answer_is_in_the_history_until_it_is_read(
    patron: Patron, database: Database, clock: StandingClock
) -> None:
    patron.says("人工")
    clock.advance(hours=3)
    answered_by_librarian(database, clock, "特藏室有一部。")

    later = patron.reads(after=2)

    assert [(m["role"], m["by"], m["text"]) for m in later["messages"]] == [
        ("librarian", "Lin", "特藏室有一部。")
    ]
    assert later["read"] < later["messages"][0]["seq"]
    seq = later["messages"][0]["seq"]
    sent = {"session": patron.session, "seq": seq + 50}
    assert patron.client.post("/widget/north/read", json=sent).json() == {"read": seq}


def test_another_session_sees_none_of_it(patron: Patron, client: TestClient) -> None:
    patron.says("怎么续借图书")

    assert Patron(client).reads()["messages"] == []


def test_an_address_is_kept_for_the_late_answer(patron: Patron) -> None:
    patron.says("人工")
    sent = {"session": patron.session, "email": "patron@example.org"}

    assert patron.client.post("/widget/north/email", json=sent).json() == {"email": True}
    assert patron.reads()["email"]


@pytest.mark.parametrize(
    "address", ["", "nobody", "a@b", "a b@example.org", "x@example.org\nBcc: y@z.org", 7, None]
)
def test_what_is_no_address_is_refused(patron: Patron, address: object) -> None:
    patron.says("人工")
    sent = {"session": patron.session, "email": address}

    assert patron.client.post("/widget/north/email", json=sent).status_code == 400


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 20_000,
        b"{}",
        b'{"session": 7, "id": "1", "text": "x"}',
    ],
)
def test_what_cannot_be_read_is_a_400(patron: Patron, body: bytes) -> None:
    assert patron.client.post("/widget/north/messages", content=body).status_code == 400


@pytest.mark.parametrize(
    "fields", [{"text": "x"}, {"id": "1"}, {"id": "1", "text": "  "}, {"id": 1, "text": "x"}]
)
def test_a_message_needs_an_id_and_words(patron: Patron, fields: dict[str, Any]) -> None:
    sent = {"session": patron.session, **fields}

    assert patron.client.post("/widget/north/messages", json=sent).status_code == 400


@pytest.mark.parametrize("broken", ["\x00", "a\x00b", "\ud800", "line\nbreak"])
@pytest.mark.parametrize("field", ["id", "payload"])
def test_what_no_database_keeps_is_refused(patron: Patron, field: str, broken: str) -> None:
    sent = {"session": patron.session, "id": "1", "text": "x", field: broken}
    body = json.dumps(sent).encode()

    assert patron.client.post("/widget/north/messages", content=body).status_code == 400


def test_a_huge_message_is_refused(patron: Patron) -> None:
    sent = {"session": patron.session, "id": "1", "text": "x" * 40_000}

    assert patron.client.post("/widget/north/messages", json=sent).status_code == 413


@pytest.mark.parametrize("path", ["sessions", "messages", "read", "email"])
def test_an_unknown_library_is_a_404(patron: Patron, path: str) -> None:
    sent = {"session": patron.session, "id": "1", "text": "x", "seq": 1, "email": "a@b.org"}

    assert patron.client.post(f"/widget/nowhere/{path}", json=sent).status_code == 404


@pytest.mark.parametrize("path", ["read", "email"])
def test_before_the_first_message_there_is_nothing_to_change(patron: Patron, path: str) -> None:
    sent = {"session": patron.session, "seq": 1, "email": "a@example.org"}

    assert patron.client.post(f"/widget/north/{path}", json=sent).status_code == 404


@pytest.mark.parametrize("seq", [-1, "1", True, None, 1.5])
def test_a_position_is_a_whole_number(patron: Patron, seq: object) -> None:
    patron.says("怎么续借图书")
    sent = {"session": patron.session, "seq": seq}

    assert patron.client.post("/widget/north/read", json=sent).status_code == 400


# --- foreign pages -----------------------------------------------------------------------------


def test_foreign_pages_may_read_answers_and_refusals(patron: Patron) -> None:
    elsewhere = {"Origin": "https://www.example.edu"}
    session = patron.client.post("/widget/north/sessions", content=b"{}", headers=elsewhere)
    refused = patron.client.post("/widget/north/messages", content=b"{}", headers=elsewhere)
    missing = patron.client.get("/widget/north/events", headers=elsewhere)
    asked = patron.client.options("/widget/north/messages", headers=elsewhere)

    for answer in (session, refused, missing, asked):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
    assert refused.status_code == missing.status_code == 400
    assert "Authorization" in asked.headers["access-control-allow-headers"]


def test_no_cookie_is_ever_set(patron: Patron) -> None:
    patron.says("怎么续借图书")

    assert not patron.client.cookies


# --- the script --------------------------------------------------------------------------------


def test_the_script_is_small_and_complete(client: TestClient) -> None:
    answer = client.get("/widget.js")
    body = answer.content

    assert len(gzip.compress(body, 9)) <= 15_000
    assert b"__TEXTS__" not in body
    assert b"__STYLE__" not in body
    assert "咨询图书馆".encode() in body
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


def test_the_script_is_not_sent_twice(client: TestClient) -> None:
    tag = client.get("/widget.js").headers["etag"]

    assert client.get("/widget.js", headers={"If-None-Match": tag}).status_code == 304


# --- events ------------------------------------------------------------------------------------


async def next_event(events: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    return await asyncio.wait_for(anext(events), 5)


def test_a_late_answer_is_told_at_once_and_none_is_lost(
    patron: Patron, app: FastAPI, state: State, database: Database, clock: StandingClock
) -> None:
    patron.says("人工")
    with database.snapshot() as session:
        conversation_id = session.scalars(select(Conversation.id)).one()

    async def listen() -> list[dict[str, Any]]:
        events = _events(state, conversation_id, 2)
        first = await next_event(events)
        await asyncio.to_thread(answered_by_librarian, database, clock, "第一句")
        second = await next_event(events)
        await events.aclose()
        await asyncio.to_thread(answered_by_librarian, database, clock, "第二句")
        again = _events(state, conversation_id, int(second["id"]))
        third = await next_event(again)
        await again.aclose()
        return [first, second, third]

    told = [json.loads(event["data"]) for event in asyncio.run(listen())]

    assert [[m["text"] for m in answer["messages"]] for answer in told] == [
        [],
        ["第一句"],
        ["第二句"],
    ]
    assert told[0]["waiting"]


def test_a_stream_needs_a_fresh_token(patron: Patron, clock: StandingClock) -> None:
    token = patron.says("人工")["stream"]
    clock.advance(minutes=11)

    late = patron.client.get("/widget/north/events", params={"token": token})
    forged = patron.client.get("/widget/north/events", params={"token": "a.1.b"})
    of_session = patron.client.get("/widget/north/events", params={"token": patron.session})

    assert [late.status_code, forged.status_code, of_session.status_code] == [403, 403, 403]


def test_a_stream_of_nothing_tells_the_browser_to_stay_away(
    patron: Patron, state: State, libraries: Libraries, clock: StandingClock
) -> None:
    token = patron.says("人工")["stream"]
    other = issue(state, libraries.north, "en")
    swapped = token.replace(session_patron(patron.session), session_patron(other))

    assert patron.client.get("/widget/north/events?token=" + swapped).status_code == 403


def test_history_is_the_newest_two_hundred_messages(
    patron: Patron, database: Database, clock: StandingClock
) -> None:
    patron.says("人工")
    with database.transaction() as session:
        conversation = session.scalars(select(Conversation)).one()
        session.add_all(
            Inbox(
                library_id=conversation.library_id,
                account_id=conversation.account_id,
                conversation_id=conversation.id,
                dedupe_key=f"old-{number}",
                position=number,
                kind="text",
                text="…",
                received_at=clock() + timedelta(seconds=number),
            )
            for number in range(3, 300)
        )
        conversation.position = 299

    seen = [message["seq"] for message in patron.reads()["messages"]]

    assert seen == list(range(100, 300))
