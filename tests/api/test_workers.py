"""Several workers on one database: each message and reply once, in its order, whoever fails
meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from api.accounts import account_named, add_account
from api.app import create_app
from api.bus import EventBus
from api.db import Database
from api.libraries import add_library
from api.settings import Settings
from api.state import State
from api.webhooks import take_push
from api.worker import Worker
from bot import delivery
from bot.messages import Reply, ReplyKind, WebhookRequest
from bot.models import ChannelAccount, Conversation, Inbox, Outbox, OutboxState
from bot.outbox import enqueue
from kb.knowledge import KnowledgeBases
from tests.conftest import MONDAY, StandingClock
from tests.fakes.platform import Answer, Fault
from tests.fakes.stages import STAGES, ByHost
from tests.fakes.telegram import Telegram
from tests.fakes.viber import Viber
from tracker.models import Library


@pytest.fixture
def telegram(clock: StandingClock) -> Telegram:
    return Telegram(clock)


@pytest.fixture
def viber(clock: StandingClock) -> Viber:
    return Viber(clock)


@pytest.fixture
def shared(
    each_database: Database,
    settings: Settings,
    clock: StandingClock,
    bus: EventBus,
    telegram: Telegram,
    viber: Viber,
) -> Iterator[State]:
    """An installation with two accounts, on either database."""
    changed = settings.model_copy(update={"database_url": each_database.url})
    app: FastAPI = create_app(
        changed, clock=clock, database=each_database, bus=bus, knowledge=KnowledgeBases()
    )
    state: State = app.state.refdesk
    state.channels._http = httpx.Client(transport=ByHost({"telegram": telegram, "viber": viber}))
    with each_database.transaction() as session:
        library = add_library(session, "north", name="north", timezone="Asia/Shanghai", now=MONDAY)
        for platform in (telegram, viber):
            stage = STAGES[type(platform).__name__.lower()]
            add_account(
                session,
                library,
                kind=stage.kind,
                name=stage.kind,
                values=stage.account(platform),
                keyring=state.keyring,
                now=MONDAY,
            )
    yield state
    state.channels.close()


Put = Callable[..., list[int]]


@pytest.fixture
def put(shared: State, telegram: Telegram, viber: Viber) -> Put:
    """Put replies in line: `put("telegram", patrons=3, each=2)`."""

    def put(kind: str, *, patrons: int, each: int = 1) -> list[int]:
        rows: list[Outbox] = []
        with shared.database.transaction() as session:
            account = account_named(session, kind)
            for number in range(patrons):
                patron = str(1000 + number)
                telegram.lets_write(int(patron), True)
                viber.subscribe(patron, True)
                conversation = _conversation(session, account, patron)
                for part in range(each):
                    reply = Reply(f"{patron} {part}", ReplyKind.NOTICE)
                    rows.append(
                        enqueue(session, conversation, reply, by="li@north", now=shared.clock())
                    )
            session.flush()
            return [row.id for row in rows]

    return put


def _conversation(session: Any, account: ChannelAccount, patron: str) -> Conversation:
    found: Conversation | None = session.scalar(
        select(Conversation).where(
            Conversation.account_id == account.id, Conversation.external_id == patron
        )
    )
    if found is None:
        found = Conversation(
            library_id=account.library_id,
            account_id=account.id,
            external_id=patron,
            language="en",
            position=0,
            read_position=0,
            state={},
            windows=[{"opened_by": "message", "until": None, "left": None}],
            thread={},
            created_at=MONDAY,
        )
        session.add(found)
        session.flush()
    return found


def states(state: State) -> list[str]:
    with state.database.snapshot() as session:
        return list(session.scalars(select(Outbox.state).order_by(Outbox.id)))


def test_three_workers_at_once_send_each_reply_once_and_in_order(
    shared: State, put: Put, telegram: Telegram
) -> None:
    telegram.burst = 1_000
    put("telegram", patrons=12, each=4)
    workers = [Worker(shared) for _ in range(3)]

    def run(worker: Worker) -> None:
        deadline = time.monotonic() + 30
        while "new" in states(shared) and time.monotonic() < deadline:
            worker.deliver_all()

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(states(shared)) == {OutboxState.SENT}
    for patron, screen in telegram.screens.items():
        assert [shown.text for shown in screen] == [f"{patron} {part}" for part in range(4)]


def test_deliveries_at_once_repeated_and_shuffled_are_each_stored_once(
    shared: State, telegram: Telegram
) -> None:
    calls: list[Any] = []
    for number in range(60):
        patron = telegram.patron(
            2000 + number % 12, lambda call: (calls.append(call), (200, b""))[1]
        )
        patron.says(f"县志第{number}卷在哪里")
    deliveries = [*calls, *calls[::2], *calls[::5]]
    Random(5).shuffle(deliveries)

    def deliver(call: Any) -> int:
        sent = WebhookRequest("POST", call.query, call.headers, call.body)
        return take_push(shared, "telegram", "telegram", sent).status

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(deliver, deliveries))

    assert set(statuses) == {200}
    with shared.database.snapshot() as session:
        rows = session.execute(select(Inbox.conversation_id, Inbox.position, Inbox.text)).all()
        replies = session.execute(select(Outbox.conversation_id, Outbox.position)).all()
        assert len(session.scalars(select(Conversation)).all()) == 12
    assert sorted(row.text for row in rows) == sorted(f"县志第{n}卷在哪里" for n in range(60))
    places = [(row.conversation_id, row.position) for row in (*rows, *replies)]
    assert len(places) == len(set(places))


def test_a_worker_does_not_wait_for_what_another_has_just_taken(shared: State, put: Put) -> None:
    if shared.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    put("telegram", patrons=8)

    with shared.database.transaction() as first, shared.database.transaction() as second:
        mine = delivery.lease(first, worker="a", now=shared.clock(), limit=4)
        theirs = delivery.lease(second, worker="b", now=shared.clock(), limit=4)

    taken = {job.outbox_id for job in mine}
    assert len(taken) == 4
    assert len(theirs) == 4
    assert taken.isdisjoint(job.outbox_id for job in theirs)


def test_a_dead_platform_is_left_alone_and_the_other_is_served(
    shared: State, put: Put, viber: Viber, telegram: Telegram, clock: StandingClock
) -> None:
    put("viber", patrons=10)
    viber.fail_next(Answer(b"", 503), times=1_000)
    worker = Worker(shared)
    for _ in range(4):
        worker.deliver_all()
        clock.advance(seconds=6)
    assert len(viber.asked) == delivery.BREAKER_AFTER

    put("telegram", patrons=10)
    for _ in range(10):
        worker.deliver_all()

    assert sum(len(screen) for screen in telegram.screens.values()) == 10
    assert len(viber.asked) == delivery.BREAKER_AFTER

    clock.advance(seconds=delivery.BREAKER_PAUSE.total_seconds())
    worker.deliver_all()
    assert len(viber.asked) == delivery.BREAKER_AFTER + 1  # one tries the way
    viber._faults.clear()
    for _ in range(40):
        clock.advance(minutes=2)
        worker.deliver_all()
    assert set(states(shared)) == {OutboxState.SENT}


def test_what_a_restored_backup_held_goes_out_when_somebody_says_so(
    shared: State, put: Put, telegram: Telegram
) -> None:
    (number,) = put("telegram", patrons=1)
    with shared.database.transaction() as session:
        assert delivery.fence(session) == 1
    worker = Worker(shared)
    worker.deliver_all()
    assert telegram.asked == []

    with shared.database.transaction() as session:
        library_id = session.scalars(select(Library.id)).one()
        (row,) = delivery.needing_attention(session, library_id)
        delivery.retry(session, row, now=shared.clock())
    worker.deliver_all()

    assert [shown.text for shown in telegram.screens["1000"]] == ["1000 0"]
    with shared.database.snapshot() as session:
        assert session.get_one(Outbox, number).state == OutboxState.SENT


def test_a_dead_letter_has_its_reason_and_goes_out_at_one_click(
    shared: State, put: Put, telegram: Telegram
) -> None:
    (number,) = put("telegram", patrons=1)
    telegram.lets_write(1000, False)
    worker = Worker(shared)
    worker.deliver_all()
    with shared.database.snapshot() as session:
        row = session.get_one(Outbox, number)
        assert row.state == OutboxState.DEAD
        assert "blocked the bot" in row.attempt_log[-1]["why"]

    telegram.lets_write(1000, True)
    with shared.database.transaction() as session:
        delivery.retry(session, session.get_one(Outbox, number), now=shared.clock())
    worker.deliver_all()

    assert states(shared) == [OutboxState.SENT]


def test_a_worker_that_died_while_sending_leaves_a_decision_not_a_second_message(
    shared: State, put: Put, telegram: Telegram, clock: StandingClock
) -> None:
    put("telegram", patrons=1)
    with shared.database.transaction() as session:
        (job,) = delivery.lease(session, worker="dead", now=clock())
    other = Worker(shared)
    other.recover()
    assert states(shared) == [OutboxState.SENDING]

    clock.advance(seconds=delivery.LEASE.total_seconds())
    other.recover()
    other.deliver_all()

    assert states(shared) == [OutboxState.UNCERTAIN]
    assert telegram.asked == []
    with shared.database.transaction() as session:
        late = delivery.settle(
            session, job, delivery.Sent("1"), worker="dead", now=clock(), random=Random(1)
        )
    assert late is None


def test_failures_of_several_workers_count_together(
    shared: State, put: Put, viber: Viber, clock: StandingClock
) -> None:
    put("viber", patrons=6)
    viber.fail_next(Fault.REFUSED, times=100)
    workers = [Worker(shared), Worker(shared)]
    for _ in range(6):
        for worker in workers:
            worker.deliver_all()
        clock.advance(seconds=6)

    with shared.database.snapshot() as session:
        account = account_named(session, "viber")
    assert account.failures_in_row >= delivery.BREAKER_AFTER
    assert account.paused_until is not None
    assert account.paused_until - clock() <= timedelta(minutes=2)
