"""A desk with a small, certain knowledge, and a patron who talks to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from bot.desk import Desk
from bot.intake import Turn, receive
from bot.messages import Inbound, InboundKind
from bot.models import ChannelAccount, Conversation
from kb.entries import EntryData
from kb.verdict import Candidate, Decision, Verdict
from tracker.clock import Calendar
from tracker.columns import Base
from tracker.models import Consultation, Event, Library

MONDAY_10 = datetime(2026, 11, 23, 2, tzinfo=UTC)  # 10:00 in Shanghai
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")
ENTRIES = (
    EntryData(
        "renew-books",
        "circulation",
        {"zh": ("怎么续借图书？",), "en": ("How do I renew a book?",), "vi": ("Gia hạn sách?",)},
        {"zh": "在“我的图书馆”里续借。", "en": "Renew in My Library.", "vi": "Gia hạn trực tuyến."},
    ),
    EntryData(
        "holds",
        "circulation",
        {"zh": ("怎么预约？",), "en": ("How do I place a hold?",)},
        {"zh": "点预约。"},
    ),
    EntryData(
        "opening-hours",
        "hours",
        {"zh": ("几点开门？",), "en": ("When are you open?",)},
        {"zh": "typed text"},
        tags=("live:hours",),
    ),
    EntryData("long", "x", {"zh": ("长的",)}, {"zh": "很长的一句话。" * 100}),
    EntryData("unanswered", "x", {"zh": ("没有答案",)}, {}),
)
SURE = {
    "怎么续借": ("renew-books",),
    "can i renew online": ("renew-books",),
    "gia han sach the nao": ("renew-books",),
    "周二开门吗": ("opening-hours",),
    "长的": ("long",),
    "没有答案": ("unanswered",),
    "怎么续借，怎么预约": ("renew-books", "holds"),
}
UNSURE = {"书": ("renew-books", "holds", "long"), "借": ("holds", "renew-books", "unanswered")}


class CertainKnowledge:
    """Knows some questions by heart, wavers on some, and nothing else."""

    version = 1
    entries = ENTRIES

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[tuple[str, str], ...]]] = []

    def ask(self, text: str, *, lang: str | None = None, context: Sequence = ()) -> Decision:
        self.asked.append((text, tuple(context)))
        if text in SURE:
            keys = SURE[text]
            candidates = tuple(Candidate(key, 0.9) for key in keys)
            return Decision(Verdict.SURE, keys, candidates, 0.05)
        candidates = tuple(Candidate(key, 0.3) for key in UNSURE.get(text, ()))
        verdict = Verdict.UNSURE if candidates else Verdict.UNKNOWN
        return Decision(verdict, (), candidates, 0.5)

    def entry(self, key: str) -> EntryData | None:
        return next((entry for entry in ENTRIES if entry.id == key), None)


@dataclass
class Patron:
    """Somebody at the far end of a channel, with a clock that the test moves."""

    session: Session
    desk: Desk
    account: ChannelAccount
    name: str = "patron-1"
    now: datetime = MONDAY_10
    ids: count = field(default_factory=count)

    def says(self, text: str, **fields: object) -> Turn:
        inbound = Inbound(self.name, text, fields.pop("key", f"m{next(self.ids)}"), **fields)
        return receive(self.session, self.desk, self.account, inbound, now=self.now)

    def taps(self, payload: str) -> Turn:
        return self.says("", kind=InboundKind.CHOICE, payload=payload)

    def waits(self, **span: float) -> None:
        self.now += timedelta(**span)

    @property
    def conversation(self) -> Conversation:
        return self.session.scalars(
            select(Conversation).where(Conversation.external_id == self.name)
        ).one()

    @property
    def consultations(self) -> list[Consultation]:
        return list(self.session.scalars(select(Consultation).order_by(Consultation.id)))

    @property
    def consultation(self) -> Consultation:
        return self.consultations[-1]

    @property
    def kinds(self) -> list[str]:
        return list(self.session.scalars(select(Event.kind).order_by(Event.id)))


def calendar(spans: list[list[str]], days: Sequence[str] = WEEKDAYS) -> Calendar:
    weekly = {
        day: spans if day in days else []
        for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    }
    return Calendar.from_document(
        {"tz": "Asia/Shanghai", "versions": [{"valid_from": "2020-01-01", "weekly": weekly}]}
    )


def account_of(session: Session, library: Library, kind: str) -> ChannelAccount:
    """An account of that kind."""
    account = ChannelAccount(
        library_id=library.id, kind=kind, name=kind, settings={}, created_at=MONDAY_10
    )
    session.add(account)
    session.flush()
    return account


@pytest.fixture
def session():
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def library(session):
    library = Library(
        slug="demo",
        name="Yunling Library",
        timezone="Asia/Shanghai",
        languages=["zh", "en", "vi"],
        settings={"catalogue_url": "https://opac.example.edu/?q={title}"},
        created_at=MONDAY_10,
    )
    session.add(library)
    session.flush()
    return library


@pytest.fixture
def desk(library):
    calendars = {
        "desk": calendar([["08:00", "17:30"]]),
        "building": calendar([["07:30", "22:30"]], (*WEEKDAYS, "sat", "sun")),
    }
    return Desk(library, CertainKnowledge(), calendars, "https://ref.example.edu")


@pytest.fixture
def patron(session, library, desk):
    return Patron(session, desk, account_of(session, library, "web"))
