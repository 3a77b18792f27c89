"""Private messages and the replies that quote them, against a Douyin that keeps its own rules."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels.base import Refused, SendError, SendFailure
from bot.channels.douyin import Douyin
from bot.channels.douyin.handles import Handle
from bot.channels.douyin.signing import HEADER, signature
from bot.messages import Choice, InboundKind, Reply, ReplyKind, WebhookRequest
from tests.bot.channels.douyin.conftest import PATRON, PAYLOADS, SETTINGS
from tests.bot.channels.library import LATE, SUNDAY, altered, mutations, outcome, request_of
from tests.fakes.douyin import error
from tests.fakes.platform import Answer, Call, Fault

SECRET = SETTINGS["client_secret"]
OFFER = Reply(
    "您想问的是？",
    ReplyKind.CHOICES,
    choices=(Choice("怎么续借", "/entry renew"), Choice("都不是", "/none")),
)


def recorded():
    vector = json.loads((PAYLOADS / "vector.json").read_bytes())
    headers = {HEADER: vector["X-Douyin-Signature"], "msg-id": vector["Msg-Id"]}
    return Call((PAYLOADS / "im_receive_msg.json").read_bytes(), headers=headers)


def signed(event):
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return WebhookRequest("POST", {}, {HEADER: signature(SECRET, body)}, body)


# --- receiving -----------------------------------------------------------------------


@pytest.mark.parametrize("as_object", [False, True])
def test_the_recorded_message_reads_in_both_lanes(channel, as_object):
    request = request_of(recorded())
    if as_object:
        event = json.loads(recorded().body)
        request = signed({**event, "content": json.loads(event["content"])})
    (inbound,) = channel.receive(request, now=SUNDAY).messages

    assert (inbound.patron, inbound.text) == (PATRON, "在哪里办借书证？")
    assert (inbound.dedupe_key, inbound.display_name) == ("@demoMsg01==", "读者甲")
    assert inbound.sent_at == datetime(2026, 11, 22, 0, 0, 0, 123_000, tzinfo=UTC)


def test_a_captured_request_under_another_header_is_the_same_message(channel):
    first = channel.receive(request_of(recorded()), now=SUNDAY)
    call = recorded()
    again = WebhookRequest("POST", {}, {**call.headers, "msg-id": "another"}, call.body)

    assert channel.receive(again, now=SUNDAY).messages[0].dedupe_key == first.messages[0].dedupe_key


def test_the_address_can_be_set_up(platform, desk):
    assert platform.verify(desk)


def test_the_recorded_set_up_is_answered_though_unsigned(channel):
    body = (PAYLOADS / "verify_webhook.json").read_bytes()
    received = channel.receive(WebhookRequest("POST", {}, {}, body), now=SUNDAY)

    assert json.loads(received.handshake.body) == {"challenge": 12345}
    assert received.messages == ()
    assert channel.acknowledge(received, (), at=SUNDAY) == received.handshake


@pytest.mark.parametrize("challenge", ["<script>", True, None, 1.5, [1]])
def test_a_set_up_without_a_number_is_not_answered(channel, challenge):
    body = json.dumps({"event": "verify_webhook", "content": {"challenge": challenge}}).encode()

    assert outcome(channel, WebhookRequest("POST", {}, {}, body)).status == 403


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("image", InboundKind.IMAGE),
        ("user_local_image", InboundKind.IMAGE),
        ("video", InboundKind.FILE),
        ("something_new", InboundKind.FILE),
    ],
)
def test_media_is_named(desk, patron, kind, shape):
    patron.sends(kind, text="[image]")

    assert (desk.heard[-1].kind, desk.heard[-1].text) == (shape, "")


def test_echoes_and_other_accounts_are_no_messages(desk, platform, patron):
    patron.sees_echo("请到一楼")
    event = platform.event("im_receive_msg", PATRON, "open-other", text="x")
    platform.deliver(platform.call(event), desk)
    event = platform.event("im_receive_msg", "open-library-01", "open-library-01", text="x")
    platform.deliver(platform.call(event), desk)
    platform.deliver(platform.call(platform.event("im_enter_direct_msg", PATRON, "x")), desk)

    assert desk.heard == []
    assert desk.refusals == []


# --- forged, broken and huge -----------------------------------------------------------


def test_ten_thousand_forged_requests_are_refused(channel):
    for forged in mutations(recorded(), 10_000, header=HEADER):
        assert outcome(channel, request_of(forged)).status in {400, 403}


def test_a_lengthened_body_is_no_json(channel):
    """SHA-1 with the secret in front can be continued, but only after bytes that are no text."""
    body = recorded().body + b"\x80" + b"\x00" * 40 + b"\x00\x10" + b'{"event":"im_receive_msg"}'

    assert outcome(channel, signed(body)).status == 400


@pytest.mark.parametrize("headers", [{}, {HEADER: ""}, {HEADER: "é" * 40}, {HEADER: "字"}])
def test_a_request_without_its_signature_is_refused(channel, headers):
    body = recorded().body

    assert outcome(channel, WebhookRequest("POST", {}, headers, body)).status == 403
    assert outcome(channel, WebhookRequest("GET", {}, headers, body)).status == 405


EVENT = json.loads((PAYLOADS / "im_receive_msg.json").read_bytes())


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"null",
        b"\xff",
        b"{" * 100_000,
        b'"' + b"a" * 1_100_000,
        {**EVENT, "content": "{"},
        {**EVENT, "content": "\ud800"},
        {**EVENT, "content": []},
        {**EVENT, "from_user_id": ""},
    ],
)
def test_a_broken_body_is_refused_though_signed(channel, event):
    assert outcome(channel, signed(event)).status in {400, 413}


AS_OBJECT = {**EVENT, "content": json.loads(EVENT["content"])}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([EVENT, AS_OBJECT]).flatmap(altered))
def test_any_signed_shape_is_read_or_refused(event):
    channel = Douyin("main", SETTINGS, http=None, tokens=None)

    assert getattr(outcome(channel, signed(event)), "status", 400) in {400, 403}


# --- sending -----------------------------------------------------------------------------


def test_a_reply_quotes_the_message_in_the_documented_form(channel, platform):
    documented = json.loads((PAYLOADS / "outbound.json").read_bytes())
    platform._answerable["@demoMsg01=="] = (PATRON, SUNDAY, 6)
    (heard,) = channel.receive(request_of(recorded()), now=SUNDAY).messages
    reply = Reply("请到一楼服务台办理。", ReplyKind.ANSWER, thread=heard.thread)
    channel.send(PATRON, reply, key="k", now=SUNDAY)

    asked = platform.asked[-1]
    assert asked.document == documented["body"]
    assert documented["POST"].endswith(f"{asked.path}?open_id={asked.query['open_id']}")
    assert asked.headers["access-token"] == "act.demo1"


def test_choices_are_written_out(desk, patron):
    desk.answer = lambda inbound: (OFFER,)
    patron.says("借")

    assert patron.screen[0].text == "您想问的是？\n\n1. 怎么续借\n2. 都不是"


def test_a_repeated_event_is_heard_once(desk, platform, patron):
    desk.answer = lambda inbound: (OFFER,)
    platform.lose_answers = 2
    patron.says("借")

    assert desk.deliveries == 3
    assert len(desk.heard) == len(patron.screen) == 1


def test_a_late_answer_within_the_day_goes_out(desk, clock, patron):
    patron.says("地图集在哪？")
    clock.advance(hours=23)

    assert desk.may_send(PATRON)
    assert desk.send(PATRON).startswith("@sent")
    assert patron.screen[-1].text == LATE.text


def failure_of(desk, now=SUNDAY):
    desk.clock.now = now
    with pytest.raises(SendError) as caught:
        desk.send(PATRON)
    return caught.value


def test_after_a_day_the_next_way_is_used(desk, clock, patron):
    patron.says("地图集在哪？")
    clock.advance(hours=25)

    assert not desk.may_send(PATRON)
    assert failure_of(desk, now=clock()).failure is SendFailure.WINDOW_CLOSED


def test_another_process_answers_what_this_one_received(account, desk, patron):
    patron.says("地图集在哪？")
    desk.channel = account(access_granted="true")

    assert desk.send(PATRON).startswith("@sent")


def test_without_a_message_to_quote_the_next_way_is_used(desk, platform):
    assert failure_of(desk).failure is SendFailure.WINDOW_CLOSED
    assert platform.asked == []


def test_our_ledger_counts_to_six_as_douyin_does(desk, patron):
    patron.says("?")
    sent = 0
    while desk.may_send(PATRON):
        desk.send(PATRON)
        sent += 1

    assert sent == 6
    assert failure_of(desk).failure is SendFailure.PERMANENT


def test_a_long_answer_is_split_and_counted(desk, patron):
    patron.says("?")
    text = "一句完整的话。" * 200
    reply = Reply(text, ReplyKind.LIBRARIAN)
    desk.send(PATRON, reply)

    assert desk.channel.parts(reply) == 2
    assert "".join(shown.text for shown in patron.screen) == text
    assert len(patron.screen) == 2


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.REFUSED, SendFailure.RETRY),
        (Answer(b"", 503), SendFailure.RETRY),
        (error(28003070, "too often"), SendFailure.RETRY),
        (Answer(b"", 504), SendFailure.UNCERTAIN),
        (Fault.TIMEOUT, SendFailure.UNCERTAIN),
        (Fault.TIMEOUT_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.RESET_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.GARBAGE, SendFailure.UNCERTAIN),
        (error(28001007, "act.demo1 odd"), SendFailure.PERMANENT),
        (Answer({"data": {}, "extra": {"error_code": 5, "description": "x"}}), "permanent"),
        (Answer(b"", 404), SendFailure.PERMANENT),
    ],
)
def test_failures_have_their_class(desk, platform, patron, fault, failure):
    patron.says("?")
    platform.fail_next(fault, path="/im/send")

    found = failure_of(desk)

    assert found.failure == failure
    assert "act.demo1" not in str(found)


# --- tokens ------------------------------------------------------------------------------


def test_tokens_live_on_while_they_can_be_renewed(desk, platform, clock, patron):
    for _ in range(7):
        patron.says("?")
        desk.send(PATRON)
        clock.advance(hours=24 * 15)

    assert (platform.refreshes, platform.renewals) == (7, 5)
    patron.says("?")
    assert "authorise the account anew" in str(failure_of(desk, now=clock()))


def test_a_refused_access_token_is_replaced_at_once(desk, platform, patron):
    patron.says("?")
    desk.send(PATRON)
    platform.revoke_access()
    desk.send(PATRON)

    assert platform.refreshes == 2


def test_a_token_that_stays_refused_is_retried_later(desk, platform, patron):
    patron.says("?")
    platform.fail_next(error(28001003, "invalid"), path="/im/send", times=2)

    assert failure_of(desk).failure is SendFailure.RETRY


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Answer(b"", 503), Answer(b"", 504)])
def test_no_token_because_of_the_way_is_retried(desk, platform, patron, fault):
    patron.says("?")
    platform.fail_next(fault, path="/oauth")

    assert failure_of(desk).failure is SendFailure.RETRY
    desk.send(PATRON)


def test_an_ended_refresh_token_asks_for_a_new_authorisation(account, platform):
    platform.refresh_token = "used elsewhere"

    (trouble,) = account(access_granted="true").check()
    assert "authorise the account anew" in trouble


# --- what is kept of a message, settings and health -----------------------------------------


def test_what_to_quote_lives_as_long_as_it_may_be_answered():
    thread = Handle("m", "c", SUNDAY).as_thread()

    assert Handle.of_thread(thread, now=SUNDAY + timedelta(hours=23)).message_id == "m"
    assert Handle.of_thread(thread, now=SUNDAY + timedelta(hours=24)) is None


def test_the_channel_says_why_it_is_off(account):
    assert Douyin.declaration.availability == "closed_to_new"
    (why,) = account().check()
    assert "closed" in why
    assert "access_granted" in why


def test_nothing_is_taken_or_sent_while_it_is_off(account, platform):
    off = account()
    request = WebhookRequest("POST", {}, {}, (PAYLOADS / "verify_webhook.json").read_bytes())

    with pytest.raises(Refused, match="access_granted"):
        off.receive(request, now=SUNDAY)
    with pytest.raises(SendError, match="access_granted"):
        off.send(PATRON, Reply("可以。", ReplyKind.ANSWER), key="k", now=SUNDAY)

    assert platform.asked == []


def test_an_admitted_account_is_healthy(channel):
    assert channel.check() == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("client_key", ""),
        ("open_id", "字"),
        ("access_granted", "perhaps"),
        ("api_base", "http://open.douyin.example"),
    ],
)
def test_a_wrong_setting_is_named(account, setting, value):
    with pytest.raises(ValueError, match=setting):
        account(**{setting: value})
