"""A business number's webhook and its answers, against a Meta that keeps its own rules."""

import inspect
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pywa.types import message_status
from pywa.utils import webhook_updates_validator

from bot.channels.base import Refused, SendError, SendFailure
from bot.channels.whatsapp import WhatsApp, shaping
from bot.channels.whatsapp.signing import HEADER, signature
from bot.messages import Choice, InboundKind, Reply, ReplyKind, WebhookRequest
from tests.bot.channels.library import LATE, SUNDAY, altered, mutations, outcome, request_of
from tests.bot.channels.whatsapp.conftest import PAYLOADS, PHONE, SETTINGS, TEMPLATE, USER_ID
from tests.fakes.platform import Answer, Call, Fault
from tests.fakes.whatsapp import error

SECRET = SETTINGS["app_secret"]
CAFE = "Xin chào – is the café open? 😀"
RATING = (Choice("Yes, thanks", "/helped yes"), Choice("No", "/helped no"))
ANSWER = Reply("Renew in My Library.", ReplyKind.ANSWER, choices=RATING)
TITLES = ("How do I renew a book that is overdue?", "Holds", "Fines", "None of these")
OFFER = Reply(
    "Which?", ReplyKind.CHOICES, choices=tuple(Choice(t, f"/entry {t.lower()[:9]}") for t in TITLES)
)


def recorded(name):
    """A recorded request with its recorded signature."""
    vector = json.loads((PAYLOADS / f"{name}-vector.json").read_bytes())
    body = (PAYLOADS / f"{name}.json").read_bytes()
    return Call(body, headers={HEADER: vector["X-Hub-Signature-256"]})


def signed(document):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return WebhookRequest("POST", {}, {HEADER: signature(SECRET, body)}, body)


def read(channel, document):
    return channel.receive(signed(document), now=SUNDAY).messages


# --- receiving -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["text", "text-bsuid-only"])
def test_the_recorded_messages_verify_and_read(channel, name):
    (inbound,) = channel.receive(request_of(recorded(name)), now=SUNDAY).messages

    assert (inbound.patron, inbound.text, inbound.display_name) == (USER_ID, CAFE, "Reader A")
    assert inbound.dedupe_key == f"wamid.HBgLdemo0001{'A' if name == 'text' else 'B'}"
    assert inbound.sent_at == datetime(2026, 11, 22, tzinfo=UTC)


def test_pywa_signs_alike():
    call = recorded("text")

    assert webhook_updates_validator(SECRET, call.body, call.headers[HEADER])
    assert webhook_updates_validator(SECRET, b"\xff\x00", signature(SECRET, b"\xff\x00"))


def test_a_patron_without_user_id_is_known_by_their_number(channel):
    document = json.loads((PAYLOADS / "text.json").read_bytes())
    value = document["entry"][0]["changes"][0]["value"]
    del value["contacts"][0]["user_id"], value["messages"][0]["from_user_id"]

    assert read(channel, document)[0].patron == PHONE


def test_every_message_of_a_request_is_read(channel, platform, patron):
    platform.patron("VN.2", None, name="Second")
    other = platform.value(messages=[], metadata={"phone_number_id": "999"})
    values = [patron.value("text", {"body": str(n)}) for n in range(3)]
    values[1]["messages"].append({**values[1]["messages"][0], "id": "wamid.more"})
    call = platform.call(values[0], other, values[1], values[2])

    messages = channel.receive(request_of(call), now=SUNDAY).messages

    assert [inbound.text for inbound in messages] == ["0", "1", "1", "2"]


def test_messages_for_another_number_are_not_ours(channel, patron):
    value = patron.value("text", {"body": "hi"})
    value["metadata"]["phone_number_id"] = "999"

    assert channel.receive(request_of(patron.whatsapp.call(value)), now=SUNDAY).messages == ()


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("image", {"id": "m1", "caption": "?"}, (InboundKind.IMAGE, "?", "m1")),
        ("audio", {"id": "m2", "voice": True}, (InboundKind.VOICE, "", "m2")),
        ("document", {"id": "m3", "filename": "a.pdf"}, (InboundKind.FILE, "", "m3")),
        ("sticker", {"id": "m4"}, (InboundKind.EVENT, "", None)),
        (
            "location",
            {"latitude": 10.5, "longitude": 106.5, "name": "Gate"},
            (InboundKind.LOCATION, "Gate", "geo:10.5,106.5"),
        ),
        ("contacts", [{"name": {}}], (InboundKind.FILE, "", None)),
        ("unsupported", {}, (InboundKind.FILE, "", None)),
    ],
)
def test_media_is_named(channel, patron, kind, content, expected):
    call = patron.whatsapp.call(patron.value(kind, content))
    (inbound,) = channel.receive(request_of(call), now=SUNDAY).messages

    assert (inbound.kind, inbound.text, inbound.media) == expected


def test_statuses_reactions_and_notices_are_no_messages(desk, patron):
    patron.receives("delivered", "wamid.x")
    patron.sends("reaction", {"message_id": "wamid.x", "emoji": "👍"})
    patron.sends("system", {"body": "changed number", "type": "user_changed_number"})

    assert desk.heard == []
    assert desk.refusals == []


def test_other_fields_and_objects_are_not_read(channel):
    field = {"entry": [{"changes": [{"field": "smb_message_echoes", "value": {}}]}]}

    assert read(channel, {"object": "whatsapp_business_account", **field}) == ()
    with pytest.raises(Refused):
        read(channel, {"object": "page", "entry": []})


# --- the handshake -----------------------------------------------------------------------


def test_the_handshake_is_answered(platform, desk):
    assert platform.verify(desk)


@pytest.mark.parametrize(
    "change",
    [
        {"hub.verify_token": "wrong"},
        {"hub.verify_token": "字"},
        {"hub.mode": "unsubscribe"},
        {"hub.challenge": ""},
        {"hub.challenge": "a\nb"},
        {"hub.challenge": "<script>" * 100},
    ],
)
def test_another_handshake_is_refused(channel, change):
    query = {"hub.mode": "subscribe", "hub.verify_token": "readingRoom7", "hub.challenge": "1"}

    with pytest.raises(Refused):
        channel.receive(WebhookRequest("GET", {**query, **change}, {}, b""), now=SUNDAY)


# --- forged, broken and huge -----------------------------------------------------------


def test_ten_thousand_forged_requests_are_refused(channel):
    for forged in mutations(recorded("text"), 10_000, header=HEADER):
        assert outcome(channel, request_of(forged)).status == 403


@pytest.mark.parametrize("headers", [{}, {HEADER: ""}, {HEADER: "sha256=é"}, {HEADER: "sha1=00"}])
def test_a_request_without_its_signature_is_refused(channel, headers):
    body = recorded("text").body

    assert outcome(channel, WebhookRequest("POST", {}, headers, body)).status == 403
    assert outcome(channel, WebhookRequest("PUT", {}, headers, body)).status == 405


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"\xff", b"{" * 100_000, b'{"object":1}', b'{"a":"' + b"a" * 1_100_000],
)
def test_a_broken_body_is_refused_though_signed(channel, body):
    assert outcome(channel, signed(body)).status in {400, 413}


DOCUMENTS = [json.loads(recorded(name).body) for name in ("text", "text-bsuid-only")]
MESSAGE = DOCUMENTS[0]["entry"][0]["changes"][0]["value"]["messages"][0]
for kind, content in (
    ("interactive", {"type": "button_reply", "button_reply": {"id": "/none", "title": "None"}}),
    ("location", {"latitude": 1, "longitude": 2, "name": "x"}),
    ("button", {"payload": "/x", "text": "Read"}),
):
    document = json.loads(json.dumps(DOCUMENTS[0]))
    message = {**MESSAGE, "type": kind, kind: content}
    document["entry"][0]["changes"][0]["value"]["messages"][0] = message
    DOCUMENTS.append(document)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DOCUMENTS).flatmap(altered))
def test_any_signed_shape_is_read_or_refused(document):
    channel = WhatsApp("main", SETTINGS, http=None, tokens=None)

    assert getattr(outcome(channel, signed(document)), "status", 400) == 400


# --- sending -----------------------------------------------------------------------------


def test_an_answer_arrives_with_its_buttons(desk, platform, patron):
    desk.answer = lambda inbound: (ANSWER,)

    assert patron.says("How do I renew?").statuses == (200,)
    assert patron.screen[0].text == "Renew in My Library."
    assert patron.screen[0].choices == (("/helped yes", "Yes, thanks"), ("/helped no", "No"))
    assert platform.asked[-1].document["recipient"] == USER_ID


def test_a_number_is_written_to_as_a_number(channel, platform, patron):
    patron.says("hi")
    platform.patron(PHONE, None)
    platform.opens(PHONE)

    channel.send(PHONE, LATE, key="k", now=SUNDAY)

    assert platform.asked[-1].document == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": PHONE,
        "type": "text",
        "text": {"body": LATE.text, "preview_url": False},
        "biz_opaque_callback_data": "k",
    }


def test_four_choices_become_a_list_with_whole_labels(desk, patron):
    desk.answer = lambda inbound: (OFFER,) if inbound.kind is InboundKind.TEXT else ()
    patron.says("renew")

    assert [label for _, label in patron.screen[0].choices] == list(TITLES)
    patron.taps(TITLES[0])
    tapped = desk.heard[-1]
    assert (tapped.kind, tapped.payload) == (InboundKind.CHOICE, "/entry how do i ")
    assert tapped.event == "message"


@pytest.mark.parametrize(
    "reply",
    [
        Reply("?" * 1025, ReplyKind.CHOICES, choices=RATING[:1]),
        Reply("?", ReplyKind.CHOICES, choices=(Choice("x" * 73, "/none"),)),
        Reply("?", ReplyKind.CHOICES, choices=(Choice("Same", "/a"), Choice("Same", "/b"))),
        Reply("?", ReplyKind.CHOICES, choices=(Choice("x", "/" + "p" * 256),)),
        Reply("?", ReplyKind.CHOICES, choices=tuple(Choice(f"n{n}", f"/{n}") for n in range(11))),
    ],
)
def test_choices_that_fit_nowhere_are_written_out(channel, patron, reply):
    patron.says("hi")
    channel.send(USER_ID, reply, key="k", now=SUNDAY)

    assert patron.screen[-1].choices == ()
    assert reply.choices[-1].label in patron.screen[-1].text


def test_a_long_answer_is_split(channel, patron):
    patron.says("hi")
    text = "一句完整的话。" * 900
    channel.send(USER_ID, Reply(text, ReplyKind.LIBRARIAN), key="k", now=SUNDAY)

    assert "".join(shown.text for shown in patron.screen) == text
    assert len(patron.screen) == 2


def test_a_repeated_request_is_heard_once(desk, platform, patron):
    desk.answer = lambda inbound: (ANSWER,)
    platform.lose_answers = 1
    patron.says("How do I renew?")
    patron.again()

    assert desk.deliveries == 3
    assert len(desk.heard) == len(patron.screen) == 1


def test_a_late_answer_within_the_day_goes_out(desk, clock, patron):
    patron.says("Where is the atlas?")
    clock.advance(hours=23)

    assert desk.may_send(USER_ID)
    assert desk.send(USER_ID).startswith("wamid.")
    assert patron.screen[-1].text == LATE.text


def test_after_a_day_a_template_calls_the_patron_back(desk, channel, clock, patron):
    patron.says("Where is the atlas?")
    clock.advance(hours=25)
    late = Reply("In the east branch.", ReplyKind.LIBRARIAN, quote="Where is\n the atlas?")

    assert not desk.may_send(USER_ID)
    with pytest.raises(SendError) as caught:
        channel.send(USER_ID, late, key="k", now=clock())
    assert (caught.value.failure, caught.value.code) == (SendFailure.WINDOW_CLOSED, "131047")

    channel.announce(USER_ID, late, key="k", now=clock())
    assert patron.screen[-1].text == "Your question “Where is the atlas?” has been answered."
    patron.taps_template()
    assert (desk.heard[-1].kind, desk.heard[-1].text) == (InboundKind.EVENT, "")
    assert desk.may_send(USER_ID)
    desk.send(USER_ID, late)
    assert patron.screen[-1].text.endswith("In the east branch.")


def test_without_a_template_the_next_way_is_used(account):
    with pytest.raises(SendError) as caught:
        account().announce(USER_ID, LATE, key="k", now=SUNDAY)

    assert caught.value.failure is SendFailure.WINDOW_CLOSED


def test_a_template_that_meta_does_not_know_is_final(account, patron):
    channel = account(template_name="other", template_language="en")
    with pytest.raises(SendError) as caught:
        channel.announce(USER_ID, LATE, key="k", now=SUNDAY)

    assert (caught.value.failure, caught.value.code) == (SendFailure.PERMANENT, "132001")


def test_the_documented_template_form():
    recorded_form = json.loads((PAYLOADS / "outbound.json").read_bytes())["template_after_24h"]
    reply = Reply("…", ReplyKind.LIBRARIAN, quote="Case 42")

    made = shaping.template(PHONE, reply, name="reference_answer_ready", language="en")

    assert made == {**recorded_form, "recipient_type": "individual"}


def failure_of(channel, reply=LATE):
    with pytest.raises(SendError) as caught:
        channel.send(USER_ID, reply, key="k", now=SUNDAY)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.REFUSED, SendFailure.RETRY),
        (error(131016, "Service unavailable", 503), SendFailure.RETRY),
        (error(999999, "New", 500), SendFailure.RETRY),
        (Answer(b"", 502), SendFailure.RETRY),
        (error(130429, "Rate limit hit"), SendFailure.RETRY),
        (Answer(b"", 504), SendFailure.UNCERTAIN),
        (Fault.TIMEOUT, SendFailure.UNCERTAIN),
        (Fault.TIMEOUT_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.RESET_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.GARBAGE, SendFailure.UNCERTAIN),
        (Answer({"messages": []}), SendFailure.UNCERTAIN),
        (Answer({"error": "odd"}), SendFailure.UNCERTAIN),
        (error(131026, "Undeliverable"), SendFailure.PERMANENT),
        (error(999999, "New"), SendFailure.PERMANENT),
        (Answer(b"", 404), SendFailure.PERMANENT),
    ],
)
def test_failures_have_their_class(channel, platform, patron, fault, failure):
    patron.says("hi")
    platform.fail_next(fault)

    assert failure_of(channel).failure is failure


def test_too_many_to_one_patron_wait_six_seconds(channel, platform, patron):
    patron.says("hi")
    platform.burst = 0
    found = failure_of(channel)

    assert (found.failure, found.retry_after, found.code) == (SendFailure.RETRY, 6.0, "131056")


def test_a_header_names_the_pause(channel, platform, patron):
    patron.says("hi")
    platform.fail_next(Answer(error(4, "calls").content, 429, {"retry-after": "90"}))

    assert failure_of(channel).retry_after == 90.0


def test_a_refused_token_is_final_and_not_told(account, platform, patron):
    platform.access_token = "another"
    found = failure_of(account())
    platform.fail_next(error(100, f"token {SETTINGS['access_token']} is odd"))
    odd = failure_of(account())

    assert (found.failure, found.code) == (SendFailure.PERMANENT, "190")
    assert SETTINGS["access_token"] not in str(odd)


# --- news of deliveries, other names, the typing sign ------------------------------------


def test_news_names_the_message_with_our_key(channel, platform, patron, clock):
    patron.says("hi")
    number = channel.send(USER_ID, LATE, key="our-key", now=SUNDAY)
    heard = []
    patron.webhook = lambda call: (heard.append(request_of(call)), (200, b""))[1]

    patron.receives("sent", number)
    patron.receives("delivered", number)
    patron.receives("read", number)
    patron.receives("failed", number, code=131047)
    patron.receives("failed", number, code=131026)
    news = [channel.receive(request, now=SUNDAY) for request in heard]

    assert news[0].arrived == news[0].undelivered == ()
    assert [(n.arrived[0].key, n.arrived[0].seen) for n in news[1:3]] == [
        ("our-key", False),
        ("our-key", True),
    ]
    closed, refused = news[3].undelivered[0], news[4].undelivered[0]
    assert (closed.key, closed.failure) == ("our-key", SendFailure.WINDOW_CLOSED)
    assert (refused.provider_id, refused.failure) == (number, SendFailure.PERMANENT)
    assert "131026" in refused.reason
    assert all(not each.messages for each in news)


def test_pywa_reads_our_mark_in_the_same_place(platform, channel, patron):
    patron.says("hi")
    number = channel.send(USER_ID, LATE, key="our-key", now=SUNDAY)
    source = inspect.getsource(message_status)

    assert 'status.get("biz_opaque_callback_data")' in source
    assert platform.marks[number] == "our-key"


def test_a_number_and_a_user_id_are_one_patron(desk, patron):
    patron.says("hi")

    assert desk.heard[-1].patron == USER_ID
    assert desk.heard[-1].aliases == (PHONE,)


def test_a_new_number_is_told_as_a_new_name_of_the_same_patron(desk, patron):
    patron.says("hi")
    patron.changes_number("US.new", "16505550000")

    change = desk.heard[-1]
    assert (change.patron, change.kind, change.text) == ("US.new", InboundKind.EVENT, "")
    assert USER_ID in change.aliases
    assert not desk.may_send("US.new")  # it opens no window by itself


def test_the_typing_sign_refers_to_the_patrons_message(channel, desk, platform, patron):
    patron.says("hi")
    channel.show_typing(USER_ID, thread=desk.heard[-1].thread)
    channel.show_typing(USER_ID, thread={})

    assert platform.typing == [desk.heard[-1].dedupe_key]


# --- settings and health -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("phone_number_id", "+84 28"),
        ("phone_number_id", "x"),
        ("access_token", ""),
        ("app_secret", "字"),
        ("verify_token", " "),
        ("template_name", "alone"),
        ("api_base", "http://graph.example"),
    ],
)
def test_a_wrong_setting_is_named(account, setting, value):
    with pytest.raises(ValueError, match=setting):
        account(**{setting: value})


def test_health(account, platform):
    assert account(**TEMPLATE).check() == []
    platform.fail_next(Fault.TIMEOUT)
    assert "broke" in account().check()[0]
    platform.fail_next(Fault.GARBAGE)
    assert "does not say" in account().check()[0]
    platform.access_token = "another"
    assert account().check() == [
        "WhatsApp refused: the access_token has expired or is wrong (190)."
    ]
