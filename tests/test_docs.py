"""What the documents say can be done can be done."""

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from bot.channels.base import Refused
from bot.messages import Reply, ReplyKind, WebhookRequest

ROOT = Path(__file__).parent.parent
NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
BODY = json.dumps(
    {
        "events": [
            {
                "type": "message",
                "webhookEventId": "01HEVENT",
                "timestamp": 1795399200000,
                "source": {"type": "user", "userId": "U4af4980629"},
                "message": {"id": "1", "type": "text", "text": "怎么续借？"},
            },
            {"type": "unfollow", "webhookEventId": "01HOTHER", "source": {"userId": "U1"}},
        ]
    },
    ensure_ascii=False,
).encode()


@pytest.fixture
def line():
    """The worked example of docs/channels.md, opened with a platform that keeps what it gets."""
    text = (ROOT / "docs" / "channels.md").read_text(encoding="utf-8")
    source = re.findall(r"```python\n(# bot/channels/line/channel\.py\n.*?)```", text, re.DOTALL)[0]
    assert len(source.splitlines()) <= 100
    scope: dict = {}
    exec(source, scope)  # noqa: S102 - our own document
    sent = []

    def platform(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, json={})

    with httpx.Client(transport=httpx.MockTransport(platform)) as http:
        settings = {"channel_secret": "s3cret", "access_token": "t"}
        made = scope["Line"]("main", settings, http=http, tokens=None)
        made.sent = sent
        yield made


def request(body: bytes, signed_with: str = "s3cret") -> WebhookRequest:
    digest = hmac.new(signed_with.encode(), body, hashlib.sha256).digest()
    signature = base64.b64encode(digest).decode()
    return WebhookRequest("POST", {}, {"x-line-signature": signature}, body)


def test_the_worked_example_of_a_channel_reads_a_signed_message(line):
    (message,) = line.receive(request(BODY), now=NOW).messages

    assert (message.patron, message.text) == ("U4af4980629", "怎么续借？")
    assert message.dedupe_key == "01HEVENT"


def test_the_worked_example_takes_what_lines_own_library_signed(line):
    payloads = ROOT / "tests" / "bot" / "channels" / "line" / "payloads"
    vector = json.loads((payloads / "vector.json").read_bytes())
    line._secret = vector["channel_secret"]
    headers = {"x-line-signature": vector["x-line-signature"]}
    body = (payloads / vector["body_file"]).read_bytes()

    (message,) = line.receive(WebhookRequest("POST", {}, headers, body), now=NOW).messages

    assert (message.patron, message.text) == ("Ureader01", "開館時間は？")


def test_the_worked_example_refuses_a_forged_one(line):
    with pytest.raises(Refused):
        line.receive(request(BODY, signed_with="guessed"), now=NOW)


def test_the_worked_example_sends(line):
    line.send("U1", Reply("可以续借。", ReplyKind.ANSWER), key="k", now=NOW)

    assert line.sent == [{"to": "U1", "messages": [{"type": "text", "text": "可以续借。"}]}]


DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_links_to_exists(path):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8"))

    assert [link for link in links if not (path.parent / link).exists()] == []
