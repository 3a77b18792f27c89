"""The webhook: what is let in, what is refused, and what the platform gets back."""

import base64
from datetime import timedelta

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wechatpy import parse_message
from wechatpy.crypto import WeChatCrypto
from wechatpy.utils import check_signature

from bot.channels.base import Refused
from bot.channels.wechat.crypto import Envelope, signature
from bot.messages import InboundKind, Received, Reply, ReplyKind, WebhookRequest
from tests.bot.channels.wechat.conftest import NOON, SETTINGS, Desk, payload
from tests.fakes.wechat import Call, Credentials, Mode, NoAnswer

READER = "oLibQ7m2xReaderA-demo0001"
TOKEN, KEY, APP_ID = SETTINGS["token"], SETTINGS["encoding_aes_key"], SETTINGS["app_id"]
ANSWER = Reply("已转给参考馆员，工作日 24 小时内答复。", ReplyKind.ACKNOWLEDGEMENT)


def safe_request(vector, **change):
    query = {
        "timestamp": vector["timestamp"],
        "nonce": vector["nonce"],
        "signature": vector["plain_signature_same_request"],
        "encrypt_type": "aes",
        "msg_signature": vector["inbound"]["msg_signature"],
    }
    body = change.pop("body", payload("safe-request.xml"))
    return WebhookRequest("POST", {**query, **change}, {}, body)


def sealed_request(message: bytes | str, *, key=KEY, app_id=APP_ID, encrypted=None):
    """A request signed with the account's token, around whatever message."""
    message = message.encode() if isinstance(message, str) else message
    encrypted = encrypted or Envelope(key, app_id).seal(message)
    timestamp, nonce = str(int(NOON.timestamp())), "60417723"
    query = {
        "timestamp": timestamp,
        "nonce": nonce,
        "encrypt_type": "aes",
        "msg_signature": signature(TOKEN, timestamp, nonce, encrypted).decode(),
    }
    body = f"<xml><ToUserName>gh</ToUserName><Encrypt>{encrypted}</Encrypt></xml>"
    return WebhookRequest("POST", query, {}, body.encode())


def plain_request(body: bytes, *, nonce="60417723", at=NOON):
    timestamp = str(int(at.timestamp()))
    query = {
        "timestamp": timestamp,
        "nonce": nonce,
        "signature": signature(TOKEN, timestamp, nonce).decode(),
    }
    return WebhookRequest("POST", query, {}, body)


def refused(channel, request, *, now=NOON) -> Refused:
    with pytest.raises(Refused) as caught:
        channel.receive(request, now=now)
    shown = f"{caught.value!r} {caught.value.__cause__}"
    assert not [secret for secret in SETTINGS.values() if secret in shown]
    return caught.value


# --- the handshake ---------------------------------------------------------------------


def test_the_handshake_is_answered_with_the_bare_echo(channel, vector):
    case = vector["url_verification_GET"]
    query = {name: case[name] for name in ("timestamp", "nonce", "echostr", "signature")}
    at = NOON - timedelta(seconds=5600)

    received = channel.receive(WebhookRequest("GET", query, {}, b""), now=at)
    response = channel.acknowledge(received, (), at=at)

    assert (response.status, response.body) == (200, b"7730915526448201937")
    assert response.content_type.startswith("text/plain")
    assert received.messages == ()


def test_the_platform_accepts_our_handshake(platform, desk):
    assert platform.verify(desk)


@pytest.mark.parametrize(
    "change",
    [
        {"signature": "0" * 40},
        {"signature": ""},
        {"signature": "签名"},
        {"nonce": "118823"},
        {"timestamp": "1795300001"},
    ],
)
def test_a_forged_handshake_is_refused(channel, vector, change):
    case = vector["url_verification_GET"]
    names = ("timestamp", "nonce", "echostr", "signature")
    query = {**{name: case[name] for name in names}, **change}

    refusal = refused(
        channel, WebhookRequest("GET", query, {}, b""), now=NOON - timedelta(seconds=5600)
    )

    assert refusal.status == 403


# --- safe mode -------------------------------------------------------------------------


def test_a_recorded_request_is_opened(channel, vector):
    (message,) = channel.receive(safe_request(vector), now=NOON).messages

    assert message.text == "请问县志 1932 年版在哪里可以查阅？"
    assert (message.patron, message.dedupe_key) == (READER, "24795305600000117")


@pytest.mark.parametrize(
    "name", ["image", "voice", "location", "click", "subscribe-qr", "unsubscribe", "msgmenu-click"]
)
def test_every_recorded_message_is_opened_when_encrypted(channel, name):
    received = channel.receive(sealed_request(payload(f"{name}.xml")), now=NOON)

    assert [message.patron for message in received.messages] == [READER]


def test_a_request_that_wechatpy_made_is_opened(channel):
    crypto = WeChatCrypto(TOKEN, KEY, APP_ID)
    body = crypto.encrypt_message(payload("text.xml").decode(), "60417723", "1795305600")
    signed = fromstring(body).findtext("MsgSignature")
    query = {"timestamp": "1795305600", "nonce": "60417723", "msg_signature": signed}

    received = channel.receive(WebhookRequest("POST", query, {}, body.encode()), now=NOON)

    assert received.messages[0].dedupe_key == "24795305600000117"


def test_a_signature_over_less_than_the_message_is_refused(channel, vector):
    plain = vector["must_reject"]["signature_used_instead_of_msg_signature"]

    assert refused(channel, safe_request(vector, msg_signature=plain)).status == 403


@pytest.mark.parametrize("given", ["", "0" * 40, "签名", "\udcff", "A" * 100_000])
def test_a_forged_signature_is_refused(channel, vector, given):
    assert refused(channel, safe_request(vector, msg_signature=given)).status == 403


def test_an_upper_case_signature_is_not_ours(channel, vector):
    upper = vector["inbound"]["msg_signature"].upper()

    assert refused(channel, safe_request(vector, msg_signature=upper)).status == 403


def test_a_message_for_another_account_is_refused(channel):
    request = sealed_request(payload("text.xml"), app_id="wxanotheraccount1")

    assert refused(channel, request).status == 403


def test_the_recorded_message_for_another_account_is_refused(channel, vector):
    wrong = vector["must_reject"]
    body = f"<xml><Encrypt>{wrong['other_appid']}</Encrypt></xml>".encode()

    refusal = refused(
        channel, safe_request(vector, body=body, msg_signature=wrong["other_appid_msg_signature"])
    )

    assert refusal.status == 403


def test_a_ciphertext_cut_short_is_refused_even_when_signed(channel, vector):
    whole = base64.b64decode(vector["inbound"]["encrypt"])
    for length in (1, 16, 31, len(whole) - 16, len(whole) - 1):
        short = base64.b64encode(whole[:length]).decode()
        assert refused(channel, sealed_request(b"", encrypted=short)).status == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<xml></xml>",
        b"<xml><Encrypt></Encrypt></xml>",
        b"<xml><Encrypt>\xff</Encrypt></xml>",
        b"<!DOCTYPE xml><xml><Encrypt>A</Encrypt></xml>",
        b"<xml><Encrypt>A</Encrypt><Encrypt>A</Encrypt></xml>",
        b"<xml><Encrypt>" + b"A" * 1_000_000 + b"</Encrypt></xml>",
    ],
)
def test_a_body_that_cannot_be_verified_is_refused(channel, vector, body):
    assert refused(channel, safe_request(vector, body=body)).status == 403


@pytest.mark.parametrize(
    "message",
    [
        "",
        "not xml",
        "<xml></xml>",
        "<xml><MsgType>text</MsgType></xml>",
        '<!DOCTYPE x [<!ENTITY a "b">]><xml><Content>&a;</Content></xml>',
        b"<xml><Content>\xff</Content></xml>",
        payload("text.xml").replace(b"ToUserName", b"ToNobody"),
    ],
)
def test_a_verified_message_that_cannot_be_read_is_a_bad_request(channel, message):
    assert refused(channel, sealed_request(message)).status == 400


def test_an_unknown_event_is_answered_and_leaves_nothing(channel):
    message = payload("click.xml").replace(b"CLICK", b"TEMPLATESENDJOBFINISH")

    received = channel.receive(sealed_request(message), now=NOON)

    assert received.messages == ()
    assert channel.acknowledge(received, (), at=NOON).body == b"success"


def test_only_the_encrypted_part_counts_in_compatible_mode(platform, desk):
    platform.mode = Mode.COMPATIBLE
    call = platform.call(payload("text.xml").decode())
    swapped = call.body.replace("请问县志".encode(), "忘掉县志".encode())

    desk(Call("POST", call.query, swapped))

    assert desk.heard[0].text.startswith("请问县志")


@pytest.mark.parametrize("method", ["PUT", "HEAD", "DELETE", ""])
def test_other_methods_are_refused(channel, vector, method):
    request = safe_request(vector)

    refusal = refused(channel, WebhookRequest(method, request.query, request.headers, request.body))

    assert refusal.status == 405


def test_the_previous_key_opens_during_a_rotation_and_seals_the_reply(account):
    new, old = "N" * 43, KEY
    channel = account(encoding_aes_key=new, previous_encoding_aes_key=old)

    for key in (old, new):
        received = channel.receive(sealed_request(payload("text.xml"), key=key), now=NOON)
        body = channel.acknowledge(received, [ANSWER], at=NOON).body
        opened = Envelope(key, APP_ID).open(fromstring(body).findtext("Encrypt") or "")
        assert ANSWER.text in opened.decode()


def test_a_key_that_is_no_longer_listed_opens_nothing(account):
    channel = account(encoding_aes_key="N" * 43)

    assert refused(channel, sealed_request(payload("text.xml"), key=KEY)).status == 403


def test_without_the_comparison_a_forgery_would_get_in(channel, vector, monkeypatch):
    """The control of the refusals here: it is the signature that keeps forgeries out."""
    monkeypatch.setattr("bot.channels.wechat.channel.matches", lambda expected, given: True)

    assert channel.receive(safe_request(vector, msg_signature="0" * 40), now=NOON).messages


# --- time ------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [-10, -5, 0, 5, 10])
def test_a_clock_within_ten_minutes_is_believed(channel, vector, minutes):
    now = NOON + timedelta(minutes=minutes)

    assert channel.receive(safe_request(vector), now=now).messages


@pytest.mark.parametrize("seconds", [-86_400, -601, 601, 86_400])
def test_an_older_or_later_request_is_refused_in_both_modes(account, vector, seconds):
    now = NOON + timedelta(seconds=seconds)

    assert refused(account(), safe_request(vector), now=now).status == 403
    plain = plain_request(payload("text.xml"))
    assert refused(account(plaintext="true"), plain, now=now).status == 403


@pytest.mark.parametrize(
    "time", ["", "soon", "1e9", "-1", "１７９５３０５６００", "9" * 400, "1.0"]
)
def test_a_timestamp_that_is_no_time_is_refused(account, vector, time):
    channel = account(plaintext="true")
    signed = signature(TOKEN, time, "60417723").decode()
    query = {"timestamp": time, "nonce": "60417723", "signature": signed}

    assert refused(channel, safe_request(vector, timestamp=time)).status == 403
    for method in ("GET", "POST"):
        request = WebhookRequest(method, query, {}, payload("text.xml"))
        assert refused(channel, request).status == 403


# --- plaintext -------------------------------------------------------------------------


def test_plaintext_is_refused_unless_chosen(channel):
    assert refused(channel, plain_request(payload("text.xml"))).status == 403


def test_plaintext_is_read_when_chosen(account):
    channel = account(plaintext="true")

    received = channel.receive(plain_request(payload("text.xml")), now=NOON)

    assert received.messages[0].text.startswith("请问县志")
    assert parse_message(payload("text.xml")).content == received.messages[0].text


def test_safe_mode_still_works_where_plaintext_is_chosen(account, vector):
    assert account(plaintext="true").receive(safe_request(vector), now=NOON).messages


def test_a_forged_plaintext_is_refused(account):
    request = plain_request(payload("text.xml"))
    forged = WebhookRequest("POST", {**request.query, "nonce": "1"}, {}, request.body)

    assert refused(account(plaintext="true"), forged).status == 403


def test_the_core_is_told_which_body_came_under_a_plain_signature(account):
    channel = account(plaintext="true")
    body = payload("text.xml")
    first = channel.receive(plain_request(body), now=NOON)
    swapped = plain_request(body.replace(b"117</MsgId>", b"118</MsgId>"))

    assert first.one_body == channel.receive(plain_request(body), now=NOON).one_body
    assert channel.receive(swapped, now=NOON).one_body not in (None, first.one_body)


def test_our_signature_is_the_one_that_wechatpy_checks():
    query = plain_request(b"").query

    check_signature(TOKEN, query["signature"], query["timestamp"], query["nonce"])


@pytest.mark.parametrize(
    "body", [b"", b"<xml/>", b"\xff", b"<!DOCTYPE xml><xml/>", payload("safe-request.xml")]
)
def test_a_plaintext_that_cannot_be_read_is_a_bad_request(account, body):
    assert refused(account(plaintext="true"), plain_request(body)).status == 400


# --- the passive reply -----------------------------------------------------------------


def test_no_reply_is_the_word_that_stops_repetitions(channel, vector):
    received = channel.receive(safe_request(vector), now=NOON)

    assert channel.acknowledge(received, (), at=NOON).body == b"success"


def test_wechatpy_opens_our_passive_reply(channel, vector):
    received = channel.receive(safe_request(vector), now=NOON)

    response = channel.acknowledge(received, [ANSWER], at=NOON + timedelta(seconds=3))

    root = fromstring(response.body)
    opened = WeChatCrypto(TOKEN, KEY, APP_ID).decrypt_message(
        response.body,
        root.findtext("MsgSignature"),
        root.findtext("TimeStamp"),
        root.findtext("Nonce"),
    )
    assert opened == vector["passive_reply"]["plaintext"]
    assert response.content_type.startswith("application/xml")


def test_a_repetition_gets_the_same_words_under_a_fresh_random_start(channel, vector):
    received = channel.receive(safe_request(vector), now=NOON)
    bodies = [channel.acknowledge(received, [ANSWER], at=NOON).body for _ in range(2)]

    assert bodies[0] != bodies[1]
    opened = {
        Envelope(KEY, APP_ID).open(fromstring(body).findtext("Encrypt") or "") for body in bodies
    }
    assert len(opened) == 1


def test_a_plaintext_message_gets_a_plaintext_reply(account):
    channel = account(plaintext="true")
    received = channel.receive(plain_request(payload("text.xml")), now=NOON)

    root = fromstring(channel.acknowledge(received, [ANSWER], at=NOON).body)

    assert root.findtext("Content") == ANSWER.text
    assert (root.findtext("ToUserName"), root.findtext("FromUserName")) == (
        READER,
        "gh_4b7riverbend",
    )
    assert root.findtext("CreateTime") == "1795305600"


def test_nothing_is_said_to_nobody(channel):
    assert channel.acknowledge(Received(), [ANSWER], at=NOON).body == b"success"


# --- stories with the platform ---------------------------------------------------------


@pytest.mark.parametrize("mode", list(Mode))
def test_a_question_is_answered_in_the_same_breath(account, platform, clock, mode):
    platform.mode = mode
    desk = Desk(account(plaintext="true"), clock, answer=lambda inbound: (ANSWER,))

    exchange = platform.patron(READER, desk).says("怎么续借？")

    assert (exchange.attempts, exchange.reply, exchange.outage) == (1, ANSWER.text, False)


@pytest.mark.parametrize("repeat_nonce", [True, False])
def test_a_repeated_message_gets_the_first_reply_and_is_kept_once(platform, desk, repeat_nonce):
    numbers = iter(range(100))
    desk.answer = lambda inbound: (Reply(f"答复 {next(numbers)}", ReplyKind.ANSWER),)
    platform.repeat_nonce = repeat_nonce
    platform.lose_answers = 2

    patron = platform.patron(READER, desk)
    exchange = patron.says("怎么续借？")

    assert (exchange.attempts, exchange.reply) == (3, "答复 0")
    assert patron.again().reply == "答复 0"
    assert len(desk.heard) == 1
    assert patron.says("怎么续借？").reply == "答复 1"


def test_an_answer_that_is_late_is_an_outage_for_the_patron(platform, desk):
    desk.answer = lambda inbound: (ANSWER,)
    desk.takes = 5.5

    exchange = platform.patron(READER, desk).says("怎么续借？")

    assert (exchange.attempts, exchange.outage) == (4, True)
    assert desk.channel.declaration.ack_seconds < desk.takes


def test_a_library_that_is_away_for_a_moment_still_answers(platform, desk):
    desk.answer = lambda inbound: (ANSWER,)
    away = iter([True, True])

    def webhook(call):
        if next(away, False):
            raise NoAnswer
        return desk(call)

    assert platform.patron(READER, webhook).says("怎么续借？").reply == ANSWER.text


def test_a_patron_of_every_habit_is_understood(platform, desk):
    patron = platform.patron(READER, desk)
    patron.follows("branch_east")
    patron.says("你好 ]]> <b>&amp;</b>")
    patron.speaks("怎么续借")
    patron.sends_image()
    patron.sends_location(30.27, 120.15, "杭州图书馆")
    patron.clicks("/person")
    patron.scans("7")
    patron.unfollows()

    assert [message.kind for message in desk.heard] == [
        InboundKind.FOLLOW,
        InboundKind.TEXT,
        InboundKind.VOICE,
        InboundKind.IMAGE,
        InboundKind.LOCATION,
        InboundKind.CHOICE,
        InboundKind.EVENT,
        InboundKind.UNFOLLOW,
    ]
    assert desk.heard[1].text == "你好 ]]> <b>&amp;</b>"
    assert desk.refusals == []


def test_another_accounts_platform_is_refused(platform, desk):
    platform.credentials = Credentials(token="another")

    exchange = platform.patron(READER, desk).says("怎么续借？")

    assert exchange.statuses == (403, 403, 403, 403)
    assert desk.heard == []


# --- forgeries -------------------------------------------------------------------------

_ANY = st.text(max_size=60)
_EDITS = st.tuples(st.integers(0, 700), st.binary(max_size=6), st.integers(0, 30))
_CHANGES = st.dictionaries(
    st.sampled_from(["timestamp", "nonce", "signature", "msg_signature", "encrypt_type", "x"]),
    _ANY,
    max_size=3,
)


def edited(body: bytes, edit: tuple[int, bytes, int]) -> bytes:
    at, put, cut = edit
    return body[:at] + put + body[at + cut :]


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(_ANY, _ANY, max_size=5),
    st.dictionaries(_ANY, _ANY, max_size=3),
    st.binary(max_size=300),
    st.sampled_from(["GET", "POST"]),
)
def test_no_made_up_request_is_accepted(account, query, headers, body, method):
    request = WebhookRequest(method, {"timestamp": "1795305600", **query}, headers, body)

    for channel in (account(), account(plaintext="true")):
        refused(channel, request)


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_CHANGES, _EDITS)
def test_no_change_to_a_real_request_is_accepted(channel, vector, changes, edit):
    """What is changed and still accepted must be the very message that was sent."""
    request = safe_request(vector, body=edited(payload("safe-request.xml"), edit), **changes)

    try:
        received = channel.receive(request, now=NOON)
    except Refused:
        return
    assert [message.dedupe_key for message in received.messages] == ["24795305600000117"]
    assert received.messages[0].text == "请问县志 1932 年版在哪里可以查阅？"


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_EDITS)
def test_no_verified_message_however_odd_breaks_the_channel(channel, edit):
    request = sealed_request(edited(payload("location.xml"), edit))

    try:
        received = channel.receive(request, now=NOON)
        status = channel.acknowledge(received, [ANSWER], at=NOON).status
    except Refused as refusal:
        status = refusal.status

    assert status in {200, 400}
