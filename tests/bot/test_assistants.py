"""What another assistant's bot passes on: tracked as on any other channel, nothing lost."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from bot import assistants, delivery
from bot.assistants import Line
from bot.messages import Inbound, InboundKind, ReplyKind
from bot.models import Conversation, Inbox, Outbox, OutboxState, Patron
from tests.bot.conftest import MONDAY_10, account_of
from tracker import consultations
from tracker.models import Consultation, Event

MINUTE = timedelta(minutes=1)
NOW = MONDAY_10


@pytest.fixture
def account(session, library):
    return account_of(session, library, "rasa_server")


@pytest.fixture
def ask(session, desk, account):
    """One turn with a message: ask(text, key=…, now=…)."""

    def take(text, *, key="m1", now=NOW, language=None, **fields):
        inbound = Inbound("visitor-7", text, key, **fields)
        return assistants.take(session, desk, account, inbound, language=language, now=now)

    return take


@pytest.fixture
def hand_over(session, desk, account):
    def give(text, before=(), *, key="m9", now=NOW, language=None, **fields):
        inbound = Inbound("visitor-7", text, key, **fields)
        return assistants.hand_over(
            session, desk, account, inbound, before, language=language, now=now
        )

    return give


def only(session, model):
    return session.scalars(select(model)).one()


def kinds(session):
    return list(session.scalars(select(Event.kind).order_by(Event.at, Event.id)))


def said(text, minutes_ago, by="patron", key=""):
    return Line(by, text, NOW - minutes_ago * MINUTE, key or f"k{minutes_ago}")


# --- questions -------------------------------------------------------------------------


def test_a_sure_answer_says_which_entry_and_how_sure(session, ask):
    answer = ask("怎么续借")

    assert (answer.verdict, answer.entry, answer.probability) == ("sure", "renew-books", 0.9)
    assert answer.consultation == only(session, Consultation).key
    assert only(session, Consultation).channel == "rasa_server"
    assert kinds(session) == ["message", "bot_answer"]


def test_choices_are_unsure_and_a_chosen_entry_is_certain(ask):
    offered = ask("书")
    chosen = ask("", key="m2", kind=InboundKind.CHOICE, payload="/entry holds")

    assert (offered.verdict, offered.entry, offered.probability) == ("unsure", None, 0.3)
    assert (chosen.verdict, chosen.entry, chosen.probability) == ("sure", "holds", 1.0)


def test_what_nobody_knows_is_handed_over_with_a_promise(session, ask):
    answer = ask("有没有唐代地图卷轴")

    assert answer.verdict == "unknown"
    assert answer.replies[0].kind is ReplyKind.ACKNOWLEDGEMENT
    assert only(session, Consultation).escalated_at is not None


def test_a_greeting_puts_no_question(session, ask):
    answer = ask("你好")

    assert (answer.verdict, answer.consultation) == ("none", None)
    assert session.scalars(select(Consultation)).all() == []


def test_a_repeated_call_gets_the_first_answer_and_stores_nothing(session, ask):
    first, again = ask("怎么续借"), ask("怎么续借")

    assert first.replies == again.replies
    assert len(session.scalars(select(Inbox)).all()) == 1


def test_the_assistants_language_counts_where_words_tell_nothing(ask):
    assert ask("???", language="vi").language == "vi"
    assert ask("How do I renew a book", key="m2", language="zh").language == "en"
    assert ask("...", key="m3", language="klingon").language == "en"


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("zh", "zh-Hans"),
        ("zh-CN", "zh-Hans"),
        ("zh_TW", "zh-Hant"),
        ("zh-Hant-HK", "zh-Hant"),
        ("EN", "en"),
        ("vi-VN", "vi"),
        ("fr", None),
        ("", None),
    ],
)
def test_languages_have_many_names(name, ours):
    assert assistants.known_language(name) == ours


# --- handing over ----------------------------------------------------------------------


def test_the_whole_conversation_comes_along(session, hand_over):
    before = [
        said("hello", 9),
        said("Hello, this is the library.", 8, by="bot"),
        said("Where is the thesis of Nguyễn Văn An?", 7),
        said("I did not understand.", 6, by="bot"),
    ]

    answer = hand_over("I want a person", before)

    consultation = only(session, Consultation)
    assert consultation.title == "Where is the thesis of Nguyễn Văn An?"
    assert consultation.received_at == NOW - 7 * MINUTE
    assert kinds(session) == ["message", "message", "message", "escalated", "acknowledged"]
    authors = session.scalars(select(Event.by).order_by(Event.at, Event.id)).all()
    assert authors[:3] == ["patron", "bot", "patron"]
    assert (answer.verdict, answer.consultation) == ("unknown", consultation.key)
    assert "17:30" in answer.replies[0].text


def test_what_we_know_is_not_brought_again(session, ask, hand_over):
    ask("怎么续借", key="k5", now=NOW - 5 * MINUTE)
    before = [
        said("怎么续借", 5, key="k5"),
        said("在“我的图书馆”里续借。", 5, by="bot"),
        said("没用", 3),
        said("？", 2, by="bot"),
    ]

    hand_over("转人工", before)
    hand_over("转人工", [*before, said("转人工", 0, key="m9")], key="m10", now=NOW + MINUTE)

    texts = session.scalars(
        select(Event.text).where(Event.kind == "message").order_by(Event.at, Event.id)
    ).all()
    assert texts == ["怎么续借", "没用", "？", "转人工", "转人工"]


def test_an_old_conversation_belongs_to_another_question(session, hand_over):
    hand_over("人工", [said("昨天的问题", 25 * 60)])

    assert only(session, Consultation).title == "人工"


def test_a_message_that_was_answered_is_not_asked_twice(session, ask, hand_over):
    ask("怎么续借", key="m1")

    hand_over("怎么续借", key="m1")

    texts = session.scalars(select(Event.text).where(Event.kind == "message")).all()
    assert texts[0] == "怎么续借"
    assert texts[1] != "怎么续借"
    assert "bot_rejected" in kinds(session)


def test_who_waits_already_hears_by_when(ask, hand_over):
    ask("有没有唐代地图卷轴")

    answer = hand_over("转人工", now=NOW + MINUTE)

    assert "17:30" in answer.replies[0].text


def test_a_librarian_who_has_it_is_not_talked_over(session, ask, hand_over):
    ask("有没有唐代地图卷轴")
    consultations.assign(
        session, only(session, Consultation), at=NOW, now=NOW, by="lin@x", to="lin@x"
    )

    assert hand_over("转人工", now=NOW + MINUTE).replies == ()
    assert kinds(session)[-1] == "message"


def test_danger_is_heard_before_anything_else(session, hand_over):
    answer = hand_over("I want to kill myself")

    assert answer.replies[0].kind is ReplyKind.CRISIS
    assert only(session, Consultation).urgent


# --- opening hours ---------------------------------------------------------------------


@pytest.mark.parametrize(("text", "hours"), [("周二开门吗", "7:30"), ("/hours", "7:30")])
def test_hours_come_from_the_calendars_and_are_tracked(session, desk, account, text, hours):
    inbound = Inbound("visitor-7", text, "m1")

    answer = assistants.opening_hours(session, desk, account, inbound, now=NOW)

    assert hours in answer.replies[0].text
    assert answer.entry == "opening-hours"
    assert not only(session, Consultation).title.startswith("/")


def test_words_tell_the_language_before_the_assistants_slot_does(session, desk, account):
    inbound = Inbound("visitor-7", "Are you open on Tuesday?", "m1")

    answer = assistants.opening_hours(session, desk, account, inbound, language="zh", now=NOW)

    assert answer.language == "en"


# --- late answers ----------------------------------------------------------------------


def write(session, library, text="Two rolls came in."):
    return delivery.reply_as_librarian(
        session, library, only(session, Consultation), by="lin@x", name="Lin", text=text, now=NOW
    )


def look(session, desk, account, key="m5", now=NOW + MINUTE, text="有消息吗", language=None):
    inbound = Inbound("visitor-7", text, key)
    return assistants.waiting_replies(session, desk, account, inbound, language=language, now=now)


def test_a_held_answer_comes_with_the_next_look_and_counts_from_then(
    session, desk, library, account, ask
):
    ask("有没有唐代地图卷轴")
    row = write(session, library)
    row.next_attempt_at = None  # Rasa could not be written to

    answer = look(session, desk, account)

    assert [reply.text for reply in answer.replies] == ["Two rolls came in."]
    assert only(session, Consultation).feedback_at == NOW + MINUTE
    assert [reply.text for reply in look(session, desk, account, "m6").replies] == [
        "Two rolls came in."
    ]


def test_an_answer_that_is_still_to_be_pushed_is_taken_along_and_not_pushed_again(
    session, desk, library, account, ask
):
    ask("有没有唐代地图卷轴")
    row = write(session, library)
    assert row.next_attempt_at == NOW

    answer = look(session, desk, account)

    assert [reply.text for reply in answer.replies] == ["Two rolls came in."]
    assert delivery.lease(session, worker="w1", now=NOW + MINUTE) == []
    assert only(session, Consultation).feedback_at == NOW + MINUTE


def test_an_answer_that_is_just_being_pushed_is_told_and_left_to_its_worker(
    session, desk, library, account, ask
):
    ask("有没有唐代地图卷轴")
    row = write(session, library)
    delivery.lease(session, worker="w1", now=NOW)

    answer = look(session, desk, account)

    assert [reply.text for reply in answer.replies] == ["Two rolls came in."]
    assert (row.state, row.leased_by) == (OutboxState.SENDING, "w1")
    assert only(session, Consultation).feedback_at is None


def test_who_looks_too_early_hears_by_when(session, desk, account, ask):
    ask("有没有唐代地图卷轴")

    assert "17:30" in look(session, desk, account).replies[0].text
    late = look(session, desk, account, "m6", NOW + timedelta(days=2))
    assert "抱歉" in late.replies[0].text


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [("有消息吗", None, "等待"), ("any news?", "zh", "waiting"), ("/look", "vi", "chờ")],
)
def test_who_asked_nothing_is_invited_to_in_their_language(
    session, desk, account, text, language, words
):
    answer = look(session, desk, account, text=text, language=language)

    assert words in answer.replies[0].text


def test_what_is_overheard_gets_its_reply_by_push(session, desk, account):
    inbound = Inbound("visitor-7", "I want to kill myself", "m1")

    turn = assistants.overhear(session, desk, account, inbound, now=NOW)
    again = assistants.overhear(session, desk, account, inbound, now=NOW)

    assert again.duplicate
    assert not turn.duplicate
    row = only(session, Outbox)
    assert (row.state, row.next_attempt_at, row.sent_at) == (OutboxState.NEW, NOW, None)


def test_an_address_is_kept_for_late_answers(session, desk, account):
    assistants.keep_email(session, desk, account, "visitor-7", "ann@example.org", now=NOW)

    assert only(session, Patron).email == "ann@example.org"


# --- who has it ------------------------------------------------------------------------


def follow(session, account, now=NOW):
    return [(c.external_id, since) for c, since in assistants.to_follow(session, account, now=now)]


def test_a_conversation_is_followed_from_the_claim_to_the_end(session, account, ask):
    ask("有没有唐代地图卷轴")
    assert follow(session, account) == []

    consultation = only(session, Consultation)
    consultations.assign(session, consultation, at=NOW, now=NOW, by="lin@x", to="lin@x")
    assert follow(session, account) == [("visitor-7", NOW)]

    conversation = only(session, Conversation)
    assistants.remember_pause(session, conversation.id, NOW)
    consultations.close(session, consultation, at=NOW, now=NOW, by="lin@x")
    assert follow(session, account) == [("visitor-7", None)]
    assert assistants.paused_since(conversation) == NOW

    assistants.remember_pause(session, conversation.id, None)
    assert follow(session, account) == []
