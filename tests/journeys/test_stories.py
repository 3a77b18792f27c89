"""The same stories on every channel, from the platform's webhook to the patron's screen."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.accounts import add_account
from api.state import State
from api.worker import Worker
from bot import delivery
from bot.channels import CHANNELS
from bot.intake import known_patron
from bot.models import Conversation, Inbox, Outbox, OutboxState
from tests.api.conftest import Libraries
from tests.api.conftest import libraries as libraries  # noqa: PLC0414 - a fixture
from tests.conftest import StandingClock
from tests.fakes.stages import STAGES, ByHost, Stage, through
from tracker.models import Consultation, Event, Library

KNOWN, ANSWER = "怎么续借图书", "登录后点“续借”。"
HARD, LATE = "上周跟老师约好看的那批县志，能改到周三下午吗", "可以，请周三下午来三楼。"


class Postbox:
    """Takes what goes by e-mail to a patron's own address."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: Any) -> None:
        self.sent.append(message)


@dataclass
class Scene:
    """One channel of one library, a patron on it, and a worker."""

    stage: Stage
    platform: Any
    patron: Any
    state: State
    clock: StandingClock
    postbox: Postbox
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        self.worker = Worker(self.state, mailer=self.postbox)
        self.works()

    def works(self) -> None:
        """What the worker does in some seconds."""
        for _ in range(2):
            self.worker.pulls.round()
            while not self.worker.pulls.finish():
                continue
            while self.worker.deliver_all():
                continue
            self.clock.advance(seconds=20)

    def says(self, text: str) -> Any:
        exchange = self.patron.says(text)
        self.works()
        return exchange

    def again(self) -> None:
        self.patron.again()
        self.works()

    def answers(self, text: str = LATE) -> int:
        """A librarian answers the newest consultation; returns the reply's number."""
        with self.state.database.transaction() as session:
            consultation = session.scalars(
                select(Consultation).order_by(Consultation.id.desc()).limit(1)
            ).one()
            row = delivery.reply_as_librarian(
                session,
                session.get_one(Library, consultation.library_id),
                consultation,
                by="librarian@north",
                name="李",
                text=text,
                now=self.clock(),
            )
            assert row is not None
            return row.id

    def shows(self, text: str) -> int:
        """How often the patron's screen shows a text."""
        return sum(text in shown.text for shown in self.patron.screen)

    def all(self, model: Any) -> list[Any]:
        with self.state.database.snapshot() as session:
            return list(session.scalars(select(model).order_by(model.id)))

    def reply(self, number: int) -> Outbox:
        with self.state.database.snapshot() as session:
            return session.get_one(Outbox, number)

    def leaves_address(self) -> None:
        with self.state.database.transaction() as session:
            conversation = session.scalars(select(Conversation)).one()
            known_patron(conversation, now=self.clock()).email = "reader@example.edu"


@pytest.fixture(params=sorted(STAGES))
def scene(
    request: pytest.FixtureRequest,
    client: TestClient,
    state: State,
    libraries: Libraries,
    clock: StandingClock,
) -> Iterator[Scene]:
    """Each story is played on each channel."""
    stage = STAGES[request.param]
    platform = stage.build(clock)
    with state.database.transaction() as session:
        add_account(
            session,
            session.get_one(Library, libraries.north),
            kind=stage.kind,
            name="main",
            values=stage.account(platform),
            keyring=state.keyring,
            now=clock(),
        )
    state.channels._http = httpx.Client(transport=ByHost({stage.kind: platform}))
    patron = stage.seat(platform, through(client, f"/channels/{stage.kind}/main"))
    yield Scene(stage, platform, patron, state, clock, Postbox())
    if hasattr(platform, "close"):
        platform.close()


def test_every_channel_that_can_be_added_and_needs_no_server_of_the_library_has_a_stage() -> None:
    of_rasa = {"rasa_server", "rasa_callback"}  # their far end is the library's own software
    added = {kind for kind, made in CHANNELS.items() if not made.declaration.built_in}

    assert set(STAGES) == added - of_rasa


def test_a_known_question_is_answered(scene: Scene) -> None:
    scene.says(KNOWN)

    assert scene.shows(ANSWER) == 1
    assert [each.bot_at is not None for each in scene.all(Consultation)] == [True]


def test_a_hard_question_is_promised_and_answered_later(scene: Scene) -> None:
    scene.says(HARD)
    assert scene.shows("17:30") == 1
    scene.clock.advance(hours=2)

    reply = scene.answers()
    scene.works()

    assert scene.shows(LATE) == 1
    assert HARD[:10] in scene.patron.screen[-1].text
    assert scene.reply(reply).state == OutboxState.SENT
    assert scene.all(Consultation)[0].answered_at is not None


def test_after_the_window_the_answer_comes_with_the_patrons_next_word(scene: Scene) -> None:
    scene.says(HARD)
    scene.clock.advance(hours=1)
    scene.clock.now += scene.stage.window or timedelta(days=30)
    reply = scene.answers()
    scene.works()
    if scene.stage.window is None:
        assert scene.shows(LATE) == 1
        return
    assert scene.shows(LATE) == 0
    assert scene.all(Consultation)[0].feedback_at is None

    scene.says("你好")

    assert scene.shows(LATE) == 1
    assert scene.reply(reply).state == OutboxState.SENT
    assert scene.all(Consultation)[0].feedback_at is not None


def test_after_the_window_a_patron_with_an_address_gets_mail(scene: Scene) -> None:
    if scene.stage.window is None:
        pytest.skip("this channel never closes")
    scene.says(HARD)
    scene.leaves_address()
    scene.clock.now += scene.stage.window + timedelta(hours=1)

    reply = scene.reply(scene.answers())
    scene.works()

    assert scene.shows(LATE) == 0
    assert [LATE in mail.get_content() for mail in scene.postbox.sent] == [True]
    row = scene.reply(reply.id)
    assert (row.state, row.via) == (OutboxState.SENT, "email")
    assert row.attempt_log[0]["what"] == "email"


def test_what_is_delivered_again_is_heard_once(scene: Scene) -> None:
    scene.says(HARD)
    before = len(scene.patron.screen)
    for _ in range(3):
        scene.again()

    assert len(scene.all(Inbox)) == len(scene.all(Consultation)) == 1
    if not CHANNELS[scene.stage.kind].declaration.passive_reply:
        assert len(scene.patron.screen) == before


def test_what_arrives_in_another_order_is_all_there(scene: Scene) -> None:
    if not hasattr(scene.patron, "webhook"):
        pytest.skip("mails are fetched in the order of the mailbox")
    webhook, calls = scene.patron.webhook, []
    scene.patron.webhook = lambda call: (calls.append(call), (200, b""))[1]
    for text in ("我在写县志的论文", "想请老师看看选题", "还要找老地图"):
        scene.patron.says(text)
        scene.clock.advance(seconds=2)
    for call in reversed(calls):
        assert webhook(call)[0] == 200
    scene.works()

    assert {row.text for row in scene.all(Inbox)} == {
        "我在写县志的论文",
        "想请老师看看选题",
        "还要找老地图",
    }
    assert len(scene.all(Conversation)) == len(scene.all(Consultation)) == 1


def test_half_an_hour_without_the_platform_delays_an_answer_and_loses_none(scene: Scene) -> None:
    scene.says(HARD)
    reply = scene.answers()
    scene.stage.fail(scene.platform, "refused", times=10_000)
    for _ in range(30):
        scene.works()
        scene.clock.advance(seconds=20)
    assert scene.shows(LATE) == 0
    assert scene.reply(reply).state == OutboxState.NEW

    scene.stage.heal(scene.platform)
    for _ in range(35):
        scene.works()
        scene.clock.advance(seconds=20)

    assert scene.shows(LATE) == 1
    row = scene.reply(reply)
    assert row.state == OutboxState.SENT
    assert scene.all(Consultation)[0].feedback_at == row.sent_at


def test_too_many_requests_is_waited_out(scene: Scene) -> None:
    scene.says(HARD)
    scene.stage.fail(scene.platform, "too_many")
    reply = scene.answers()
    scene.works()
    scene.clock.advance(minutes=2)
    scene.works()

    assert scene.shows(LATE) == 1
    assert [entry["what"] for entry in scene.reply(reply).attempt_log] == ["retry"]


def test_a_connection_that_breaks_after_the_message_was_taken_shows_it_once(scene: Scene) -> None:
    scene.says(HARD)
    scene.stage.fail(scene.platform, "reset")
    reply = scene.answers()
    for _ in range(5):
        scene.works()
        scene.clock.advance(minutes=10)
    assert scene.shows(LATE) == 1
    if not scene.stage.takes_our_key:
        assert scene.reply(reply).state == OutboxState.UNCERTAIN
        assert scene.all(Consultation)[0].feedback_at is None
        with scene.state.database.transaction() as session:
            delivery.confirm(session, session.get_one(Outbox, reply), now=scene.clock())
        scene.works()

    assert scene.shows(LATE) == 1
    assert scene.reply(reply).state == OutboxState.SENT
    assert [event.kind for event in scene.all(Event)].count("feedback") == 1
