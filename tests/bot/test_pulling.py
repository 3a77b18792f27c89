"""Messages that must be fetched: told, leased once, stored with their cursor or not at all."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from bot import delivery, intake, pulling
from bot.channels import CHANNELS
from bot.channels.base import Pulled, SendError, SendFailure, Undelivered
from bot.messages import Inbound, Waiting
from bot.models import ChannelCursor, Inbox, Outbox, OutboxState
from tests.bot.conftest import MONDAY_10, account_of
from tests.bot.test_delivery import declared
from tracker.models import Consultation, Event
from tracker.verify import differences

MINUTE = timedelta(minutes=1)


class Mailbag:
    kind = "mailbag"
    declaration = declared(inbound="poll", passive_reply=False)


@pytest.fixture
def account(monkeypatch, session, library):
    monkeypatch.setitem(CHANNELS, "mailbag", Mailbag)
    return account_of(session, library, "mailbag")


@pytest.fixture
def leased(session, account):
    """A source that worker w1 looks into."""
    pulling.watch(session, account, ("INBOX",), now=MONDAY_10)
    (errand,) = pulling.lease(session, worker="w1", now=MONDAY_10, limit=9)
    return errand


def lease(session, now=MONDAY_10, worker="w1"):
    return pulling.lease(session, worker=worker, now=now, limit=9)


def store(session, desk, errand, pulled, *, now=MONDAY_10, worker="w1"):
    return pulling.store(session, desk, errand, pulled, worker=worker, poll_seconds=60, now=now)


def message(number, text="怎么续借", patron="reader"):
    return Inbound(patron, text, f"m{number}")


def row(session):
    return session.scalars(select(ChannelCursor)).one()


def texts(session):
    return list(session.scalars(select(Inbox.text).order_by(Inbox.id)))


def test_which_channels_are_asked(account):
    assert "mailbag" in pulling.asked_kinds()
    assert "web" not in pulling.asked_kinds()


def test_messages_and_cursor_are_stored_together(session, desk, leased):
    stored = store(session, desk, leased, Pulled((message(1), message(2)), "c2"))

    assert [turn.duplicate for turn in stored.turns] == [False, False]
    assert len(texts(session)) == 2
    assert row(session).cursor == "c2"
    assert row(session).due_at == MONDAY_10 + MINUTE


def test_more_is_fetched_at_once_from_the_new_cursor(session, desk, leased):
    store(session, desk, leased, Pulled((message(1),), "c1", more=True))

    (errand,) = lease(session)
    assert errand.cursor == "c1"


def test_what_is_fetched_twice_is_stored_once(session, desk, leased):
    store(session, desk, leased, Pulled((message(1),), "c1", more=True))
    (errand,) = lease(session)
    stored = store(session, desk, errand, Pulled((message(1), message(2)), "c2"))

    assert [turn.duplicate for turn in stored.turns] == [True, False]
    assert len(texts(session)) == 2


def test_a_source_is_leased_once(session, leased):
    assert lease(session, worker="w2") == []
    assert lease(session, MONDAY_10 + pulling.LEASE - MINUTE, worker="w2") == []


def test_a_worker_that_died_is_followed_by_another(session, desk, leased):
    later = MONDAY_10 + pulling.LEASE
    (errand,) = lease(session, later, worker="w2")

    assert store(session, desk, leased, Pulled((message(1),), "c1"), now=later) is None
    assert store(session, desk, errand, Pulled((message(1),), "c1"), now=later, worker="w2")
    assert len(texts(session)) == 1


def test_a_word_during_the_fetch_leads_to_another(session, desk, account, leased):
    pulling.told(session, account, [Waiting("INBOX", "later-token")], now=MONDAY_10)
    assert lease(session, worker="w2") == []

    store(session, desk, leased, Pulled((message(1),), "c1"))

    (errand,) = lease(session)
    assert (errand.cursor, errand.hint) == ("c1", "later-token")


def test_a_word_makes_a_source_known(session, account):
    pulling.told(session, account, [Waiting("kf1", "token")], now=MONDAY_10)

    assert [(e.source, e.cursor, e.hint) for e in lease(session)] == [("kf1", None, "token")]


def test_a_hint_serves_until_all_is_fetched(session, desk, account):
    pulling.told(session, account, [Waiting("kf1", "token")], now=MONDAY_10)
    (errand,) = lease(session)
    store(session, desk, errand, Pulled((), "c1", more=True))
    (errand,) = lease(session)
    assert errand.hint == "token"

    store(session, desk, errand, Pulled((), "c2"))
    assert row(session).hint is None


def test_known_sources_keep_their_place(session, desk, account, leased):
    store(session, desk, leased, Pulled((), "c1"))
    pulling.watch(session, account, ("INBOX", "Archive"), now=MONDAY_10)

    assert [errand.source for errand in lease(session)] == ["Archive"]


def test_a_disabled_account_is_left_alone(session, account):
    pulling.watch(session, account, ("INBOX",), now=MONDAY_10)
    account.enabled = False

    assert lease(session) == []


def test_a_failed_look_is_repeated_later_and_later(session, leased):
    waits, now, errand = [], MONDAY_10, leased
    for _ in range(5):
        error = SendError("no answer", failure=SendFailure.RETRY)
        pulling.failed(session, errand, error, worker="w1", now=now)
        waits.append((row(session).due_at - now).total_seconds())
        now = row(session).due_at
        (errand,) = lease(session, now)

    assert waits == [5, 15, 60, 300, 300]


def test_a_pause_that_the_channel_asks_for_is_kept(session, leased):
    error = SendError("slow down", failure=SendFailure.RETRY, retry_after=90)
    pulling.failed(session, leased, error, worker="w1", now=MONDAY_10)

    assert row(session).due_at == MONDAY_10 + timedelta(seconds=90)


# --- messages that the bot stumbles over -------------------------------------------------


@pytest.fixture
def stumbling(monkeypatch):
    """The bot stumbles over "poison"; `stumbling.also_librarian` breaks the second way, too."""
    taken = intake.receive

    def receive(session, desk, account, inbound, *, now):
        turn = taken(session, desk, account, inbound, now=now)
        if inbound.text == "poison":
            raise ValueError("a bug")
        return turn

    monkeypatch.setattr(intake, "receive", receive)


def test_a_poison_message_holds_up_only_the_cursor(session, desk, leased, stumbling):
    bag = Pulled((message(1), message(2, "poison", "other"), message(3)), "c3")
    stored = store(session, desk, leased, bag)

    assert [inbound.text for inbound, _ in stored.stumbled] == ["poison"]
    assert texts(session) == ["怎么续借", "怎么续借"]
    assert (row(session).cursor, row(session).due_at) == (None, MONDAY_10 + timedelta(seconds=5))


@pytest.mark.parametrize("patron", ["other", "first"])
def test_nothing_remains_of_a_message_over_which_the_bot_stumbled_late(
    session, desk, leased, library, monkeypatch, patron
):
    keep = intake._keep

    def stumble(session, conversation, inbound, *args, **facts):
        if inbound.dedupe_key == message(2).dedupe_key:
            raise ValueError("a bug")
        return keep(session, conversation, inbound, *args, **facts)

    monkeypatch.setattr(intake, "_keep", stumble)
    messages = (message(1, patron="first"), message(2, "长的", patron), message(3))
    stored = store(session, desk, leased, Pulled(messages, "c3"))

    assert [inbound.text for inbound, _ in stored.stumbled] == ["长的"]
    assert len(stored.turns) == 2
    assert list(differences(session, library.id)) == []
    assert {one.topic for one in session.scalars(select(Consultation))} == {"renew-books"}


def test_after_five_tries_a_librarian_gets_it(session, desk, leased, stumbling):
    bag, now, errand = Pulled((message(1), message(2, "poison", "other")), "c2"), MONDAY_10, leased
    for _ in range(pulling.TRIES - 1):
        assert store(session, desk, errand, bag, now=now).stumbled
        now = row(session).due_at
        (errand,) = lease(session, now)
    stored = store(session, desk, errand, bag, now=now)

    assert (stored.stumbled, stored.lost) == ((), ())
    assert row(session).cursor == "c2"
    waiting = session.scalars(select(Consultation).where(Consultation.escalated_at.is_not(None)))
    assert [consultation.title for consultation in waiting] == ["poison"]


def test_what_not_even_a_librarian_can_get_is_told(session, desk, leased, stumbling, monkeypatch):
    def broken(*_args, **_facts):
        raise ValueError("no")

    monkeypatch.setattr(intake, "receive_for_librarian", broken)
    row(session).failures = pulling.TRIES - 1
    stored = store(session, desk, leased, Pulled((message(1, "poison"), message(2)), "c2"))

    assert [str(error) for _, error in stored.lost] == ["a bug"]
    assert row(session).cursor == "c2"
    assert texts(session) == ["怎么续借"]


def test_an_ill_database_is_no_poison(session, desk, leased, monkeypatch):
    def away(*_args, **_facts):
        raise OperationalError("select", {}, Exception("gone"))

    monkeypatch.setattr(intake, "receive", away)
    with pytest.raises(OperationalError):
        store(session, desk, leased, Pulled((message(1),), "c1"))


def test_handing_over_twice_hands_over_once(session, desk, account):
    first = intake.receive_for_librarian(session, desk, account, message(1, "x"), now=MONDAY_10)
    again = intake.receive_for_librarian(session, desk, account, message(1, "x"), now=MONDAY_10)
    more = intake.receive_for_librarian(session, desk, account, message(2, "y"), now=MONDAY_10)

    assert (again, more) == (None, first)
    kinds = list(session.scalars(select(Event.kind).order_by(Event.id)))
    assert kinds == ["message", "escalated", "message"]


# --- replies that did not arrive after all ------------------------------------------------


@pytest.fixture
def answered(session, desk, account, leased):
    """A reply that the channel has accepted."""
    store(session, desk, leased, Pulled((message(1),), "c1", more=True))
    reply = session.scalars(select(Outbox)).one()
    (job,) = delivery.lease(session, worker="w", now=MONDAY_10)
    delivery.settle(session, job, delivery.Sent("p1"), worker="w", now=MONDAY_10, random=None)
    return reply


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (SendFailure.WINDOW_CLOSED, OutboxState.NEW),  # held until the next contact
        (SendFailure.PERMANENT, OutboxState.DEAD),
    ],
)
def test_a_reply_that_did_not_arrive_takes_the_next_way(session, desk, answered, failure, state):
    (errand,) = lease(session)
    key = answered.key
    news = Undelivered(key, failure, "the patron has blocked the account", "10")
    store(session, desk, errand, Pulled(undelivered=(news,)))

    assert (answered.state, answered.next_attempt_at) == (state, None)
    assert answered.attempt_log[0]["code"] == "10"
    assert answered.key != key
    assert "failed" in set(session.scalars(select(Event.kind)))


def test_news_of_somebody_elses_reply_changes_nothing(session, library, answered):
    other = account_of(session, library, "web")
    news = Undelivered(answered.key, SendFailure.PERMANENT, "x")

    assert delivery.undelivered(session, other, news, now=MONDAY_10) is None
    assert answered.state == OutboxState.SENT
