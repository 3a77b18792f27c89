"""The action server: rasa-sdk's protocol key for key, and no patron left without a word."""

import asyncio
import json
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from rasa_sdk.grpc_py import action_webhook_pb2 as messages
from rasa_sdk.grpc_py import action_webhook_pb2_grpc as services
from rasa_sdk.grpc_server import GRPCActionServerWebhook
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from api import action_server
from api.accounts import add_account
from api.action_server import (
    BODY_LIMIT,
    AccountDesk,
    SeveralAccounts,
    account_for,
    create_action_app,
    create_executor,
    trouble_with,
)
from api.db import Database
from api.state import State
from bot.models import Conversation, Inbox
from kb.knowledge import KnowledgeBase
from kb.library import export_entries, save_entry
from tests.api.conftest import Libraries
from tests.api.listening import listening
from tests.bot.actions.conftest import tracker, user
from tests.conftest import MONDAY
from tracker.models import Consultation, Event, Library

PAYLOADS = Path(__file__).parent.parent / "bot" / "actions" / "payloads"
NOW = MONDAY.timestamp()
ACTIONS = [
    "action_answer_question",
    "action_choose_entry",
    "action_escalate",
    "action_check_reply",
    "action_rate_answer",
    "action_opening_hours",
    "validate_contact_form",
]


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def desk(state: State, libraries: Libraries) -> AccountDesk:
    return AccountDesk(state, account_for(state, None))


@pytest.fixture
def rasa(desk: AccountDesk) -> Iterator[TestClient]:
    """Rasa, as it calls its action server."""
    with TestClient(create_action_app(desk)) as client:
        yield client


def call(
    text: str, *, action: str = "action_answer_question", number: str = "m1", **fields: Any
) -> dict[str, Any]:
    sender = fields.pop("sender", "visitor-7")
    state = {**tracker(user(text, NOW, number)), "sender_id": sender}
    domain = {"intents": [], "slots": {}}
    return {
        "next_action": action,
        "sender_id": sender,
        "tracker": state,
        "domain": domain,
        "version": "3.6.21",
        **fields,
    }


def stumbling(*_: object, **__: object) -> None:
    """Stands for any bug of ours."""
    raise KeyError("a bug")


def add_rasa(state: State, name: str, **settings: str) -> None:
    with state.database.transaction() as session:
        library = session.scalars(select(Library).where(Library.slug == "north")).one()
        values = {"url": "http://rasa:5005", **settings}
        add_account(
            session,
            library,
            kind="rasa_server",
            name=name,
            values=values,
            keyring=state.keyring,
            now=MONDAY,
        )


# --- the protocol ----------------------------------------------------------------------


def test_health_and_actions_are_rasas(rasa: TestClient) -> None:
    assert rasa.get("/health").json() == recorded("health")["response"]["json"]
    assert rasa.get("/actions").json() == [{"name": name} for name in ACTIONS]


def test_an_answer_has_the_recorded_keys(rasa: TestClient, libraries: Libraries) -> None:
    theirs = recorded("handoff")["response"]["json"]

    answer = rasa.post("/webhook", json=call("How do I renew a book"))

    assert answer.status_code == 200
    ours = answer.json()
    assert set(ours) == set(theirs)
    assert set(ours["responses"][0]) == set(theirs["responses"][0])
    assert set(ours["events"][0]) == set(theirs["events"][0])
    assert ours["responses"][0]["text"] == "Sign in and press Renew."
    assert [button["title"] for button in ours["responses"][0]["buttons"]] == ["Yes", "No"]


def test_an_unknown_action_is_rasas_404(rasa: TestClient) -> None:
    exchange = recorded("unknown_404")

    answer = rasa.post("/webhook", json=exchange["request"]["json"])

    assert answer.status_code == exchange["response"]["status"] == 404
    assert answer.json() == exchange["response"]["json"]


@pytest.mark.parametrize("case", ["full", "empty_domain", "no_domain", "min_tracker"])
def test_what_rasa_sdk_serves_is_served(rasa: TestClient, case: str) -> None:
    sent = recorded("edge_cases")[case]["request"]

    answer = rasa.post("/webhook", json={**sent, "next_action": "action_answer_question"})

    assert answer.status_code == 200
    assert set(answer.json()) == {"events", "responses"}


def test_no_action_is_null(rasa: TestClient) -> None:
    edge = recorded("edge_cases")["no_next_action"]

    answer = rasa.post("/webhook", json=edge["request"])

    assert (answer.status_code, answer.json()) == (edge["status"], edge["response"])


def test_a_compressed_call_is_read(rasa: TestClient) -> None:
    body = zlib.compress(json.dumps(call("How do I renew a book")).encode())

    answer = rasa.post("/webhook", content=body, headers={"content-encoding": "deflate"})

    assert answer.json()["responses"][0]["text"] == "Sign in and press Renew."


# --- what cannot be read ---------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"tracker": None},
        {"tracker": []},
        {"tracker": {}},
        {"tracker": {"sender_id": ""}},
        {"tracker": {"sender_id": 7}},
        {"tracker": {"sender_id": "a\x00b"}},
        {"tracker": {"sender_id": "x" * 256}},
        {"tracker": {"sender_id": "a", "slots": []}},
        {"tracker": {"sender_id": "a", "latest_message": "hello"}},
        {"tracker": {"sender_id": "a", "events": {}}},
        {"tracker": {"sender_id": "a", "events": [7]}},
        {"tracker": {"sender_id": "a", "events": [{"no": "kind"}]}},
        {"tracker": {"sender_id": "a", "events": [{"event": "slot"}]}},
        {"tracker": {"sender_id": "a", "latest_message": {"entities": "x"}}},
        {"next_action": ["action_escalate"]},
    ],
)
def test_a_malformed_tracker_is_400_with_a_sentence(
    rasa: TestClient, database: Database, change: dict[str, Any]
) -> None:
    answer = rasa.post("/webhook", json={**call("hello"), **change})

    assert answer.status_code == 400
    assert set(answer.json()) == set(recorded("rejected_400")["response"]["json"])
    assert answer.json()["error"].endswith(".")
    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(Inbox)) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"text": "How do\x00 I renew a book\ud83d"},
        {"message_id": {"no": "text"}},
        {"message_id": "x" * 100_000},
        {"entities": [{"entity": ["x"], "value": float("nan")}]},
        {"intent": "no object", "metadata": []},
        {"message_id": None, "timestamp": 10**400},
    ],
)
@pytest.mark.parametrize("sender", ["读者 👩‍👩‍👧", "\u202ea/b\n", "x" * 255])
def test_what_is_only_odd_is_answered_and_kept(
    rasa: TestClient, database: Database, change: dict[str, Any], sender: str
) -> None:
    sent = call("How do I renew a book", sender=sender)
    sent["tracker"]["latest_message"] |= change
    sent["tracker"]["events"][0]["timestamp"] = change.get("timestamp", float("nan"))

    answer = rasa.post("/webhook", content=json.dumps(sent))

    assert answer.json()["responses"][0]["text"] == "Sign in and press Renew."
    with database.snapshot() as session:
        assert session.scalars(select(Conversation.external_id)).one() == sender


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"{nope", b"\xff", b"[" * 90_000])
def test_what_is_no_json_object_is_400(rasa: TestClient, body: bytes) -> None:
    answer = rasa.post("/webhook", content=body)

    assert answer.status_code == recorded("edge_cases")["null"]["status"] == 400
    assert answer.json() == recorded("edge_cases")["null"]["response"]


@pytest.mark.parametrize("body", [b"plain", zlib.compress(b"x")[:-3]])
def test_what_is_not_compressed_as_it_says_is_400(rasa: TestClient, body: bytes) -> None:
    answer = rasa.post("/webhook", content=body, headers={"content-encoding": "deflate"})

    assert answer.status_code == 400


def test_ten_megabytes_are_read(rasa: TestClient) -> None:
    sent = call("How do I renew a book")
    talk = [user("还有一个问题" * 100, NOW - 9, f"x{n}") for n in range(3_300)]
    sent["tracker"]["events"] = [*talk, *sent["tracker"]["events"]]
    body = json.dumps(sent).encode()

    answer = rasa.post("/webhook", content=body)

    assert len(body) > 10 * 2**20
    assert answer.json()["responses"][0]["text"] == "Sign in and press Renew."


@pytest.mark.parametrize("packed", [True, False])
def test_what_is_far_too_large_is_refused_in_a_sentence(rasa: TestClient, packed: bool) -> None:
    body = b'{"x": "' + b" " * (BODY_LIMIT + 1) + b'"}'
    headers = {"content-encoding": "deflate"} if packed else {}

    answer = rasa.post("/webhook", content=zlib.compress(body) if packed else body, headers=headers)

    assert answer.status_code == 413
    assert "32 MB" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/webhook", 405), ("POST", "/health", 405), ("POST", "/x", 404)],
)
def test_other_addresses_are_refused_in_a_sentence(
    rasa: TestClient, method: str, path: str, status: int
) -> None:
    answer = rasa.request(method, path)

    assert answer.status_code == status
    assert answer.json()["error"]


# --- nothing gets lost -----------------------------------------------------------------


def test_a_question_is_tracked_as_on_any_other_channel(
    rasa: TestClient, database: Database
) -> None:
    for _ in range(2):  # Rasa repeats a call whose answer got lost
        rasa.post("/webhook", json=call("How do I renew a book"))

    with database.snapshot() as session:
        consultation = session.scalars(select(Consultation)).one()
        kinds = session.scalars(select(Event.kind).order_by(Event.id)).all()
    assert (consultation.channel, consultation.topic) == ("rasa_server", "renew-books")
    assert kinds == ["message", "bot_answer"]


def test_an_escalation_says_by_when_and_names_its_consultation(
    rasa: TestClient, database: Database
) -> None:
    answer = rasa.post("/webhook", json=call("找馆员", action="action_escalate")).json()

    slots = {event["name"]: event["value"] for event in answer["events"]}
    with database.snapshot() as session:
        consultation = session.scalars(select(Consultation)).one()
    assert slots["refdesk_consultation"] == consultation.key
    assert slots["refdesk_verdict"] == "unknown"
    assert "17:30" in answer["responses"][0]["text"]


@pytest.mark.parametrize(("text", "word"), [("怎么续借图书", "抱歉"), ("How do I renew?", "Sorry")])
def test_with_the_database_away_the_patron_is_told(
    rasa: TestClient, desk: AccountDesk, monkeypatch: pytest.MonkeyPatch, text: str, word: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OperationalError("select", {}, Exception("away"))

    monkeypatch.setattr(action_server.assistants, "take", broken)

    answer = rasa.post("/webhook", json=call(text))

    assert answer.status_code == 200
    assert word in answer.json()["responses"][0]["text"]
    assert answer.json()["events"][0]["value"] == "none"


@pytest.mark.parametrize("action", ["action_answer_question", "action_opening_hours"])
def test_what_an_action_stumbles_over_goes_to_a_librarian(
    rasa: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr(KnowledgeBase, "ask", stumbling)

    answer = rasa.post("/webhook", json=call("How do I renew a book", action=action)).json()

    slots = {event["name"]: event["value"] for event in answer["events"]}
    with database.snapshot() as session:
        consultation = session.scalars(select(Consultation)).one()
    assert slots["refdesk_consultation"] == consultation.key
    assert (consultation.title, consultation.status) == ("How do I renew a book", "waiting")
    assert "librarian" in answer["responses"][0]["text"]


def test_thirty_two_at_once_are_each_answered_and_kept(
    rasa: TestClient, desk: AccountDesk, database: Database
) -> None:
    with listening(create_action_app(desk)) as url, ThreadPoolExecutor(32) as pool:

        def ask(number: int) -> Any:
            sent = call("How do I renew a book", sender=f"v{number % 32}", number=f"m{number}")
            return httpx.post(f"{url}/webhook", json=sent, timeout=60)

        answers = list(pool.map(ask, range(96)))

    assert {answer.status_code for answer in answers} == {200}
    texts = [answer.json()["responses"][0]["text"] for answer in answers]
    assert texts == ["Sign in and press Renew."] * 96
    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(Inbox)) == 96
        assert session.scalar(select(func.count()).select_from(Consultation)) == 32


def test_callers_do_not_see_each_others_domain(desk: AccountDesk) -> None:
    executor = create_executor(desk)

    first = executor.update_and_return_domain({"domain": {"intents": ["a"]}}, "x")
    second = executor.update_and_return_domain({}, "x")

    assert (first, second) == ({"intents": ["a"]}, {})


def test_an_edited_entry_is_live_with_the_next_question(
    rasa: TestClient, database: Database, libraries: Libraries
) -> None:
    rasa.post("/webhook", json=call("How do I renew a book"))
    with database.transaction() as session:
        entry = export_entries(session, libraries.north)[0]
        changed = replace(entry, answers={"en": "Press twice."})
        save_entry(session, libraries.north, changed, now=MONDAY, by="tests")

    answer = rasa.post("/webhook", json=call("How do I renew a book", number="m2"))

    assert answer.json()["responses"][0]["text"] == "Press twice."


# --- accounts and tokens ---------------------------------------------------------------


def test_the_librarys_own_server_is_found_or_must_be_named(
    state: State, libraries: Libraries
) -> None:
    made = account_for(state, None)
    add_rasa(state, "first")
    only = account_for(state, None)
    add_rasa(state, "second")

    assert (made.name, only.name) == ("rasa_server:north", "first")
    assert account_for(state, "second").name == "second"
    with pytest.raises(SeveralAccounts):
        account_for(state, None)


def test_a_token_is_asked_for_where_one_is_set(state: State, libraries: Libraries) -> None:
    add_rasa(state, "main", action_token="shelf")
    app = create_action_app(AccountDesk(state, account_for(state, None)))

    with TestClient(app) as rasa:
        assert rasa.post("/webhook", json=call("hello")).status_code == 401
        assert rasa.post("/webhook?token=dust", json=call("hello")).status_code == 401
        assert rasa.post("/webhook?token=shelf", json=call("hello")).status_code == 200
        assert rasa.get("/health").status_code == 200


# --- gRPC ------------------------------------------------------------------------------


def test_the_same_actions_answer_over_grpc(desk: AccountDesk) -> None:
    async def exchange() -> tuple[dict[str, Any], Any]:
        server = grpc.aio.server()
        servicer = GRPCActionServerWebhook(create_executor(desk))
        services.add_ActionServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = services.ActionServiceStub(channel)
            sent = ParseDict(
                call("How do I renew a book", version="3.21.1"),
                messages.WebhookRequest(),
                ignore_unknown_fields=True,
            )
            answered = MessageToDict(await stub.Webhook(sent), preserving_proto_field_name=True)
            sent_wrongly = {"next_action": "nope", "version": "3.21.1"}
            unknown = ParseDict(sent_wrongly, messages.WebhookRequest())
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.Webhook(unknown)
        await server.stop(None)
        return answered, error.value.code()

    answered, code = asyncio.run(exchange())

    assert answered["responses"][0]["text"] == "Sign in and press Renew."
    assert code is grpc.StatusCode.NOT_FOUND


def test_every_recorded_call_can_be_read() -> None:
    for name in ("text", "handoff", "unknown_404", "rejected_400"):
        assert trouble_with(recorded(name)["request"]["json"]) is None
