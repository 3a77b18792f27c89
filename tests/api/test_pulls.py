"""The worker fetches what a callback spoke of, through HTTP, database and threads."""

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from api.accounts import add_account
from api.app import create_app
from api.libraries import add_library
from api.worker import Worker
from bot.channels.wecom import WeCom as Adapter
from bot.models import ChannelAccount, ChannelCursor, Inbox
from tests.conftest import StandingClock
from tests.fakes.platform import Answer, Call, Fault
from tests.fakes.wecom import DESK, Patron, WeCom
from tracker.models import Consultation

SETTINGS = {
    "corp_id": "ww8c41f7a2d90b35e6",
    "secret": "wecomDemoSecret",
    "token": "lendingDesk3",
    "encoding_aes_key": "Qm9va3NoZWxmV2luZG93TGFtcERlc2tRdWlldEhvdXb",
    "open_kfid": DESK,
}
ADDRESS = "/channels/wecom/our-desk"


@pytest.fixture
def platform(clock: StandingClock) -> WeCom:
    return WeCom(clock)


@pytest.fixture
def desk_app(settings, clock, each_database, bus, platform) -> FastAPI:
    app = create_app(settings, clock=clock, database=each_database, bus=bus)
    state = app.state.refdesk
    state.channels._http = httpx.Client(transport=platform.transport)
    with each_database.transaction() as session:
        library = add_library(session, "demo", name="Demo", timezone="Asia/Shanghai", now=clock())
        add_account(
            session,
            library,
            kind="wecom",
            name="our-desk",
            values=SETTINGS,
            keyring=state.keyring,
            now=clock(),
        )
    return app


@pytest.fixture
def webhook(desk_app):
    with TestClient(desk_app) as client:

        def send(call: Call) -> tuple[int, bytes]:
            answer = client.request(call.method, ADDRESS, params=call.query, content=call.body)
            return answer.status_code, answer.content

        yield send


@pytest.fixture
def patron(platform, webhook) -> Patron:
    return platform.patron("wmReader", webhook)


@pytest.fixture
def worker(desk_app) -> Worker:
    return Worker(desk_app.state.refdesk)


def fetch(worker: Worker) -> int:
    taken = worker.pulls.round()
    while not worker.pulls.finish():
        continue
    return taken


def texts(database) -> list[str]:
    with database.snapshot() as session:
        return list(session.scalars(select(Inbox.text).order_by(Inbox.id)))


def test_a_question_is_fetched_handed_over_and_acknowledged(
    worker, patron, platform, each_database
):
    assert patron.says("县志在哪里？").statuses == (200,)
    assert texts(each_database) == []

    fetch(worker)
    worker.deliver_all()

    assert texts(each_database) == ["县志在哪里？"]
    assert len(patron.screen) == 1
    with each_database.snapshot() as session:
        assert session.scalars(select(Consultation.escalated_at)).one() is not None


def test_the_handshake_goes_through_http(platform, webhook):
    assert platform.verify(webhook)


def test_forged_callbacks_leave_no_trace(webhook, each_database, platform):
    forged = platform.callback()
    forged.query["msg_signature"] = "é"

    assert webhook(forged)[0] == 403
    with each_database.snapshot() as session:
        assert session.scalars(select(ChannelCursor)).all() == []


def test_without_a_word_a_known_desk_is_looked_into_now_and_then(
    worker, patron, platform, clock, each_database
):
    fetch(worker)
    platform.opens("wmReader")
    message = {"msgtype": "text", "text": {"content": "没有回调"}, "external_userid": "wmReader"}
    platform.keep(DESK, origin=3, **message)
    assert fetch(worker) == 0

    clock.advance(minutes=15)
    assert fetch(worker) == 1
    assert texts(each_database) == ["没有回调"]


def test_two_workers_fetch_once(desk_app, worker, patron, platform):
    patron.says("一")
    other = Worker(desk_app.state.refdesk)
    taken = worker.pulls.round() + other.pulls.round()
    worker.pulls.finish()
    other.pulls.finish()

    assert taken == 1
    assert sum(asked.path.endswith("sync_msg") for asked in platform.asked) == 1


@pytest.mark.parametrize(
    "fault", [Fault.TIMEOUT, Fault.GARBAGE, Answer({"errcode": 0, "msg_list": 1})]
)
def test_a_platform_that_does_not_answer_is_asked_later(worker, patron, each_database, fault):
    fetch(worker)
    patron.says("一")
    patron.wecom.fail_next(fault, path="sync_msg")
    fetch(worker)
    assert texts(each_database) == []

    patron.wecom.clock.advance(minutes=15)
    fetch(worker)
    assert texts(each_database) == ["一"]


def test_a_fault_of_the_adapter_frees_the_source(worker, patron, clock, each_database, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(Adapter, "pull", lambda *_args, **_facts: 1 / 0)
        patron.says("一")
        fetch(worker)

    clock.advance(seconds=5)
    assert fetch(worker) == 1
    assert texts(each_database) == ["一"]


def test_an_account_that_cannot_be_opened_stops_nobody(worker, patron, clock, each_database):
    with each_database.transaction() as session:
        library = session.scalars(select(ChannelAccount)).one().library_id
        session.add(
            ChannelAccount(
                library_id=library, kind="wecom", name="broken", settings={}, created_at=clock()
            )
        )
    patron.says("一")
    fetch(worker)

    assert texts(each_database) == ["一"]


def test_a_disabled_account_is_not_asked(worker, patron, platform, each_database, clock):
    fetch(worker)
    with each_database.transaction() as session:
        session.scalars(select(ChannelAccount)).one().enabled = False
    asked = len(platform.asked)
    clock.advance(hours=1)

    assert fetch(worker) == 0
    assert len(platform.asked) == asked


def test_the_running_worker_fetches(desk_app, patron, each_database):
    patron.says("一")
    worker = Worker(desk_app.state.refdesk)
    worker.ask_to_stop()
    worker.run()  # nothing, because it was stopped before
    assert texts(each_database) == []

    worker._stopping.clear()
    worker._stopping.wait = lambda _seconds: worker.ask_to_stop()
    worker.run()
    assert texts(each_database) == ["一"]
