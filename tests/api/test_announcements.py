"""Robots and programs hear of each miss once, and managers of each day once."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage

import pytest
from sqlalchemy import func, select

from api.alerts import claim
from api.announcements import KEPT, announce_waiting, forget_old, lease
from api.announcer import Announcer
from api.app import create_state
from api.db import Database
from api.destinations import UnknownDestination, add_destination, destination_named, opened
from api.egress import Answer
from api.errors import BadRequest
from api.models import AlertDestination, AlertMessage, StaffAlert
from api.robots import DINGTALK, FEISHU, WEBHOOK, WECOM
from api.settings import Settings
from api.state import State
from api.worker import Worker
from bot.channels.base import SendError, SendFailure
from tests.api.conftest import Libraries
from tests.conftest import StandingClock
from tracker.consultations import escalate, open_consultation
from tracker.models import Library

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URLS = {
    WECOM: "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=K",
    DINGTALK: "https://oapi.dingtalk.com/robot/send?access_token=T",
    FEISHU: "https://open.feishu.cn/open-apis/bot/v2/hook/H",
    WEBHOOK: "https://hooks.example.org/refdesk",
}


@dataclass
class Outside:
    """Stands for every robot: keeps what it is sent and answers as told."""

    calls: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)
    answers: list[Answer | SendError] = field(default_factory=list)

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool
    ) -> Answer:
        assert not allow_private
        self.calls.append((url, body, headers))
        answer = self.answers.pop(0) if self.answers else Answer(200, {}, b'{"errcode":0}')
        if isinstance(answer, SendError):
            raise answer
        return answer


class Postbox:
    """Takes e-mail."""

    def __init__(self) -> None:
        self.sent: list[EmailMessage] = []

    def send(self, message: EmailMessage) -> None:
        self.sent.append(message)


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def state(settings: Settings, database: Database, clock: StandingClock) -> Iterator[State]:
    made = create_state(settings, clock=clock, database=database)
    yield made
    made.channels.close()


@pytest.fixture
def announcer(state: State, outside: Outside, postbox: Postbox) -> Announcer:
    return Announcer(state, mailer=postbox, worker="one", post=outside.post)


Listen = Callable[..., None]


@pytest.fixture
def listen(database: Database, libraries: Libraries, state: State) -> Listen:
    """Give north a destination: `listen(WECOM)`."""

    def add(kind: str, *, name: str | None = None, wants_digest: bool = False) -> None:
        secret = {WEBHOOK: SECRET, DINGTALK: "SECabc", FEISHU: "S"}.get(kind)
        with database.transaction() as session:
            add_destination(
                session,
                session.get_one(Library, libraries.north),
                kind=kind,
                name=name or kind,
                url=URLS[kind],
                secret=secret,
                language="en",
                wants_digest=wants_digest,
                keyring=state.keyring,
                now=state.clock(),
            )

    return add


def ask(database: Database, library_id: int, clock: StandingClock) -> int:
    with database.transaction() as session:
        opened_one = open_consultation(
            session,
            session.get_one(Library, library_id),
            channel="wechat",
            conversation_id=None,
            at=clock(),
            now=clock(),
            text="a secret question of a patron",
            language="en",
        )
        escalate(session, opened_one, at=clock(), now=clock(), reason="unknown")
        return opened_one.id


def states(database: Database) -> list[str]:
    with database.snapshot() as session:
        return list(session.scalars(select(AlertMessage.state).order_by(AlertMessage.id)))


def test_every_kind_of_destination_hears_of_a_waiting_question(
    database: Database,
    libraries: Libraries,
    state: State,
    listen: Listen,
    announcer: Announcer,
    outside: Outside,
    clock: StandingClock,
) -> None:
    for kind in URLS:
        listen(kind)
    number = ask(database, libraries.north, clock)
    clock.advance(minutes=16)

    Worker(state).alert_staff()
    announcer.send_due()

    assert {url.partition("&")[0] for url, _, _ in outside.calls} == set(URLS.values())
    webhook = next(json.loads(body) for url, body, _ in outside.calls if url == URLS[WEBHOOK])
    assert webhook["type"] == "consultations.waiting"
    assert [each["id"] for each in webhook["data"]["consultations"]] == [number]
    assert webhook["data"]["consultations"][0]["reason"] == "waiting"
    assert not any(b"secret question" in body for _, body, _ in outside.calls)
    assert states(database) == ["sent"] * 4


def test_another_library_hears_nothing(
    database: Database,
    libraries: Libraries,
    state: State,
    listen: Listen,
    announcer: Announcer,
    outside: Outside,
    clock: StandingClock,
) -> None:
    listen(WECOM)
    ask(database, libraries.south, clock)
    clock.advance(minutes=16)

    Worker(state).alert_staff()
    announcer.send_due()

    assert outside.calls == []


def test_a_question_is_told_of_when_it_waits_when_it_is_due_soon_and_when_it_is_late(
    database: Database,
    libraries: Libraries,
    state: State,
    listen: Listen,
    clock: StandingClock,
) -> None:
    listen(WEBHOOK)
    ask(database, libraries.north, clock)
    worker = Worker(state)

    for minutes in range(0, 26 * 60, 10):
        clock.now = clock.now if minutes == 0 else clock.advance(minutes=10)
        worker.alert_staff()

    with database.snapshot() as session:
        told = list(session.scalars(select(StaffAlert.reason).order_by(StaffAlert.id)))
        data = list(session.scalars(select(AlertMessage.data).order_by(AlertMessage.id)))
    assert told == ["waiting", "due_soon", "overdue"]
    assert [each["consultations"][0]["reason"] for each in data] == told


def test_several_workers_write_and_send_each_message_once(
    database: Database,
    libraries: Libraries,
    state: State,
    listen: Listen,
    outside: Outside,
    postbox: Postbox,
    clock: StandingClock,
) -> None:
    listen(WEBHOOK)
    listen(WECOM)
    for _ in range(5):
        ask(database, libraries.north, clock)
    clock.advance(minutes=16)
    workers = [Worker(state) for _ in range(4)]
    senders = [
        Announcer(state, mailer=postbox, worker=f"w{number}", post=outside.post)
        for number in range(4)
    ]

    _together([worker.alert_staff for worker in workers])
    _together([sender.send_due for sender in senders])

    heard = [
        each["id"]
        for url, body, _ in outside.calls
        if url == URLS[WEBHOOK]
        for each in json.loads(body)["data"]["consultations"]
    ]
    assert len(heard) == len(set(heard)) == 5
    assert set(states(database)) == {"sent"}


def _together(jobs: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_leased_message_is_nobody_elses(
    database: Database,
    libraries: Libraries,
    listen: Listen,
    state: State,
    clock: StandingClock,
) -> None:
    listen(WECOM)
    ask(database, libraries.north, clock)
    clock.advance(minutes=16)
    Worker(state).alert_staff()

    with database.transaction() as session:
        assert len(lease(session, worker="one", now=clock(), limit=9)) == 1
    with database.transaction() as session:
        assert lease(session, worker="two", now=clock(), limit=9) == []


def test_what_certainly_did_not_arrive_is_sent_again_under_the_same_id(
    database: Database,
    libraries: Libraries,
    state: State,
    listen: Listen,
    announcer: Announcer,
    outside: Outside,
    clock: StandingClock,
) -> None:
    listen(WEBHOOK)
    ask(database, libraries.north, clock)
    clock.advance(minutes=16)
    Worker(state).alert_staff()
    outside.answers = [Answer(503, {"retry-after": "90"}, b""), Answer(204, {}, b"")]

    announcer.send_due()
    clock.advance(seconds=60)
    announcer.send_due()
    assert len(outside.calls) == 1
    clock.advance(seconds=31)
    announcer.send_due()

    ids = [headers["webhook-id"] for _, _, headers in outside.calls]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert states(database) == ["sent"]


@pytest.mark.parametrize(
    ("kind", "calls", "state_after"), [(WECOM, 1, "uncertain"), (WEBHOOK, 2, "sent")]
)
def test_what_may_have_arrived_is_repeated_only_where_the_receiver_knows_it_again(
    database: Database,
    libraries: Libraries,
    state: State,
    listen: Listen,
    announcer: Announcer,
    outside: Outside,
    clock: StandingClock,
    kind: str,
    calls: int,
    state_after: str,
) -> None:
    listen(kind)
    ask(database, libraries.north, clock)
    clock.advance(minutes=16)
    Worker(state).alert_staff()
    outside.answers = [SendError("ReadTimeout", failure=SendFailure.UNCERTAIN)]

    announcer.send_due()
    clock.advance(minutes=10)
    announcer.send_due()

    assert len(outside.calls) == calls
    assert states(database) == [state_after]


def test_a_message_whose_worker_died_is_uncertain(
    database: Database,
    libraries: Libraries,
    state: State,
    listen: Listen,
    announcer: Announcer,
    outside: Outside,
    clock: StandingClock,
) -> None:
    listen(WECOM)
    ask(database, libraries.north, clock)
    clock.advance(minutes=16)
    Worker(state).alert_staff()
    with database.transaction() as session:
        lease(session, worker="died", now=clock(), limit=9)

    clock.advance(minutes=2)
    announcer.send_due()

    assert outside.calls == []
    assert states(database) == ["uncertain"]


def test_a_program_that_is_gone_is_not_called_any_more(
    database: Database,
    libraries: Libraries,
    state: State,
    listen: Listen,
    announcer: Announcer,
    outside: Outside,
    clock: StandingClock,
) -> None:
    listen(WEBHOOK)
    ask(database, libraries.north, clock)
    clock.advance(minutes=16)
    outside.answers = [Answer(410, {}, b"")]
    Worker(state).alert_staff()
    announcer.send_due()
    ask(database, libraries.north, clock)
    clock.advance(minutes=16)
    Worker(state).alert_staff()

    announcer.send_due()

    assert len(outside.calls) == 1
    with database.snapshot() as session:
        assert session.scalars(select(AlertDestination.disabled_at)).one() is not None


def test_alerts_that_help_nobody_any_more_are_given_up_and_forgotten(
    database: Database, libraries: Libraries, state: State, listen: Listen, clock: StandingClock
) -> None:
    listen(WECOM)
    ask(database, libraries.north, clock)
    clock.advance(minutes=16)
    Worker(state).alert_staff()

    with database.transaction() as session:
        forget_old(session, now=clock.advance(hours=73))
    assert states(database) == ["dead"]
    with database.transaction() as session:
        forget_old(session, now=clock() + KEPT)
    assert states(database) == []


def test_a_long_list_is_cut_for_people_and_whole_for_programs(
    database: Database, libraries: Libraries, listen: Listen, clock: StandingClock
) -> None:
    listen(WEBHOOK)
    for _ in range(14):
        ask(database, libraries.north, clock)
    clock.advance(minutes=16)

    with database.transaction() as session:
        north = session.get_one(Library, libraries.north)
        told = claim(session, north, now=clock())
        announce_waiting(
            session, north, told, base_url="https://a.example", by_email=False, now=clock()
        )
        row = session.scalars(select(AlertMessage)).one()
        text, data = row.text, row.data

    assert text.count("wechat") == 10
    assert "and 4 more" in text
    assert len(data["consultations"]) == 14


# --- the daily digest ----------------------------------------------------------------------


@pytest.fixture
def by_mail(settings: Settings, database: Database, clock: StandingClock) -> Iterator[State]:
    changed = settings.model_copy(
        update={"smtp_host": "mail.example.org", "smtp_from": "desk@example.org"}
    )
    made = create_state(changed, clock=clock, database=database)
    yield made
    made.channels.close()


def test_managers_hear_of_each_day_once(
    database: Database,
    libraries: Libraries,
    by_mail: State,
    listen: Listen,
    outside: Outside,
    postbox: Postbox,
    clock: StandingClock,
) -> None:
    listen(WEBHOOK, wants_digest=True)
    listen(WECOM)
    ask(database, libraries.north, clock)
    clock.advance(hours=24)  # the next day, 10:00 in Shanghai
    senders = [
        Announcer(by_mail, mailer=postbox, worker=f"w{number}", post=outside.post)
        for number in range(3)
    ]

    for _ in range(2):
        _together([sender.write_digests for sender in senders])
        _together([sender.send_due for sender in senders])
        clock.advance(minutes=5)

    assert sorted(str(each["To"]) for each in postbox.sent) == ["admin@north", "manager@north"]
    body = postbox.sent[0].get_content()
    assert "secret question" not in body
    assert "1" in str(postbox.sent[0]["Subject"])
    [(url, sent, _)] = outside.calls
    assert url == URLS[WEBHOOK]
    content = json.loads(sent)
    assert content["type"] == "library.digest"
    assert (content["data"]["received"], content["data"]["waiting"]) == (1, 1)


def test_the_digest_waits_for_its_hour_and_stays_away_on_a_quiet_day(
    database: Database,
    libraries: Libraries,
    by_mail: State,
    postbox: Postbox,
    clock: StandingClock,
) -> None:
    sender = Announcer(by_mail, mailer=postbox, worker="one")
    sender.write_digests()  # nobody asked, nobody waits
    ask(database, libraries.north, clock)
    clock.advance(hours=21, minutes=30)  # 07:30 in Shanghai
    sender.write_digests()
    assert states(database) == []

    clock.advance(hours=1)
    sender.write_digests()
    assert states(database) == ["new", "new"]


def test_a_library_can_do_without_a_digest(
    database: Database, libraries: Libraries, by_mail: State, clock: StandingClock
) -> None:
    ask(database, libraries.north, clock)
    with database.transaction() as session:
        session.get_one(Library, libraries.north).settings = {"digest": False}
    clock.advance(hours=24)

    Announcer(by_mail, mailer=Postbox(), worker="one").write_digests()

    assert states(database) == []


# --- destinations --------------------------------------------------------------------------


def test_address_and_secret_are_sealed(database: Database, listen: Listen, state: State) -> None:
    listen(WEBHOOK)

    with database.snapshot() as session:
        row = session.scalars(select(AlertDestination)).one()
    assert "refdesk" not in row.sealed
    assert row.host == "hooks.example.org"
    known = opened(row, state.keyring)
    assert (known.url, known.secret) == (URLS[WEBHOOK], SECRET)


def test_a_name_is_given_once_and_only_inside_its_library(
    database: Database, libraries: Libraries, listen: Listen
) -> None:
    listen(WECOM, name="desk")

    with pytest.raises(BadRequest):
        listen(DINGTALK, name="desk")
    with database.snapshot() as session, pytest.raises(UnknownDestination):
        destination_named(session, session.get_one(Library, libraries.south), "desk")
    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(AlertDestination)) == 1


def test_a_test_message_says_when_it_did_not_arrive(
    database: Database,
    libraries: Libraries,
    listen: Listen,
    announcer: Announcer,
    outside: Outside,
    clock: StandingClock,
) -> None:
    listen(DINGTALK)
    with database.snapshot() as session:
        north = session.get_one(Library, libraries.north)
        row = destination_named(session, north, DINGTALK)
    outside.answers = [Answer(200, {}, b'{"errcode":310000,"errmsg":"sign not match"}')]

    with pytest.raises(SendError, match="310000"):
        announcer.test(row, library=north)
    announcer.test(row, library=north)

    assert b"this is a test" in outside.calls[-1][1]
