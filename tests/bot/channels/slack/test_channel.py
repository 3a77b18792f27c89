"""Slack's two sides: patrons who write to the app, librarians who answer in threads."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.signature import Clock as SdkClock
from slack_sdk.signature import SignatureVerifier

import bot.channels.slack
from bot.channels.base import Refused, SendError, SendFailure
from bot.channels.slack import Slack, wording
from bot.channels.slack.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, signature
from bot.messages import Choice, InboundKind, Reply, ReplyKind, StaffMessage, WebhookRequest
from tests.bot.channels.library import LATE, SUNDAY, altered, mutations, outcome, request_of
from tests.bot.channels.slack.conftest import PAYLOADS, READER, SETTINGS
from tests.fakes.platform import Answer, Call, Fault
from tests.fakes.slack import ME, ROOM, Member, error

SECRET = SETTINGS["signing_secret"]
VECTOR = json.loads((PAYLOADS / "vector.json").read_bytes())
FORM = "application/x-www-form-urlencoded"
RATING = (Choice("Yes, thanks", "/helped yes"), Choice("No", "/helped no"))
ANSWER = Reply("Renew in My Library.", ReplyKind.ANSWER, choices=RATING)
THREAD = "1795305000.000100"


def recorded(name):
    """A recorded request with its recorded signature."""
    vector = next(each for each in VECTOR["vectors"] if each["body_file"] == f"slack-{name}")
    headers = {
        "content-type": FORM if name.endswith("form") else "application/json",
        TIMESTAMP_HEADER: VECTOR["X-Slack-Request-Timestamp"],
        SIGNATURE_HEADER: vector["X-Slack-Signature"],
    }
    return Call((PAYLOADS / name).read_bytes(), headers=headers)


def signed(content, *, kind="application/json", now=SUNDAY):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    timestamp = str(int(now.timestamp()))
    headers = {
        "content-type": kind,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: signature(SECRET, timestamp, body),
    }
    return WebhookRequest("POST", {}, headers, body)


def read(channel, content, **more):
    return channel.receive(signed(content, **more), now=SUNDAY)


# --- verifying -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["event.json", "command.form"])
def test_the_recorded_requests_verify(channel, name):
    assert len(channel.receive(request_of(recorded(name)), now=SUNDAY).messages) == 1


@pytest.mark.parametrize("body", [b"", b"{}", "é".encode()])
def test_slack_sdk_signs_alike(body):
    timestamp = str(int(SUNDAY.timestamp()))

    class Standing(SdkClock):
        def now(self) -> float:
            return SUNDAY.timestamp()

    verifier = SignatureVerifier(SECRET, Standing())
    ours = signature(SECRET, timestamp, body)
    assert verifier.generate_signature(timestamp=timestamp, body=body) == ours
    assert verifier.is_valid(body, timestamp, ours)


def test_the_address_is_checked_once(platform, desk):
    assert platform.verify(desk)
    recorded_word = json.loads((PAYLOADS / "url_verification.json").read_bytes())
    assert read(desk.channel, recorded_word).handshake.body == b"demoChallenge01"


def test_an_unsigned_check_is_refused(channel):
    body = (PAYLOADS / "url_verification.json").read_bytes()

    assert outcome(channel, WebhookRequest("POST", {}, {}, body)).status == 400


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        (TIMESTAMP_HEADER, "abc", 400),
        (TIMESTAMP_HEADER, "", 400),
        (TIMESTAMP_HEADER, "١٧٩٥", 400),
        (TIMESTAMP_HEADER, "9" * 400, 400),
        (TIMESTAMP_HEADER, "1795305601", 403),
        (SIGNATURE_HEADER, "v0=é", 400),
        (SIGNATURE_HEADER, "", 400),
        (SIGNATURE_HEADER, "v0=" + "0" * 64, 403),
        (SIGNATURE_HEADER, "v1=" + "0" * 64, 400),
    ],
)
def test_wrong_headers_are_refused_and_never_break(channel, header, value, status):
    call = recorded("event.json")
    changed = replace(call, headers={**call.headers, header: value})

    assert outcome(channel, request_of(changed)).status == status


@pytest.mark.parametrize("seconds", [-301, 301])
def test_five_minutes_later_a_captured_request_is_worth_nothing(channel, seconds):
    now = SUNDAY + timedelta(seconds=seconds)

    assert outcome(channel, request_of(recorded("event.json")), now=now).status == 403


@pytest.mark.parametrize("name", ["event.json", "command.form"])
def test_ten_thousand_forged_requests_are_refused(channel, name):
    for forged in mutations(recorded(name), 5_000, header=SIGNATURE_HEADER):
        assert outcome(channel, request_of(forged)).status in {400, 403}


def test_only_posts_are_answered(channel):
    assert outcome(channel, WebhookRequest("GET", {}, {}, b"")).status == 405


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"null", "application/json"),
        (b"[]", "application/json"),
        (b"{" * 100_000, "application/json"),
        (b"{}" + b" " * 1_100_000, "application/json"),
        (b"a=1&" * 200, FORM),
        (b"a=%ff", FORM),
        (b"\xff", FORM),
        (b"payload=", FORM),
        (b"payload=[]", FORM),
        (b"text=x", FORM),
        (b"user_id=U1", FORM),
        (b"a" * 1_100_000, FORM),
    ],
)
def test_a_broken_body_is_refused_though_signed(channel, body, kind):
    assert outcome(channel, signed(body, kind=kind)).status in {400, 413}


EVENT = json.loads((PAYLOADS / "event.json").read_bytes())
TAP = {
    "type": "block_actions",
    "user": {"id": READER},
    "channel": {"id": "D1"},
    "container": {"thread_ts": THREAD},
    "actions": [{"value": "/none", "text": {"text": "None"}, "action_ts": "1.2"}],
}


@settings(max_examples=400, deadline=None)
@given(altered(EVENT))
def test_any_signed_event_is_read_or_refused(document):
    channel = Slack("main", {**SETTINGS, "staff_channel": "C1"}, http=None, tokens=None)

    assert getattr(outcome(channel, signed(document)), "status", 400) == 400


@settings(max_examples=300, deadline=None)
@given(altered(TAP))
def test_any_signed_tap_is_read_or_refused(payload):
    channel = Slack("main", SETTINGS, http=None, tokens=None)
    body = urlencode({"payload": json.dumps(payload)}).encode()
    assert getattr(outcome(channel, signed(body, kind=FORM)), "status", 400) == 400


# --- patrons -------------------------------------------------------------------------


def test_the_recorded_event_is_a_question(channel):
    (inbound,) = channel.receive(request_of(recorded("event.json")), now=SUNDAY).messages

    assert (inbound.patron, inbound.text) == (READER, "Where is the microfilm reader?")
    assert (inbound.dedupe_key, inbound.thread) == ("Ev0DEMO01", {"channel": "D0DEMO"})
    assert inbound.sent_at == datetime(2026, 11, 22, tzinfo=UTC)


def test_the_recorded_command_is_a_question(channel):
    (inbound,) = channel.receive(request_of(recorded("command.form")), now=SUNDAY).messages

    assert (inbound.patron, inbound.text) == (READER, "opening hours & café")
    assert inbound.dedupe_key == "command:13.demo"
    assert inbound.thread["response_url"].startswith("https://hooks.slack.com/")


@pytest.mark.parametrize(
    "address",
    ["http://hooks.slack.com/x", "https://hooks.slack.com.evil.example/x", "https://[", "x", "é"],
)
def test_answers_go_to_slacks_own_addresses_only(channel, address):
    fields = {"user_id": "U1", "trigger_id": "1", "text": "x", "response_url": address}
    (inbound,) = read(channel, urlencode(fields).encode(), kind=FORM).messages

    assert inbound.thread == {"channel": "U1"}


def test_an_answer_arrives_with_its_buttons(desk, platform, patron):
    desk.answer = lambda inbound: (answered(ANSWER, inbound),)

    assert patron.says("How do I renew?").statuses == (200,)
    assert patron.screen[0].text == "Renew in My Library."
    assert patron.screen[0].choices == (("/helped yes", "Yes, thanks"), ("/helped no", "No"))

    patron.taps("No")
    tapped = desk.heard[-1]
    assert (tapped.kind, tapped.payload, tapped.text) == (InboundKind.CHOICE, "/helped no", "No")
    assert tapped.event == "message"
    assert tapped.thread == {"channel": patron.place}


def answered(reply, inbound):
    """As the core hands a reply to the channel: with the thread of the last message."""
    return replace(reply, thread=inbound.thread)


def test_a_mention_is_answered_in_its_thread(desk, platform, patron):
    desk.answer = lambda inbound: (answered(LATE, inbound),)
    patron.mentions("where is the atlas?", room="C0HISTORY")
    (inbound,) = desk.heard

    assert inbound.text == "where is the atlas?"
    assert platform.threads[inbound.thread["thread_ts"]] == [LATE.text]

    patron.mentions("and the map?", room="C0HISTORY", thread=inbound.thread["thread_ts"])
    assert platform.threads[inbound.thread["thread_ts"]] == [LATE.text] * 2


def test_a_command_is_answered_where_it_was_typed_and_later_directly(
    desk, channel, platform, patron, clock
):
    desk.answer = lambda inbound: (answered(LATE, inbound),)
    assert patron.commands("where is the atlas?").body == b""
    assert [shown.text for shown in patron.screen] == [LATE.text]
    assert not platform.asked[-1].path.endswith("postMessage")

    clock.advance(seconds=1900)
    channel.send(READER, answered(LATE, desk.heard[0]), key="k", now=clock())
    assert platform.asked[-1].path.endswith("postMessage")
    assert len(patron.screen) == 2


def test_what_a_command_cannot_show_any_more_follows_directly(desk, channel, platform, patron):
    patron.commands("?")
    long = Reply("One whole sentence. " * 1400, ReplyKind.LIBRARIAN)
    channel.send(READER, answered(long, desk.heard[0]), key="k", now=SUNDAY)

    assert len(patron.screen) == 7
    assert sum(asked.path.endswith("postMessage") for asked in platform.asked) == 2


def test_an_empty_command_is_a_greeting(desk, patron):
    patron.commands("")

    assert desk.heard[0].kind is InboundKind.FOLLOW


@pytest.mark.parametrize(
    "more",
    [
        {"bot_id": "B1"},
        {"subtype": "bot_message"},
        {"subtype": "message_changed", "message": {"text": "x"}},
        {"subtype": "message_deleted"},
        {"user": ME},
        {"user": ""},
        {"channel_type": "channel", "channel": "C1"},
        {"type": "reaction_added"},
    ],
)
def test_bots_and_other_events_are_not_heard(desk, patron, more):
    assert patron.says("hello", **more).statuses == (200,)
    assert (desk.heard, desk.refusals) == ([], [])


def test_files_are_named(desk, patron):
    pdf = {"mimetype": "application/pdf", "url_private": "https://files.slack.com/a"}
    image = {**pdf, "mimetype": "image/png"}
    patron.says("", subtype="file_share", files=[pdf])
    patron.says("", subtype="file_share", files=[image])
    patron.says("see this", subtype="file_share", files=[image])

    kinds = [(each.kind, each.media) for each in desk.heard]
    address = "https://files.slack.com/a"
    assert kinds == [
        (InboundKind.FILE, address),
        (InboundKind.IMAGE, address),
        (InboundKind.TEXT, address),
    ]


def test_a_repeated_event_is_heard_once(desk, platform, patron):
    desk.answer = lambda inbound: (answered(LATE, inbound),)
    platform.lose_answers = 2
    patron.says("where?")
    patron.again()

    assert desk.deliveries == 4
    assert len(desk.heard) == len(patron.screen) == 1


def test_weeks_later_an_answer_still_goes_out(desk, patron, clock):
    patron.says("where?")
    clock.advance(hours=1000)

    assert desk.may_send(READER)
    assert desk.send(READER)
    assert patron.screen[-1].text == LATE.text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
        ("<https://x.example/a?b=1&amp;c=2>", "https://x.example/a?b=1&c=2"),
        ("<https://x.example|x.example>", "x.example (https://x.example)"),
        ("<mailto:a@x.example|a@x.example>", "a@x.example"),
        ("<#C1|history> <!here> <!subteam^S1|@desk>", "#history @here @@desk"),
        (f"<@{ME}> hello <@U2>", "hello @U2"),
        ("<", "<"),
    ],
)
def test_markup_is_read_as_people_see_it(written, text):
    assert wording.plain(written, me=ME) == text


@given(st.text())
def test_nothing_in_our_text_is_markup(text):
    escaped = wording.escaped(text)

    assert "<" not in escaped
    assert ">" not in escaped
    assert wording.plain(escaped) == wording.storable(text).strip()


@pytest.mark.parametrize("length", [1, 2999, 3001, 4001, 9000])
@pytest.mark.parametrize("count", [0, 2, 25, 26])
def test_every_reply_fits(channel, patron, length, count):
    choices = tuple(Choice(f"Choice {n} {'x' * 80}", f"/entry e{n}") for n in range(count))
    reply = Reply("字" * length, ReplyKind.CHOICES, choices=choices)
    channel.send(READER, reply, key="k", now=SUNDAY)

    assert "".join(shown.text for shown in patron.screen).count("字") == length
    assert len(patron.screen[-1].choices) == (count if count <= 25 else 0)


def failure_of(channel, *, reply=LATE):
    with pytest.raises(SendError) as caught:
        channel.send(READER, reply, key="k", now=SUNDAY)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.REFUSED, SendFailure.RETRY),
        (Fault.TIMEOUT, SendFailure.UNCERTAIN),
        (Fault.RESET_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.GARBAGE, SendFailure.UNCERTAIN),
        (Answer({"ok": True}, 504), SendFailure.UNCERTAIN),
        (Answer(b"", 503), SendFailure.RETRY),
        (error("service_unavailable"), SendFailure.RETRY),
        (error("fatal_error"), SendFailure.UNCERTAIN),
        (error("channel_not_found"), SendFailure.PERMANENT),
        (error("brand_new_error"), SendFailure.PERMANENT),
        (Answer({"ok": False, "error": "ratelimited"}, 429), SendFailure.RETRY),
    ],
)
def test_failures_have_their_class(channel, platform, patron, fault, failure):
    platform.fail_next(fault)

    assert failure_of(channel).failure is failure


def test_slack_names_the_pause(channel, platform, patron):
    platform.fail_next(Answer({"ok": False, "error": "ratelimited"}, 429, {"retry-after": "30"}))

    assert failure_of(channel).retry_after == 30.0


def test_a_command_whose_answer_breaks_is_uncertain(channel, desk, platform, patron):
    patron.commands("?")
    reply = answered(LATE, desk.heard[0])
    platform.fail_next(Fault.RESET_AFTER_ACCEPT, path="/commands/")
    assert failure_of(channel, reply=reply).failure is SendFailure.UNCERTAIN
    platform.fail_next(Answer(b"", 500), path="/commands/")
    assert failure_of(channel, reply=reply).failure is SendFailure.RETRY


def test_a_command_whose_second_part_breaks_is_not_answered_from_the_beginning(
    channel, desk, platform, patron
):
    patron.commands("?")
    long = answered(Reply("One whole sentence. " * 300, ReplyKind.LIBRARIAN), desk.heard[0])
    accept = platform.handle

    def accept_once(asked):
        platform.fail_next(Answer(b"", 500), path="/commands/")
        return accept(asked)

    platform.handle = accept_once
    found = failure_of(channel, reply=long)

    assert (found.failure, found.parts_sent) == (SendFailure.UNCERTAIN, 1)


def test_no_secret_is_told(account, platform, patron):
    shown = []
    for fault in (*Fault, error("invalid_auth")):
        platform.fail_next(fault)
        found = failure_of(account())
        shown.append(f"{found} {found.__cause__}")

    assert not [text for text in shown if "xoxb" in text or SECRET in text]


# --- librarians ----------------------------------------------------------------------


def test_a_case_is_a_thread(channel, platform):
    thread = channel.post("Where is the atlas?", thread=None)
    assert channel.post("Answered & closed <ok>", thread=thread) == thread

    assert platform.threads[thread] == ["Where is the atlas?", "Answered & closed <ok>"]


def test_a_long_case_stays_in_its_thread(channel, platform):
    thread = channel.post("x" * 9000, thread=None)

    assert list(platform.threads) == [thread]
    assert len(platform.threads[thread]) == 3


def test_what_a_librarian_writes_in_the_thread_comes_back(channel, platform):
    librarian = platform.person("U0LIN", None)
    call = platform.event(
        type="message",
        channel=ROOM,
        user=librarian.user,
        thread_ts=THREAD,
        parent_user_id=ME,
        text="In the east branch &amp; open.",
    )
    received = channel.receive(request_of(call), now=SUNDAY)

    expected = StaffMessage(THREAD, "U0LIN", "In the east branch & open.", "Ev000001")
    assert (received.messages, received.from_staff) == ((), (expected,))


@pytest.mark.parametrize(
    ("text", "said", "is_note"),
    [
        ("// who knows this?", "who knows this?", True),
        ("<@U0CHEN> please look", "@U0CHEN please look", True),
        (f"<@{ME}> In the east branch.", "In the east branch.", False),
        ("See https://x.example // really", "See https://x.example // really", False),
    ],
)
def test_colleagues_can_talk_in_the_thread(channel, platform, text, said, is_note):
    facts = {"channel": ROOM, "user": "U0LIN", "thread_ts": THREAD, "parent_user_id": ME}
    call = platform.event(type="message", text=text, **facts)
    (message,) = channel.receive(request_of(call), now=SUNDAY).from_staff

    assert (message.text, message.is_note) == (said, is_note)


@pytest.mark.parametrize(
    "more",
    [
        {"thread_ts": ""},
        {"thread_ts": THREAD, "ts": THREAD},
        {"thread_ts": THREAD, "parent_user_id": "U0CHEN"},
        {"thread_ts": THREAD, "bot_id": "B1"},
        {"thread_ts": THREAD, "user": ME},
        {"thread_ts": THREAD, "text": ""},
        {"thread_ts": THREAD, "type": "app_mention"},
        {"thread_ts": THREAD, "subtype": "message_deleted"},
    ],
)
def test_other_talk_in_the_room_is_nobodys_answer(channel, platform, more):
    facts = {"type": "message", "text": "hello", "channel": ROOM, "user": "U0LIN"}
    received = channel.receive(
        request_of(platform.event(**{**facts, "parent_user_id": ME, **more})), now=SUNDAY
    )

    assert (received.messages, received.from_staff) == ((), ())


def test_a_file_is_a_note_because_a_patron_cannot_get_it(channel, platform):
    facts = {"channel": ROOM, "user": "U0LIN", "thread_ts": THREAD, "subtype": "file_share"}
    call = platform.event(
        type="message", text="scan", files=[{"permalink": "https://s.example/f"}], **facts
    )
    (message,) = channel.receive(request_of(call), now=SUNDAY).from_staff

    assert (message.text, message.is_note) == ("scan\n📎 https://s.example/f", True)


def test_who_wrote_is_known_by_their_confirmed_address(channel, platform):
    platform.members |= {
        "U1": Member("Lin@Example.edu"),
        "U2": Member("guest@example.org", is_guest=True),
        "U3": Member("x@example.edu", is_confirmed=False),
        "U4": Member(None),
    }

    assert channel.email_of("U1") == "lin@example.edu"
    assert [channel.email_of(user) for user in ("U2", "U3", "U4")] == [None] * 3
    with pytest.raises(SendError, match="no such person"):
        channel.email_of("U9")


def test_without_a_room_nothing_is_posted(account):
    assert account().room is None
    with pytest.raises(SendError) as caught:
        account().post("x", thread=None)
    assert caught.value.failure is SendFailure.PERMANENT


# --- settings, health, guide -------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("bot_token", "xoxp-user"),
        ("bot_token", ""),
        ("signing_secret", "字"),
        ("staff_channel", "#desk"),
        ("staff_channel", "desk"),
        ("api_base", "http://slack.example"),
    ],
)
def test_a_wrong_setting_is_named(account, setting, value):
    with pytest.raises(ValueError, match=setting):
        account(**{setting: value})


def test_health(account, channel, platform):
    assert channel.check() == account().check() == []
    platform.rooms.clear()
    assert channel.check() == ["The app is not in the librarians' channel: invite it there."]
    platform.fail_next(error("missing_scope"), path="conversations.info")
    assert "lacks a permission" in channel.check()[0]
    platform.bot_token = "xoxb-another"
    assert channel.check() == ["Slack refused: the bot_token is wrong (invalid_auth)."]


README = (Path(bot.channels.slack.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_explained():
    declared = Slack.declaration.required_settings + Slack.declaration.optional_settings

    assert [name for name in declared if f"`{name}" not in README] == []


def test_every_fact_to_confirm_is_in_the_guide():
    table = README.split("## Confirm on your account")[1]

    assert table.count("\n- ") == len(Slack.declaration.unverified)


def test_a_put_is_refused(channel):
    with pytest.raises(Refused):
        channel.receive(WebhookRequest("PUT", {}, {}, b""), now=SUNDAY)
