"""What a whole message is taken for."""

import pytest

from bot.hearing import Command, Signal, asked_title, command, is_auto_reply, signals


@pytest.mark.parametrize(
    "text",
    [
        "人工",
        "转人工！",
        "轉人工",
        "請問可以找館員嗎",
        "我要找馆员",
        "不想跟机器人说话，转人工",
        "librarian",
        "Can I talk to a librarian please?",
        "I want to speak with a real person",
        "HUMAN",
        "thủ thư",
        "thu thu",
        "cho em gặp thủ thư với ạ",
        "cho minh gap thu thu",
    ],
)
def test_a_wish_for_a_person_is_heard(text):
    assert Signal.PERSON in signals(text)


@pytest.mark.parametrize(
    "text",
    [
        "人工智能方面的书在哪",
        "How do I become a librarian?",
        "图书管理员招聘吗",
        "is the human resources office in this building",
        "thủ thư làm việc mấy giờ",
    ],
)
def test_a_question_that_mentions_people_is_a_question(text):
    assert signals(text) == {Signal.QUESTION}


@pytest.mark.parametrize(
    "text",
    [
        "你好",
        "您好！",
        "在吗？",
        "hello",
        "Hi there!",
        "Good morning",
        "xin chào",
        "Chào ad ạ",
        "alo",
    ],
)
def test_a_greeting_alone_is_a_greeting(text):
    assert Signal.GREETING in signals(text)


@pytest.mark.parametrize(
    "text", ["你好，怎么续借", "hello can i renew online", "chào ad, gia hạn sách sao ạ"]
)
def test_a_greeting_before_a_question_does_not_hide_it(text):
    assert signals(text) == {Signal.QUESTION}


@pytest.mark.parametrize(
    "text", ["谢谢", "好的，谢谢老师", "thanks a lot!", "ok", "cảm ơn ạ", "cam on nhieu"]
)
def test_thanks_are_thanks(text):
    assert Signal.THANKS in signals(text)


@pytest.mark.parametrize(
    "text", ["没解决", "不是这个", "no", "that's not what I asked", "không phải"]
)
def test_a_no_is_heard(text):
    assert Signal.NO in signals(text)


@pytest.mark.parametrize("text", ["😀", "👍👍", "…", "？？", "", "  "])
def test_a_message_without_words_is_no_question(text):
    assert Signal.EMOJI in signals(text)


def test_a_raised_thumb_is_a_yes():
    assert Signal.YES in signals("👍")


@pytest.mark.parametrize("text", ["算了", "never mind", "thôi ạ", "nvm", "不用了，谢谢"])
def test_taking_a_question_back_is_heard(text):
    assert Signal.WITHDRAW in signals(text)


@pytest.mark.parametrize(
    "text",
    [
        "我不想活了",
        "活着没意思",
        "我想自殺",
        "I want to kill myself",
        "thinking about suicide, nobody cares",
        "em muốn chết",
        "em khong muon song nua",
        "论文写不出来，我不想活了",
        "someone is following me on the third floor",
    ],
)
def test_danger_comes_before_everything(text):
    assert signals(text) == {Signal.CRISIS}


@pytest.mark.parametrize(
    "text",
    [
        "涂尔干《自杀论》这本书有吗",
        "I need articles on suicide prevention for my essay",
        "tìm tài liệu về tự tử ở thanh thiếu niên cho luận văn",
        "这个数据库要死了吗",
        "deadline is killing me, can I renew",
    ],
)
def test_a_subject_of_study_is_not_a_cry_for_help(text):
    assert Signal.CRISIS not in signals(text)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("有没有《三体》", "三体"),
        ("《红楼梦》在哪里能借", "红楼梦"),
        ('Do you have "Brave New World"?', "Brave New World"),
        ("do you have the book The Selfish Gene?", "The Selfish Gene"),
        ("Thư viện có cuốn Dế Mèn phiêu lưu ký không ạ", "Dế Mèn phiêu lưu ký"),
    ],
)
def test_a_question_for_a_title_names_it(text, title):
    assert asked_title(text) == title


@pytest.mark.parametrize("text", ["怎么续借图书", "do you have wifi", "có wifi không"])
def test_other_questions_name_no_title(text):
    assert asked_title(text) is None


def test_quick_replies_come_back_as_commands():
    assert command("/entry renew-books") == Command("entry", "renew-books")
    assert command("/helped no") == Command("helped", "no")
    assert command("/none") == Command("none", None)
    assert command("/etc/passwd") is None
    assert command("怎么续借") is None


def test_another_machine_gives_itself_away():
    assert is_auto_reply("【自动回复】您好，我现在有事不在")
    assert is_auto_reply("Automatic reply: I am out of the office")
    assert not is_auto_reply("my reply was automatic, sorry; can I renew?")
