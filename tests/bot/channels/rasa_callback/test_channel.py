"""Rasa's callback channel: asked with a post, answered with posts."""

import json
from pathlib import Path

import httpx
import pytest

from bot.channels.base import Refused, SendError, SendFailure
from bot.channels.rasa_callback import RasaCallback
from bot.messages import Choice, InboundKind, Reply, ReplyKind, WebhookRequest
from tests.bot.channels.library import LATE, SUNDAY, Clock, Tokens

PAYLOADS = Path(__file__).parent / "payloads"
URL = "https://portal.example.org/bot"


def recorded(name):
    return json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))


class Portal:
    """The server at the far end: keeps what it was sent."""

    def __init__(self):
        self.posts = []
        self.answers = []

    def __call__(self, request):
        self.posts.append((json.loads(request.content), dict(request.headers)))
        answer = self.answers.pop(0) if self.answers else 200
        if answer == "refused":
            raise httpx.ConnectError("refused")
        if answer == "lost":
            raise httpx.ReadTimeout("lost")
        return httpx.Response(answer)

    @property
    def bodies(self):
        return [body for body, _ in self.posts]


@pytest.fixture
def portal():
    return Portal()


def account(portal, **settings):
    http = httpx.Client(transport=httpx.MockTransport(portal))
    return RasaCallback("p", {"url": URL, **settings}, http=http, tokens=Tokens(Clock()))


def post(body, *, method="POST", **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebhookRequest(method, {}, headers, raw)


def test_a_recorded_message_is_taken_and_answered_with_success(portal):
    exchange = recorded("callback_in")

    channel = account(portal)
    received = channel.receive(post(exchange["request"]["json"]), now=SUNDAY)

    (inbound,) = received.messages
    assert (inbound.patron, inbound.text) == ("cb1", "show me the menu")
    answer = channel.acknowledge(received, (), at=SUNDAY)
    assert answer.body.decode() == exchange["response"]["text"]
    assert answer.content_type == exchange["response"]["headers"]["content-type"]


def test_an_opened_widget_is_no_question(portal):
    body = {"sender": "a", "message": "/get_started"}

    (inbound,) = account(portal).receive(post(body), now=SUNDAY).messages

    assert inbound.kind is InboundKind.FOLLOW


def test_a_message_id_makes_a_repetition_harmless(portal):
    channel = account(portal)
    body = {"sender": "a", "message": "hi", "metadata": {"message_id": "7"}}

    keys = {channel.receive(post(body), now=SUNDAY).messages[0].dedupe_key for _ in range(2)}
    body.pop("metadata")
    others = {channel.receive(post(body), now=SUNDAY).messages[0].dedupe_key for _ in range(2)}

    assert len(keys) == 1
    assert len(others) == 2


def test_each_message_is_posted_by_itself_with_rasas_keys(portal):
    buttons = Reply("Which?", ReplyKind.CHOICES, choices=(Choice("Holds", "/entry holds"),))
    known = [set(post["json"]) for post in recorded("callback_out")]

    channel = account(portal)
    channel.send("cb1", Reply("One.\n\nTwo.", ReplyKind.ANSWER), key="k1", now=SUNDAY)
    channel.send("cb1", buttons, key="k2", now=SUNDAY)

    assert [body["text"] for body in portal.bodies] == ["One.", "Two.", "Which?"]
    assert all(set(body) in known for body in portal.bodies)
    assert portal.bodies[2]["buttons"] == [{"title": "Holds", "payload": "/entry holds"}]
    assert portal.posts[0][1]["idempotency-key"] == "k1"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (500, SendFailure.RETRY),
        (429, SendFailure.RETRY),
        (404, SendFailure.PERMANENT),
        (302, SendFailure.PERMANENT),
        ("refused", SendFailure.RETRY),
        ("lost", SendFailure.UNCERTAIN),
    ],
)
def test_what_the_portal_does_not_take_is_not_lost_in_silence(portal, answer, expected):
    portal.answers = [answer]

    with pytest.raises(SendError) as error:
        account(portal).send("cb1", LATE, key="k", now=SUNDAY)

    assert error.value.failure is expected


def test_a_token_is_asked_for_and_sent(portal):
    channel = account(portal, token="shelf")
    body = {"sender": "a", "message": "hi"}

    assert channel.receive(post(body, authorization="Bearer shelf"), now=SUNDAY).messages
    with pytest.raises(Refused) as refusal:
        channel.receive(post(body, authorization="Bearer dust"), now=SUNDAY)
    channel.send("a", LATE, key="k", now=SUNDAY)

    assert refusal.value.status == 401
    assert portal.posts[-1][1]["authorization"] == "Bearer shelf"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{nope", {"message": "x"}, {"sender": "a"}, {"sender": "", "message": "x"}],
)
def test_what_is_no_message_is_refused(portal, body):
    with pytest.raises(Refused) as refusal:
        account(portal).receive(post(body), now=SUNDAY)

    assert refusal.value.status == 400


def test_only_posts_are_taken(portal):
    with pytest.raises(Refused):
        account(portal).receive(post({}, method="GET"), now=SUNDAY)


@pytest.mark.parametrize("url", ["", "http://portal.example.org", "ftp://x", "portal"])
def test_replies_go_only_where_nobody_reads_along(portal, url):
    with pytest.raises(ValueError, match="The setting url"):
        account(portal, url=url)


def test_there_is_nothing_to_ask_the_address(portal):
    assert account(portal).check() == []
