"""The channel in the library's hands: asked, handed over, and answered late."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from bot import delivery
from bot.channels.wechat import WeChat
from bot.desk import Desk
from bot.intake import receive
from bot.messages import WebhookRequest
from bot.models import ChannelAccount, Outbox
from tests.bot.conftest import MONDAY_10, CertainKnowledge, calendar
from tests.fakes.wechat import Call
from tracker.models import Consultation

READER = "oLibQ7m2xReaderA-demo0001"


@dataclass
class Intake:
    """The library's end, with its core: every message goes through bot.intake."""

    session: Session
    desk: Desk
    account: ChannelAccount
    channel: WeChat
    clock: Callable

    def __call__(self, call: Call) -> tuple[int, bytes]:
        now = self.clock()
        request = WebhookRequest(call.method, call.query, {}, call.body)
        received = self.channel.receive(request, now=now)
        turns = [
            receive(self.session, self.desk, self.account, message, now=now)
            for message in received.messages
        ]
        replies = [reply for turn in turns for reply in turn.replies]
        at = min((turn.replied_at for turn in turns), default=now)
        response = self.channel.acknowledge(received, replies, at=at)
        return response.status, response.body

    def answers(self, consultation: Consultation, text: str) -> None:
        """A librarian writes, and the worker does one round."""
        delivery.reply_as_librarian(
            self.session,
            self.desk.library,
            consultation,
            by="lin@example.edu",
            name="林",
            text=text,
            now=self.clock(),
        )
        self.works()

    def works(self) -> list[Outbox]:
        """One round of the worker."""
        settled = []
        for job in delivery.lease(self.session, worker="w", now=self.clock()):
            result = delivery.send(job, self.channel, now=self.clock())
            row = delivery.settle(
                self.session, job, result, worker="w", now=self.clock(), random=Random(1)
            )
            settled += [row] if row else []
        return settled


@pytest.fixture
def intake(session, library, channel, clock):
    clock.now = MONDAY_10
    account = ChannelAccount(
        library_id=library.id, kind="wechat", name="main", settings={}, created_at=MONDAY_10
    )
    session.add(account)
    session.flush()
    hours = {"desk": calendar([["08:00", "17:30"]])}
    desk = Desk(library, CertainKnowledge(), hours, "https://ref.example.edu")
    return Intake(session, desk, account, channel, clock)


@pytest.fixture
def reader(platform, intake):
    return platform.patron(READER, intake)


@pytest.fixture
def consultations(session) -> Callable[[], list[Consultation]]:
    return lambda: list(session.scalars(select(Consultation).order_by(Consultation.id)))


def test_a_rating_is_understood_by_its_words(reader, consultations):
    answered = reader.says("怎么续借").reply
    assert answered is not None
    assert answered.endswith("[解决了 / 没解决]")

    reader.says("没解决")

    assert consultations()[0].escalated_at is not None


def test_a_choice_is_taken_by_its_number(reader):
    offered = reader.says("书").reply
    assert offered is not None
    assert "\n1. 怎么续借图书？\n2. 怎么预约？" in offered

    chosen = reader.says("2").reply

    assert chosen is not None
    assert chosen.startswith("点预约。")


def test_a_repeated_question_makes_one_consultation(platform, reader, consultations):
    platform.lose_answers = 3

    exchange = reader.says("县志在哪里？")

    assert exchange.attempts == 4
    assert exchange.reply is not None
    assert exchange.reply == reader.again().reply
    assert len(consultations()) == 1


def test_a_late_answer_shows_its_question(intake, reader, consultations, clock):
    reader.says("县志在哪里？")
    clock.advance(hours=3)
    intake.answers(consultations()[0], "在三楼地方文献室。")

    assert reader.screen[-1].text == "「县志在哪里？」\n在三楼地方文献室。"
    assert consultations()[0].feedback_at == MONDAY_10 + timedelta(hours=3)


def test_after_the_window_the_answer_waits_for_the_patron(intake, reader, consultations, clock):
    reader.says("县志在哪里？")
    clock.advance(hours=49)
    intake.answers(consultations()[0], "在三楼地方文献室。")
    assert consultations()[0].feedback_at is None

    reader.says("你好")
    intake.works()

    assert "在三楼地方文献室。" in reader.screen[-1].text
    assert consultations()[0].feedback_at == clock()


# --- accounts that may only answer ---------------------------------------------------------


@pytest.fixture
def only_answering(intake, account):
    intake.channel = account(passive_only="true")
    return intake


def test_a_first_answer_that_took_too_long_is_served_on_the_platforms_retry(
    only_answering, platform, reader, consultations, clock
):
    slow = iter([6, 0, 0, 0])  # seconds; WeChat waits for five

    class Slow:
        def __call__(self, call):
            answer = only_answering(call)
            clock.advance(seconds=next(slow))
            return answer

    reader.webhook = Slow()

    exchange = reader.says("怎么续借")

    assert exchange.statuses == (None, 200)
    assert exchange.reply is not None
    assert "续借" in exchange.reply
    assert len(consultations()) == 1


def test_a_late_answer_waits_for_the_next_contact_and_nothing_is_pushed(
    only_answering, platform, reader, consultations, clock
):
    reader.says("县志在哪里？")
    clock.advance(hours=0.5)
    only_answering.answers(consultations()[0], "在三楼地方文献室。")
    only_answering.works()
    assert platform.calls == []
    assert consultations()[0].feedback_at is None

    exchange = reader.says("有消息吗")

    assert "在三楼地方文献室。" in exchange.reply
    assert consultations()[0].feedback_at == clock()
    assert platform.calls == []


def test_a_late_answer_too_long_for_a_response_is_for_its_writer_to_shorten(
    only_answering, platform, reader, consultations
):
    reader.says("县志在哪里？")

    only_answering.answers(consultations()[0], "长" * 700)

    (row,) = delivery.needing_attention(only_answering.session, consultations()[0].library_id)
    assert "shorten it" in row.attempt_log[-1]["why"]
    assert platform.calls == []


def test_taps_in_a_menu_open_one_minute_and_typed_words_two_days(
    intake, platform, reader, consultations, clock
):
    reader.clicks("/person")
    asked = consultations()
    clock.advance(seconds=90)
    intake.answers(asked[0], "请到三楼。")
    assert len(platform.calls) == 0  # the minute is over: not even tried
    assert consultations()[0].feedback_at is None

    reader.says("县志在哪里？")
    reader.clicks("/none")
    clock.advance(hours=1)
    intake.answers(consultations()[0], "在地方文献室。")

    assert "在地方文献室。" in reader.screen[-1].text  # within the typed message's two days
