"""What the desk says of a reply: sent, delivered, seen, by another way, or why it did not go."""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.db import Database
from bot import delivery
from bot.channels import CHANNELS
from bot.channels.base import SendError, SendFailure
from bot.intake import known_patron
from bot.messages import Arrived, Undelivered
from bot.models import ChannelAccount, Conversation, Inbox, Outbox, OutboxState
from tests.api.console.conftest import LIBRARIAN, send
from tests.bot.test_delivery import Postbox
from tests.conftest import StandingClock

ANSWER = "特藏室有一部。"


@pytest.fixture
def postbox(
    number: int, database: Database, monkeypatch: pytest.MonkeyPatch, clock: StandingClock
) -> Postbox:
    """The question came over a channel with a reply window of two days."""
    monkeypatch.setitem(CHANNELS, "postbox", Postbox)
    with database.transaction() as session:
        conversation = session.scalars(select(Conversation)).one()
        account = session.get_one(ChannelAccount, conversation.account_id)
        account.kind, account.name = "postbox", "postbox"
        until = (clock() + timedelta(hours=48)).isoformat()
        conversation.windows = [{"opened_by": "message", "until": until, "left": 5}]
    return Postbox()


@pytest.fixture
def answered(desk: TestClient, number: int, postbox: Postbox) -> None:
    send(desk, f"/desk/c/{number}/reply", text=ANSWER, mode="answer")


@pytest.fixture
def work(database: Database, postbox: Postbox, clock: StandingClock) -> Callable[[], None]:
    """One round of a worker."""

    def one_round() -> None:
        with database.transaction() as session:
            jobs = delivery.lease(session, worker="w", now=clock())
        for job in jobs:
            result = delivery.send(job, postbox, now=clock())
            with database.transaction() as session:
                delivery.settle(session, job, result, worker="w", now=clock(), random=Random(1))

    return one_round


def written(session: Session) -> tuple[ChannelAccount, Outbox]:
    """The librarian's reply, and the account that it leaves through."""
    row = session.scalars(select(Outbox).where(Outbox.by == LIBRARIAN)).one()
    return session.scalars(select(ChannelAccount)).one(), row


def shown(desk: TestClient, number: int) -> str:
    page = desk.get(f"/desk/c/{number}/thread").text
    assert page.count(ANSWER) == 1
    return page


def news(database: Database, **changes: Any) -> None:
    with database.transaction() as session:
        _, row = written(session)
        for name, value in changes.items():
            setattr(row, name, value)


def test_a_reply_is_on_its_way_and_then_sent(
    desk: TestClient, number: int, answered: None, work: Callable[[], None]
) -> None:
    assert "待发送" in shown(desk, number)

    work()

    assert "已发送" in shown(desk, number)


@pytest.mark.parametrize(("seen", "words"), [(False, "已送达"), (True, "读者已看到")])
def test_a_channels_own_receipt_is_shown(
    desk: TestClient,
    number: int,
    answered: None,
    database: Database,
    work: Callable[[], None],
    clock: StandingClock,
    seen: bool,
    words: str,
) -> None:
    work()
    with database.transaction() as session:
        account, row = written(session)
        delivery.arrived(session, account, Arrived(row.key, seen=seen), now=clock())

    assert words in shown(desk, number)


def test_what_the_widgets_patron_has_read_is_seen(
    desk: TestClient, number: int, database: Database
) -> None:
    send(desk, f"/desk/c/{number}/reply", text=ANSWER, mode="answer")
    assert "已发送" in shown(desk, number)
    with database.transaction() as session:
        conversation = session.scalars(select(Conversation)).one()
        conversation.read_position = conversation.position

    assert "读者已看到" in shown(desk, number)


def test_a_closed_window_is_named_and_the_email_instead(
    desk: TestClient,
    number: int,
    database: Database,
    work: Callable[[], None],
    clock: StandingClock,
) -> None:
    with database.transaction() as session:
        conversation = session.scalars(select(Conversation)).one()
        known_patron(conversation, now=clock()).email = "reader@example.org"
        conversation.windows = []
    send(desk, f"/desk/c/{number}/reply", text=ANSWER, mode="answer")
    work()
    assert "改用邮件发送" in shown(desk, number)
    work()

    page = shown(desk, number)

    assert "原渠道无法送达，已改发邮件" in page
    assert "回复时限已过" in page


def test_a_reply_that_waits_for_the_patron_says_so(
    desk: TestClient, number: int, database: Database, work: Callable[[], None]
) -> None:
    with database.transaction() as session:
        session.scalars(select(Conversation)).one().windows = []
    send(desk, f"/desk/c/{number}/reply", text=ANSWER, mode="answer")
    work()

    page = shown(desk, number)

    assert "等读者下次来信时发出" in page
    assert "回复时限已过" in page


def test_a_reply_that_is_tried_again_says_when_and_why(
    desk: TestClient, number: int, answered: None, postbox: Postbox, work: Callable[[], None]
) -> None:
    postbox.failing = SendError("HTTP 503", failure=SendFailure.RETRY, retry_after=120)
    work()

    page = shown(desk, number)

    assert "10:02再试" in page
    assert "渠道未接收: HTTP 503" in page


def test_a_dead_reply_names_its_reason_and_one_click_sends_it_again(
    desk: TestClient, number: int, answered: None, postbox: Postbox, work: Callable[[], None]
) -> None:
    postbox.failing = SendError("no such user", failure=SendFailure.PERMANENT, code="40003")
    work()
    page = shown(desk, number)
    assert "未送达" in page
    assert "渠道拒绝: no such user (40003)" in page
    path = page.partition('action="/desk/undelivered/')[2].partition('"')[0]

    postbox.failing = None
    answer = send(desk, f"/desk/undelivered/{path}", decision="retry", view="all")
    work()

    assert answer.headers["location"] == f"/desk/c/{number}?view=all&said=retried"
    assert "已发送" in shown(desk, number)
    assert "重新发送" not in shown(desk, number)


def test_news_that_a_reply_did_not_arrive_after_all_is_shown_with_it(
    desk: TestClient,
    number: int,
    answered: None,
    database: Database,
    work: Callable[[], None],
    clock: StandingClock,
) -> None:
    work()
    with database.transaction() as session:
        account, row = written(session)
        told = Undelivered(row.key, SendFailure.PERMANENT, "user has blocked us", "131026")
        delivery.undelivered(session, account, told, now=clock())

    page = shown(desk, number)

    assert "user has blocked us (131026)" in page
    assert "重新发送" in page


def test_everything_that_was_tried_is_listed(
    desk: TestClient, number: int, answered: None, database: Database, clock: StandingClock
) -> None:
    at = clock().isoformat()
    tries = [
        {"at": at, "what": "retry", "why": "HTTP 502", "code": None},
        {"at": at, "what": "permanent", "why": "<b>no</b>", "code": "7"},
    ]
    news(database, state=OutboxState.DEAD, attempt_log=tries)

    page = desk.get("/desk/undelivered").text

    assert "尝试记录：2次" in page
    assert "HTTP 502" in page
    assert "&lt;b&gt;no&lt;/b&gt; (7)" in page


@pytest.mark.parametrize("state", list(OutboxState))
def test_every_state_has_words_in_every_language(
    desk: TestClient, number: int, answered: None, database: Database, state: OutboxState
) -> None:
    news(database, state=state)
    for language in ("zh-Hans", "zh-Hant", "en", "vi"):
        desk.cookies.set("refdesk_language", language)
        assert "desk.delivery" not in shown(desk, number)


# --- what the patron really wrote --------------------------------------------------------------


def test_the_whole_of_a_trimmed_mail_is_one_click_away(
    desk: TestClient, number: int, database: Database
) -> None:
    with database.transaction() as session:
        row = session.scalars(select(Inbox).where(Inbox.text.contains("手稿"))).one()
        row.original = f"{row.text}\n\n> 上次您问：<b>在哪里</b>"

    page = desk.get(f"/desk/c/{number}").text

    assert "全文（含引用内容）" in page
    assert "&gt; 上次您问：&lt;b&gt;在哪里&lt;/b&gt;" in page


def test_a_message_that_was_not_trimmed_is_shown_once(
    desk: TestClient, number: int, database: Database
) -> None:
    with database.transaction() as session:
        for row in session.scalars(select(Inbox)):
            row.original = row.text

    assert "全文" not in desk.get(f"/desk/c/{number}").text
