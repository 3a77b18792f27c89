"""Each kind of destination gets what it asks for, signed as it asks."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from api.egress import Answer
from api.errors import BadRequest
from api.robots import (
    DINGTALK,
    FEISHU,
    WEBHOOK,
    WECOM,
    Message,
    call,
    checked_secret,
    read,
    webhook_signature,
)
from bot.channels.base import SendError, SendFailure

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
MESSAGE = Message("msg_1", "consultations.waiting", "2 个问题正在等待", {"library": "demo"}, NOW)


def test_the_webhook_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks specification."""
    made = webhook_signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_carries_id_time_and_a_signature_of_what_it_sends() -> None:
    secret = checked_secret(WEBHOOK, None)
    assert secret is not None

    made = call(WEBHOOK, "https://a.example/hook", secret, MESSAGE, now=NOW)

    stamp = made.headers["webhook-timestamp"]
    signed = f"msg_1.{stamp}.".encode() + made.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert made.headers["webhook-signature"] == f"v1,{expected}"
    assert made.headers["webhook-id"] == "msg_1"
    assert stamp == str(int(NOW.timestamp()))
    content = json.loads(made.body)
    assert content["type"] == "consultations.waiting"
    assert content["data"] == {"library": "demo"}


def test_dingtalk_signs_its_address_with_time_and_secret() -> None:
    """https://open.dingtalk.com/document/robots/customize-robot-security-settings."""
    url = "https://oapi.dingtalk.com/robot/send?access_token=T"

    made = call(DINGTALK, url, "SECabc", MESSAGE, now=NOW)

    query = parse_qs(urlsplit(made.url).query, strict_parsing=True)
    stamp = str(int(NOW.timestamp() * 1000))
    digest = hmac.new(b"SECabc", f"{stamp}\nSECabc".encode(), hashlib.sha256).digest()
    assert query == {
        "access_token": ["T"],
        "timestamp": [stamp],
        "sign": [base64.b64encode(digest).decode()],
    }
    assert json.loads(made.body) == {"msgtype": "text", "text": {"content": MESSAGE.text}}


def test_dingtalk_without_a_secret_is_called_as_it_is() -> None:
    url = "https://oapi.dingtalk.com/robot/send?access_token=T"

    assert call(DINGTALK, url, None, MESSAGE, now=NOW).url == url


def test_feishu_signs_in_the_body_with_the_text_as_the_key() -> None:
    made = json.loads(call(FEISHU, "https://open.feishu.cn/x", "S", MESSAGE, now=NOW).body)

    stamp = str(int(NOW.timestamp()))
    digest = hmac.new(f"{stamp}\nS".encode(), b"", hashlib.sha256).digest()
    assert made == {
        "timestamp": stamp,
        "sign": base64.b64encode(digest).decode(),
        "msg_type": "text",
        "content": {"text": MESSAGE.text},
    }


def test_a_text_too_long_for_a_robot_is_cut_between_letters() -> None:
    long = Message("msg_1", "x", "图" * 5_000, {}, NOW)

    content = json.loads(call(WECOM, "https://q.example", None, long, now=NOW).body)

    text = content["text"]["content"]
    assert len(text.encode()) <= 2_048
    assert text.endswith("图…")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (WECOM, b'{"errcode":0,"errmsg":"ok"}'),
        (DINGTALK, b'{"errcode":0,"errmsg":"ok"}'),
        (FEISHU, b'{"code":0,"msg":"success"}'),
        (FEISHU, b'{"StatusCode":0,"StatusMessage":"success"}'),
        (WEBHOOK, b"anything"),
    ],
)
def test_a_taken_message_is_taken(kind: str, body: bytes) -> None:
    read(kind, Answer(200, {}, body))


@pytest.mark.parametrize(
    ("kind", "status", "body", "failure"),
    [
        (WECOM, 200, b'{"errcode":93000,"errmsg":"invalid webhook url"}', SendFailure.PERMANENT),
        (WECOM, 200, b'{"errcode":45009,"errmsg":"freq"}', SendFailure.RETRY),
        (DINGTALK, 200, b'{"errcode":310000,"errmsg":"sign not match"}', SendFailure.PERMANENT),
        (DINGTALK, 200, b'{"errcode":130101,"errmsg":"too fast"}', SendFailure.RETRY),
        (FEISHU, 200, b'{"code":19021,"msg":"sign match fail"}', SendFailure.PERMANENT),
        (FEISHU, 200, b'{"code":11232,"msg":"frequency limited"}', SendFailure.RETRY),
        (FEISHU, 200, b"<html>", SendFailure.UNCERTAIN),
        (FEISHU, 200, b"[]", SendFailure.UNCERTAIN),
        (FEISHU, 200, b'{"code":null}', SendFailure.UNCERTAIN),
        (WEBHOOK, 302, b"", SendFailure.PERMANENT),
        (WEBHOOK, 410, b"", SendFailure.PERMANENT),
        (WEBHOOK, 429, b"", SendFailure.RETRY),
        (WEBHOOK, 503, b"", SendFailure.RETRY),
    ],
)
def test_a_refusal_says_whether_to_try_again(
    kind: str, status: int, body: bytes, failure: SendFailure
) -> None:
    with pytest.raises(SendError) as caught:
        read(kind, Answer(status, {"retry-after": "7"}, body))

    assert caught.value.failure is failure


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("slack", None),
        (WECOM, "secret"),
        (WEBHOOK, "short"),
        (WEBHOOK, "whsec_" + base64.b64encode(b"x" * 23).decode()),
        (DINGTALK, "with\nbreak"),
    ],
)
def test_a_secret_that_cannot_be_is_refused(kind: str, secret: str | None) -> None:
    with pytest.raises(BadRequest):
        checked_secret(kind, secret)
