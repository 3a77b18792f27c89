"""A bot's webhook and its answers, against a Telegram that keeps its own rules."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels.base import Refused, SendError, SendFailure
from bot.channels.telegram import Telegram
from bot.messages import Choice, InboundKind, Reply, ReplyKind, WebhookRequest
from tests.bot.channels.library import LATE, SUNDAY, altered, mutations, outcome, request_of
from tests.bot.channels.telegram.conftest import PAYLOADS, SETTINGS
from tests.fakes.platform import Answer, Call, Fault
from tests.fakes.telegram import too_many

HEADER = "x-telegram-bot-api-secret-token"
CHAT = "550660770"
RATING = (Choice("Yes, thanks", "/helped yes"), Choice("No", "/helped no"))
ANSWER = Reply("Renew in My Library.", ReplyKind.ANSWER, choices=RATING, entry="renew-books")
TEXT = {
    "update_id": 700100300,
    "message": {
        "message_id": 40,
        "date": 1795305600,
        "chat": {"id": 550660770, "type": "private"},
        "from": {"id": 550660770, "is_bot": False, "first_name": "Lan", "last_name": "Trần"},
        "text": "Mấy giờ mở cửa?",
    },
}


def request(update, *, secret=SETTINGS["webhook_secret"], method="POST"):
    body = update if isinstance(update, bytes) else json.dumps(update).encode()
    return WebhookRequest(method, {}, {HEADER: secret}, body)


def read(channel, update):
    return channel.receive(request(update), now=SUNDAY)


def message(**content):
    rest = {key: value for key, value in TEXT["message"].items() if key != "text"}
    return {"update_id": 1, "message": {**rest, **content}}


# --- receiving -----------------------------------------------------------------------


def test_a_text_is_a_message(channel):
    (inbound,) = read(channel, TEXT).messages

    assert (inbound.patron, inbound.text, inbound.dedupe_key) == (
        CHAT,
        "Mấy giờ mở cửa?",
        "700100300",
    )
    assert inbound.kind is InboundKind.TEXT
    assert inbound.sent_at == datetime(2026, 11, 22, tzinfo=UTC)
    assert inbound.display_name == "Lan Trần"


def test_a_recorded_start_is_a_follow_with_its_argument(channel):
    (inbound,) = read(channel, (PAYLOADS / "start.json").read_bytes()).messages

    assert (inbound.kind, inbound.payload) == (InboundKind.FOLLOW, "branch_east")


def test_a_recorded_tap_is_a_choice_and_is_answered_in_the_response(channel):
    received = read(channel, (PAYLOADS / "callback_query.json").read_bytes())

    (inbound,) = received.messages
    assert (inbound.kind, inbound.payload, inbound.patron) == (
        InboundKind.CHOICE,
        "menu-hours",
        CHAT,
    )
    response = channel.acknowledge(received, (), at=SUNDAY)
    assert json.loads(response.body) == {
        "method": "answerCallbackQuery",
        "callback_query_id": "4382demo",
    }
    assert response.content_type == "application/json"


def test_a_message_is_acknowledged_with_nothing(channel):
    response = channel.acknowledge(read(channel, TEXT), (ANSWER,), at=SUNDAY)

    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize(
    ("content", "kind", "text", "media"),
    [
        ({"photo": [{"file_id": "s"}, {"file_id": "L"}], "caption": "?"}, "image", "?", "L"),
        ({"voice": {"file_id": "v"}}, "voice", "", "v"),
        ({"document": {"file_id": "d"}, "caption": "thesis"}, "file", "thesis", "d"),
        ({"video_note": {"file_id": "n"}}, "file", "", "n"),
        ({"sticker": {"file_id": "k", "emoji": "👍"}}, "text", "👍", None),
        ({"location": {"latitude": 10.77, "longitude": 106.7}}, "location", "", "geo:10.77,106.7"),
        (
            {"venue": {"title": "Library", "location": {"latitude": 1, "longitude": 2}}},
            "location",
            "Library",
            "geo:1,2",
        ),
        ({"poll": {"id": "1"}}, "file", "", None),
    ],
)
def test_media_is_named(channel, content, kind, text, media):
    (inbound,) = read(channel, message(**content)).messages

    assert (inbound.kind, inbound.text, inbound.media) == (InboundKind(kind), text, media)


@pytest.mark.parametrize(
    "update",
    [
        message(pinned_message={}),
        message(sticker={"file_id": "k"}),
        {"update_id": 1, "edited_message": TEXT["message"]},
        {"update_id": 1, "channel_post": TEXT["message"]},
        message(text="hello", chat={"id": -100, "type": "supergroup"}),
        {"update_id": 1, "message": {**TEXT["message"], "from": {"id": 5, "is_bot": True}}},
        {"update_id": 1, "callback_query": {"id": "1", "data": "x"}},
        {"update_id": 1},
        {"update_id": 1, "something_new": {}},
    ],
)
def test_what_no_patron_wrote_is_no_message(channel, update):
    assert read(channel, update).messages == ()


def test_nul_and_half_characters_do_not_reach_the_database(channel):
    (inbound,) = read(channel, message(text="a\x00b\ud800c")).messages

    assert inbound.text == "a\ufffdb\ufffdc"


# --- forged, broken and huge -----------------------------------------------------------


@pytest.mark.parametrize("secret", ["", "wrong", "reading-room-secre", "é\xff", "字" * 100])
def test_another_secret_is_refused(channel, secret):
    with pytest.raises(Refused) as refusal:
        channel.receive(request(TEXT, secret=secret), now=SUNDAY)

    assert refusal.value.status == 403


def test_no_secret_and_no_post_are_refused(channel):
    body = json.dumps(TEXT).encode()

    with pytest.raises(Refused):
        channel.receive(WebhookRequest("POST", {}, {}, body), now=SUNDAY)
    with pytest.raises(Refused):
        channel.receive(request(TEXT, method="GET"), now=SUNDAY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"update_id":' + b"9" * 10_000 + b"}",
        b'{"update_id": NaN}',
        b'{"update_id": true, "message": {}}',
        b'{"message": {}}',
        b'{"update_id": 1, "padding": "' + b"a" * 1_100_000 + b'"}',
        b'{"update_id": 1, "message": {"chat": {"type": "private"}, "text": "x"}}',
    ],
)
def test_a_broken_body_is_refused(channel, body):
    with pytest.raises(Refused) as refusal:
        read(channel, body)

    assert refusal.value.status in {400, 413}


def test_ten_thousand_forged_requests_are_refused(channel):
    call = Call(json.dumps(TEXT).encode(), headers={HEADER: SETTINGS["webhook_secret"]})

    for forged in mutations(call, 10_000, header=HEADER, body=False):
        with pytest.raises(Refused):
            channel.receive(request_of(forged), now=SUNDAY)


def test_ten_thousand_damaged_bodies_are_read_or_refused(channel):
    """The secret does not cover the body: what can be read is Telegram's word."""
    call = Call(json.dumps(TEXT).encode(), headers={HEADER: SETTINGS["webhook_secret"]})

    damaged = mutations(call, 10_000, header=None)
    outcomes = [outcome(channel, request_of(call)) for call in damaged]

    refused = [refusal.status for refusal in outcomes if isinstance(refusal, Refused)]
    assert len(refused) > 5_000
    assert set(refused) == {400}


TAP = json.loads((PAYLOADS / "callback_query.json").read_bytes())
WITH_KEYBOARD = {
    **TAP,
    "callback_query": {
        **TAP["callback_query"],
        "message": {
            **TAP["callback_query"]["message"],
            "reply_markup": {"inline_keyboard": [[{"text": "H", "callback_data": "menu-hours"}]]},
        },
    },
}
MEDIA = message(
    photo=[{"file_id": "L"}],
    venue={"title": "x", "location": {"latitude": 1, "longitude": 2}},
    sticker={"emoji": "x", "file_id": "1"},
    voice={"file_id": "v"},
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(*(altered(document) for document in (TEXT, WITH_KEYBOARD, MEDIA))))
def test_any_shape_of_update_is_read_or_refused(document):
    channel = Telegram("main", SETTINGS, http=None, tokens=None)

    assert getattr(outcome(channel, request(document)), "status", 400) == 400


# --- sending -----------------------------------------------------------------------------


def test_an_answer_arrives_with_its_buttons(desk, patron):
    desk.answer = lambda inbound: (ANSWER,)

    assert patron.says("How do I renew?").taken
    (shown,) = patron.screen
    assert shown.text == "Renew in My Library."
    assert shown.choices == (("/helped yes", "Yes, thanks"), ("/helped no", "No"))


def test_a_tap_returns_its_payload_and_label(desk, platform, patron):
    desk.answer = lambda inbound: (ANSWER,) if inbound.kind is InboundKind.TEXT else ()
    patron.says("How do I renew?")
    patron.taps("No")

    tapped = desk.heard[-1]
    assert (tapped.kind, tapped.payload, tapped.text) == (InboundKind.CHOICE, "/helped no", "No")
    assert len(platform.answered_taps) == 1


def test_a_late_answer_goes_out_after_weeks(desk, clock, patron):
    patron.says("Where is the atlas?")
    clock.advance(hours=24 * 30)

    assert desk.may_send(CHAT)
    assert desk.send(CHAT) == "32"
    assert patron.screen[-1].text == LATE.text


def test_a_late_answer_quotes_its_question(channel, patron):
    patron.says("地图集在哪？")

    reply = Reply("在三楼。", ReplyKind.LIBRARIAN, quote="地图集在哪？", link="https://x.example/1")
    channel.send(CHAT, reply, key="k", now=SUNDAY)

    assert patron.screen[-1].text == "「地图集在哪？」\n在三楼。\nhttps://x.example/1"


def test_a_repeated_update_is_heard_once(desk, platform, patron):
    desk.answer = lambda inbound: (ANSWER,)
    platform.lose_answers = 2
    patron.says("How do I renew?")

    assert desk.deliveries == 3
    assert len(desk.heard) == len(patron.screen) == 1


def test_choices_that_fit_no_button_are_written_out(channel, patron):
    patron.says("hi")
    choices = (Choice("Long one", "/entry " + "x" * 60), Choice("None of these", "/none"))

    channel.send(CHAT, Reply("Which?", ReplyKind.CHOICES, choices=choices), key="k", now=SUNDAY)

    assert patron.screen[-1].text == "Which?\n\n1. Long one\n2. None of these"
    assert patron.screen[-1].choices == ()


def test_a_long_answer_is_split_where_a_reader_pauses(channel, patron):
    patron.says("hi")
    text = "😀 One sentence of the answer. " * 250

    last = channel.send(CHAT, Reply(text, ReplyKind.LIBRARIAN, choices=RATING), key="k", now=SUNDAY)

    first, second = patron.screen
    assert first.text.endswith("answer.")
    assert second.text.startswith("😀")
    assert (first.choices, len(second.choices)) == ((), 2)
    assert last is not None


def failure_of(channel, reply=LATE):
    with pytest.raises(SendError) as caught:
        channel.send(CHAT, reply, key="k", now=SUNDAY)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.REFUSED, SendFailure.RETRY),
        (Answer(b"", 502), SendFailure.RETRY),
        (Answer({"ok": False, "description": "Internal"}, 500), SendFailure.RETRY),
        (Answer(b"", 504), SendFailure.UNCERTAIN),
        (Fault.TIMEOUT, SendFailure.UNCERTAIN),
        (Fault.TIMEOUT_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.RESET_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.GARBAGE, SendFailure.UNCERTAIN),
        (Answer({"ok": False, "error_code": 401}, 401), SendFailure.PERMANENT),
        (Answer({"ok": False, "description": "Bad Request"}, 400), SendFailure.PERMANENT),
    ],
)
def test_failures_have_their_class(channel, platform, patron, fault, failure):
    patron.says("hi")
    platform.fail_next(fault)

    error = failure_of(channel)

    assert error.failure is failure
    assert SETTINGS["bot_token"] not in str(error)
    assert error.__cause__ is None


def test_too_many_requests_name_the_pause(channel, platform, patron):
    patron.says("hi")
    platform.fail_next(too_many(37))
    error = failure_of(channel)

    assert (error.failure, error.retry_after, error.code) == (SendFailure.RETRY, 37.0, "429")


def test_the_pause_may_come_as_a_header(channel, platform, patron):
    patron.says("hi")
    platform.fail_next(Answer(b"", 429, {"retry-after": "12"}))

    assert failure_of(channel).retry_after == 12.0


def test_a_burst_is_slowed_down(channel, platform, patron):
    patron.says("hi")
    platform.burst = 1
    channel.send(CHAT, LATE, key="k", now=SUNDAY)

    assert failure_of(channel).failure is SendFailure.RETRY


def test_a_patron_who_blocked_the_bot_is_final(desk, channel, patron):
    patron.says("hi")
    patron.blocks()

    assert desk.heard[-1].kind is InboundKind.UNFOLLOW
    error = failure_of(channel)
    assert (error.failure, error.code) == (SendFailure.PERMANENT, "403")


def test_half_an_answer_is_not_simply_repeated(channel, platform, patron):
    patron.says("hi")
    platform.burst = 1

    error = failure_of(channel, Reply("A sentence. " * 400, ReplyKind.LIBRARIAN))

    assert error.failure is SendFailure.UNCERTAIN
    assert "1 of 2 parts" in str(error)


def test_a_stranger_is_final(channel):
    assert failure_of(channel).failure is SendFailure.PERMANENT


# --- settings and health -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("bot_token", ""),
        ("bot_token", "no token"),
        ("bot_token", "../123:x"),
        ("webhook_secret", "with space"),
        ("webhook_secret", "字"),
        ("api_base", "http://api.telegram.example"),
    ],
)
def test_a_wrong_setting_is_named(account, setting, value):
    with pytest.raises(ValueError, match=setting):
        account(**{setting: value})


def test_a_healthy_account_has_no_trouble(channel):
    assert channel.check() == []


def test_trouble_is_told(account, platform):
    other = account(bot_token="1:other").check()
    platform.address = ""
    without_webhook = account().check()
    platform.address, platform.last_error = "https://ref.example.edu/x", "SSL error"
    failing = account().check()
    platform.fail_next(Fault.REFUSED)
    unreachable = account().check()

    assert other == ["Telegram does not know this bot_token."]
    assert "no webhook" in without_webhook[0]
    assert failing == ["Telegram's last delivery to the webhook failed: SSL error."]
    assert unreachable == ["Telegram could not be reached (ConnectError)."]


def test_the_typing_sign_is_shown(channel, platform, patron):
    patron.says("hi")
    channel.show_typing(CHAT, thread={})

    assert platform.typing == [CHAT]
