"""The actions: thin, but they hear rightly and tell all that Rasa's rules need."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.assistants import Answer
from bot.messages import InboundKind
from tests.bot.actions.conftest import bot, tracker, user

PAYLOADS = Path(__file__).parent / "payloads"
SUNDAY = 1795305600.25  # 2026-11-22 00:00:00.25 UTC
SLOTS = {"refdesk_entry", "refdesk_verdict", "refdesk_probability", "refdesk_consultation"}


def recorded_tracker(name):
    exchange = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    return exchange["request"]["json"]["tracker"]


def test_a_question_is_passed_on_with_its_id_and_time(run, desk):
    run("action_answer_question", tracker(user("How do I renew?", SUNDAY, "m1"), language="en"))

    ((call, inbound, language),) = desk.calls
    assert (call, inbound.patron, inbound.text) == ("take", "visitor-7", "How do I renew?")
    assert (inbound.dedupe_key, inbound.kind) == ("visitor-7:m1", InboundKind.TEXT)
    assert inbound.sent_at == datetime(2026, 11, 22, 0, 0, 0, 250_000, tzinfo=UTC)
    assert language == "en"


def test_an_opened_widget_asks_nothing(run, desk):
    opened = user("/get_started", SUNDAY - 1, "m1")

    run("action_answer_question", tracker(opened))
    run("action_escalate", tracker(opened, user("a person", SUNDAY, "m2")))

    assert desk.calls[0][1].kind is InboundKind.FOLLOW
    assert desk.calls[1][2] == []


def test_an_answer_is_told_with_buttons_that_rasa_understands(run):
    messages, slots = run("action_answer_question", tracker(user("x", SUNDAY, "m1")))

    (message,) = messages
    assert message["text"] == "Renew in My Library."
    assert message["buttons"] == [
        {"title": "Holds", "payload": '/refdesk_choose_entry{"entry": "holds"}'},
        {"title": "None of these", "payload": "/refdesk_none_of_these"},
    ]
    assert slots == {
        "refdesk_entry": "renew-books",
        "refdesk_verdict": "sure",
        "refdesk_probability": 0.93,
        "refdesk_consultation": "c-1",
    }


def test_silence_still_sets_every_slot(run, desk):
    desk.answer = Answer()

    messages, slots = run("action_answer_question", tracker(user("x", SUNDAY, "m1")))

    assert messages == []
    assert set(slots) == SLOTS
    assert slots["refdesk_verdict"] == "none"


def test_a_recorded_call_of_rasa_is_understood(run, desk):
    run("action_answer_question", recorded_tracker("text"))

    ((_, inbound, _),) = desk.calls
    assert inbound.text == "what have I borrowed"
    assert inbound.dedupe_key == "u2:20e55f6c108d4301a5494d98c921e7ef"
    assert inbound.sent_at is not None


@pytest.mark.parametrize(
    ("text", "entities", "payload"),
    [
        ('/refdesk_choose_entry{"entry": "holds"}', [], "/entry holds"),
        ("the one about holds", [{"entity": "entry", "value": "holds"}], "/entry holds"),
        ("the second one", [], None),
    ],
)
def test_a_choice_may_be_tapped_recognised_or_written(run, desk, text, entities, payload):
    run("action_choose_entry", tracker(user(text, SUNDAY, "m1", entities=entities)))

    assert desk.calls[0][1].payload == payload
    assert desk.calls[0][1].text == text


@pytest.mark.parametrize(
    ("text", "entities", "payload"),
    [
        ('/refdesk_rate_answer{"helped": "no"}', [], "/helped no"),
        ("well…", [{"entity": "helped", "value": True}], "/helped yes"),
        ("no", [], None),
    ],
)
def test_a_rating_may_be_tapped_recognised_or_written(run, desk, text, entities, payload):
    run("action_rate_answer", tracker(user(text, SUNDAY, "m1", entities=entities)))

    assert desk.calls[0][1].payload == payload


def test_handing_over_brings_the_conversation_along(run, desk):
    state = tracker(
        {"event": "action", "name": "action_listen", "timestamp": SUNDAY - 9},
        user("Where is Ms Li?", SUNDAY - 8, "m1"),
        bot("I do not know.", SUNDAY - 7),
        user('/refdesk_rate_answer{"helped": "no"}', SUNDAY - 6, "m2"),
        {"event": "bot", "text": None, "data": {"custom": {}}, "timestamp": SUNDAY - 5},
        {"event": "user", "text": "EXTERNAL: remind", "timestamp": SUNDAY - 4, "metadata": {}},
        user("a person please", SUNDAY, "m3"),
    )

    run("action_escalate", state)

    ((call, inbound, before, _),) = desk.calls
    assert (call, inbound.text) == ("hand_over", "a person please")
    assert [(line.by, line.text) for line in before] == [
        ("patron", "Where is Ms Li?"),
        ("bot", "I do not know."),
    ]
    assert before[0].key == "visitor-7:m1"


def test_what_came_before_a_restart_stays_there(run, desk):
    state = tracker(
        user("old", SUNDAY - 8, "m1"),
        {"event": "restart", "timestamp": SUNDAY - 7},
        user("new", SUNDAY - 6, "m2"),
        user("a person", SUNDAY, "m3"),
    )

    run("action_escalate", state)

    assert [line.text for line in desk.calls[0][2]] == ["new"]


def test_a_look_for_a_reply_and_for_the_hours(run, desk):
    state = tracker(user("周二开门吗", SUNDAY, "m1"))

    run("action_check_reply", state)
    run("action_opening_hours", state)

    assert [call[0] for call in desk.calls] == ["waiting_replies", "opening_hours"]


def test_a_tracker_with_nothing_but_an_id_is_enough(run, desk):
    run("action_answer_question", {"sender_id": "visitor-7"})

    assert desk.calls[0][1].text == ""


# --- the contact form ------------------------------------------------------------------

FORM = {"forms": {"contact_form": {"required_slots": ["email"]}}, "slots": {"email": {}}}


def filled(value, **slots):
    state = tracker(
        user("请发邮件", SUNDAY - 1, "m1"),
        user(str(value), SUNDAY, "m2"),
        {"event": "slot", "name": "email", "value": value, "timestamp": SUNDAY},
        **{"email": value, **slots},
    )
    return {**state, "active_loop": {"name": "contact_form"}}


def test_an_address_is_kept(run, desk):
    messages, slots = run("validate_contact_form", filled("it is ann@example.org, thanks"), FORM)

    assert desk.calls == [("keep_email", "visitor-7", "ann@example.org")]
    assert slots["email"] == "ann@example.org"
    assert messages == []


@pytest.mark.parametrize("value", ["no thanks", "ann@", "@example.org", 7, None])
def test_what_is_no_address_is_asked_for_again_in_the_patrons_language(run, desk, value):
    messages, slots = run("validate_contact_form", filled(value), FORM)

    assert desk.calls == []
    assert slots["email"] is None
    assert "邮箱" in messages[0]["text"]


def test_the_language_slot_decides_how_it_is_said(run):
    messages, _ = run("validate_contact_form", filled("no", language="vi"), FORM)

    assert "email" in messages[0]["text"]
    assert "Vui lòng" in messages[0]["text"]
