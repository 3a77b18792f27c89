"""The stand-in itself: judged by wechatpy, and over real sockets."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from defusedxml.ElementTree import fromstring
from wechatpy import parse_message
from wechatpy.crypto import WeChatCrypto

from bot.channels.base import SendError, SendFailure
from bot.channels.wechat import WeChat, service
from bot.messages import Reply, ReplyKind
from tests.bot.channels.wechat.conftest import SETTINGS, payload
from tests.fakes.wechat import TOKEN, Call, Fault, Mode, over_http

READER = "oLibQ7m2xReaderA-demo0001"
ANSWER = Reply("在三楼。", ReplyKind.LIBRARIAN)


def test_wechatpy_opens_what_the_platform_sends(platform):
    call = platform.call(payload("text.xml").decode())

    crypto = WeChatCrypto(SETTINGS["token"], SETTINGS["encoding_aes_key"], SETTINGS["app_id"])
    query = call.query
    opened = crypto.decrypt_message(
        call.body, query["msg_signature"], query["timestamp"], query["nonce"]
    )

    assert parse_message(opened).id == 24795305600000117


def test_each_mode_has_its_form(platform):
    forms = {}
    for mode in Mode:
        platform.mode = mode
        call = platform.call(payload("text.xml").decode())
        tags = {child.tag for child in fromstring(call.body)}
        forms[mode] = ("Encrypt" in tags, "Content" in tags, "msg_signature" in call.query)

    assert forms == {
        Mode.SAFE: (True, False, True),
        Mode.COMPATIBLE: (True, True, True),
        Mode.PLAIN: (False, True, False),
    }


@pytest.mark.parametrize(
    "body", [b"ok", b"<xml/>", b"<xml><Encrypt>A</Encrypt></xml>", b"\xff", payload("text.xml")]
)
def test_a_body_that_wechat_would_not_take_is_an_outage(platform, body):
    patron = platform.patron(READER, lambda call: (200, body))

    assert patron.says("在吗").outage
    assert patron.screen[-1].text.startswith("该公众号提供的服务出现故障")


def test_an_escaped_message_is_refused_as_the_platform_does(platform, desk):
    platform.patron(READER, desk).says("在吗")
    _, token = platform.answer(
        TOKEN,
        {},
        b'{"grant_type":"client_credential","appid":"wx5d1f0c7e9a2b4c68",'
        b'"secret":"demo-secret-not-real","force_refresh":false}',
    )
    query = {"access_token": httpx.Response(200, content=token).json()["access_token"]}
    body = rb'{"touser":"oLibQ7m2xReaderA-demo0001","msgtype":"text","text":{"content":"\u597d"}}'

    _, answer = platform.answer("/cgi-bin/message/custom/send", query, body)

    assert b"40033" in answer


def test_the_webhook_may_be_reached_over_http(platform):
    asked = []

    def library(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if request.url.path == "/slow":
            raise httpx.ReadTimeout("timed out", request=request)
        return httpx.Response(200, content=b"success")

    client = httpx.Client(transport=httpx.MockTransport(library))

    good = platform.patron(READER, over_http(client, "https://library.example/hook"))
    assert good.says("在吗").attempts == 1
    slow = platform.patron(READER, over_http(client, "https://library.example/slow"))
    assert slow.says("在吗").statuses == (None,) * 4
    assert asked[0].url.params["encrypt_type"] == "aes"


@pytest.fixture
def address(platform) -> Iterator[str]:
    """The platform behind a real socket."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(platform, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    ends = time.monotonic() + 5
    while not server.started and time.monotonic() < ends:
        threading.Event().wait(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=5)


def test_over_sockets_messages_arrive_and_broken_lines_are_told_apart(
    platform, address, clock, tokens, monkeypatch
):
    monkeypatch.setattr(service, "TIMEOUT", httpx.Timeout(0.3))
    with httpx.Client() as http:
        channel = WeChat("main", {**SETTINGS, "api_base": address}, http=http, tokens=tokens)
        patron = platform.patron(READER, lambda call: (200, b""))
        patron.says("在吗")
        channel.send(READER, ANSWER, key="k1", now=clock())

        failures = []
        for fault in (Fault.TIMEOUT, Fault.RESET_AFTER_ACCEPT):
            platform.fail_next(fault)
            with pytest.raises(SendError) as caught:
                channel.send(READER, ANSWER, key="k2", now=clock())
            failures.append(caught.value.failure)

    assert [shown.text for shown in patron.screen] == ["在三楼。", "在三楼。"]
    assert failures == [SendFailure.UNCERTAIN] * 2


def test_a_port_where_nobody_listens_is_safe_to_try_again(tokens, clock):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = {**SETTINGS, "api_base": f"http://127.0.0.1:{free.getsockname()[1]}"}
        with httpx.Client() as http, pytest.raises(SendError) as caught:
            WeChat("main", settings, http=http, tokens=tokens).send(
                READER, ANSWER, key="k1", now=clock()
            )

    assert caught.value.failure is SendFailure.RETRY


def test_the_handshake_fails_where_the_library_is_away(platform):
    assert not platform.verify(lambda call: (404, b""))
    assert not platform.verify(lambda call: (200, call.query["nonce"].encode()))
    assert Call("GET", {}).body == b""
