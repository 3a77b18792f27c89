"""An official account's events and answers, against a Zalo that keeps its own rules."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels.base import SendError, SendFailure
from bot.channels.zalo import Zalo
from bot.channels.zalo.signing import HEADER, signature
from bot.messages import Choice, InboundKind, Reply, ReplyKind, WebhookRequest
from tests.bot.channels.library import LATE, SUNDAY, altered, mutations, outcome, request_of
from tests.bot.channels.zalo.conftest import PAYLOADS, SETTINGS, USER_ID
from tests.fakes.platform import Answer, Call, Fault
from tests.fakes.zalo import error

RATING = (Choice("Rồi, cảm ơn", "/helped yes"), Choice("Chưa", "/helped no"))
ANSWER = Reply("Mở cửa lúc 7:30.", ReplyKind.ANSWER, choices=RATING)


def recorded():
    vector = json.loads((PAYLOADS / "vector.json").read_bytes())
    body = (PAYLOADS / "user_send_text.json").read_bytes()
    return Call(body, headers={HEADER: vector["X-ZEvent-Signature"]})


def signed(event):
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    timestamp = event.get("timestamp", "") if isinstance(event, dict) else ""
    timestamp = str(timestamp).encode(errors="replace").decode()
    mac = signature(SETTINGS["app_id"], body, timestamp, SETTINGS["oa_secret_key"])
    return WebhookRequest("POST", {}, {HEADER: f"mac={mac}"}, body)


# --- receiving -----------------------------------------------------------------------


def test_the_recorded_event_verifies_and_reads(channel):
    (inbound,) = channel.receive(request_of(recorded()), now=SUNDAY).messages

    assert (inbound.patron, inbound.dedupe_key) == (USER_ID, "cb31demo0001")
    assert (inbound.kind, inbound.text) == (InboundKind.TEXT, "Thư viện mở cửa lúc mấy giờ?")
    assert inbound.sent_at == datetime(2026, 11, 22, 0, 0, 0, 123_000, tzinfo=UTC)


def test_the_prefix_of_the_header_may_be_missing(channel):
    call = recorded()
    bare = {HEADER: call.headers[HEADER].removeprefix("mac=")}
    request = WebhookRequest("POST", {}, bare, call.body)

    assert len(channel.receive(request, now=SUNDAY).messages) == 1


def test_an_event_that_was_repeated_for_hours_is_still_read(channel, clock):
    clock.advance(hours=12)

    assert len(channel.receive(request_of(recorded()), now=clock()).messages) == 1


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("user_send_image", {"url": "https://x/1.jpg"}, ("image", "https://x/1.jpg")),
        ("user_send_image", {"thumbnail": "https://x/t.jpg"}, ("image", "https://x/t.jpg")),
        ("user_send_audio", {"url": "https://x/1.aac"}, ("voice", "https://x/1.aac")),
        ("user_send_file", {"url": "https://x/a.pdf"}, ("file", "https://x/a.pdf")),
        ("user_send_sticker", {"id": "1"}, ("event", None)),
        (
            "user_send_location",
            {"coordinates": {"latitude": "10.5", "longitude": "106.5"}},
            ("location", "geo:10.5,106.5"),
        ),
    ],
)
def test_media_is_named(desk, patron, name, payload, expected):
    patron.sends_attached(name, payload)

    assert (desk.heard[-1].kind.value, desk.heard[-1].media) == expected


def test_a_pasted_link_is_text(desk, patron):
    patron.sends_attached("user_send_link", {"url": "https://x.org"})

    assert (desk.heard[-1].kind, desk.heard[-1].text) == (InboundKind.TEXT, "https://x.org")


def test_following_and_leaving_are_heard_once_each(desk, patron):
    patron.follows()
    patron.again()
    patron.unfollows()

    assert [i.kind for i in desk.heard] == [InboundKind.FOLLOW, InboundKind.UNFOLLOW]
    assert not desk.may_send(USER_ID)


@pytest.mark.parametrize(
    ("name", "message", "told"),
    [
        ("user_received_message", {"msg_id": "a1"}, [("a1", False)]),
        ("user_seen_message", {"msg_ids": ["a1", "a2"]}, [("a1", True), ("a2", True)]),
        ("user_seen_message", {"msg_id": "a1"}, [("a1", True)]),
        ("user_seen_message", {"msg_ids": "a1"}, []),
        ("user_seen_message", {"msg_ids": [None, "", "a\0", "a" * 999, "a2"]}, [("a2", True)]),
        ("user_received_message", {}, []),
    ],
)
def test_what_reached_the_patron_is_news_and_no_message(channel, platform, name, message, told):
    people = {"sender": {"id": platform.oa_id}, "recipient": {"id": USER_ID}}
    event = platform.event(name, **people, message=message)

    found = outcome(channel, request_of(platform.call(event)))

    assert found.messages == ()
    assert [(news.provider_id, news.seen) for news in found.arrived] == told
    assert all(news.at is not None for news in found.arrived)


def test_a_receipt_of_another_account_is_not_ours(account, platform):
    event = platform.event("user_seen_message", sender={"id": "2"}, message={"msg_id": "a1"})

    assert outcome(account(oa_id="1"), request_of(platform.call(event))).arrived == ()


def test_the_accounts_own_messages_are_none(desk, platform):
    for name in ("oa_send_text", "anonymous_send"):
        platform.deliver(platform.call(platform.event(name, sender={"id": "1"})), desk)

    assert desk.heard == []
    assert desk.refusals == []


def test_another_account_of_the_application_is_not_ours(account):
    own = account(oa_id="3662729599330000000")
    other = account(oa_id="1")

    assert len(outcome(own, request_of(recorded())).messages) == 1
    assert outcome(other, request_of(recorded())).messages == ()


# --- forged, broken and huge -----------------------------------------------------------


def test_ten_thousand_forged_requests_are_refused(channel):
    for forged in mutations(recorded(), 10_000, header=HEADER):
        assert outcome(channel, request_of(forged)).status in {400, 403}


@pytest.mark.parametrize("headers", [{}, {HEADER: ""}, {HEADER: "mac="}, {HEADER: "mac=é字"}])
def test_a_request_without_its_signature_is_refused(channel, headers):
    body = recorded().body

    assert outcome(channel, WebhookRequest("POST", {}, headers, body)).status == 403
    assert outcome(channel, WebhookRequest("GET", {}, headers, body)).status == 405


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"null",
        b"\xff",
        b"{" * 100_000,
        b'"' + b"a" * 1_100_000,
        {"timestamp": {}},
        {"timestamp": "\ud800"},
        {"timestamp": "1", "event_name": "user_send_text"},
        {"timestamp": "1", "event_name": "follow", "follower": []},
    ],
)
def test_a_broken_body_is_refused_though_signed(channel, event):
    assert outcome(channel, signed(event)).status in {400, 413}


EVENTS = [
    json.loads((PAYLOADS / "user_send_text.json").read_bytes()),
    {"event_name": "follow", "oa_id": "1", "follower": {"id": "2"}, "timestamp": "3"},
    {
        "event_name": "user_send_location",
        "sender": {"id": "1"},
        "message": {
            "msg_id": "1",
            "attachments": [{"payload": {"coordinates": {"latitude": "1", "longitude": "2"}}}],
        },
        "timestamp": "3",
    },
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EVENTS).flatmap(altered))
def test_any_signed_shape_is_read_or_refused(event):
    channel = Zalo("main", SETTINGS, http=None, tokens=None)

    assert getattr(outcome(channel, signed(event)), "status", 400) in {400, 403}


# --- sending -----------------------------------------------------------------------------


def test_an_answer_arrives_with_its_buttons(desk, patron):
    desk.answer = lambda inbound: (ANSWER,) if inbound.kind is InboundKind.TEXT else ()
    patron.says("Mấy giờ mở cửa?")
    patron.taps("Chưa")

    assert patron.screen[0].text == "Mở cửa lúc 7:30."
    tapped = desk.heard[-1]
    assert (tapped.kind, tapped.payload, tapped.event) == (
        InboundKind.CHOICE,
        "/helped no",
        "message",
    )


def test_where_buttons_are_refused_choices_are_written_out(channel, platform, patron):
    platform.takes_buttons = False
    patron.says("hi")
    choices = (Choice("Gia hạn", "/entry renew"), Choice("Không phải", "/none"))
    channel.send(
        USER_ID, Reply("Ý bạn là?", ReplyKind.CHOICES, choices=choices), key="k", now=SUNDAY
    )

    assert patron.screen[-1].text == "Ý bạn là?\n\n1. Gia hạn\n2. Không phải"


def test_more_choices_than_buttons_are_written_out(channel, patron):
    patron.says("hi")
    choices = tuple(Choice(f"n{n}", f"/{n}") for n in range(6))
    channel.send(USER_ID, Reply("Which?", ReplyKind.CHOICES, choices=choices), key="k", now=SUNDAY)

    assert patron.screen[-1].text.endswith("6. n5")


def test_a_long_answer_is_split(channel, patron):
    patron.says("hi")
    text = "Một câu trả lời dài. " * 150
    channel.send(USER_ID, Reply(text, ReplyKind.LIBRARIAN, choices=RATING), key="k", now=SUNDAY)

    assert len(patron.screen) == 2
    assert [len(shown.choices) for shown in patron.screen] == [0, 2]


def test_a_repeated_event_is_heard_once(desk, platform, patron):
    desk.answer = lambda inbound: (ANSWER,)
    platform.lose_answers = 3
    patron.says("Mấy giờ mở cửa?")

    assert desk.deliveries == 4
    assert len(desk.heard) == len(patron.screen) == 1


def test_a_late_answer_within_two_days_goes_out(desk, clock, patron):
    patron.says("Where is the atlas?")
    clock.advance(hours=47)

    assert desk.may_send(USER_ID)
    assert desk.send(USER_ID) is not None
    assert patron.screen[-1].text == LATE.text


def failure_of(channel, reply=LATE):
    with pytest.raises(SendError) as caught:
        channel.send(USER_ID, reply, key="k", now=SUNDAY)
    return caught.value


@pytest.mark.parametrize(("hours", "code"), [(49, "-211"), (24 * 8, "-230")])
def test_a_late_answer_after_the_window_uses_the_next_way(desk, clock, patron, hours, code):
    patron.says("Where is the atlas?")
    clock.advance(hours=hours)

    assert not desk.may_send(USER_ID)
    found = failure_of(desk.channel)
    assert (found.failure, found.code) == (SendFailure.WINDOW_CLOSED, code)


def test_our_ledger_counts_to_eight_as_zalo_does(desk, channel, patron):
    patron.says("hi")
    sent = 0
    while desk.may_send(USER_ID):
        desk.send(USER_ID)
        sent += 1

    assert sent == 8
    assert failure_of(channel).code == "-211"


def test_a_patron_who_left_uses_the_next_way(channel, patron):
    patron.says("hi")
    patron.unfollows()

    assert failure_of(channel).failure is SendFailure.WINDOW_CLOSED


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.REFUSED, SendFailure.RETRY),
        (Answer(b"", 503), SendFailure.RETRY),
        (error(-32, "Rate limit"), SendFailure.RETRY),
        (Answer(b"", 504), SendFailure.UNCERTAIN),
        (Fault.TIMEOUT, SendFailure.UNCERTAIN),
        (Fault.TIMEOUT_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.RESET_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.GARBAGE, SendFailure.UNCERTAIN),
        (error(-311, "Out of quota"), SendFailure.WINDOW_CLOSED),
        (error(-201, "Params is invalid"), SendFailure.PERMANENT),
        (error(-999, "New"), SendFailure.PERMANENT),
        (Answer(b"", 404), SendFailure.PERMANENT),
    ],
)
def test_failures_have_their_class(channel, platform, patron, fault, failure):
    patron.says("hi")
    channel.check()
    platform.fail_next(fault, path="/message/cs")

    assert failure_of(channel).failure is failure


# --- tokens ------------------------------------------------------------------------------


def test_each_refresh_token_is_used_once(channel, platform, clock, patron):
    for _ in range(4):
        patron.says("hi")
        channel.send(USER_ID, LATE, key="k", now=clock())
        clock.advance(hours=26)

    assert platform.refreshes == 4
    assert len(patron.screen) == 4


def test_workers_share_one_line_of_refresh_tokens(account, platform, clock, patron):
    workers = [account(), account()]
    for worker in workers * 2:
        patron.says("hi")
        worker.send(USER_ID, LATE, key="k", now=clock())
        clock.advance(hours=13)

    assert platform.refreshes == 2


def test_a_refused_access_token_is_replaced_at_once(channel, platform, patron):
    patron.says("hi")
    channel.send(USER_ID, LATE, key="k", now=SUNDAY)
    platform.revoke_access()
    channel.send(USER_ID, LATE, key="k", now=SUNDAY)

    assert platform.refreshes == 2
    assert len(patron.screen) == 2


def test_a_token_that_stays_refused_is_retried_later(channel, platform, patron):
    patron.says("hi")
    platform.fail_next(error(-216, "Access token is invalid"), path="/message/cs", times=2)

    assert failure_of(channel).failure is SendFailure.RETRY


@pytest.mark.parametrize(
    "fault", [Fault.TIMEOUT, Fault.REFUSED, Answer(b"", 503), Answer(b"", 504)]
)
def test_no_token_because_of_the_way_is_retried(channel, platform, patron, fault):
    patron.says("hi")
    platform.fail_next(fault, path="access_token")

    assert failure_of(channel).failure is SendFailure.RETRY
    assert patron.screen == []
    channel.send(USER_ID, LATE, key="k", now=SUNDAY)


def test_a_spent_refresh_token_asks_for_a_new_authorisation(account, platform, patron):
    patron.says("hi")
    platform.refresh_token = "used elsewhere"
    found = failure_of(account())

    assert found.failure is SendFailure.PERMANENT
    assert "authorise the account anew" in str(found)


def test_a_new_refresh_token_in_the_settings_takes_over(account, platform, patron, clock):
    patron.says("hi")
    account().send(USER_ID, LATE, key="k", now=clock())
    platform.refresh_token = "authorised-anew"
    account(refresh_token="authorised-anew").send(USER_ID, LATE, key="k", now=clock())

    assert len(patron.screen) == 2


def test_no_secret_is_a_key_or_is_told(channel, platform, tokens, patron):
    patron.says("hi")
    channel.send(USER_ID, LATE, key="k", now=SUNDAY)
    platform.fail_next(error(-999, "zaloDemoAccessToken1 is odd"), path="/message/cs")

    assert "zaloDemoAccessToken1" not in str(failure_of(channel))
    secrets = [value for name, value in SETTINGS.items() if name != "app_id"]
    assert not any(secret in key for key in tokens.cached for secret in secrets)
    assert len(tokens.cached) == 2


# --- settings and health -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [("app_id", ""), ("oa_secret_key", "字"), ("refresh_token", "a b"), ("api_base", "x")],
)
def test_a_wrong_setting_is_named(account, setting, value):
    with pytest.raises(ValueError, match=setting):
        account(**{setting: value})


def test_health(account, platform):
    assert account().check() == []
    platform.fail_next(error(-204, "Official Account is deleted"), path="getoa")
    assert account().check() == ["Zalo refused: Official Account is deleted (-204)."]
    assert "authorise the account anew" in account(refresh_token="other").check()[0]
