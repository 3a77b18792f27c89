"""A second vendor behind the account: wechatpy plays that vendor."""

import time

import httpx
import pytest
from wechatpy.crypto import WeChatCrypto
from wechatpy.utils import check_signature

from bot.channels.base import SendError
from bot.channels.wechat import WeChat
from bot.channels.wechat.forwarding import FAILURES, PAUSE
from bot.messages import Reply, ReplyKind, WebhookRequest
from tests.bot.channels.wechat.conftest import SETTINGS, Desk

READER = "oLibQ7m2xReaderA-demo0001"
VENDOR = {
    "forward_url": "https://vendor.example.cn/wx/callback",
    "forward_token": "vendorToken9",
    "forward_encoding_aes_key": "VmVuZG9yS2V5VmVuZG9yS2V5VmVuZG9yS2V5VmVuZG8",
}
ANSWER = (Reply("在三楼。", ReplyKind.ANSWER),)


class Vendor:
    """The other vendor's server: verifies with wechatpy, answers with a passive reply."""

    def __init__(self, *, sealed=True):
        self.sealed = sealed
        self.heard = []
        self.fails = None
        self.says = "您的预约已提交"
        self.account = "gh_4b7riverbend"
        self.asked = 0
        self._crypto = WeChatCrypto(
            VENDOR["forward_token"], VENDOR["forward_encoding_aes_key"], SETTINGS["app_id"]
        )

    def __call__(self, request):
        self.asked += 1
        if self.fails is not None:
            if isinstance(self.fails, int):
                return httpx.Response(self.fails)
            raise self.fails("vendor", request=request)
        query, body = request.url.params, request.read().decode()
        names = ("signature", "timestamp", "nonce")
        check_signature(VENDOR["forward_token"], *(query[name] for name in names))
        assert query["openid"] == READER
        if self.sealed:
            given = (query["msg_signature"], query["timestamp"], query["nonce"])
            body = self._crypto.decrypt_message(body, *given)
            body = body if isinstance(body, str) else body.decode()
        self.heard.append(body)
        if not self.says:
            return httpx.Response(200, content=b"success")
        reply = (
            f"<xml><ToUserName>{READER}</ToUserName><FromUserName>{self.account}</FromUserName>"
            f"<CreateTime>1</CreateTime><MsgType>text</MsgType><Content>{self.says}</Content></xml>"
        )
        if self.sealed:
            reply = self._crypto.encrypt_message(reply, "nonce1", "1795305600")
        return httpx.Response(200, content=reply.encode())


class Forwarded(Desk):
    """The library's end, which passes on what its own bot leaves."""

    def __call__(self, call):
        request = WebhookRequest(call.method, call.query, {}, call.body)
        received = self.channel.receive(request, now=self.clock())
        replies = tuple(reply for inbound in received.messages for reply in self.answer(inbound))
        passed_on = self.channel.forward(received, replies)
        made = passed_on or self.channel.acknowledge(received, replies, at=self.clock())
        return made.status, made.body


@pytest.fixture
def vendor():
    return Vendor()


@pytest.fixture
def library(vendor, tokens, clock):
    def make(**more):
        http = httpx.Client(transport=httpx.MockTransport(vendor))
        return Forwarded(
            WeChat("main", {**SETTINGS, **VENDOR, **more}, http=http, tokens=tokens), clock
        )

    return make


def test_what_we_do_not_answer_goes_there_and_its_reply_comes_back(library, vendor, platform):
    reader = platform.patron(READER, library())

    exchange = reader.clicks("book-a-seat")

    assert exchange.reply == "您的预约已提交"
    assert "<EventKey><![CDATA[book-a-seat]]></EventKey>" in vendor.heard[0]


def test_a_librarians_answer_that_waited_is_not_pushed_out_by_the_vendors(
    library, vendor, platform
):
    desk = library(forward_events="CLICK")
    desk.answer = lambda inbound: (Reply("在三楼。", ReplyKind.LIBRARIAN),)
    reader = platform.patron(READER, desk)

    assert reader.clicks("book-a-seat").reply == "在三楼。"
    assert len(vendor.heard) == 1


def test_what_we_answer_stays_here(library, vendor, platform):
    desk = library()
    desk.answer = lambda inbound: ANSWER
    reader = platform.patron(READER, desk)

    assert reader.says("县志在哪里？").reply == "在三楼。"
    assert vendor.heard == []


def test_chosen_events_go_there_and_nothing_else(library, vendor, platform):
    reader = platform.patron(READER, library(forward_events="SCAN, user_pay_from_pay_cell"))
    reader.clicks("other")
    assert vendor.heard == []

    assert reader.scans("seat-12").reply == "您的预约已提交"
    reader.sends_event("user_pay_from_pay_cell")

    assert len(vendor.heard) == 2  # events that mean nothing to us go there, too


def test_a_vendor_that_keeps_silent_leaves_us_to_acknowledge(library, vendor, platform):
    vendor.says = ""
    exchange = platform.patron(READER, library()).clicks("x")

    assert (exchange.statuses, exchange.reply, exchange.outage) == ((200,), None, False)


def test_a_vendor_in_plain_text_mode_is_spoken_to_in_plain_text(tokens, clock, platform):
    vendor = Vendor(sealed=False)
    plain = {key: value for key, value in VENDOR.items() if "aes" not in key}
    http = httpx.Client(transport=httpx.MockTransport(vendor))
    desk = Forwarded(WeChat("main", {**SETTINGS, **plain}, http=http, tokens=tokens), clock)

    assert platform.patron(READER, desk).clicks("x").reply == "您的预约已提交"


@pytest.mark.parametrize("fails", [httpx.ReadTimeout, httpx.ConnectError, 500, 404, 302])
def test_a_vendor_that_fails_is_an_error_for_the_core_to_log(library, vendor, platform, fails):
    vendor.fails = fails
    desk = library()

    with pytest.raises(SendError):
        platform.patron(READER, desk).clicks("x")


def test_a_reply_for_somebody_else_is_not_passed_on(library, vendor, platform):
    vendor.account = "gh_another"

    with pytest.raises(SendError, match="no reply"):
        platform.patron(READER, library()).clicks("x")


def test_a_dead_vendor_is_left_alone_for_a_while(library, vendor, platform):
    vendor.fails = httpx.ConnectTimeout
    desk = library()
    ticks = [100.0]
    desk.channel._forwarder.ticks = lambda: ticks[0]
    reader = platform.patron(READER, desk)
    for number in range(FAILURES):
        with pytest.raises(SendError):
            reader.clicks(f"{number}")
    began = time.perf_counter()
    for _ in range(50):
        assert reader.clicks("x").statuses == (200,)

    assert vendor.asked == FAILURES
    assert time.perf_counter() - began < 2
    ticks[0] += PAUSE
    vendor.fails = None
    assert reader.clicks("x").reply == "您的预约已提交"


@pytest.mark.parametrize("seconds_a_part", [1.0, 0.0])
def test_an_answer_that_trickles_or_never_ends_is_not_waited_for(
    library, vendor, platform, seconds_a_part
):
    desk = library()
    ticks = [100.0]
    desk.channel._forwarder.ticks = lambda: ticks[0]
    parts = []

    def endless():
        while True:
            ticks[0] += seconds_a_part
            parts.append(b" " * 1000)
            yield parts[-1]

    desk.channel._forwarder.http = httpx.Client(
        transport=httpx.MockTransport(lambda request: httpx.Response(200, content=endless()))
    )

    with pytest.raises(SendError, match="did not answer"):
        platform.patron(READER, desk).clicks("book-a-seat")

    assert len(parts) < 100


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("forward_url", "http://vendor.example.cn/"),
        ("forward_url", "ftp://x"),
        ("forward_token", ""),
        ("forward_encoding_aes_key", "short"),
        ("subscribe_field", "thing"),
    ],
)
def test_a_wrong_setting_is_named(account, setting, value):
    with pytest.raises(ValueError, match=setting.removesuffix("_url").removesuffix("_token")):
        account(**{**VENDOR, setting: value})
