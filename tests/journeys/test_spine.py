"""From a patron's question to the within-one-day rate, as real people would do it."""

import json
import threading

import httpx
import pytest
from sqlalchemy import select

from tests.pages.site import MANAGER
from tracker.models import Consultation

HARD = "上周跟老师约好看的那批县志，能改到周三下午吗"


def the_consultation(town, question):
    with town.database.snapshot() as session:
        found = session.scalars(
            select(Consultation)
            .where(Consultation.title == question)
            .order_by(Consultation.id.desc())
        ).first()
        assert found is not None, question
        return found


def stats(town, channel):
    page = town.staff(MANAGER).client.get("/api/v1/stats")
    assert page.status_code == 200, page.text
    return page.json()["channels"].get(channel)


@pytest.mark.parametrize(
    ("language", "question", "words"),
    [
        ("zh-Hans", "怎么续借图书？", "续借"),
        ("en", "can i renew online", "renew"),
        ("vi", "gia han sach the nao", "gia hạn"),
    ],
)
def test_a_known_question_is_answered_in_its_language(town, language, question, words):
    (reply,) = town.visitor(language).says(question)

    assert reply["kind"] == "answer"
    assert words in reply["text"].lower()


def test_opening_hours_come_from_the_calendar(town):
    (reply,) = town.visitor().says("周日开门吗")

    assert reply["text"].startswith("周日：主馆7:30–22:30开放。")


def test_a_hard_question_is_promised_claimed_answered_and_shown(town):
    visitor = town.visitor()
    (promise,) = visitor.says(HARD)
    assert promise["kind"] == "acknowledgement"
    assert "今天17:30" in promise["text"]

    librarian = town.staff()
    number = the_consultation(town, HARD).id
    assert HARD in librarian.sees("/desk?view=unassigned")
    assert HARD in librarian.sees(f"/desk/c/{number}")
    town.clock.advance(minutes=30)
    librarian.answers(number, "可以，请周三下午来三楼。")

    (late,) = [message for message in visitor.returns() if message["role"] == "librarian"]
    assert late["text"] == "可以，请周三下午来三楼。"
    assert the_consultation(town, HARD).answered_at is not None


def test_the_answer_appears_in_the_open_widget_at_once(town):
    visitor = town.visitor()
    question = "县志里的地图可以扫描寄给我吗"
    visitor.says(question)
    visitor.returns()
    number = the_consultation(town, question).id
    heard: list[str] = []
    listening = threading.Event()

    def listen():
        params = {"token": visitor.stream, "after": visitor.seen}
        with (
            town.client() as client,
            client.stream("GET", "/widget/demo/events", params=params, timeout=20) as stream,
        ):
            listening.set()
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    messages = json.loads(line.removeprefix("data:"))["messages"]
                    heard.extend(message["text"] for message in messages)
                if "可以扫描。" in heard:
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    assert listening.wait(10)
    town.staff().answers(number, "可以扫描。")
    thread.join(timeout=15)

    assert "可以扫描。" in heard


def test_the_desk_hears_of_a_new_question_without_reloading(town):
    librarian = town.staff()
    heard = threading.Event()
    listening = threading.Event()

    def listen():
        cookies = dict(librarian.client.cookies)
        with (
            httpx.Client(base_url=librarian.client.base_url, cookies=cookies) as client,
            client.stream("GET", "/desk/events", timeout=20) as stream,
        ):
            assert stream.status_code == 200
            listening.set()
            for line in stream.iter_lines():
                if line.startswith("data:") and len(line) > len("data: {}"):
                    heard.set()
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    assert listening.wait(10)
    town.visitor().says("请老师帮我改一下我的开题报告")

    assert heard.wait(15)
    thread.join(timeout=10)


def test_wechat_asks_is_promised_and_gets_the_late_answer(town):
    reader = town.reader("oReaderLate000000001")
    question = "帮我看看我的学号为什么被锁了"
    exchange = reader.says(question)
    assert exchange.statuses == (200,)
    assert "最迟" in exchange.reply

    number = the_consultation(town, question).id
    town.clock.advance(hours=2)
    town.staff().answers(number, "已经解锁。")
    assert the_consultation(town, question).feedback_at is None
    town.worker.deliver_all()

    assert town.platform.screens["oReaderLate000000001"][-1].text.endswith("已经解锁。")
    assert the_consultation(town, question).feedback_at == town.clock.now


def test_a_wechat_retry_gets_the_same_answer_and_makes_no_second_consultation(town):
    reader = town.reader("oReaderRetry00000001")
    town.platform.lose_answers = 1

    exchange = reader.says("怎么续借图书？")

    assert exchange.attempts == 2
    assert "续借" in exchange.reply
    with town.database.snapshot() as session:
        asked = session.scalars(
            select(Consultation).where(
                Consultation.channel == "wechat", Consultation.title == "怎么续借图书？"
            )
        ).all()
    assert len(asked) == 1


def test_rasas_rest_channel_tells_the_same_story(town):
    (answer,) = town.asks("rest-1", "can i renew online")
    assert answer["recipient_id"] == "rest-1"
    assert "renew" in answer["text"].lower()

    (promise,) = town.asks("rest-2", "could somebody check my Chicago style citations by hand")
    assert set(promise) == {"recipient_id", "text"}
    assert "librarian will answer" in promise["text"]


def test_a_manager_sees_both_rates_and_the_cases_behind_them(town):
    for name in ("reader-a", "reader-b"):
        town.asks(name, f"民国时期的校刊在哪里可以查到 {name}")
    manager = town.staff(MANAGER)

    page = manager.sees("/manage")

    assert "24小时内已获答复的问题（机器人或馆员，未被读者否定）" in page
    assert "转人工问题24小时实质答复率" in page
    shown = manager.client.get("/api/v1/stats").json()
    counted = shown["channels"]["rasa"]
    assert counted["answered_within_24h"]["pending"] >= 2
    assert counted["answered_within_24h"]["rate"] is None
    town.clock.advance(hours=25)
    matured = town.staff(MANAGER).client.get("/api/v1/stats").json()["channels"]["rasa"]
    assert matured["answered_within_24h"]["matured"] >= 2
    assert matured["answered_within_24h"]["within"] == 0
    assert matured["answered_within_24h"]["rate"] == 0.0
