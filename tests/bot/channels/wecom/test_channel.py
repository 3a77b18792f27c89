"""A company's desk: its callback, what is fetched, and answers that WeCom takes once."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wechatpy.enterprise.crypto import WeChatCrypto

import bot.channels.wecom
from bot.channels.base import Refused, SendError, SendFailure, measure
from bot.channels.wecom import WeCom, reading, service, shaping
from bot.channels.wecom import channel as module
from bot.messages import Choice, InboundKind, Reply, ReplyKind, Waiting, WebhookRequest
from tests.bot.channels.library import LATE, SUNDAY, VALUES, altered, mutations, outcome, request_of
from tests.bot.channels.wecom.conftest import PAYLOADS, READER, SETTINGS, TO
from tests.fakes.platform import Answer, Call, Fault
from tests.fakes.wecom import BY_PERSON, DESK, error

KEY = "0123456789abcdef0123456789abcdef"
VECTOR = json.loads((PAYLOADS / "callback-vector.json").read_bytes())
SYNCED = json.loads((PAYLOADS / "syncmsg.json").read_bytes())
RATING = (Choice("解决了", "/helped yes"), Choice("没解决", "/helped no"))
ANSWER = Reply("在“我的图书馆”里续借。", ReplyKind.ANSWER, choices=RATING)
WELCOME = Reply("欢迎！", ReplyKind.NOTICE)


def signed(**more):
    return {"timestamp": VECTOR["timestamp"], "nonce": VECTOR["nonce"], **more}


def handshake(**change):
    get = VECTOR["url_verification_GET"]
    query = signed(msg_signature=get["msg_signature"], echostr=get["echostr_decoded"])
    return WebhookRequest("GET", {**query, **change}, {}, b"")


def callback(**change):
    query = signed(msg_signature=VECTOR["callback_POST"]["msg_signature"])
    return Call((PAYLOADS / "callback.xml").read_bytes(), query={**query, **change})


def fetched(channel, page, *, cursor="c0", now=SUNDAY):
    """What the channel makes of one page of messages."""
    channel._service.sync = lambda *_args, **_facts: page
    return channel.pull(DESK, cursor, hint=None, now=now)


# --- the callback ------------------------------------------------------------------------


def test_the_recorded_handshake_is_answered(channel):
    received = channel.receive(handshake(), now=SUNDAY)

    answer = channel.acknowledge(received, (), at=SUNDAY)
    assert answer.body == VECTOR["url_verification_GET"]["answer_plain"].encode()
    assert answer.content_type.startswith("text/plain")


def test_a_plus_that_became_a_space_is_one_again(channel):
    echo = VECTOR["url_verification_GET"]["echostr_decoded"]

    assert channel.receive(handshake(echostr=echo.replace("+", " ")), now=SUNDAY).handshake


def test_the_platforms_handshake_is_answered_in_time(platform, desk):
    assert all(platform.verify(desk) for _ in range(20))


def test_the_recorded_callback_says_which_desk_has_something(channel):
    received = channel.receive(request_of(callback()), now=SUNDAY)

    assert received.waiting == (Waiting("wkDemoDesk01", "ENCdemoPullToken001"),)
    assert received.messages == ()


def test_wechatpy_opens_the_recorded_callback_alike():
    crypto = WeChatCrypto(SETTINGS["token"], SETTINGS["encoding_aes_key"], SETTINGS["corp_id"])
    query = callback().query

    opened = crypto.decrypt_message(
        callback().body, query["msg_signature"], query["timestamp"], query["nonce"]
    )

    plain = VECTOR["callback_POST"]["plaintext"]
    assert (opened.decode() if isinstance(opened, bytes) else opened) == plain


def test_another_desk_than_ours_is_acknowledged_and_left(account):
    received = account(open_kfid="wkOther").receive(request_of(callback()), now=SUNDAY)

    assert received.waiting == ()
    assert account(open_kfid="wkA, wkB").sources == ("wkA", "wkB")


def test_another_event_is_acknowledged(channel, platform):
    encrypted = platform.encrypt("<xml><Event>kf_account_auth_change</Event></xml>")
    body = f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()
    request = WebhookRequest("POST", platform.signed(encrypted), {}, body)

    assert channel.receive(request, now=SUNDAY).waiting == ()


def test_while_the_key_changes_both_open(account):
    new = "A" * 42 + "E"
    changing = account(encoding_aes_key=new, previous_encoding_aes_key=SETTINGS["encoding_aes_key"])

    assert changing.receive(request_of(callback()), now=SUNDAY).waiting
    with pytest.raises(Refused):
        account(encoding_aes_key=new).receive(request_of(callback()), now=SUNDAY)


@pytest.mark.parametrize("minutes", [-11, 11])
def test_ten_minutes_later_a_captured_request_is_worth_nothing(channel, minutes):
    now = SUNDAY + timedelta(minutes=minutes)

    assert outcome(channel, request_of(callback()), now=now).status == 403
    assert outcome(channel, handshake(), now=now).status == 403


@pytest.mark.parametrize(
    "change",
    [
        {"msg_signature": ""},
        {"msg_signature": "é" * 40},
        {"msg_signature": "0" * 40},
        {"nonce": "字"},
        {"nonce": ""},
        {"timestamp": "١٧٩٥"},
        {"timestamp": ""},
        {"timestamp": "9" * 400},
    ],
)
def test_what_cannot_be_verified_is_refused(channel, change):
    assert outcome(channel, request_of(callback(**change))).status == 403
    assert outcome(channel, handshake(**change)).status == 403


def test_ten_thousand_forged_requests_are_refused(channel):
    for forged in mutations(callback(), 10_000, header=None):
        found = outcome(channel, request_of(forged))
        # What is left of the signed text may stand in other XML around it.
        same_text = getattr(found, "waiting", None) == (Waiting(DESK, "ENCdemoPullToken001"),)
        assert same_text or found.status in {400, 403}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"<xml>",
        b"<html/>",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><xml>&a;</xml>",
        b"<xml><Encrypt>a</Encrypt><Encrypt>b</Encrypt></xml>",
        b"<xml>" + b"a" * 70_000 + b"</xml>",
    ],
)
def test_a_broken_body_is_refused(channel, body):
    request = WebhookRequest("POST", callback().query, {}, body)

    assert outcome(channel, request).status in {400, 413}


@pytest.mark.parametrize("inner", ["", "<xml/>", "x", "<xml><Event>kf_msg_or_event</Event></xml>"])
def test_a_signed_text_without_a_desk_tells_nothing(channel, platform, inner):
    encrypted = platform.encrypt(inner)
    body = f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()
    found = outcome(channel, WebhookRequest("POST", platform.signed(encrypted), {}, body))

    assert getattr(found, "waiting", ()) == ()


@pytest.mark.parametrize("length", [0, 15, 20, 33])
def test_a_signed_text_of_another_length_is_refused(channel, platform, length):
    sealed = b64encode(b"x" * length).decode()
    body = f"<xml><Encrypt>{sealed}</Encrypt></xml>".encode()

    assert outcome(channel, WebhookRequest("POST", platform.signed(sealed), {}, body)).status == 403


def test_another_companys_text_is_refused(channel, platform):
    platform.corp_id = "wwother"
    encrypted = platform.encrypt("<xml/>")
    body = f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()
    request = WebhookRequest("POST", platform.signed(encrypted), {}, body)

    assert "another company" in str(outcome(channel, request))


# --- what is fetched ---------------------------------------------------------------------


def test_the_recorded_page_is_read(channel):
    pulled = fetched(channel, SYNCED)

    tapped, entered = pulled.messages
    assert (tapped.kind, tapped.payload, tapped.text) == (
        InboundKind.CHOICE,
        "menu-renew",
        "借的书可以续借吗",
    )
    assert tapped.patron == entered.patron == TO
    assert tapped.sent_at == datetime(2026, 11, 21, 23, 59, 50, tzinfo=UTC)
    assert (entered.kind, entered.payload) == (InboundKind.FOLLOW, "branch%3Deast")
    assert (pulled.cursor, pulled.more) == ("demoCursor0002", False)
    assert pulled.undelivered == ()  # of a message that was not ours


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("text", {"content": "续借"}, (InboundKind.TEXT, "续借", None)),
        ("image", {"media_id": "m1"}, (InboundKind.IMAGE, "", "m1")),
        ("voice", {"media_id": "m2"}, (InboundKind.VOICE, "", "m2")),
        ("video", {"media_id": "m3"}, (InboundKind.FILE, "", "m3")),
        ("file", {"media_id": "m4"}, (InboundKind.FILE, "", "m4")),
        (
            "location",
            {"latitude": 23.1, "longitude": 113.3, "name": "东门", "address": "一路"},
            (InboundKind.LOCATION, "东门\n一路", "geo:23.1,113.3"),
        ),
        (
            "link",
            {"title": "书", "url": "https://x.example"},
            (InboundKind.TEXT, "书\nhttps://x.example", None),
        ),
        ("business_card", {"userid": "x"}, (InboundKind.FILE, "", None)),
        ("newkind", {}, (InboundKind.FILE, "", None)),
    ],
)
def test_each_kind_is_named(desk, patron, kind, content, expected):
    patron.sends(kind, content)

    (inbound,) = desk.heard
    assert (inbound.kind, inbound.text, inbound.media) == expected


def test_a_librarian_inside_wecom_and_system_news_are_no_messages(channel, platform, desk, patron):
    platform.keep(DESK, origin=5, msgtype="text", text={"content": "x"}, external_userid=READER)
    platform.tell(DESK, "session_status_change", external_userid=READER)
    patron.enters(may_be_greeted=False)

    assert (desk.heard, desk.failures) == ([], [])


def test_a_message_without_an_id_holds_nothing_up(channel):
    broken = [{"origin": 3, "msgtype": "text"}, {"origin": 4, "msgtype": "event", "event": 1}]
    page = {**SYNCED, "msg_list": [*broken, *SYNCED["msg_list"]]}

    assert len(fetched(channel, page).messages) == 2


@settings(max_examples=300, deadline=None)
@given(altered(SYNCED))
def test_any_page_is_read(page):
    channel = WeCom("main", SETTINGS, http=None, tokens=None)
    pulled = fetched(channel, page if isinstance(page, dict) else {})

    assert all(inbound.patron and inbound.dedupe_key for inbound in pulled.messages)


@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries({"origin": st.sampled_from([3, 4]), "msgtype": VALUES}), VALUES)
def test_any_message_is_read(message, content):
    channel = WeCom("main", SETTINGS, http=None, tokens=None)
    whole = {"msgid": "m", "external_userid": "w", **message}
    for kind in ("text", "location", "event"):
        fetched(channel, {"msg_list": [{**whole, "msgtype": kind, kind: content}]})


def test_pages_are_fetched_until_the_last(desk, patron, platform):
    for number in range(250):
        facts = {"external_userid": READER, "text": {"content": str(number)}}
        platform.keep(DESK, origin=3, msgtype="text", **facts)
    patron.calls()

    assert [inbound.text for inbound in desk.heard] == [str(n) for n in range(250)]
    assert sum(asked.path.endswith("sync_msg") for asked in platform.asked) == 3


def test_what_was_not_stored_is_fetched_again(desk, patron):
    desk.lose_next_store = True
    patron.says("怎么续借")

    assert [inbound.text for inbound in desk.heard] == ["怎么续借"]


def test_messages_of_a_quiet_worker_come_later_and_once(desk, patron, clock):
    desk.fetches = False
    patron.says("一")
    patron.says("二")
    clock.advance(seconds=1200)  # the words of both callbacks are too old by now
    desk.works()

    assert [inbound.text for inbound in desk.heard] == ["一", "二"]
    assert desk.failures == []


def test_the_first_look_leaves_older_messages_to_whoever_was_here_before(desk, patron, clock):
    desk.fetches = False
    patron.says("三小时前")
    clock.advance(hours=3)
    desk.words.clear()
    desk.fetches = True
    patron.says("现在")

    assert [inbound.text for inbound in desk.heard] == ["现在"]


def test_a_later_look_leaves_nothing(desk, patron, clock):
    patron.says("一")
    desk.fetches = False
    patron.says("二")
    clock.advance(hours=30)
    desk.fetch(DESK)

    assert [inbound.text for inbound in desk.heard] == ["一", "二"]


def test_a_repeated_callback_stores_once(desk, platform, patron):
    platform.lose_answers = 2
    patron.says("怎么续借")

    assert desk.deliveries == 3
    assert len(desk.heard) == 1


@pytest.mark.parametrize(
    "fault", [*Fault, Answer(b"", 502), Answer(b"", 504), error(45009, "freq")]
)
def test_a_fetch_that_fails_is_tried_later(desk, platform, patron, fault):
    patron.says("一")
    platform.fail_next(fault, path="sync_msg")
    patron.says("二")
    assert desk.failures[0].failure is SendFailure.RETRY

    desk.fetch(DESK)
    assert [inbound.text for inbound in desk.heard] == ["一", "二"]


# --- answers -----------------------------------------------------------------------------


def test_an_answer_arrives_with_its_menu_and_a_tap_comes_back(desk, patron):
    desk.answer = lambda inbound: (ANSWER,) if inbound.kind is InboundKind.TEXT else ()
    patron.says("怎么续借")
    assert patron.screen[0].text == ANSWER.text
    assert patron.screen[0].choices == (("/helped yes", "解决了"), ("/helped no", "没解决"))

    patron.taps("没解决")
    tapped = desk.heard[-1]
    assert (tapped.kind, tapped.payload, tapped.event) == (
        InboundKind.CHOICE,
        "/helped no",
        "message",
    )


def test_a_tap_opens_the_window_again(desk, patron, clock):
    desk.answer = lambda inbound: (ANSWER,) if inbound.kind is InboundKind.TEXT else ()
    patron.says("怎么续借")
    clock.advance(hours=47)
    patron.taps("没解决")
    clock.advance(hours=47)

    assert desk.may_send(TO)
    assert desk.send(TO)


def test_a_patron_who_opens_the_chat_is_greeted_once(desk, patron):
    desk.answer = lambda inbound: (WELCOME,)
    patron.enters()
    patron.enters(may_be_greeted=False)

    assert [shown.text for shown in patron.screen] == ["欢迎！"]


def test_a_greeting_that_comes_too_late_waits(desk, channel, patron, clock):
    patron.enters()
    clock.advance(seconds=21)

    assert failure_of(channel, WELCOME, now=clock()).failure is SendFailure.WINDOW_CLOSED


def test_a_right_that_ended_on_the_way_is_no_greeting(desk, channel, patron, platform):
    patron.enters()
    platform._welcome_codes.clear()

    assert failure_of(channel, WELCOME).failure is SendFailure.PERMANENT


def test_five_messages_and_48_hours_are_the_ledgers_too(desk, channel, patron, clock):
    patron.says("问题")
    for _ in range(5):
        assert desk.may_send(TO)
        channel.send(TO, LATE, key=f"k{len(patron.screen)}", now=clock())
        desk.ledgers[TO][0]["left"] -= 1

    assert not desk.may_send(TO)
    assert failure_of(channel).code == "95001"
    clock.advance(hours=49)
    assert not desk.may_send(TO)


def test_a_message_sent_twice_is_shown_once(channel, patron, platform):
    patron.says("问题")
    platform.fail_next(Fault.RESET_AFTER_ACCEPT, path="send_msg")
    assert failure_of(channel, key=KEY).failure is SendFailure.RETRY

    assert channel.send(TO, LATE, key=KEY, now=SUNDAY) == shaping.message_id(KEY, 0)
    assert [shown.text for shown in patron.screen] == [LATE.text]


def test_a_long_reply_that_stopped_midway_goes_on_where_it_stopped(channel, patron, platform):
    patron.says("问题")
    long = Reply("一句完整的话。" * 200, ReplyKind.LIBRARIAN)
    send = platform.handle

    def stop_at_second(asked):
        if asked.path.endswith("send_msg") and asked.document["msgid"].endswith("-01"):
            platform.handle = send
            return Answer(b"", 503)
        return send(asked)

    platform.handle = stop_at_second
    assert failure_of(channel, long, key=KEY).failure is SendFailure.RETRY
    channel.send(TO, long, key=KEY, now=SUNDAY)

    assert "".join(shown.text for shown in patron.screen) == long.text
    assert all(measure(shown.text, "bytes") <= 2048 for shown in patron.screen)


def test_a_message_that_did_not_arrive_is_reported_with_its_key(desk, channel, patron, platform):
    patron.says("问题")
    platform.lose_messages_for.add(READER)
    channel.send(TO, LATE, key=KEY, now=SUNDAY)
    patron.calls()

    (news,) = desk.undelivered
    assert (news.key, news.failure, news.code) == (KEY, SendFailure.PERMANENT, "fail_type 10")


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        (4, SendFailure.WINDOW_CLOSED),
        (5, SendFailure.WINDOW_CLOSED),
        (6, SendFailure.WINDOW_CLOSED),
        (10, SendFailure.PERMANENT),
        (77, SendFailure.PERMANENT),
    ],
)
def test_why_a_message_did_not_arrive_decides_the_next_way(kind, failure):
    event = {"event_type": "msg_send_fail", "fail_msgid": shaping.message_id(KEY, 1)}
    news = reading.undelivered({"origin": 4, "event": {**event, "fail_type": kind}})

    assert (news.key, news.failure) == (KEY, failure)


@given(st.uuids(), st.integers(0, 99))
def test_our_ids_are_of_the_form_that_wecom_takes_and_read_back(number, part):
    made = shaping.message_id(number.hex, part)

    assert len(made) <= 32
    assert made.replace("-", "").replace("_", "").isalnum()
    assert shaping.key_of(made) == number.hex
    assert len(shaping.message_id("k1", 0)) <= 32


def test_the_documented_menu_form():
    recorded = json.loads((PAYLOADS / "outbound.json").read_bytes())
    (made,) = shaping.messages(
        Reply("请选择", ReplyKind.CHOICES, choices=(Choice("续借", "menu-renew"),))
    )

    assert made["msgmenu"]["list"][0] == recorded["msgmenu"]["list"][0]
    assert made["msgmenu"]["head_content"] == recorded["msgmenu"]["head_content"]


@pytest.mark.parametrize("length", [1, 341, 342, 700, 900, 2300])
@pytest.mark.parametrize("count", [0, 1, 10, 11])
def test_every_reply_fits(channel, patron, length, count):
    patron.says("?")
    choices = tuple(Choice(f"第{n}项{'长' * 60}", f"/entry e{n}") for n in range(count))
    reply = Reply("字" * length, ReplyKind.CHOICES, choices=choices)
    channel.send(TO, reply, key=KEY, now=SUNDAY)

    assert "".join(shown.text for shown in patron.screen).count("字") == length
    assert len(patron.screen[-1].choices) == (count if count <= 10 else 0)


def failure_of(channel, reply=LATE, *, key="k", now=SUNDAY):
    with pytest.raises(SendError) as caught:
        channel.send(TO, reply, key=key, now=now)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.REFUSED, SendFailure.RETRY),
        (Fault.TIMEOUT, SendFailure.RETRY),
        (Fault.TIMEOUT_AFTER_ACCEPT, SendFailure.RETRY),
        (Fault.GARBAGE, SendFailure.RETRY),
        (Answer(b"", 503), SendFailure.RETRY),
        (Answer(b"", 504), SendFailure.RETRY),
        (Answer(b"", 404), SendFailure.PERMANENT),
        (error(-1, "busy"), SendFailure.RETRY),
        (error(45009, "freq"), SendFailure.RETRY),
        (error(60020, "ip"), SendFailure.RETRY),
        (error(95001, "count"), SendFailure.WINDOW_CLOSED),
        (error(48002, "forbidden"), SendFailure.PERMANENT),
        (error(99999, "new"), SendFailure.PERMANENT),
    ],
)
def test_failures_have_their_class(channel, platform, patron, fault, failure):
    patron.says("问题")
    platform.fail_next(fault, path="send_msg")

    assert failure_of(channel).failure is failure


def test_a_session_in_a_persons_hands_waits(channel, platform, patron):
    patron.says("问题")
    platform.states[READER] = BY_PERSON

    assert failure_of(channel).failure is SendFailure.WINDOW_CLOSED


def test_a_revoked_token_is_fetched_again(channel, platform, patron, tokens):
    patron.says("问题")
    platform.revoke_tokens()
    channel.send(TO, LATE, key=KEY, now=SUNDAY)

    assert len(patron.screen) == 1
    assert len(tokens.fetches) == 2


def test_a_token_is_shared(account, platform, patron, tokens):
    patron.says("问题")
    account().send(TO, LATE, key="k1", now=SUNDAY)
    account().send(TO, LATE, key="k2", now=SUNDAY)

    assert len(tokens.fetches) == 1


def test_no_secret_is_told(account, platform, patron):
    patron.says("问题")
    channel = account()
    platform.fail_next(error(61, f"odd {SETTINGS['secret']}"), path="send_msg")
    shown = [str(failure_of(channel))]
    for fault in Fault:
        platform.fail_next(fault, path="send_msg")
        found = failure_of(channel)
        shown.append(f"{found} {found.__cause__}")

    assert not [text for text in shown if SETTINGS["secret"] in text or "token0" in text]


# --- settings, health, guide -------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("corp_id", ""),
        ("secret", "字"),
        ("token", " "),
        ("encoding_aes_key", "short"),
        ("open_kfid", "kf1"),
        ("api_base", "http://qyapi.example"),
    ],
)
def test_a_wrong_setting_is_named(account, setting, value):
    with pytest.raises(ValueError, match=setting):
        account(**{setting: value})


def test_health(account, platform):
    assert account(open_kfid=DESK).check() == []
    assert account(open_kfid=f"{DESK} wkGone").check() == [
        "The app may not serve the desk wkGone, or it does not exist."
    ]
    assert account(secret="another").check() == ["WeCom refused: the secret is wrong (40001)."]
    platform.desks.clear()
    assert "no desk" in account().check()[0]
    platform.fail_next(Fault.REFUSED, path="account/list")
    assert "could not be reached" in account().check()[0]


def test_an_account_shows_no_secret(account):
    assert SETTINGS["secret"] not in repr(account()._account)


README = (Path(bot.channels.wecom.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_explained():
    declared = WeCom.declaration.required_settings + WeCom.declaration.optional_settings

    assert [name for name in declared if f"`{name}" not in README] == []


def test_every_fact_to_confirm_names_a_constant_that_exists():
    table = README.split("## Confirm on your account")[1]
    names = {module: ("POLL_SECONDS", "WELCOME_SECONDS"), service: ("BAD_HINT", "MENTIONS_ID")}

    for where, constants in names.items():
        assert all(hasattr(where, name) and name in table for name in constants)
    assert len(WeCom.declaration.unverified) == len(
        [line for line in table.splitlines() if line.startswith("| ")][2:]
    )
