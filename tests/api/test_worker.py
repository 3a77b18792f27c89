"""The loop behind the pages: what it sends, when it tells staff, and that nothing stops it."""

from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage

import pytest
from sqlalchemy import select, update

from api.accounts import built_in_account
from api.app import create_state
from api.db import Database
from api.models import Staff, StaffAlert
from api.settings import Settings
from api.state import State
from api.worker import Worker
from bot.channels.base import SendError, SendFailure
from bot.intake import locked_conversation
from bot.messages import Reply, ReplyKind
from bot.models import Outbox, OutboxState, Patron
from bot.outbox import enqueue
from tests.api.conftest import Libraries
from tests.conftest import StandingClock
from tracker.consultations import assign, escalate, feedback, open_consultation
from tracker.models import Consultation, DirtyDay, Library, Miss, Rollup


class Postbox:
    """Takes e-mail, or refuses it."""

    def __init__(self) -> None:
        self.sent: list[EmailMessage] = []
        self.refusal: SendError | None = None

    def send(self, message: EmailMessage) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.sent.append(message)


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def with_mail(settings: Settings, database: Database, clock: StandingClock) -> Iterator[State]:
    changed = settings.model_copy(
        update={"smtp_host": "mail.example.org", "smtp_from": "desk@example.org"}
    )
    made = create_state(changed, clock=clock, database=database)
    yield made
    made.channels.close()


@pytest.fixture
def worker(with_mail: State, postbox: Postbox) -> Worker:
    return Worker(with_mail, mailer=postbox)


def alert(worker: Worker) -> None:
    """Write what is to be told, and send it."""
    worker.alert_staff()
    worker.announcer.send_due()


def waiting(
    database: Database, library_id: int, clock: StandingClock, *, urgent: bool = False
) -> int:
    """A question that waits for a librarian since now."""
    now = clock()
    with database.transaction() as session:
        opened = open_consultation(
            session,
            session.get_one(Library, library_id),
            channel="web",
            conversation_id=None,
            at=now,
            now=now,
            text="a secret question",
            language="en",
        )
        escalate(session, opened, at=now, now=now, reason="unknown", urgent=urgent)
        return opened.id


def test_staff_are_told_once_of_a_question_that_waits(
    worker: Worker,
    postbox: Postbox,
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
) -> None:
    waiting(database, libraries.north, clock)

    alert(worker)
    assert postbox.sent == []

    clock.advance(minutes=16)
    alert(worker)
    alert(worker)

    people = sorted(str(message["To"]) for message in postbox.sent)
    assert people == ["admin@north", "librarian@north", "manager@north"]


def test_an_alert_names_times_and_the_desk_but_not_what_was_asked(
    worker: Worker,
    postbox: Postbox,
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
) -> None:
    waiting(database, libraries.north, clock)
    clock.advance(minutes=16)

    alert(worker)

    text = postbox.sent[0].get_content()
    assert "2026-11-23 10:00" in text
    assert "/desk" in text
    assert "secret" not in text
    assert postbox.sent[0]["Auto-Submitted"] == "auto-generated"


def test_an_urgent_question_is_told_at_once_and_an_overdue_one_again(
    worker: Worker,
    postbox: Postbox,
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
) -> None:
    waiting(database, libraries.north, clock, urgent=True)

    alert(worker)
    first = len(postbox.sent)
    clock.advance(hours=25)
    alert(worker)

    assert first == 3
    assert len(postbox.sent) == 6


def test_what_a_colleague_has_taken_or_answered_is_not_told(
    worker: Worker,
    postbox: Postbox,
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
) -> None:
    taken = waiting(database, libraries.north, clock)
    answered = waiting(database, libraries.north, clock)
    now = clock()
    with database.transaction() as session:
        assign(
            session,
            session.get_one(Consultation, taken),
            at=now,
            now=now,
            by="librarian@north",
            to="librarian@north",
        )
        feedback(
            session,
            session.get_one(Consultation, answered),
            at=now,
            now=now,
            by="librarian@north",
            text="here",
        )
    clock.advance(minutes=30)

    alert(worker)

    assert postbox.sent == []


@pytest.mark.parametrize("hours", [1, 60])
def test_an_alert_waits_as_long_as_the_mail_server_is_down_and_goes_once(
    worker: Worker,
    with_mail: State,
    postbox: Postbox,
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
    hours: int,
) -> None:
    waiting(database, libraries.north, clock, urgent=True)
    postbox.refusal = SendError("the mail server: timed out", failure=SendFailure.RETRY)
    alert(worker)
    for _ in range(hours):
        clock.advance(hours=1)
        worker.announcer.send_due()
        worker.announcer.seal_reports()  # which also gives up what is too old to help
    assert postbox.sent == []

    postbox.refusal = None
    clock.advance(hours=1)
    for each in (worker, Worker(with_mail, mailer=postbox)):  # the first may be gone by then
        each.announcer.send_due()

    assert sorted(str(message["To"]) for message in postbox.sent) == [
        "admin@north",
        "librarian@north",
        "manager@north",
    ]


def test_who_wants_no_alerts_gets_none(
    worker: Worker,
    postbox: Postbox,
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
) -> None:
    with database.transaction() as session:
        for person in session.scalars(select(Staff).where(Staff.email != "manager@north")):
            person.settings = {"alerts": False}
    waiting(database, libraries.north, clock)
    clock.advance(minutes=16)

    alert(worker)

    assert [message["To"] for message in postbox.sent] == ["manager@north"]


def test_without_a_mail_server_nothing_is_marked_as_told(
    state: State, database: Database, libraries: Libraries, clock: StandingClock
) -> None:
    waiting(database, libraries.north, clock)
    clock.advance(minutes=16)

    alert(Worker(state))

    with database.snapshot() as session:
        assert session.scalars(select(StaffAlert)).all() == []


# --- delivery ----------------------------------------------------------------------------


def emailed(
    state: State, database: Database, library_id: int, clock: StandingClock, address: str
) -> int:
    """A reply that is to go to a patron's own address."""
    now = clock()
    with database.transaction() as session:
        desk = state.desks.of(session, library_id, now=now)
        account = built_in_account(session, desk.library, "web", now=now)
        conversation = locked_conversation(session, desk, account, "patron-1", now=now)
        conversation.language = "en"
        if conversation.patron is None:
            conversation.patron = Patron(library_id=library_id, created_at=now)
        conversation.patron.email = address
        reply = Reply("Here is your answer.", ReplyKind.NOTICE)
        row = enqueue(session, conversation, reply, by="librarian@north", now=now, via="email")
        session.flush()
        return row.id


def test_a_reply_by_email_reaches_the_address_once(
    worker: Worker,
    with_mail: State,
    postbox: Postbox,
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
) -> None:
    row_id = emailed(with_mail, database, libraries.north, clock, "reader@example.org")

    worker.deliver_all()
    worker.deliver_all()

    assert [str(message["To"]) for message in postbox.sent] == ["reader@example.org"]
    assert postbox.sent[0]["Subject"] == "Answer from north"
    assert "Here is your answer." in postbox.sent[0].get_content()
    with database.snapshot() as session:
        row = session.get_one(Outbox, row_id)
        assert row.state == OutboxState.SENT
        assert row.key in str(row.provider_id)


@pytest.mark.parametrize("address", ["no address", "a@b\r\nBcc: everybody@example.org", "@", ""])
def test_an_address_that_is_none_is_given_up_and_nothing_is_injected(
    worker: Worker,
    with_mail: State,
    postbox: Postbox,
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
    address: str,
) -> None:
    row_id = emailed(with_mail, database, libraries.north, clock, address)

    worker.deliver_all()

    assert postbox.sent == []
    with database.snapshot() as session:
        assert session.get_one(Outbox, row_id).state == OutboxState.DEAD


def test_a_mail_server_that_is_away_is_asked_later(
    worker: Worker,
    with_mail: State,
    postbox: Postbox,
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
) -> None:
    row_id = emailed(with_mail, database, libraries.north, clock, "reader@example.org")
    postbox.refusal = SendError("away", failure=SendFailure.RETRY)
    worker.deliver_all()
    postbox.refusal = None

    assert worker.deliver_all() == 0
    clock.advance(minutes=1)
    worker.deliver_all()

    assert len(postbox.sent) == 1
    with database.snapshot() as session:
        assert session.get_one(Outbox, row_id).attempts == 2


def test_a_reply_whose_sending_broke_is_left_to_a_librarian(
    worker: Worker,
    with_mail: State,
    postbox: Postbox,
    database: Database,
    libraries: Libraries,
    clock: StandingClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row_id = emailed(with_mail, database, libraries.north, clock, "reader@example.org")

    def broken(_message: EmailMessage) -> None:
        raise LookupError("a mistake of ours")

    monkeypatch.setattr(postbox, "send", broken)
    worker.deliver_all()

    with database.snapshot() as session:
        assert session.get_one(Outbox, row_id).state == OutboxState.UNCERTAIN


# --- chores ------------------------------------------------------------------------------


def test_a_missed_deadline_is_noticed_once(
    worker: Worker, database: Database, libraries: Libraries, clock: StandingClock
) -> None:
    waiting(database, libraries.north, clock)
    clock.advance(hours=25)

    worker.sweep()
    worker.sweep()

    with database.snapshot() as session:
        clocks = session.scalars(select(Miss.clock)).all()
    assert clocks.count("answer") == 1


def test_choices_that_nobody_took_come_before_the_librarians(
    worker: Worker, database: Database, libraries: Libraries, clock: StandingClock
) -> None:
    with database.transaction() as session:
        offered = open_consultation(
            session,
            session.get_one(Library, libraries.north),
            channel="web",
            conversation_id=1,
            at=clock(),
            now=clock(),
            text="printing",
            language="en",
        ).id
    clock.advance(minutes=16)

    worker.escalate_dead_ends()

    with database.snapshot() as session:
        assert session.get_one(Consultation, offered).status == "waiting"


def test_a_daily_count_that_lies_is_found_and_computed_anew(
    worker: Worker, database: Database, libraries: Libraries, clock: StandingClock
) -> None:
    waiting(database, libraries.north, clock)
    clock.advance(days=10)
    worker.refresh_rollups()
    worker.check_rollups()
    with database.transaction() as session:
        assert session.scalars(select(DirtyDay)).all() == []
        session.execute(update(Rollup).values(waiting=7))

    worker.check_rollups()
    worker.refresh_rollups()

    with database.snapshot() as session:
        assert set(session.scalars(select(Rollup.waiting))) == {0, 1}


def test_one_chore_that_fails_does_not_stop_the_others(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for chore in worker._chores:
        chore.do = lambda name=chore.name: done.append(name)  # type: ignore[misc]
    worker._chores[0].do = lambda: 1 // 0

    for chore in worker._chores:
        worker._run_when_due(chore)

    assert len(done) == len(worker._chores) - 1


def test_a_chore_waits_for_its_time(worker: Worker, clock: StandingClock) -> None:
    done: list[int] = []
    chore = worker._chores[0]
    chore.do = lambda: done.append(1)

    worker._run_when_due(chore)
    worker._run_when_due(chore)
    clock.now += chore.every - timedelta(milliseconds=1)
    worker._run_when_due(chore)
    assert len(done) == 1

    clock.advance(milliseconds=1)
    worker._run_when_due(chore)
    assert len(done) == 2


def test_a_worker_stops_when_it_is_told_to(worker: Worker) -> None:
    worker.start()

    worker.stop()

    assert worker._thread is not None
    assert not worker._thread.is_alive()
