"""The example assistant on a real Rasa 3.6: asked, handed over, answered, and never silent."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import bot
import kb
from bot.channels.rasa_server import RasaServer
from bot.messages import Reply, ReplyKind
from kb.entries import EntryData
from kb.files import load_file, write_file
from tests.bot.channels.library import Clock, Tokens
from tests.conftest import MONDAY
from tests.fakes.socketio_client import Widget
from tests.rasa.running import Processes, answering, answers, free_port, rasa_home

if os.environ.get("REFDESK_TEST_RASA") != "on":
    pytest.skip("a real Rasa takes minutes: run “make test-rasa”", allow_module_level=True)
FOUND = rasa_home()
HOME = FOUND or Path()
# Each test says that it is skipped; a run in which none is found would count as failed.
pytestmark = pytest.mark.skipif(
    FOUND is None, reason="no Python 3.8, 3.9 or 3.10 for Rasa 3.6 was found"
)

EXAMPLE = Path(bot.__file__).parent / "rasa"
STARTER = Path(kb.__file__).parent / "starter" / "kb.yaml"
ENTRIES = {
    "renew-books",
    "opening-hours",
    "lost-card",
    "printing",
    "wifi",
    "interlibrary-loan",
    "food-drink",
    "contact-librarian",
}
ACTION_TOKEN, AUTH_TOKEN = "an-action-token", "an-auth-token"


@dataclass
class Town:
    """Rasa with the example assistant, our action server and our desk, each a process."""

    processes: Processes
    rasa: str
    desk: str
    api: httpx.Client
    start_rasa: Callable[[], None]
    start_actions: Callable[[], None]

    def asks(self, sender: str, text: str) -> list[dict[str, Any]]:
        """Over Rasa's REST channel."""
        sent = {"sender": sender, "message": text}
        answer = httpx.post(f"{self.rasa}/webhooks/rest/webhook", json=sent, timeout=60)
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    def slots(self, sender: str) -> dict[str, Any]:
        path = f"{self.rasa}/conversations/{sender}/tracker"
        return dict(httpx.get(path, params={"token": AUTH_TOKEN}).json()["slots"])

    def is_paused(self, sender: str) -> bool:
        path = f"{self.rasa}/conversations/{sender}/tracker"
        return bool(httpx.get(path, params={"token": AUTH_TOKEN}).json()["paused"])

    def consultation(self, key: str) -> dict[str, Any]:
        return dict(self.api.get(f"/consultations/{key}").raise_for_status().json())

    def texts(self, key: str) -> list[str]:
        events = self.consultation(key)["events"]
        return [each["text"] for each in events if each["kind"] == "message"]

    def librarian(self, key: str, do: str, **body: Any) -> None:
        self.api.post(f"/consultations/{key}/{do}", json=body).raise_for_status()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("rasa")
    rasa, actions, desk = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
    settings = {
        "REFDESK_DATABASE_URL": f"sqlite:///{folder / 'refdesk.db'}",
        "REFDESK_PORT": desk.rpartition(":")[2],
        "REFDESK_RATE_LIMITS": "off",
        "REFDESK_ACTIONS_URL": f"{actions}/webhook",
        "REFDESK_ACTION_TOKEN": ACTION_TOKEN,
    }
    processes = Processes(folder, settings)
    try:
        assistant = train(processes, folder)

        def start_rasa() -> None:
            port = ["-i", "127.0.0.1", "-p", rasa.rpartition(":")[2]]
            processes.start(
                "rasa",
                *(str(HOME / "bin" / "rasa"), "run", "--enable-api", *port),
                *("-m", "models/bot.tar.gz", "--auth-token", AUTH_TOKEN),
                *("--credentials", "credentials.yml", "--endpoints", "endpoints.yml"),
                ready=answers(f"{rasa}/status?token={AUTH_TOKEN}"),
                cwd=assistant,
            )

        start_rasa()
        processes.refdesk(
            *("channel", "add", "rasa_server", "main", "--set", f"url={rasa}"),
            *("--set", f"auth_token={AUTH_TOKEN}", "--set", f"action_token={ACTION_TOKEN}"),
        )
        assert "works" in processes.refdesk("channel", "test", "main")
        program = str(Path(sys.executable).parent / "refdesk")

        def start_actions() -> None:
            processes.start(
                *("actions", program, "actions", "--port", actions.rpartition(":")[2]),
                ready=answers(f"{actions}/health"),
            )

        start_actions()
        processes.start("serve", program, "serve", ready=answers(f"{desk}/healthz"))
        made = processes.refdesk("token", "add", "e2e", "--role", "librarian", "--json")
        headers = {"authorization": f"Bearer {json.loads(made)['token']}"}
        with httpx.Client(base_url=f"{desk}/api/v1", headers=headers, timeout=30) as api:
            yield Town(processes, rasa, desk, api, start_rasa, start_actions)
    finally:
        processes.stop()


def train(processes: Processes, folder: Path) -> Path:
    """The example assistant with a part of the starter knowledge, trained."""
    knowledge = folder / "kb.yaml"
    write_file(knowledge, entries())
    processes.refdesk("library", "add", "demo", "--name", "云岭", "--timezone", "Asia/Shanghai")
    processes.refdesk("kb", "import", str(knowledge))
    assistant = folder / "assistant"
    shutil.copytree(EXAMPLE, assistant)
    with (assistant / "endpoints.yml").open("a", encoding="utf-8") as endpoints:
        endpoints.write("  token: ${REFDESK_ACTION_TOKEN}\n")
    processes.refdesk("kb", "export", str(assistant / "data" / "faq.yml"), "--format", "rasa")
    began = time.monotonic()
    rasa = str(HOME / "bin" / "rasa")
    processes.run(rasa, "train", "--fixed-model-name", "bot", "--out", "models", cwd=assistant)
    print(f"\nRasa trained the example assistant in {time.monotonic() - began:.0f} s")
    return assistant


def entries() -> list[EntryData]:
    return [entry for entry in load_file(STARTER) if entry.id in ENTRIES]


def shape(value: Any) -> Any:
    """The keys of a document, all the way down; of a list, its first element's."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return None


def wait_for(what: Any, within: float = 40) -> Any:
    """The first true value of something that takes a moment."""
    deadline = time.monotonic() + within
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.3)
    return found


@pytest.mark.parametrize(
    ("sender", "question", "answer"),
    [("zh1", "怎么续借图书", "续借"), ("en1", "how do I renew a book", "Renew")],
)
def test_it_answers_in_the_patrons_language(
    town: Town, sender: str, question: str, answer: str
) -> None:
    reply = town.asks(sender, question)[0]

    assert answer in reply["text"]
    assert [b["payload"] for b in reply["buttons"]] == [
        '/refdesk_rate_answer{"helped": "yes"}',
        '/refdesk_rate_answer{"helped": "no"}',
    ]
    slots = town.slots(sender)
    assert (slots["refdesk_verdict"], slots["refdesk_entry"]) == ("sure", "renew-books")
    assert slots["refdesk_probability"] > 0.5
    events = town.consultation(slots["refdesk_consultation"])["events"]
    assert [event["kind"] for event in events] == ["message", "bot_answer"]


def test_buttons_come_back_as_what_they_say(town: Town) -> None:
    helped = town.asks("zh1", '/refdesk_rate_answer{"helped": "yes"}')
    hours = town.asks("zh1", "/refdesk_opening_hours")

    assert helped[0]["text"]
    assert town.slots("zh1")["refdesk_entry"] == "opening-hours"
    assert hours[0]["text"]


@pytest.mark.parametrize(
    ("question", "promised", "more", "reply"),
    [
        ("Which Tang dynasty map rolls came in last week?", "librarian", "the blue ones", "Two."),
        ("上周到的唐代地图卷轴有哪些？", "馆员", "蓝色的那些", "两卷，请到舆图室。"),
    ],
)
def test_a_librarian_takes_over_answers_late_and_hands_back(
    town: Town, question: str, promised: str, more: str, reply: str
) -> None:
    with Widget(town.rasa) as widget:
        session = widget.begin()
        widget.say(question, session)
        (promise,) = widget.hear()
        key = town.slots(session)["refdesk_consultation"]
        assert promised in promise["text"]

        town.librarian(key, "claim")
        assert wait_for(lambda: town.is_paused(session))
        widget.say(more, session)
        assert widget.hear(within=1) == []
        assert wait_for(lambda: more in town.texts(key))

        town.librarian(key, "replies", text=reply)
        (late,) = widget.hear()
        assert late == {"text": reply}
        assert wait_for(lambda: town.consultation(key)["feedback_at"])

        town.librarian(key, "close")
        assert wait_for(lambda: not town.is_paused(session))
        widget.say("how do I renew a book", session)
        assert "Renew" in widget.hear()[0]["text"]


def test_where_rasa_cannot_push_the_answer_waits_for_the_patron(town: Town) -> None:
    town.asks("rest1", "hello")
    promise = town.asks("rest1", "转人工")
    key = town.slots("rest1")["refdesk_consultation"]
    town.librarian(key, "replies", text="图在三楼。")

    held = wait_for(lambda: town.consultation(key)["feedback_at"] is None, within=3)
    reply = town.asks("rest1", "馆员回复了吗")

    assert "回复您" in promise[0]["text"]
    assert held
    assert "图在三楼。" in reply[0]["text"]
    assert town.consultation(key)["feedback_at"]
    assert not town.is_paused("rest1")


def test_an_intent_of_the_assistants_own_can_say_the_answer(town: Town) -> None:
    settings = {"url": town.rasa, "auth_token": AUTH_TOKEN}
    settings["trigger_intent"] = "refdesk_librarian_replied"
    with Widget(town.rasa) as widget, httpx.Client() as http:
        session = widget.begin()
        widget.say("hello", session)
        widget.hear()
        channel = RasaServer("main", settings, http=http, tokens=Tokens(Clock()))

        for _ in range(2):  # a repetition is recognised
            reply = Reply("The 1890 atlas.", ReplyKind.LIBRARIAN, by="Lin")
            channel.send(session, reply, key="k1", now=MONDAY)

        assert widget.hear(2, within=5) == [{"text": "The 1890 atlas."}]


def test_a_rasa_that_was_down_and_forgot_everything_loses_no_answer(town: Town) -> None:
    with Widget(town.rasa) as widget:
        session = widget.begin()
        widget.say("Which Tang dynasty map rolls came in last week?", session)
        widget.hear()
        key = town.slots(session)["refdesk_consultation"]
    town.processes.stop("rasa")
    town.librarian(key, "replies", text="Two rolls; see the map room.")
    kept = not wait_for(lambda: town.consultation(key)["feedback_at"], within=3)
    town.start_rasa()

    with Widget(town.rasa) as widget:
        widget.begin(session)
        widget.say("did a librarian reply", session)
        heard = widget.hear()

    assert kept
    assert "Two rolls; see the map room." in heard[0]["text"]
    assert wait_for(lambda: town.consultation(key)["feedback_at"])


def test_an_address_is_asked_for_and_kept(town: Town) -> None:
    assert "e-mail" in town.asks("mail1", "email me the answer")[0]["text"]
    assert "e-mail" in town.asks("mail1", "no thanks")[0]["text"]

    assert "reply will go there" in town.asks("mail1", "ann@example.org")[0]["text"]


def test_an_edited_entry_is_live_with_the_next_question_and_nothing_is_trained(town: Town) -> None:
    (entry,) = (each for each in entries() if each.id == "wifi")
    changed = replace(entry, answers={"en": "Edited: choose eduroam."})
    knowledge = town.processes.folder / "edited.yaml"
    before = town.asks("edit1", "how do I connect to the wifi")[0]["text"]

    write_file(knowledge, [changed])
    town.processes.refdesk("kb", "import", str(knowledge))

    assert "Edited" not in before
    assert "Edited" in town.asks("edit2", "how do I connect to the wifi")[0]["text"]


def test_the_patron_is_told_whatever_becomes_of_the_action(town: Town) -> None:
    actions = town.processes.settings["REFDESK_ACTIONS_URL"]
    unknown = b'{"error": "no such action", "action_name": "action_answer_question"}'
    failures = {
        "unknown": (404, unknown),
        "exception": (500, b"{}"),
        "no answer": (200, b"<html>"),
    }
    town.processes.stop("actions")
    try:
        said = {"not there": town.asks("down0", "怎么续借图书")}
        for name, (status, body) in failures.items():
            with answering(actions, status, body):
                said[name] = town.asks(f"down-{name}", "怎么续借图书")
    finally:
        town.start_actions()

    told = {name: "".join(each["text"] for each in replies) for name, replies in said.items()}
    assert [name for name, text in told.items() if "暂时无法接收" not in text] == []
    assert "续借" in town.asks("down0", "怎么续借图书")[0]["text"]


def test_a_call_without_the_token_is_refused(town: Town) -> None:
    actions = town.processes.settings["REFDESK_ACTIONS_URL"]

    assert httpx.post(actions, json={}).status_code == 401


def test_our_own_server_serves_the_same_widget_in_the_same_shape(town: Town) -> None:
    heard = []
    for server in (town.rasa, town.desk):
        with Widget(server) as widget:
            session = widget.begin()
            widget.say("how do I renew a book", session)
            heard += widget.hear()

    assert [shape(each) for each in heard] == [shape(heard[0])] * 2
    assert all("Renew" in each["text"] for each in heard)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/webhooks/rest/webhook", {"sender": "same1", "message": "how do I renew a book"}),
        ("/webhooks/rest/webhook", {"sender": "same1", "message": "转人工"}),
        ("/webhooks/rest/", None),
        ("/model/parse", {"text": "how do I renew a book"}),
        ("/version", None),
        ("/status", None),
    ],
)
def test_our_own_server_answers_programs_in_the_same_shape(
    town: Town, path: str, sent: dict[str, str] | None
) -> None:
    method = "POST" if sent else "GET"
    theirs, ours = (
        httpx.request(method, server + path, params={"token": AUTH_TOKEN}, json=sent, timeout=60)
        for server in (town.rasa, town.desk)
    )

    assert theirs.status_code == ours.status_code == 200
    assert shape(ours.json()) == shape(theirs.json())
    kind = "content-type"
    assert ours.headers[kind].split(";")[0] == theirs.headers[kind].split(";")[0]
