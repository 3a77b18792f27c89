"""One patron on several channels: what a code links, and where questions and answers go then."""

import re

import pytest
from sqlalchemy import select

from bot import linking
from bot.channels import CHANNELS
from bot.delivery import reply_as_librarian
from bot.models import Conversation, LinkCode, Outbox, Patron
from tests.bot.conftest import Patron as Asker
from tests.bot.conftest import account_of
from tests.bot.test_delivery import Postbox
from tracker.consultations import close


@pytest.fixture
def here(session, library, desk, monkeypatch):
    monkeypatch.setitem(CHANNELS, "postbox", Postbox)
    return Asker(session, desk, account_of(session, library, "postbox"), name="here")


@pytest.fixture
def there(session, library, desk, here):
    return Asker(session, desk, account_of(session, library, "wechat"), name="there")


def said(turn):
    return [reply.text for reply in turn.replies]


def code_from(asker):
    """The code that the bot gives to whoever asks for one."""
    (text,) = said(asker.says("关联对话"))
    return re.search(r"[A-Z2-9]{4}-[A-Z2-9]{4}", text)[0]


def link(here, there):
    return said(there.says(code_from(here)))


def reply(asker, consultation, text="合适"):
    return reply_as_librarian(
        asker.session,
        asker.desk.library,
        consultation,
        by="li@example.edu",
        name="李老师",
        text=text,
        now=asker.now,
    )


# --- codes -----------------------------------------------------------------------------------


def test_a_code_makes_one_patron_of_two(here, there):
    here.says("怎么续借", display_name="王")
    there.says("怎么续借")

    (confirmed,) = link(here, there)

    assert "已关联" in confirmed
    assert here.conversation.patron is there.conversation.patron
    assert here.conversation.patron.display_name == "王"


def test_what_is_known_of_either_is_kept_and_nobody_is_left_over(here, there, session):
    here.says("怎么续借")
    there.says("怎么续借", display_name="王")
    link(here, there)

    assert [patron.display_name for patron in session.scalars(select(Patron))] == ["王"]


def test_a_code_is_no_question_and_opens_nothing(here, there):
    link(here, there)

    assert here.consultations == []


@pytest.mark.parametrize("typed", ["{}", " {} ", "{lower}", "{wide}", "{}\n\n-- \nWang Fang"])
def test_a_code_may_be_typed_as_phones_do(here, there, typed):
    code = code_from(here)
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in code)

    (answer,) = said(there.says(typed.format(code, lower=code.lower(), wide=wide)))

    assert "已关联" in answer


def test_a_code_is_good_once(here, there, session, library, desk):
    code = code_from(here)
    there.says(code)
    third = Asker(session, desk, account_of(session, library, "rasa"), name="third")

    assert "无效" in said(third.says(code))[0]
    assert third.conversation.patron is None


def test_a_code_is_good_for_a_quarter_of_an_hour(here, there):
    code = code_from(here)
    there.waits(minutes=16)

    assert "无效" in said(there.says(code))[0]


def test_only_the_newest_code_of_a_conversation_is_good(here, there):
    old, new = code_from(here), code_from(here)

    assert "无效" in said(there.says(old))[0]
    assert "已关联" in said(there.says(new))[0]


def test_nobody_links_a_conversation_with_itself(here):
    assert "无效" in said(here.says(code_from(here)))[0]


def test_guessing_ends_after_five_tries_an_hour(here, there):
    code = code_from(here)
    for _ in range(5):
        there.says("AAAA-2222")

    assert "无效" in said(there.says(code))[0]
    there.waits(minutes=10)
    assert "无效" in said(there.says(code))[0]


def test_a_code_of_another_library_opens_nothing(here, there, session):
    code = code_from(here)
    session.scalars(select(LinkCode)).one().library_id += 1

    assert "无效" in said(there.says(code))[0]


def test_only_a_hash_of_a_code_is_kept(here, session):
    code = code_from(here).replace("-", "")

    kept = session.scalars(select(LinkCode)).one()

    assert code not in kept.digest
    assert len(kept.digest) == 64


def test_a_code_does_not_change_the_language(here, there):
    there.says("怎么续借")
    link(here, there)

    assert there.conversation.language == "zh-Hans"


@pytest.mark.parametrize(
    ("words", "language"),
    [("link this chat", "en"), ("關聯對話", "zh-Hant"), ("liên kết cuộc trò chuyện", "vi")],
)
def test_a_code_is_given_in_the_patrons_language(here, words, language):
    (text,) = said(here.says(words))

    assert re.search(r"[A-Z2-9]{4}-[A-Z2-9]{4}", text)
    assert here.conversation.language == language


@pytest.mark.parametrize("text", ["绑定账号", "link", "怎么绑定微信", "QA76-7373", "unlink"])
def test_questions_that_only_sound_like_it_are_questions(here, text):
    here.says("怎么续借")
    here.says(text)

    codes = here.session.scalars(select(LinkCode)).all()
    assert codes == []


# --- where things go -------------------------------------------------------------------------


def test_a_question_that_waits_follows_its_patron(here, there):
    here.says("我的论文题目合适吗")
    waiting = here.consultation
    link(here, there)
    there.waits(minutes=20)

    there.says("有消息了吗")

    assert here.consultations == [waiting]
    assert waiting.conversation_id == there.conversation.id
    assert waiting.channel == "postbox"  # counted for the channel on which it was asked


def test_the_answer_goes_where_the_patron_wrote_last(here, there):
    here.says("我的论文题目合适吗")
    link(here, there)
    there.says("有消息了吗")

    row = reply(there, there.consultation)
    assert row.conversation_id == there.conversation.id

    here.now = there.now
    here.says("我回来了")
    row = reply(here, here.consultation, "还有一句")
    assert row.conversation_id == here.conversation.id


def test_nothing_moves_to_a_channel_that_the_patron_has_not_written_on(here, there):
    there.says("怎么续借")
    here.says("我的论文题目合适吗")
    link(there, here)

    row = reply(here, here.consultation)

    assert row.conversation_id == here.conversation.id


def test_a_patron_may_want_all_answers_in_one_place(here, there):
    here.says("我的论文题目合适吗")
    link(here, there)
    (confirmed,) = said(here.says("在这里答复"))
    there.says("有消息了吗")

    row = reply(there, there.consultation)

    assert "都发到这里" in confirmed
    assert row.conversation_id == here.conversation.id
    assert row.position == here.conversation.position


def test_the_place_can_be_given_up_again(here, there):
    here.says("我的论文题目合适吗")
    link(here, there)
    here.says("在这里答复")
    there.says("不限渠道")

    row = reply(there, there.consultation)

    assert row.conversation_id == there.conversation.id


def test_a_closed_place_is_not_chosen(here, there):
    here.says("我的论文题目合适吗")
    link(here, there)
    here.says("在这里答复")
    there.says("有消息了吗")
    here.account.enabled = False

    assert reply(there, there.consultation).conversation_id == there.conversation.id


def test_who_cannot_be_written_to_later_is_told_where_the_answer_comes(
    session, library, desk, there
):
    asker = Asker(session, desk, account_of(session, library, "rasa"), name="made up")

    (told,) = said(asker.says("我的论文题目合适吗"))
    there.says(re.search(r"#link=([A-Z2-9-]{9})", told)[1])

    row = reply(asker, asker.consultation)
    assert row.conversation_id == there.conversation.id


def test_a_session_that_we_issued_gets_its_answer_where_it_asked(session, library, desk):
    asker = Asker(session, desk, account_of(session, library, "rasa"), name="issued")
    asker.says("你好")
    asker.conversation.issued = True

    (told,) = said(asker.says("我的论文题目合适吗"))

    assert "#link=" not in told
    assert reply(asker, asker.consultation).conversation_id == asker.conversation.id


def test_who_left_an_address_is_told_nothing_more(session, library, desk):
    asker = Asker(session, desk, account_of(session, library, "rasa"), name="made up")
    asker.says("你好", display_name="王")
    asker.conversation.patron.email = "wang@example.edu"

    (told,) = said(asker.says("我的论文题目合适吗"))

    assert "#link=" not in told


def test_what_is_answered_and_closed_stays_where_it_was(here, there):
    here.says("我的论文题目合适吗")
    done = here.consultation
    reply(here, done)
    close(here.session, done, at=here.now, now=here.now, by="li@example.edu")
    link(here, there)

    there.says("另一个难题")

    assert done.conversation_id == here.conversation.id
    assert there.consultation is not done


def test_a_link_can_be_undone(here, there):
    here.says("我的论文题目合适吗")
    link(here, there)

    (confirmed,) = said(there.says("解除关联"))
    there.says("有消息了吗")

    assert "分开" in confirmed
    assert here.conversation.patron is not there.conversation.patron
    assert here.consultations[0].conversation_id == here.conversation.id
    assert not here.conversation.state.get(linking.LINKED)


def test_three_conversations_are_linked_one_by_one(here, there, session, library, desk):
    third = Asker(session, desk, account_of(session, library, "rasa"), name="third")
    link(here, there)
    link(there, third)

    patrons = set(session.scalars(select(Conversation.patron_id)))
    assert len(patrons) == 1
    third.says("解除关联")
    assert here.conversation.state.get(linking.LINKED)
    assert [each.id for each in linking.others(session, here.conversation)] == [
        there.conversation.id
    ]


def test_replies_keep_their_order_in_the_place_that_was_chosen(here, there, session):
    here.says("我的论文题目合适吗")
    link(here, there)
    here.says("在这里答复")
    there.says("有消息了吗")
    for text in ("一", "二"):
        reply(there, there.consultation, text)

    rows = session.scalars(
        select(Outbox).where(Outbox.by == "li@example.edu").order_by(Outbox.position)
    ).all()

    assert [row.reply["text"] for row in rows] == ["一", "二"]
    assert len({row.conversation_id for row in rows}) == 1
