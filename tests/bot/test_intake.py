"""Stored once, in order, with the first result for every repetition."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from bot.intake import question_time
from bot.messages import Inbound
from bot.models import Conversation, Inbox, Outbox, OutboxState
from tests.bot.conftest import account_of

MONDAY_10 = datetime(2026, 11, 23, 2, tzinfo=UTC)


def count_of(session, model):
    return session.scalar(select(func.count()).select_from(model))


def test_a_repeated_delivery_gets_the_first_result_and_stores_nothing(patron, session):
    first = patron.says("怎么续借", key="same")
    patron.waits(seconds=5)

    again = patron.says("怎么续借", key="same")

    assert again.duplicate
    assert again.replies == first.replies
    assert again.replied_at == first.replied_at
    assert count_of(session, Inbox) == 1
    assert len(patron.consultations) == 1


def test_the_same_key_on_another_account_is_another_message(patron, session, library, desk):
    patron.says("怎么续借", key="same")
    patron.account = account_of(session, library, "rasa")

    assert not patron.says("怎么续借", key="same").duplicate


def test_positions_number_both_directions_without_gaps(patron, session):
    patron.says("怎么续借")
    patron.says("谢谢")

    positions = list(session.scalars(select(Inbox.position))) + list(
        session.scalars(select(Outbox.position))
    )
    assert sorted(positions) == [1, 2, 3, 4]
    assert patron.conversation.position == 4


def test_a_reply_that_went_with_the_response_is_sent_already(patron, session):
    patron.says("怎么续借")

    assert session.scalars(select(Outbox.state)).all() == [OutboxState.SENT]


def test_a_new_patron_has_one_conversation_and_one_name(patron, session):
    patron.says("怎么续借", display_name="小李")

    assert count_of(session, Conversation) == 1
    assert patron.conversation.patron.display_name == "小李"


@pytest.mark.parametrize(
    ("offset", "expected", "suspect"),
    [
        (timedelta(0), timedelta(0), False),
        (timedelta(minutes=5), timedelta(minutes=5), False),
        (timedelta(minutes=5, seconds=1), timedelta(0), True),
        (-timedelta(days=7), -timedelta(days=7), False),
        (-timedelta(days=7, seconds=1), timedelta(0), True),
    ],
)
def test_a_providers_time_is_believed_within_its_limits(offset, expected, suspect):
    asked = question_time(Inbound("p", "t", "k", sent_at=MONDAY_10 + offset), MONDAY_10)

    assert asked.at == MONDAY_10 + expected
    assert asked.clock_suspect is suspect


@pytest.mark.parametrize("text", ["a\x00b", "\ud800 lone", "x" * 60_000, "\u202ea", "🙂" * 99])
def test_any_text_can_be_stored(patron, session, text):
    patron.says(text)

    stored = session.scalars(select(Inbox.text)).one()
    assert "\x00" not in stored
    stored.encode()
