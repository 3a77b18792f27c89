"""Librarians who work in Slack: a case becomes a thread, an answer there reaches the patron."""

import threading
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from api import asides, staff_threads
from api.accounts import add_account
from api.app import create_app
from api.libraries import add_library
from api.models import AuditEntry, Role, Staff
from api.privacy import erase_patron
from api.staff import add_staff
from api.worker import Worker
from bot.models import ChannelAccount, StaffPost
from tests.conftest import StandingClock
from tests.fakes.platform import Answer, Call, Fault
from tests.fakes.slack import ROOM, Member, Person, Slack, error
from tracker import consultations
from tracker.models import Consultation, Library

LIN, CHEN = "lin@example.edu", "chen@example.edu"
SETTINGS = {
    "bot_token": "xoxb-demo-not-real",
    "signing_secret": "slackDemoSigningSecret",
    "staff_channel": ROOM,
}


@pytest.fixture
def slack(clock: StandingClock) -> Slack:
    made = Slack(clock)
    made.members |= {"U0LIN": Member(LIN), "U0CHEN": Member(CHEN)}
    made.members["U0ELSE"] = Member("else@example.org")
    return made


@pytest.fixture
def site(settings, clock, each_database, bus, slack) -> FastAPI:
    app = create_app(settings, clock=clock, database=each_database, bus=bus)
    state = app.state.refdesk
    state.channels._http = httpx.Client(transport=slack.transport)
    with each_database.transaction() as session:
        library = add_library(session, "demo", name="Demo", timezone="Asia/Shanghai", now=clock())
        library.languages = ["en", "zh"]
        for email, name in ((LIN, "Ms Lin"), (CHEN, "Mr Chen")):
            add_staff(
                session, email, name=name, role=Role.LIBRARIAN, library_id=library.id, now=clock()
            )
        add_account(
            session,
            library,
            kind="slack",
            name="our-slack",
            values=SETTINGS,
            keyring=state.keyring,
            now=clock(),
        )
    return app


@pytest.fixture
def webhook(site) -> Iterator:
    with TestClient(site) as client:

        def send(call: Call) -> tuple[int, bytes]:
            address = "/channels/slack/our-slack"
            answer = client.request(call.method, address, content=call.body, headers=call.headers)
            return answer.status_code, answer.content

        yield send


@pytest.fixture
def worker(site) -> Worker:
    return Worker(site.state.refdesk)


@pytest.fixture
def patron(slack, webhook) -> Person:
    return slack.person("U0READER", webhook)


@pytest.fixture
def lin(slack, webhook) -> Person:
    return Person(slack, "U0LIN", webhook)


def works(worker: Worker, clock: StandingClock) -> None:
    """Rounds of the worker, with some seconds between."""
    for _ in range(3):
        worker.staffrooms.work()
        worker.deliver_all()
        clock.advance(seconds=3)


@pytest.fixture
def case(worker, patron, clock, slack) -> str:
    """A question that waits, with its thread."""
    patron.says("Where is the county gazetteer of 1932?")
    works(worker, clock)
    (thread,) = threads(slack)
    return thread


def threads(slack: Slack) -> list[str]:
    return [ts for ts, texts in slack.threads.items() if "New question" in texts[0]]


def the(database, model):
    with database.snapshot() as session:
        return session.scalars(select(model)).one()


def test_a_waiting_question_opens_one_thread(case, slack, worker, clock, each_database):
    works(worker, clock)

    opening = slack.threads[case][0]
    assert "Patron: Where is the county gazetteer of 1932?" in opening
    assert "over slack" in opening
    assert f"/desk/c/{the(each_database, Consultation).id}" in opening
    assert len(threads(slack)) == 1


def test_an_answer_in_the_thread_reaches_the_patron(
    case, slack, worker, patron, lin, clock, each_database
):
    assert lin.answers("In the local history room.", thread=case).statuses == (200,)
    works(worker, clock)

    assert patron.screen[-1].text == "In the local history room."
    assert slack.threads[case][1:] == ["Ms Lin has taken it.", "✓ Sent to the patron."]
    consultation = the(each_database, Consultation)
    assert (consultation.assigned_to, consultation.feedback_by) == (LIN, LIN)
    with each_database.snapshot() as session:
        entry = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "consultation.answer")
        ).one()
    assert entry.actor == LIN


def test_a_repeated_event_is_answered_once(case, slack, worker, patron, lin, clock, each_database):
    slack.lose_answers = 2
    lin.answers("In room 3.", thread=case)
    works(worker, clock)
    lin.again()
    works(worker, clock)

    assert [shown.text for shown in patron.screen].count("In room 3.") == 1


def test_a_note_stays_inside(case, slack, worker, patron, lin, clock, each_database):
    before = len(patron.screen)
    lin.answers("// who knows the old maps?", thread=case)
    works(worker, clock)

    assert len(patron.screen) == before
    assert slack.threads[case][-1] == "Kept as a note. The patron does not see it."
    with each_database.snapshot() as session:
        consultation = session.scalars(select(Consultation)).one()
        (note,) = asides.notes_of(session, consultation)
    assert (note.by, note.text) == (LIN, "who knows the old maps?")


@pytest.mark.parametrize("who", ["U0ELSE", "U0GUEST", "U0DISABLED", "U0UNKNOWN"])
def test_only_the_librarys_staff_can_answer(
    case, slack, worker, patron, clock, each_database, webhook, who
):
    slack.members |= {"U0GUEST": Member(LIN, is_guest=True), "U0DISABLED": Member(CHEN)}
    with each_database.transaction() as session:
        chen = session.scalars(select(Staff).where(Staff.email == CHEN)).one()
        chen.disabled_at = clock()
    before = len(patron.screen)
    Person(slack, who, webhook).answers("Trust me.", thread=case)
    works(worker, clock)

    assert len(patron.screen) == before
    assert slack.threads[case][-1].startswith("Not sent:")
    assert the(each_database, Consultation).feedback_at is None


def test_staff_of_another_library_cannot_answer(
    case, slack, worker, patron, lin, clock, each_database
):
    with each_database.transaction() as session:
        other = add_library(session, "other", name="Other", timezone="Asia/Shanghai", now=clock())
        session.scalars(select(Staff).where(Staff.email == LIN)).one().library_id = other.id
    lin.answers("Trust me.", thread=case)
    works(worker, clock)

    assert slack.threads[case][-1].startswith("Not sent: this account")


def test_a_case_in_a_colleagues_hands_is_theirs(
    case, slack, worker, patron, lin, clock, webhook, each_database
):
    lin.answers("In room 3.", thread=case)
    works(worker, clock)
    Person(slack, "U0CHEN", webhook).answers("No, in room 4.", thread=case)
    works(worker, clock)

    assert slack.threads[case][-1] == "Not sent: Ms Lin has this case."
    assert patron.screen[-1].text == "In room 3."


def test_a_thread_of_no_case_says_so(case, slack, worker, lin, clock):
    lin.answers("hello?", thread="1700000000.000001")
    works(worker, clock)

    assert slack.threads["1700000000.000001"] == [
        "This thread belongs to no case. Nothing was sent."
    ]


def test_what_happens_elsewhere_is_told_in_the_thread(
    case, slack, worker, patron, clock, each_database
):
    patron.says("It may also be of 1933.")
    works(worker, clock)
    with each_database.transaction() as session:
        consultation = session.scalars(select(Consultation)).one()
        facts = {"at": clock(), "now": clock()}
        consultations.assign(session, consultation, by=CHEN, to=CHEN, **facts)
        consultations.feedback(session, consultation, by=CHEN, text="Room 3.", **facts)
        consultations.fail(session, consultation, reason="the window had closed", **facts)
        consultations.close(session, consultation, by=CHEN, **facts)
    works(worker, clock)

    assert slack.threads[case][1:] == [
        "Patron: It may also be of 1933.",
        "Mr Chen has taken it.",
        "✓ Mr Chen answered: Room 3.",
        "⚠ An answer did not reach the patron: the window had closed",
        "Closed.",
    ]


def test_an_urgent_case_says_so(worker, slack, clock, each_database):
    with each_database.transaction() as session:
        library = session.scalars(select(Library)).one()
        facts = {"at": clock(), "now": clock()}
        made = consultations.open_consultation(
            session,
            library,
            channel="web",
            conversation_id=None,
            text="help me",
            language="en",
            **facts,
        )
        consultations.escalate(session, made, reason="crisis", urgent=True, **facts)
    works(worker, clock)

    (texts,) = slack.threads.values()
    assert texts[0].startswith("URGENT")


def test_a_backlog_comes_in_portions(worker, slack, clock, each_database):
    with each_database.transaction() as session:
        library = session.scalars(select(Library)).one()
        facts = {"at": clock(), "now": clock(), "channel": "web", "conversation_id": None}
        for number in range(25):
            made = consultations.open_consultation(
                session, library, text=f"q{number}", language="en", **facts
            )
            consultations.escalate(session, made, at=clock(), now=clock(), reason="unknown")
    worker.staffrooms.work()
    assert len(threads(slack)) == staff_threads.CASES_A_ROUND

    worker.staffrooms.work()
    assert len(threads(slack)) == 25


@pytest.mark.parametrize("fault", [Fault.REFUSED, Answer(b"", 503), error("ratelimited")])
def test_while_slack_is_away_nothing_is_lost(
    case, slack, worker, patron, lin, clock, each_database, fault
):
    lin.answers("In room 3.", thread=case)
    slack.fail_next(fault, path="users.info", times=2)
    for _ in range(4):
        works(worker, clock)
        clock.advance(seconds=60)

    assert patron.screen[-1].text == "In room 3."


def test_an_answer_whose_author_cannot_be_known_is_refused_aloud(
    case, slack, worker, patron, lin, clock
):
    slack.fail_next(error("missing_scope"), path="users.info")
    lin.answers("In room 3.", thread=case)
    works(worker, clock)

    assert "lacks a permission" in slack.threads[case][-1]


def test_a_room_that_is_gone_is_not_asked_for_ever(worker, slack, patron, clock, each_database):
    slack.rooms.clear()
    patron.says("Where is it?")
    works(worker, clock)
    asked = len(slack.asked)
    clock.advance(hours=24)
    works(worker, clock)

    assert len(slack.asked) == asked
    assert the(each_database, StaffPost).due_at is None


def test_without_a_room_nothing_is_posted(site, worker, slack, patron, clock, each_database):
    with each_database.transaction() as session:
        account = session.scalars(select(ChannelAccount)).one()
        account.settings = {}
    patron.says("Where is it?")
    works(worker, clock)

    assert threads(slack) == []


def test_two_workers_open_one_thread(site, worker, slack, patron, clock):
    patron.says("Where is it?")
    workers = [worker, Worker(site.state.refdesk)]
    running = [threading.Thread(target=each.staffrooms.work) for each in workers]
    for each in running:
        each.start()
    for each in running:
        each.join()

    assert len(threads(slack)) == 1


def test_words_are_kept_no_longer_than_needed_and_erased(
    case, slack, worker, patron, lin, clock, site, each_database
):
    lin.answers("In room 3.", thread=case)
    lin.answers("Anybody else?", thread="1.1")
    works(worker, clock)
    with each_database.snapshot() as session:
        assert set(session.scalars(select(StaffPost.text))) == {None}

    with each_database.transaction() as session:
        library = session.scalars(select(Library)).one()
        keyring = site.state.refdesk.keyring
        facts = {"channel": "slack", "patron": "U0READER", "keyring": keyring, "now": clock()}
        assert erase_patron(session, library, **facts) == 1
        kept = session.scalars(select(StaffPost.consultation_id)).all()
    assert set(kept) == {None}


def test_rounds_do_not_pile_up(worker, slack, patron, clock):
    patron.says("Where is it?")
    worker.staffrooms.round()
    worker.staffrooms.round()
    worker.staffrooms.finish()
    assert len(threads(slack)) == 1

    worker.staffrooms.round()  # too soon
    clock.advance(seconds=2)
    worker.staffrooms.round()
    worker.staffrooms.finish()
    assert len(threads(slack)) == 1
