"""One turn of a conversation, line by line of what the bot promises."""

from datetime import timedelta

import pytest

from bot.messages import InboundKind, ReplyKind
from tests.bot.conftest import Patron, account_of
from tracker import consultations


def test_a_sure_question_is_answered_and_asks_whether_it_helped(patron):
    turn = patron.says("怎么续借")

    (reply,) = turn.replies
    assert reply.kind is ReplyKind.ANSWER
    assert reply.text == "在“我的图书馆”里续借。"
    assert [choice.payload for choice in reply.choices] == ["/helped yes", "/helped no"]
    assert patron.kinds == ["message", "bot_answer"]
    assert not patron.consultation.handed_over


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("can i renew online", "Renew in My Library."),
        ("gia han sach the nao", "Gia hạn trực tuyến."),
    ],
)
def test_the_answer_is_in_the_language_of_the_question(patron, question, answer):
    assert patron.says(question).replies[0].text == answer


def test_traditional_chinese_is_answered_in_traditional(patron):
    patron.says("請問圖書館怎麼預約")

    turn = patron.taps("/entry renew-books")

    assert turn.replies[0].text.startswith("在“我的圖書館”裏續借。")


def test_what_nothing_answers_goes_to_a_librarian_with_a_time(patron):
    (reply,) = patron.says("我的论文题目合适吗").replies

    assert reply.kind is ReplyKind.ACKNOWLEDGEMENT
    assert reply.text.splitlines()[0] == "这个问题由馆员来回复，最迟今天17:30回复您。"
    assert patron.kinds == ["message", "escalated", "acknowledged"]
    assert patron.consultation.handed_over
    assert patron.consultation.feedback_at is None


def test_out_of_hours_the_next_opening_is_named(patron):
    patron.waits(hours=10)  # Monday 20:00

    (reply,) = patron.says("我的论文题目合适吗").replies

    assert "明天08:00开始服务，最迟明天17:30回复您" in reply.text


def test_a_wavering_bot_offers_choices_and_none_of_these(patron):
    (reply,) = patron.says("书").replies

    assert reply.kind is ReplyKind.CHOICES
    assert [choice.payload for choice in reply.choices] == [
        "/entry renew-books",
        "/entry holds",
        "/entry long",
        "/none",
    ]
    assert patron.kinds == ["message"]


def test_an_entry_without_an_answer_is_never_offered(patron):
    (reply,) = patron.says("借").replies

    assert "/entry unanswered" not in [choice.payload for choice in reply.choices]


@pytest.mark.parametrize("tap", ["/entry renew-books", "1", "怎么续借图书？"])
def test_a_choice_may_come_back_as_payload_number_or_label(patron, tap):
    patron.says("书")

    (reply,) = patron.says(tap).replies

    assert reply.entry == "renew-books"
    assert patron.kinds == ["message", "message", "bot_answer"]


def test_none_of_these_calls_a_librarian(patron):
    patron.says("书")

    (reply,) = patron.taps("/none").replies

    assert reply.kind is ReplyKind.ACKNOWLEDGEMENT
    assert patron.consultation.escalated_at is not None


def test_two_failed_turns_call_a_librarian(patron):
    patron.says("书")

    (reply,) = patron.says("借").replies

    assert reply.kind is ReplyKind.ACKNOWLEDGEMENT
    assert patron.kinds == ["message", "message", "escalated", "acknowledged"]


def test_two_questions_get_both_answers(patron):
    (reply,) = patron.says("怎么续借，怎么预约").replies

    assert "在“我的图书馆”里续借。" in reply.text
    assert "点预约。" in reply.text


def test_an_entry_without_an_answer_goes_to_a_librarian(patron):
    (reply,) = patron.says("没有答案").replies

    assert reply.kind is ReplyKind.ACKNOWLEDGEMENT


def test_a_long_answer_is_one_bubble_with_a_link(patron):
    (reply,) = patron.says("长的").replies

    assert len(reply.text.splitlines()[0]) <= 300
    assert "https://ref.example.edu/faq/demo#long" in reply.text


def test_hours_come_from_the_calendar_not_from_typed_text(patron):
    (reply,) = patron.says("周二开门吗").replies

    assert reply.text == "明天：主馆7:30–22:30开放。\n服务台有人值守：8:00–17:30。"


def test_a_follow_up_is_matched_with_its_context(patron):
    patron.says("怎么续借")
    patron.says("那图书馆外呢")

    text, context = patron.desk.knowledge.asked[-1]
    assert text == "那图书馆外呢"
    assert context == (("patron", "怎么续借"), ("bot", "在“我的图书馆”里续借。"))


def test_context_is_forgotten_after_half_an_hour(patron):
    patron.says("怎么续借")
    patron.waits(minutes=31)
    patron.says("那图书馆外呢")

    assert patron.desk.knowledge.asked[-1][1] == ()


@pytest.mark.parametrize("no", ["没解决", "/helped no"])
def test_a_no_retracts_the_answer_and_calls_a_librarian(patron, no):
    patron.says("怎么续借")

    (reply,) = patron.says(no).replies

    assert reply.kind is ReplyKind.ACKNOWLEDGEMENT
    assert "bot_rejected" in patron.kinds
    assert patron.consultation.bot_at is None
    assert patron.consultation.handed_over


def test_a_yes_accepts_the_answer(patron):
    patron.says("怎么续借")

    patron.taps("/helped yes")

    assert patron.kinds == ["message", "bot_answer", "bot_accepted"]
    assert patron.consultation.bot_accepted


def test_a_no_after_a_day_takes_nothing_back(patron):
    patron.says("怎么续借")
    patron.waits(hours=24, seconds=1)

    patron.taps("/helped no")

    assert "bot_rejected" not in patron.kinds


def test_asking_again_takes_the_answer_back_and_answers_again(patron):
    patron.says("怎么续借")
    patron.waits(minutes=5)

    (reply,) = patron.says("can i renew online").replies

    assert reply.text == "Renew in My Library."
    assert patron.kinds == ["message", "bot_answer", "message", "bot_rejected", "bot_answer"]


def test_a_call_for_a_person_takes_the_answer_back(patron):
    patron.says("怎么续借")

    (reply,) = patron.says("转人工").replies

    assert reply.kind is ReplyKind.ACKNOWLEDGEMENT
    assert "bot_rejected" in patron.kinds


@pytest.mark.parametrize("text", ["你好", "谢谢", "👍", "hello!", "…"])
def test_small_talk_opens_no_consultation(patron, text):
    patron.says(text)

    assert patron.consultations == []


def test_following_the_account_is_welcomed_without_a_consultation(patron):
    (reply,) = patron.says("", kind=InboundKind.FOLLOW).replies

    assert "Yunling Library" in reply.text
    assert patron.consultations == []


def test_a_picture_goes_to_a_librarian(patron):
    (reply,) = patron.says("", kind=InboundKind.IMAGE, media="pic-1").replies

    assert reply.text.startswith("已收到您发来的内容")
    assert patron.consultation.title == "[image]"


def test_taking_a_question_back_withdraws_it(patron):
    patron.says("我的论文题目合适吗")

    patron.says("算了")

    assert patron.consultation.withdrawn_at is not None


def test_while_a_librarian_has_it_the_bot_is_silent(patron):
    patron.says("我的论文题目合适吗")
    consultations.assign(
        patron.session, patron.consultation, at=patron.now, now=patron.now, by="li@x", to="li@x"
    )

    assert patron.says("怎么续借").replies == ()
    assert patron.says("谢谢").replies == ()
    assert patron.kinds[-2:] == ["message", "message"]


def test_while_waiting_a_known_question_is_still_answered(patron):
    patron.says("我的论文题目合适吗")

    (reply,) = patron.says("怎么续借").replies

    assert reply.kind is ReplyKind.ANSWER
    assert "馆员在今天17:30前回复" in reply.text


def test_a_waiting_patron_is_told_once_that_more_was_passed_on(patron):
    patron.says("我的论文题目合适吗")
    patron.waits(minutes=11)

    first = patron.says("补充：是社会学").replies
    second = patron.says("还有，是硕士论文").replies

    assert [reply.text for reply in first] == ["已补充给馆员，仍按今天17:30前回复。"]
    assert second == ()


def test_whoever_takes_silence_for_a_breakdown_is_told_each_time(session, library, desk):
    patron = Patron(session, desk, account_of(session, library, "rasa"))
    patron.says("我的论文题目合适吗")

    for text in ("补充：是社会学", "还有，是硕士论文"):
        (reply,) = patron.says(text).replies
        assert reply.text == "已补充给馆员，仍按今天17:30前回复。"


def test_a_promise_once_given_is_not_moved(patron):
    patron.says("我的论文题目合适吗")
    patron.waits(hours=6)  # 16:00: a new question would get tomorrow

    (reply,) = patron.says("补充：是社会学").replies

    assert "今天17:30" in reply.text


def test_danger_gets_the_crisis_line_and_the_top_of_the_queue(patron):
    (reply,) = patron.says("我不想活了").replies

    assert reply.kind is ReplyKind.CRISIS
    assert "12356" in reply.text
    assert patron.consultation.urgent


def test_danger_is_heard_even_while_a_librarian_has_it(patron):
    patron.says("我的论文题目合适吗")
    consultations.assign(
        patron.session, patron.consultation, at=patron.now, now=patron.now, by="li@x", to="li@x"
    )

    (reply,) = patron.says("我想自杀").replies

    assert reply.kind is ReplyKind.CRISIS


def test_a_library_may_have_its_own_crisis_text(patron):
    patron.desk.library.settings = {"phrases": {"zh-Hans": {"crisis": "请拨打校内电话110"}}}

    assert patron.says("我不想活了").replies[0].text == "请拨打校内电话110"


def test_a_title_gets_a_link_into_the_catalogue_and_a_person(patron):
    (reply,) = patron.says("有没有《三体》").replies

    assert reply.link == "https://opac.example.edu/?q=%E4%B8%89%E4%BD%93"
    assert [choice.payload for choice in reply.choices] == ["/person"]


def test_an_auto_responder_gets_three_replies_an_hour(patron):
    answered = [bool(patron.says("自动回复：我现在有事不在").replies) for _ in range(6)]

    assert sum(answered) <= 3


def test_a_patient_patron_may_ask_the_same_known_question_often(patron):
    for _ in range(8):
        assert patron.says("怎么续借").replies


def test_a_bot_answer_closes_after_a_day_and_a_later_question_opens_anew(patron):
    patron.says("怎么续借")
    patron.waits(hours=25)
    patron.says("怎么续借")

    first, second = patron.consultations
    assert second.linked_to == first.key


def test_a_provider_clock_that_runs_ahead_makes_no_negative_wait(patron):
    patron.says("怎么续借", sent_at=patron.now + timedelta(minutes=4))

    assert patron.consultation.bot_at >= patron.consultation.received_at


def test_an_unbelievable_provider_clock_is_flagged(patron):
    patron.says("怎么续借", sent_at=patron.now + timedelta(days=1))

    assert patron.consultation.clock_suspect
    assert patron.consultation.received_at == patron.now
