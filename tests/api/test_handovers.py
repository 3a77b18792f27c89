"""A librarian takes over in a Rasa bot: it is paused, read along, answered, resumed."""

from dataclasses import dataclass, field

import httpx
import pytest
from sqlalchemy import func, select

from api.accounts import account_named, add_account
from api.handovers import HandOvers
from api.state import State
from api.worker import Worker
from bot import assistants
from bot.channels.rasa_server import RasaServer
from bot.delivery import reply_as_librarian
from bot.messages import Inbound
from bot.models import Conversation, Inbox, Outbox, OutboxState
from tests.api.conftest import Libraries
from tests.conftest import StandingClock
from tests.fakes import rasa_server as fake
from tests.fakes.platform import Fault
from tracker import consultations
from tracker.models import Consultation, Event, Library

PATRON = "visitor-7"


@dataclass
class Town:
    """The library, its Rasa server, and a patron who asked for a person there."""

    state: State
    clock: StandingClock
    rasa: fake.RasaServer
    hand_overs: HandOvers = field(init=False)
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        self.hand_overs = HandOvers(self.state)
        self.worker = Worker(self.state)

    def asks(self, text: str, number: str) -> None:
        """The patron writes, and Rasa calls our action."""
        self.rasa.hears(PATRON, text, message_id=number)
        with self.state.database.snapshot() as session:
            account = account_named(session, "main")
            desk = self.state.desks.of(session, account.library_id, now=self.clock())
        with self.state.database.transaction() as session:
            inbound = Inbound(PATRON, text, f"{PATRON}:{number}")
            assistants.hand_over(session, desk, account, inbound, [], now=self.clock())

    def librarian(self, do: str) -> None:
        now = self.clock()
        with self.state.database.transaction() as session:
            one = session.scalars(select(Consultation)).one()
            match do:
                case "claims":
                    consultations.assign(session, one, at=now, now=now, by="lin", to="lin")
                case "closes":
                    consultations.close(session, one, at=now, now=now, by="lin")
                case text:
                    library = session.get_one(Library, one.library_id)
                    reply_as_librarian(
                        session, library, one, by="lin", name="Lin", text=text, now=now
                    )

    def looks(self) -> int:
        self.clock.advance(seconds=31)
        return self.hand_overs.round()

    @property
    def bot(self) -> fake.Conversation:
        return self.rasa.has(PATRON)

    def texts(self) -> list[str]:
        with self.state.database.snapshot() as session:
            kind = Event.kind == "message"
            return list(session.scalars(select(Event.text).where(kind).order_by(Event.id)))

    def only(self, model):
        with self.state.database.snapshot() as session:
            return session.scalars(select(model)).one()


@pytest.fixture
def town(
    state: State, clock: StandingClock, libraries: Libraries, monkeypatch: pytest.MonkeyPatch
) -> Town:
    rasa = fake.RasaServer(clock)
    client = httpx.Client(transport=rasa.transport)
    opened = RasaServer("main", {"url": "http://rasa:5005"}, http=client, tokens=None)
    monkeypatch.setattr(state.channels, "of", lambda account: opened)
    with state.database.transaction() as session:
        add_account(
            session,
            session.get_one(Library, libraries.north),
            kind="rasa_server",
            name="main",
            values={"url": "http://rasa:5005"},
            keyring=state.keyring,
            now=clock(),
        )
    made = Town(state, clock, rasa)
    made.asks("Which atlas has the old harbour?", "m1")
    return made


def test_nothing_is_paused_while_nobody_has_it(town: Town) -> None:
    town.looks()

    assert not town.bot.paused
    assert town.rasa.asked == []


def test_the_bot_is_paused_by_the_claim_and_resumed_at_the_end(town: Town) -> None:
    town.librarian("claims")
    town.looks()
    assert town.bot.paused

    town.librarian("closes")
    town.looks()
    assert not town.bot.paused

    asked = len(town.rasa.asked)
    town.looks()
    assert len(town.rasa.asked) == asked


def test_what_the_patron_writes_to_a_paused_bot_reaches_the_librarian_once(town: Town) -> None:
    town.librarian("claims")
    town.looks()
    town.clock.advance(seconds=5)
    town.rasa.hears(PATRON, "the one with the lighthouse", message_id="m2")

    assert town.looks() == 1
    assert town.looks() == 0

    assert town.texts()[-1] == "the one with the lighthouse"
    assert len(town.texts()) == 2


def test_the_reply_arrives_and_stops_the_clock_when_rasa_has_taken_it(town: Town) -> None:
    town.librarian("claims")
    town.looks()
    town.librarian("The 1890 harbour atlas.")
    assert town.only(Consultation).feedback_at is None

    town.worker.deliver_all()

    assert [shown.text for shown in town.rasa.screens[PATRON]] == ["The 1890 harbour atlas."]
    assert town.only(Consultation).feedback_at == town.clock()


def test_a_rasa_server_that_is_down_loses_nothing(town: Town) -> None:
    town.rasa.fail_next(Fault.REFUSED, times=3)
    town.librarian("claims")
    town.looks()
    town.librarian("The 1890 harbour atlas.")
    town.worker.deliver_all()
    assert town.only(Consultation).feedback_at is None

    town.rasa.fail_next(Fault.TIMEOUT_AFTER_ACCEPT, path="tracker/events")
    for _ in range(6):
        town.looks()
        town.clock.advance(minutes=3)
        town.worker.deliver_all()

    assert town.bot.paused
    assert len(town.rasa.screens[PATRON]) == 1
    assert town.only(Consultation).feedback_at is not None


def test_a_patron_on_the_rest_channel_gets_the_reply_with_the_next_message(town: Town) -> None:
    town.bot.channel = "rest"
    town.librarian("claims")
    town.looks()
    town.librarian("The 1890 harbour atlas.")
    town.worker.deliver_all()

    assert not town.bot.paused
    with town.state.database.snapshot() as session:
        row = session.scalars(select(Outbox).where(Outbox.by == "lin")).one()
    assert (row.state, row.next_attempt_at) == (OutboxState.NEW, None)
    assert row.attempt_log[-1]["what"] == "held"


def test_danger_in_a_paused_bot_is_answered_at_once(town: Town) -> None:
    town.librarian("claims")
    town.looks()
    town.clock.advance(seconds=5)
    town.rasa.hears(PATRON, "I want to kill myself", message_id="m2")

    town.looks()
    town.worker.deliver_all()

    assert "12356" in town.rasa.screens[PATRON][0].text
    assert town.only(Consultation).urgent


def test_a_quiet_conversation_is_looked_at_less_often(town: Town) -> None:
    town.librarian("claims")
    looks = []
    for _ in range(60):
        before = len(town.rasa.asked)
        town.hand_overs.round()
        looks.append(len(town.rasa.asked) > before)
        town.clock.advance(seconds=2)

    assert 6 <= sum(looks) <= 20
    assert looks[0]


def test_a_pause_that_rasa_forgot_is_made_again(town: Town) -> None:
    town.librarian("claims")
    town.looks()
    town.bot.paused = False

    town.looks()

    assert town.bot.paused
    assert town.only(Conversation).state["assistant_paused_since"]


def test_what_was_said_before_the_claim_is_not_told_again(town: Town) -> None:
    town.rasa.hears(PATRON, "hello?", message_id="m0")
    town.clock.advance(seconds=9)
    town.librarian("claims")

    town.looks()

    with town.state.database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(Inbox)) == 1
