"""Private messages and their answers, against a Weibo that keeps its own rules."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels.base import SendError, SendFailure
from bot.channels.weibo import Weibo, shaping
from bot.channels.weibo import channel as module
from bot.channels.weibo.reading import created_at
from bot.channels.weibo.signing import signature
from bot.messages import Choice, InboundKind, Reply, ReplyKind, WebhookRequest
from tests.bot.channels.library import LATE, SUNDAY, altered, outcome, request_of
from tests.bot.channels.weibo.conftest import PAYLOADS, SETTINGS, UID
from tests.fakes.platform import Answer, Call, Fault
from tests.fakes.weibo import error, stamp

VECTOR = json.loads((PAYLOADS / "vector.json").read_bytes())
RATING = (Choice("解决了", "/helped yes"), Choice("没解决", "/helped no"))
ANSWER = Reply("周日 17:00 闭馆。", ReplyKind.ANSWER, choices=RATING)
OFFER = Reply(
    "您想问的是？",
    ReplyKind.CHOICES,
    choices=(Choice("怎么续借", "/entry renew"), Choice("都不是", "/none")),
)


def recorded():
    query = {name: VECTOR[name] for name in ("timestamp", "nonce", "signature")}
    return Call((PAYLOADS / "text.json").read_bytes(), query=query)


def signed(body):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return replace_body(recorded(), body)


def replace_body(call, body):
    return request_of(replace(call, body=body))


# --- receiving -----------------------------------------------------------------------


@pytest.mark.parametrize("case", [VECTOR, VECTOR["documented_example_checked"]])
def test_the_signatures_of_the_vector_and_of_the_documents(case):
    made = signature(case["app_secret"], case["timestamp"], case["nonce"])

    assert made == case["signature"]


def test_the_recorded_message_verifies_and_reads(channel):
    received = channel.receive(request_of(recorded()), now=SUNDAY)

    (inbound,) = received.messages
    assert (inbound.patron, inbound.text) == ("5004003002", "请问周日几点闭馆？")
    assert inbound.sent_at == datetime(2026, 11, 22, 2, 20, tzinfo=UTC)
    assert len(inbound.dedupe_key) == 64


def test_the_handshake_is_answered(platform, desk):
    assert platform.verify(desk)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("image", {"vfid": 1, "tovfid": 2}, ("image", "2")),
        ("voice", {"vfid": 12345678901234567}, ("voice", "12345678901234567")),
        ("position", {"longitude": "106.5", "latitude": "10.5"}, ("location", "geo:10.5,106.5")),
    ],
)
def test_media_is_named(desk, patron, kind, data, expected):
    patron.sends(kind, **data)

    assert (desk.heard[-1].kind.value, desk.heard[-1].media) == expected


def test_following_and_leaving_are_heard(desk, patron):
    desk.answer = lambda inbound: (Reply("欢迎！", ReplyKind.NOTICE),)
    patron.follows()
    patron.unfollows()

    assert [i.kind for i in desk.heard] == [InboundKind.FOLLOW, InboundKind.UNFOLLOW]
    assert patron.screen[0].text == "欢迎！"


def test_a_menu_key_that_is_a_command_is_a_choice(desk, patron):
    patron.clicks("/person")
    patron.clicks("opening-hours")

    assert [(i.kind, i.payload) for i in desk.heard] == [
        (InboundKind.CHOICE, "/person"),
        (InboundKind.EVENT, "opening-hours"),
    ]


def test_mentions_and_other_events_are_no_messages(desk, patron):
    patron.sends("mention")
    patron.sends("event", subtype="subscribe")
    patron.sends("event", subtype="view", key="https://x")

    assert desk.heard == []
    assert desk.refusals == []


def test_our_own_echo_and_another_account_are_not_read(account):
    text = json.loads((PAYLOADS / "text.json").read_bytes())
    echo = {**text, "sender_id": 7001002003, "receiver_id": 5004003002}

    assert outcome(account(uid="7001002003"), signed(text)).messages != ()
    assert outcome(account(uid="7001002003"), signed(echo)).messages == ()
    assert outcome(account(uid="1"), signed(text)).messages == ()
    assert outcome(account(), signed({**text, "sender_id": 7001002003})).messages == ()


def test_two_messages_of_one_second_differ(desk, patron):
    patron.says("在吗")
    patron.says("几点闭馆")
    patron.sends("image", tovfid=1)
    patron.sends("image", tovfid=2)

    assert len(desk.heard) == 4


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Thu Jan 01 00:30:00 -0330 2026", datetime(2026, 1, 1, 4, 0, tzinfo=UTC)),
        (stamp(SUNDAY), SUNDAY),
        ("", None),
        ("Sun Nov 31 10:20:00 +0800 2026", None),
        ("Sun Now 22 10:20:00 +0800 2026", None),
        ("Sun Nov 22 10:20 +0800 2026", None),
        ("a b c d e f", None),
        ("Sun Jan 01 00:00:00 +9999 0001", None),
    ],
)
def test_times_are_read_without_the_servers_language(text, time):
    assert created_at(text) == time


# --- forged, broken and huge -----------------------------------------------------------


def test_ten_thousand_forged_queries_are_refused(channel):
    source = random.Random(1)
    call = recorded()
    for _ in range(10_000):
        name = source.choice(("timestamp", "nonce", "signature"))
        value = call.query[name]
        at = source.randrange(len(value))
        letter = chr(source.choice((source.randrange(32, 0x3000), source.randrange(48, 58))))
        changed = source.choice((value[:at] + letter + value[at + 1 :], value[:at], value + letter))
        if changed == value:
            continue
        forged = replace(call, query={**call.query, name: changed})
        assert outcome(channel, request_of(forged)).status == 403


@pytest.mark.parametrize("minutes", [-11, 11, 60 * 24])
def test_a_captured_request_is_worth_nothing_later(channel, minutes):
    later = SUNDAY + timedelta(minutes=minutes)

    assert outcome(channel, request_of(recorded()), now=later).status == 403


def test_the_core_is_told_which_body_came_under_a_signature(channel):
    first = outcome(channel, request_of(recorded()))
    again = outcome(channel, request_of(recorded()))
    other = outcome(channel, signed({"sender_id": 1, "receiver_id": 2, "type": "text"}))

    assert first.messages == again.messages != ()
    assert first.one_body == again.one_body
    assert getattr(other, "one_body", None) != first.one_body


@pytest.mark.parametrize("query", [{}, {"signature": "é", "timestamp": "字", "nonce": "\udc80"}])
def test_a_request_without_its_signature_is_refused(channel, query):
    for method in ("GET", "POST"):
        request = WebhookRequest(method, query, {}, recorded().body)
        assert outcome(channel, request).status == 403


def test_another_method_is_refused(channel):
    assert outcome(channel, request_of(replace(recorded(), method="PUT"))).status == 405


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"\xff",
        b"<xml></xml>",
        b"{" * 100_000,
        b'"' + b"a" * 1_100_000,
        b"{}",
        b'{"sender_id": 1.5, "receiver_id": 2}',
    ],
)
def test_a_broken_body_is_refused_though_signed(channel, body):
    assert outcome(channel, signed(body)).status in {400, 413}


TEXT = json.loads((PAYLOADS / "text.json").read_bytes())
MESSAGES = [
    TEXT,
    {**TEXT, "type": "event", "data": {"subtype": "click", "key": "/none"}},
    {**TEXT, "type": "position", "data": {"longitude": 1, "latitude": 2}},
    {**TEXT, "type": "image", "data": {"vfid": 1, "tovfid": 2}},
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MESSAGES).flatmap(altered))
def test_any_shape_of_message_is_read_or_refused(message):
    channel = Weibo("main", SETTINGS, http=None, tokens=None)

    assert getattr(outcome(channel, signed(message)), "status", 400) == 400


def test_deep_data_is_read_or_refused(channel):
    body = b'{"sender_id":1,"receiver_id":2,"type":"text","text":"x","data":' + b'{"a":' * 900

    assert getattr(outcome(channel, signed(body + b"1" + b"}" * 901)), "status", 400) == 400


# --- the passive reply -------------------------------------------------------------------


def test_the_documented_passive_form():
    documented = json.loads((PAYLOADS / "passive-reply.json").read_bytes())

    made = shaping.passive_json("周日 17:00 闭馆。", sender="7001002003", receiver="5004003002")

    assert json.loads(made) == documented


def test_an_answer_travels_in_the_response(desk, platform, patron):
    desk.answer = lambda inbound: (ANSWER,)

    assert patron.says("几点闭馆？").statuses == (200,)
    assert patron.screen[0].text == "周日 17:00 闭馆。\n\n[解决了 / 没解决]"
    assert platform.asked == []


def test_nothing_to_say_is_an_empty_body(desk, patron):
    exchange = patron.says("你好")

    assert exchange.body == b""
    assert patron.screen == []


def test_a_repetition_gets_the_same_answer(desk, platform, patron):
    desk.answer = lambda inbound: (ANSWER,)
    platform.lose_answers = 2
    exchange = patron.says("几点闭馆？")

    assert exchange.statuses == (None, None, 200)
    assert len(desk.heard) == len(patron.screen) == 1


def test_a_long_answer_loses_its_rating_first(desk, patron):
    desk.answer = lambda inbound: (replace(ANSWER, text="字" * 295),)
    patron.says("?")

    assert patron.screen[0].text == "字" * 295


@pytest.mark.parametrize("link", ["https://ref.example.edu/faq/demo#long"])
def test_a_longer_answer_keeps_its_link(desk, patron, link):
    text = "一句完整的话。" * 60 + f"\n全文：{link}"
    desk.answer = lambda inbound: (replace(ANSWER, text=text),)
    patron.says("?")

    shown = patron.screen[0].text
    assert len(shown) <= 299
    assert shown.endswith(f"…\n全文：{link}")


def test_choices_are_written_out_and_stay(desk, patron):
    desk.answer = lambda inbound: (replace(OFFER, text="长" * 400),)
    patron.says("借")

    assert patron.screen[0].text.endswith("…\n\n1. 怎么续借\n2. 都不是")


@given(st.lists(st.builds(Reply, st.text(max_size=400), st.sampled_from(ReplyKind)), max_size=3))
def test_a_passive_reply_always_fits(replies):
    assert len(shaping.passive_text(replies)) <= 299


# --- sending -----------------------------------------------------------------------------


def test_a_late_answer_within_two_days_goes_out(desk, platform, clock, patron):
    patron.says("Where is the atlas?")
    clock.advance(hours=47)

    assert desk.may_send(str(UID))
    desk.send(str(UID))
    assert patron.screen[-1].text == LATE.text


def test_a_late_answer_has_the_documented_form(channel, platform, patron):
    documented = json.loads((PAYLOADS / "customer-reply.form.json").read_bytes())
    patron.says("?")
    channel.send(str(UID), Reply("周日 17:00 闭馆。", ReplyKind.LIBRARIAN), key="k", now=SUNDAY)

    asked = platform.asked[-1]
    assert asked.form == {name: str(value) for name, value in documented["form"].items()}
    assert documented["POST"].startswith(f"{module.API_BASE}{asked.path}?access_token=")


def test_a_long_late_answer_is_split(channel, patron):
    patron.says("?")
    text = "一句完整的话。" * 80
    channel.send(str(UID), Reply(text, ReplyKind.LIBRARIAN), key="k", now=SUNDAY)

    assert "".join(shown.text for shown in patron.screen) == text
    assert len(patron.screen) == 2


def failure_of(channel):
    with pytest.raises(SendError) as caught:
        channel.send(str(UID), LATE, key="k", now=SUNDAY)
    return caught.value


def test_after_two_days_our_ledger_is_closed(desk, channel, clock, patron):
    patron.says("?")
    clock.advance(hours=49)

    assert not desk.may_send(str(UID))
    assert failure_of(channel).failure is SendFailure.PERMANENT


def test_a_code_seen_on_a_live_account_may_mean_the_window(channel, clock, patron, monkeypatch):
    monkeypatch.setattr(module, "WINDOW_CLOSED_CODES", frozenset({26404}))
    patron.says("?")
    clock.advance(hours=49)

    assert failure_of(channel).failure is SendFailure.WINDOW_CLOSED


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.REFUSED, SendFailure.RETRY),
        (Answer(b"", 503), SendFailure.RETRY),
        (error(10001, "System error", 500), SendFailure.RETRY),
        (error(10023, "User requests out of rate limit!", 403), SendFailure.RETRY),
        (Answer(b"", 429, {"retry-after": "4"}), SendFailure.RETRY),
        (Answer(b"", 504), SendFailure.UNCERTAIN),
        (Fault.TIMEOUT, SendFailure.UNCERTAIN),
        (Fault.TIMEOUT_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.RESET_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.GARBAGE, SendFailure.UNCERTAIN),
        (Answer({"result": False}), SendFailure.UNCERTAIN),
        (error(21327, "expired_token"), SendFailure.PERMANENT),
        (error(20003, f"{SETTINGS['access_token']} odd"), SendFailure.PERMANENT),
        (Answer(b"", 404), SendFailure.PERMANENT),
    ],
)
def test_failures_have_their_class(channel, platform, patron, fault, failure):
    patron.says("?")
    platform.fail_next(fault)

    found = failure_of(channel)

    assert found.failure is failure
    assert SETTINGS["access_token"] not in str(found)


def test_a_quota_by_the_hour_is_waited_for(channel, platform, patron):
    patron.says("?")
    platform.fail_next(error(10024, "Requests out of rate limit", 403))

    assert failure_of(channel).retry_after == 600.0


# --- settings and health -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"), [("app_secret", ""), ("access_token", "字"), ("api_base", "http://x.cn")]
)
def test_a_wrong_setting_is_named(account, setting, value):
    with pytest.raises(ValueError, match=setting):
        account(**{setting: value})


def test_health(account, platform):
    assert account().check() == []
    platform.token_days = 3.5
    assert account().check() == ["The access_token ends in 3 days: make a new one."]
    assert "access_token is wrong" in account(access_token="other").check()[0]
