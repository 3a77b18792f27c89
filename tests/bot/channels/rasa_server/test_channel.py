"""Answers pushed into a Rasa server's conversations, against one that keeps Rasa's rules."""

import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from bot.channels.base import Refused, SendError, SendFailure
from bot.channels.rasa_server.reading import messages, moment, was_pushed
from bot.messages import Choice, InboundKind, Reply, ReplyKind, WebhookRequest
from tests.bot.channels.library import LATE, SUNDAY
from tests.fakes.platform import Answer, Fault

PAYLOADS = Path(__file__).parent / "payloads"
PATRON = "visitor-7"


def recorded(name):
    return json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))


def posted(event):
    """Where such an event was first posted in the recorded hand-over, and what was posted."""
    steps = [step for step in recorded("handoff_push_over_socketio") if "POST" in step]
    step = next(step for step in steps if step["json"][0]["event"] == event)
    return urlsplit(step["POST"]), step["json"][0]


def send(channel, *, to=PATRON, reply=LATE, key="k1"):
    return channel.send(to, reply, key=key, now=SUNDAY)


def failure(channel, **options):
    with pytest.raises(SendError) as error:
        send(channel, **options)
    return error.value


# --- pushing ---------------------------------------------------------------------------


def test_a_reply_is_pushed_as_it_was_recorded(channel, rasa):
    address, theirs = posted("bot")

    send(channel)

    asked = rasa.asked[-1]
    assert asked.path == address.path == f"/conversations/{PATRON}/tracker/events"
    assert dict(parse_qsl(address.query)).items() <= asked.query.items()
    assert asked.document.keys() == {*theirs, "metadata"}
    assert asked.document | {"text": "", "metadata": {}} == theirs | {"text": "", "metadata": {}}
    assert asked.document["text"] == LATE.text
    assert [shown.text for shown in rasa.screens[PATRON]] == [LATE.text]


def test_a_quoted_question_and_choices_travel_along(channel, rasa):
    reply = Reply("Yes.", ReplyKind.LIBRARIAN, quote="几点？", choices=(Choice("Ok", "/person"),))

    send(channel, reply=reply)

    event = rasa.asked[-1].document
    assert event["text"] == "「几点？」\nYes."
    assert event["data"]["buttons"] == [{"title": "Ok", "payload": "/refdesk_ask_librarian"}]


def test_the_same_reply_is_not_pushed_twice(channel, rasa):
    rasa.fail_next(Fault.TIMEOUT_AFTER_ACCEPT, path="tracker/events")

    lost = failure(channel)
    send(channel)
    send(channel)

    assert lost.failure is SendFailure.RETRY
    assert len(rasa.screens[PATRON]) == 1


@pytest.mark.parametrize("place", ["rest", "cmdline", None])
def test_where_rasa_shows_nothing_a_reply_waits(channel, rasa, place):
    rasa.has(PATRON).channel = place

    assert failure(channel).failure is SendFailure.WINDOW_CLOSED
    assert rasa.has(PATRON).events == []


def test_a_channel_that_was_named_is_written_to_wherever_the_patron_is(account, rasa):
    rasa.has(PATRON).channel = "rest"

    send(account(output_channel="callback"))

    assert len(rasa.screens[PATRON]) == 1


def test_an_intent_can_be_triggered_instead(account, rasa):
    channel = account(trigger_intent="librarian_replied")

    send(channel)
    send(channel)

    assert rasa.asked[-1].path.endswith("/tracker")
    assert [shown.text for shown in rasa.screens[PATRON]] == [
        f"intent librarian_replied: {LATE.text}"
    ]
    assert not channel.hands_over
    assert failure(account(trigger_intent="unheard_of"), key="k2").failure is SendFailure.PERMANENT


def test_without_an_address_replies_wait_for_the_patron(account, rasa):
    channel = account(url="")

    assert failure(channel).failure is SendFailure.WINDOW_CLOSED
    assert not channel.hands_over
    assert channel.check()
    assert rasa.asked == []


@pytest.mark.parametrize("patron", ["u+1", "a/b", "ann@example.org", "T1:U2", "f3.a~b-c_d"])
def test_ids_reach_their_own_conversation(channel, rasa, patron):
    send(channel, to=patron)

    assert list(rasa.conversations) == [patron]


@pytest.mark.parametrize("patron", ["读者", "a b", "100%", "q?x", "a#b", "../x", "a//b", "."])
def test_an_id_that_rasas_paths_cannot_hold_touches_no_other_conversation(channel, rasa, patron):
    assert failure(channel, to=patron).failure is SendFailure.WINDOW_CLOSED
    assert not channel.follow(patron, paused=True).paused
    assert rasa.conversations == {}


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (Fault.REFUSED, SendFailure.RETRY),
        (Fault.TIMEOUT, SendFailure.RETRY),
        (Fault.RESET_AFTER_ACCEPT, SendFailure.RETRY),
        (Answer({}, 500), SendFailure.RETRY),
        (Answer({}, 503), SendFailure.RETRY),
        (Answer({}, 409), SendFailure.RETRY),
        (Answer({}, 429), SendFailure.RETRY),
        (Answer({}, 401), SendFailure.PERMANENT),
        (Answer({}, 404), SendFailure.PERMANENT),
        (Answer([], 400), SendFailure.PERMANENT),
    ],
)
def test_trouble_is_named(channel, rasa, trouble, expected):
    rasa.fail_next(trouble)

    assert failure(channel).failure is expected


def test_rasas_token_is_sent(account, rasa):
    rasa.token = "shelf"

    send(account(auth_token="shelf"))

    assert len(rasa.screens[PATRON]) == 1
    assert failure(account(auth_token="other")).code == "401"


# --- handing over ----------------------------------------------------------------------


def test_it_is_paused_once_read_along_and_resumed_once(channel, rasa):
    rasa.hears(PATRON, "Is Ms Li in?", message_id="m1")
    rasa.hears(PATRON, "/refdesk_ask_librarian", message_id="m2")

    first = channel.follow(PATRON, paused=True)
    channel.follow(PATRON, paused=True)
    channel.follow(PATRON, paused=False)

    assert [inbound.text for inbound in first.messages] == [
        "Is Ms Li in?",
        "/refdesk_ask_librarian",
    ]
    assert first.messages[1].kind is InboundKind.CHOICE
    assert [e["event"] for e in rasa.has(PATRON).events[2:]] == ["pause", "resume"]


def test_it_is_paused_and_resumed_as_it_was_recorded(channel, rasa):
    for paused, name in ((True, "pause"), (False, "resume")):
        channel.follow(PATRON, paused=paused)

        address, theirs = posted(name)
        assert rasa.asked[-1].path == address.path
        assert rasa.asked[-1].document == theirs


@pytest.mark.parametrize("name", ["tracker_post_event_pause", "tracker_post_bot_event"])
def test_our_stand_in_for_rasa_answers_with_keys_that_rasa_has(rasa, name):
    exchange = recorded(name)
    sent = exchange["request"]["json"]
    event = sent[0] if isinstance(sent, list) else sent
    where = f"http://rasa:5005{exchange['request']['path']}"

    with httpx.Client(transport=rasa.transport) as http:
        ours = http.post(where, json=event).json()

    assert ours.keys() <= exchange["response"]["json"].keys()
    assert ours["paused"] == exchange["response"]["json"]["paused"]


def test_a_pause_that_rasa_has_forgotten_is_made_again(channel, rasa):
    channel.follow(PATRON, paused=True)
    rasa.has(PATRON).paused = False  # a new session

    assert channel.follow(PATRON, paused=True).paused
    assert rasa.has(PATRON).paused


def test_a_patron_on_the_rest_channel_is_never_left_with_a_paused_bot(channel, rasa):
    rasa.has(PATRON).channel = "rest"

    assert not channel.follow(PATRON, paused=True).paused
    assert rasa.has(PATRON).events == []


def test_pausing_can_be_switched_off(account):
    assert account().hands_over
    assert not account(pause="off").hands_over


# --- trackers as Rasa sends them -------------------------------------------------------


def test_a_recorded_tracker_is_read():
    tracker = recorded("tracker_get")["response"]["json"]

    found = messages("u2", tracker)

    assert found
    assert all(inbound.patron == "u2" and inbound.sent_at for inbound in found)
    assert len({inbound.dedupe_key for inbound in found}) == len(found)
    assert not was_pushed(tracker, "k1")


def test_a_triggered_intent_is_no_message():
    tracker = recorded("trigger_intent")["response"]["json"]["tracker"]

    assert any(event.get("text") == "EXTERNAL: greet" for event in tracker["events"])
    assert not any("EXTERNAL" in inbound.text for inbound in messages("u2", tracker))


def test_an_opened_widget_is_no_message():
    event = {"event": "user", "text": "/get_started", "timestamp": 1.0}

    assert messages("u2", {"events": [event]}) == []


@pytest.mark.parametrize(
    "stamp", [None, "1", True, float("nan"), float("inf"), -1, 1e30, 1e308, 10**400]
)
def test_what_is_no_time_is_none(stamp):
    assert moment({"timestamp": stamp}) is None


# --- settings --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://rasa.example.org",
        "http://rasa:5005",
        "http://127.0.0.1:5005",
        "http://10.0.0.7:5005",
    ],
)
def test_an_address_of_ones_own_or_an_encrypted_one_is_taken(account, url):
    assert account(url=url).hands_over


@pytest.mark.parametrize(
    "url",
    [
        "http://rasa.example.org",
        "ftp://rasa",
        "http://8.8.8.8",
        "rasa:5005",
        "https://",
        "http://[x",
    ],
)
def test_another_address_is_not(account, url):
    with pytest.raises(ValueError, match="url"):
        account(url=url)


def test_pause_is_a_switch(account):
    with pytest.raises(ValueError, match="on or off"):
        account(pause="perhaps")


def test_its_health_is_rasas_status(channel, account, rasa):
    assert channel.check() == []
    rasa.model = None
    assert "model" in channel.check()[0]
    rasa.fail_next(Fault.REFUSED)
    assert "reached" in channel.check()[0]


def test_nothing_comes_in_by_webhook(channel):
    with pytest.raises(Refused):
        channel.receive(WebhookRequest("POST", {}, {}, b"{}"), now=SUNDAY)
