"""The stand-ins over HTTP, as the demo uses them: the same interface, the same failures."""

import asyncio
import json

import httpx
import pytest

from bot.channels import CHANNELS
from tests.bot.channels.library import Clock
from tests.fakes.douyin import Douyin
from tests.fakes.platform import Answer, Call, Fault, NoAnswer, over_http
from tests.fakes.telegram import Telegram
from tests.fakes.viber import Viber
from tests.fakes.weibo import Weibo
from tests.fakes.whatsapp import WhatsApp
from tests.fakes.zalo import Zalo


def ask(platform, method, path, **more):
    async def go():
        transport = httpx.ASGITransport(app=platform)
        async with httpx.AsyncClient(transport=transport, base_url="http://fake") as client:
            return await client.request(method, path, **more)

    return asyncio.run(go())


@pytest.mark.parametrize("fake", [Telegram, WhatsApp, Viber, Zalo, Weibo, Douyin])
def test_every_stand_in_answers_a_stranger_over_http(fake):
    response = ask(fake(Clock()), "POST", "/nowhere", json={})

    assert response.headers["content-type"].startswith("application/json")
    assert "secret" not in response.text
    assert fake.__name__.lower() in CHANNELS


def test_the_same_answer_comes_over_http_and_in_process():
    telegram = Telegram(Clock())
    path = f"/bot{telegram.bot_token}/getMe"
    with httpx.Client(transport=telegram.transport, base_url="http://fake") as client:
        inside = client.post(path, json={})

    assert ask(telegram, "POST", path, json={}).json() == inside.json()
    assert json.loads(inside.content)["ok"] is True


def test_failures_come_over_http_too():
    viber = Viber(Clock())
    viber.fail_next(Answer(b"busy", 429, {"retry-after": "7"}))
    viber.fail_next(Fault.GARBAGE)

    assert ask(viber, "POST", "/pa/send_message", json={}).headers["retry-after"] == "7"
    assert ask(viber, "POST", "/pa/send_message", json={}).text.startswith("<html>")


def test_a_webhook_may_be_reached_over_http():
    asked = []

    def library(request):
        asked.append(request)
        if len(asked) > 1:
            raise httpx.ConnectError("down", request=request)
        return httpx.Response(200, content=b"ok")

    with httpx.Client(transport=httpx.MockTransport(library)) as client:
        webhook = over_http(client, "https://ref.example.edu/channels/x/y")
        assert webhook(Call(b"body", query={"a": "1"}, headers={"x-sign": "s"})) == (200, b"ok")
        with pytest.raises(NoAnswer):
            webhook(Call())

    assert (asked[0].url.params["a"], asked[0].headers["x-sign"]) == ("1", "s")


def test_a_webhook_that_is_too_slow_is_asked_again():
    clock = Clock()
    viber = Viber(clock, wait=lambda seconds: clock.advance(seconds=seconds))

    def slow(call):
        clock.advance(seconds=6)
        return 200, b""

    exchange = viber.deliver(Call(b"{}"), slow)

    assert exchange.statuses == (None, None, None, None)
    assert not exchange.taken
