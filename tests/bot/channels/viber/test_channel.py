"""A bot's callbacks and its answers, against a Viber that keeps its own rules."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels.base import SendError, SendFailure
from bot.channels.viber import Viber
from bot.channels.viber.signing import HEADER, signature
from bot.messages import Choice, InboundKind, Reply, ReplyKind, WebhookRequest
from tests.bot.channels.library import LATE, SUNDAY, altered, mutations, outcome, request_of
from tests.bot.channels.viber.conftest import PAYLOADS, SETTINGS, USER_ID
from tests.fakes.platform import Answer, Call, Fault
from tests.fakes.viber import status

TOKEN = SETTINGS["auth_token"]
RATING = (Choice("Yes, thanks", "/helped yes"), Choice("No", "/helped no"))
ANSWER = Reply("Otvoreno do 20h.", ReplyKind.ANSWER, choices=RATING)


def recorded():
    vector = json.loads((PAYLOADS / "vector.json").read_bytes())
    body = (PAYLOADS / "message.json").read_bytes()
    return Call(body, headers={HEADER: vector["X-Viber-Content-Signature"]})


def signed(event):
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return WebhookRequest("POST", {}, {HEADER: signature(TOKEN, body)}, body)


# --- receiving -----------------------------------------------------------------------


def test_the_message_that_viberbot_signed_verifies_and_reads(channel):
    (inbound,) = channel.receive(request_of(recorded()), now=SUNDAY).messages

    assert (inbound.patron, inbound.text, inbound.display_name) == (
        USER_ID,
        "Radno vreme?",
        "Reader B",
    )
    assert (inbound.kind, inbound.dedupe_key) == (InboundKind.TEXT, "5900100200300400500")
    assert inbound.sent_at == datetime(2026, 11, 22, 0, 0, 0, 123_000, tzinfo=UTC)


def test_the_trial_of_an_address_is_answered(platform, desk):
    event = json.loads((PAYLOADS / "webhook.json").read_bytes())

    assert platform.verify(desk)
    assert platform.deliver(platform.call(event), desk).statuses == (200,)
    assert desk.heard == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"type": "picture", "media": "https://x/1.jpg"}, ("image", "", "https://x/1.jpg")),
        ({"type": "file", "media": "https://x/a.pdf"}, ("file", "", "https://x/a.pdf")),
        ({"type": "sticker", "sticker_id": 40}, ("event", "", None)),
        ({"type": "url", "media": "https://x.org"}, ("text", "https://x.org", None)),
        (
            {"type": "location", "location": {"lat": 10.5, "lon": 106.5}},
            ("location", "", "geo:10.5,106.5"),
        ),
    ],
)
def test_media_is_named(desk, patron, message, expected):
    patron.sends(**message)

    inbound = desk.heard[-1]
    assert (inbound.kind.value, inbound.text, inbound.media) == expected


def test_subscribing_and_leaving_are_heard(desk, patron):
    patron.subscribes()
    patron.unsubscribes()

    assert [(i.kind, i.patron) for i in desk.heard] == [
        (InboundKind.FOLLOW, USER_ID),
        (InboundKind.UNFOLLOW, USER_ID),
    ]


def test_opening_reading_and_receipts_are_no_messages(desk, platform, patron):
    patron.opens()
    patron.reads()
    for name in ("delivered", "failed", "client_status", "something_new"):
        platform.deliver(platform.call(platform.event(name, user_id=USER_ID)), desk)

    assert desk.heard == []
    assert desk.refusals == []


# --- forged, broken and huge -----------------------------------------------------------


def test_ten_thousand_forged_requests_are_refused(channel):
    for forged in mutations(recorded(), 10_000, header=HEADER):
        assert outcome(channel, request_of(forged)).status == 403


@pytest.mark.parametrize("headers", [{}, {HEADER: ""}, {HEADER: "é" * 64}, {HEADER: "字"}])
def test_a_request_without_its_signature_is_refused(channel, headers):
    body = recorded().body

    assert outcome(channel, WebhookRequest("POST", {}, headers, body)).status == 403
    assert outcome(channel, WebhookRequest("GET", {}, headers, body)).status == 405


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"\xff", b"{" * 100_000, b'{"event":"message"}', b'"' + b"a" * 1_100_000],
)
def test_a_broken_body_is_refused_though_signed(channel, body):
    assert outcome(channel, signed(body)).status in {400, 413}


EVENTS = [
    json.loads((PAYLOADS / "message.json").read_bytes()),
    {"event": "subscribed", "message_token": 1, "timestamp": 2, "user": {"id": "x", "name": "y"}},
    {"event": "message", "message_token": 1, "sender": {"id": "x"}, "silent": True,
     "message": {"type": "location", "location": {"lat": 1, "lon": 2}}},
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EVENTS).flatmap(altered))
def test_any_signed_shape_is_read_or_refused(event):
    channel = Viber("main", SETTINGS, http=None, tokens=None)

    assert getattr(outcome(channel, signed(event)), "status", 400) == 400


# --- sending -----------------------------------------------------------------------------


def test_an_answer_arrives_with_a_silent_keyboard(desk, patron):
    desk.answer = lambda inbound: (ANSWER,) if inbound.kind is InboundKind.TEXT else ()
    patron.says("Radno vreme?")
    patron.taps("No")

    (shown,) = patron.screen
    assert shown.text == "Otvoreno do 20h."
    tapped = desk.heard[-1]
    assert (tapped.kind, tapped.payload, tapped.event) == (
        InboundKind.CHOICE,
        "/helped no",
        "message",
    )


def test_a_message_has_the_documented_form(channel, platform, patron):
    documented = json.loads((PAYLOADS / "outbound.json").read_bytes())
    patron.says("hi")
    choices = (Choice("Radno vreme", "menu-hours"),)
    channel.send(
        USER_ID, Reply("Otvoreno do 20h.", ReplyKind.ANSWER, choices=choices), key="k", now=SUNDAY
    )

    made = platform.asked[-1].document
    del documented["tracking_data"]
    assert made.keys() == documented.keys()
    assert made["keyboard"]["Buttons"][0].items() >= documented["keyboard"]["Buttons"][0].items()
    assert made["sender"] == {"name": "Library Desk"}


def test_choices_that_fit_no_keyboard_are_written_out(channel, patron):
    patron.says("hi")
    choices = (Choice("Long", "/entry " + "x" * 250), Choice("None", "/none"))
    channel.send(USER_ID, Reply("Which?", ReplyKind.CHOICES, choices=choices), key="k", now=SUNDAY)

    assert patron.screen[-1].text == "Which?\n\n1. Long\n2. None"


def test_a_long_answer_is_split_and_fits_the_json(channel, patron):
    patron.says("hi")
    text = "一句完整的话。" * 400
    channel.send(USER_ID, Reply(text, ReplyKind.LIBRARIAN, choices=RATING), key="k", now=SUNDAY)

    first, second = patron.screen
    assert first.text + second.text == text
    assert (first.choices, len(second.choices)) == ((), 2)


def test_a_repeated_callback_is_heard_once(desk, platform, patron):
    desk.answer = lambda inbound: (ANSWER,)
    platform.lose_answers = 2
    patron.says("Radno vreme?")

    assert desk.deliveries == 3
    assert len(desk.heard) == len(patron.screen) == 1


def test_a_late_answer_goes_out_while_subscribed(desk, channel, clock, patron):
    patron.says("Where is the atlas?")
    clock.advance(hours=24 * 14)

    assert desk.may_send(USER_ID)
    assert desk.send(USER_ID) is not None
    assert patron.screen[-1].text == LATE.text


def failure_of(channel, reply=LATE):
    with pytest.raises(SendError) as caught:
        channel.send(USER_ID, reply, key="k", now=SUNDAY)
    return caught.value


def test_after_unsubscribing_the_next_way_is_used(channel, patron):
    patron.says("Where is the atlas?")
    patron.unsubscribes()

    found = failure_of(channel)
    assert (found.failure, found.code) == (SendFailure.WINDOW_CLOSED, "6")


def test_a_patron_who_never_answers_is_written_to_100_times(channel, patron):
    patron.says("hi")
    for _ in range(100):
        channel.send(USER_ID, LATE, key="k", now=SUNDAY)

    found = failure_of(channel)
    assert (found.failure, found.code, found.retry_after) == (SendFailure.RETRY, "12", 1800.0)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.REFUSED, SendFailure.RETRY),
        (Answer(b"", 503), SendFailure.RETRY),
        (Answer(b"", 429, {"retry-after": "4"}), SendFailure.RETRY),
        (status(99, "generalError"), SendFailure.RETRY),
        (Answer(b"", 504), SendFailure.UNCERTAIN),
        (Fault.TIMEOUT, SendFailure.UNCERTAIN),
        (Fault.TIMEOUT_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.RESET_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.GARBAGE, SendFailure.UNCERTAIN),
        (Answer({"status": "0"}), SendFailure.UNCERTAIN),
        (status(3, "badData"), SendFailure.PERMANENT),
        (status(17, f"token {TOKEN} odd"), SendFailure.PERMANENT),
        (Answer(b"", 404), SendFailure.PERMANENT),
    ],
)
def test_failures_have_their_class(channel, platform, patron, fault, failure):
    patron.says("hi")
    platform.fail_next(fault)

    found = failure_of(channel)

    assert found.failure is failure
    assert TOKEN not in str(found)


# --- settings and health -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [("auth_token", ""), ("auth_token", "字"), ("api_base", "ftp://chatapi.viber.com")],
)
def test_a_wrong_setting_is_named(account, setting, value):
    with pytest.raises(ValueError, match=setting):
        account(**{setting: value})


def test_a_long_sender_name_is_shortened(account, patron):
    patron.says("hi")
    account(sender_name="图书馆" * 20).send(USER_ID, LATE, key="k", now=SUNDAY)

    assert len(patron.screen) == 1


def test_health(account, platform):
    assert account().check() == []
    assert account(auth_token="other").check() == ["Viber refused: the auth_token is wrong (2)."]
    platform.address = ""
    assert "no webhook" in account().check()[0]


# --- news of deliveries -------------------------------------------------------------------


def test_news_names_the_message_with_vibers_token(channel, patron):
    patron.says("hi")
    token = channel.send(USER_ID, LATE, key="k", now=SUNDAY)
    heard = []
    patron.webhook = lambda call: (heard.append(request_of(call)), (200, b""))[1]

    patron.receives("delivered", token)
    patron.receives("seen", token)
    patron.receives("failed", token, desc="no connection")
    news = [channel.receive(request, now=SUNDAY) for request in heard]

    assert [(n.arrived[0].provider_id, n.arrived[0].seen) for n in news[:2]] == [
        (token, False),
        (token, True),
    ]
    assert news[2].undelivered[0].provider_id == token
    assert "no connection" in news[2].undelivered[0].reason
