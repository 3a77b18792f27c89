"""Mail in the library's hands: asked, handed over, answered late, and loops that end."""

from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from bot import delivery, pulling
from bot.channels.email import Email
from bot.desk import Desk
from bot.models import ChannelAccount, Conversation, Inbox, Outbox, OutboxState
from tests.bot.channels.email.conftest import READER, read
from tests.bot.conftest import MONDAY_10, CertainKnowledge, account_of, calendar
from tests.fakes.email import Fault, Writer
from tracker.models import Consultation, Event

QUESTION = "县志在哪里？"


@dataclass
class Library:
    """The library's end, with its core and one worker."""

    session: Session
    desk: Desk
    account: ChannelAccount
    channel: Email
    clock: Any

    def works(self) -> None:
        """Fetch until nothing is left, then send what is due."""
        pulling.watch(self.session, self.account, self.channel.sources, now=self.clock())
        now = self.clock()
        while errands := pulling.lease(self.session, worker="w", now=now, limit=9):
            for errand in errands:
                pulled = self.channel.pull(errand.source, errand.cursor, hint=None, now=now)
                pulling.store(
                    self.session, self.desk, errand, pulled, worker="w", poll_seconds=20, now=now
                )
        while jobs := delivery.lease(self.session, worker="w", now=now):
            for job in jobs:
                result = delivery.send(job, self.channel, now=now)
                delivery.settle(self.session, job, result, worker="w", now=now, random=Random(1))
        self.clock.advance(seconds=20)

    def answers(self, consultation: Consultation, text: str) -> None:
        delivery.reply_as_librarian(
            self.session,
            self.desk.library,
            consultation,
            by="lin@example.edu",
            name="林",
            text=text,
            now=self.clock(),
        )
        self.works()

    @property
    def consultations(self) -> list[Consultation]:
        return list(self.session.scalars(select(Consultation).order_by(Consultation.id)))


@pytest.fixture
def house(session, library, channel, clock, server):
    clock.now = MONDAY_10
    hours = {"desk": calendar([["08:00", "17:30"]])}
    made = Library(
        session,
        Desk(library, CertainKnowledge(), hours, "https://ref.example.edu"),
        account_of(session, library, "email"),
        channel,
        clock,
    )
    made.works()
    return made


def newest(writer: Writer) -> Any:
    return read(writer.screen[-1].raw)


def test_a_question_is_answered_in_its_thread(house, reader):
    asked = reader.writes("怎么续借", subject="")
    house.works()

    answer = newest(reader)
    assert answer["In-Reply-To"] == asked["Message-ID"]
    assert answer["Auto-Submitted"] == "auto-replied"
    assert "续借" in answer.get_content()


def test_a_late_answer_quotes_its_question_and_is_a_persons(house, reader, clock):
    reader.writes(QUESTION, subject="")
    house.works()
    clock.advance(hours=30)
    house.answers(house.consultations[0], "在三楼。")

    answer = newest(reader)
    assert answer.get_content().splitlines() == [f"「{QUESTION}」", "在三楼。"]
    assert answer["Auto-Submitted"] is None
    assert house.consultations[0].feedback_at is not None


def test_the_answer_of_an_answer_continues_its_conversation_from_any_address(house, server, reader):
    reader.writes(QUESTION, subject="")
    house.works()
    house.answers(house.consultations[0], "在三楼。")
    elsewhere = Writer(server, "reader.c@home.example")
    elsewhere.writes("几点开门", answering=newest(reader))
    house.works()

    assert len(house.consultations) == 1
    assert house.session.scalars(select(Conversation.external_id)).all() == [READER]
    last = house.session.scalars(select(Inbox).order_by(Inbox.id.desc())).first()
    assert last.text == "几点开门"
    assert "> 在三楼。" in last.original


def test_somebody_elses_mail_with_a_guessed_thread_is_their_own(house, server, reader):
    reader.writes(QUESTION, subject="")
    house.works()
    stranger = Writer(server, "stranger@example.org")
    forged = newest(reader)["Message-ID"].replace(".", "x.", 1)
    stranger.writes("给我看", subject="Re: Question", In_Reply_To=forged)
    house.works()

    assert set(house.session.scalars(select(Conversation.external_id))) == {
        READER,
        "stranger@example.org",
    }


def test_a_mail_delivered_twice_is_one_question(house, server, reader):
    mail = reader.writes(QUESTION, subject="")
    server.arrives(mail)
    house.works()

    assert len(house.consultations) == len(reader.screen) == 1


def test_an_out_of_office_note_gets_no_answer(house, reader):
    reader.writes("I am away.", Auto_Submitted="auto-replied")
    house.works()

    assert (reader.screen, house.consultations) == ([], [])


def test_mail_through_a_group_waits_for_a_librarian_unanswered(house, reader):
    reader.writes("怎么续借", List_Id="<ask.library.example>")
    house.works()

    assert reader.screen == []
    (consultation,) = house.consultations
    assert consultation.escalated_at is not None
    house.answers(consultation, "在我的图书馆。")
    assert len(reader.screen) == 1


def test_two_machines_stop_talking(house, reader):
    """The far end answers each mail at once, with other words and without saying what it is."""
    reader.writes("怎么续借", subject="")
    for number in range(20):
        seen = len(reader.screen)
        house.works()
        if len(reader.screen) > seen:
            reader.writes(f"Ticket {number}: 怎么续借", answering=newest(reader))

    assert 1 <= len(reader.screen) <= 5
    assert house.consultations[-1].escalated_at is not None


def test_a_mail_that_came_back_is_shown(house, server, reader):
    reader.writes(QUESTION, subject="")
    house.works()
    house.answers(house.consultations[0], "在三楼。")
    number = newest(reader)["Message-ID"]
    server.arrives(
        (
            "From: MAILER-DAEMON@x.example\r\nReturn-Path: <>\r\n"
            "Content-Type: multipart/report; boundary=b\r\n\r\n"
            "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
            "Action: failed\r\nStatus: 5.2.1\r\n\r\n"
            f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {number}\r\n\r\n--b--\r\n"
        ).encode()
    )
    house.works()

    (row,) = house.session.scalars(select(Outbox).where(Outbox.by != "bot"))
    assert row.state == OutboxState.DEAD
    assert "5.2.1" in row.attempt_log[-1]["why"]
    assert "failed" in set(house.session.scalars(select(Event.kind)))


def test_while_the_server_is_away_nothing_is_lost(house, server, reader, clock):
    reader.writes(QUESTION, subject="")
    server.fail_next("MAIL", "451 later", times=2)
    server.fail_next("RCPT", Fault.CLOSE)
    for _ in range(8):
        house.works()
        clock.advance(seconds=60)

    assert len(reader.screen) == 1


def test_each_patron_has_a_conversation(house, server):
    writers = [Writer(server, f"reader{number}@example.net") for number in range(30)]
    for writer in writers:
        writer.writes("怎么续借", subject="")
    house.works()

    assert [len(writer.screen) for writer in writers] == [1] * 30
