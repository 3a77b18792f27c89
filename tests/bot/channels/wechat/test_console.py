"""Menu, auto-replies, notice and typing sign: what the account's console did before us."""

import pytest

from bot.channels.base import SendError, SendFailure
from bot.channels.wechat import console, reading
from bot.delivery import parts_of
from bot.messages import InboundKind, Reply, ReplyKind
from tests.bot.channels.wechat.conftest import NOON, Desk

READER = "oLibQ7m2xReaderA-demo0001"
TEMPLATE = "noticeTemplate01"
LATE = Reply(
    "在三楼。", ReplyKind.LIBRARIAN, quote="县志在哪里？\n还有地图集，想借回家看几天可以吗"
)
MENU = {
    "button": [
        {"name": "问馆员", "type": "click", "key": "/person"},
        {
            "name": "服务",
            "sub_button": [{"name": "目录", "type": "view", "url": "https://opac.example.edu"}],
        },
    ]
}
# The form of the documentation's example, cut to what a library has.
EXPORT = {
    "keyword_autoreply_info": {
        "list": [
            {
                "rule_name": "wifi",
                "reply_mode": "reply_all",
                "keyword_list_info": [
                    {"type": "text", "match_mode": "contain", "content": "无线网"},
                    {"type": "text", "match_mode": "equal", "content": "wifi"},
                    {"type": "text", "match_mode": "equal", "content": "wifi"},
                ],
                "reply_list_info": [
                    {"type": "text", "content": "连接 Library，用学号登录。"},
                    {"type": "img", "content": "mediaDemo0001"},
                    {
                        "type": "news",
                        "news_info": {
                            "list": [
                                {"title": "无线网指南", "content_url": "https://mp.example.edu/1"}
                            ]
                        },
                    },
                ],
            },
            {
                "rule_name": "海报",
                "keyword_list_info": [{"type": "text", "content": "海报"}],
                "reply_list_info": [{"type": "img", "content": "mediaDemo0002"}],
            },
        ]
    }
}


# --- menu --------------------------------------------------------------------------------


def test_a_menu_is_set_read_back_and_removed(channel, platform):
    channel.set_menu(MENU)
    assert platform.menu == MENU
    assert channel.menu() == MENU

    channel.remove_menu()
    assert platform.menu is None


def test_before_it_was_set_here_the_consoles_menu_is_shown_in_settable_form(channel, platform):
    platform.console_menu = {
        "button": [
            {"name": "开放时间", "type": "text", "value": "8:00–22:00"},
            {
                "name": "服务",
                "sub_button": {
                    "list": [{"name": "目录", "type": "view", "url": "https://opac.example.edu"}]
                },
            },
        ]
    }

    found = channel.menu()

    assert found["button"][0] == {"name": "开放时间", "type": "click", "key": "text:8:00–22:00"}
    assert found["button"][1] == MENU["button"][1]
    assert console.mistakes(found) == []


def test_an_account_without_any_menu_has_none(channel):
    assert channel.menu() == {}


@pytest.mark.parametrize(
    ("menu", "mistake"),
    [
        ({}, "one to three"),
        ({"button": [], "x": 1}, "one to three"),
        ({"button": [*MENU["button"], *MENU["button"]]}, "4 buttons; 3 fit"),
        ({"button": [{"name": "问馆员的按钮", "type": "click", "key": "k"}]}, "1 to 16 bytes"),
        ({"button": [{"name": "x", "type": "news"}]}, "unknown type: news"),
        ({"button": [{"name": "x", "type": "view"}]}, "needs url"),
        ({"button": [{"name": "x", "sub_button": MENU["button"][:1] * 6}]}, "6 buttons; 5 fit"),
    ],
)
def test_every_mistake_in_a_menu_is_named_before_the_platform_sees_it(
    channel, platform, menu, mistake
):
    with pytest.raises(ValueError, match=mistake):
        channel.set_menu(menu)

    assert platform.calls == []


# --- auto-replies ------------------------------------------------------------------------


def test_keyword_replies_come_from_the_platform_or_from_its_export(channel, platform):
    platform.autoreplies = EXPORT

    assert channel.keyword_replies() == channel.keyword_replies(EXPORT)
    wifi, poster = channel.keyword_replies(EXPORT)
    assert wifi.keywords == ("无线网", "wifi")
    assert wifi.text == "连接 Library，用学号登录。\n\n无线网指南\nhttps://mp.example.edu/1"
    assert wifi.left_out == ("img",)
    assert (poster.text, poster.left_out) == ("", ("img",))


@pytest.mark.parametrize("export", [{}, {"keyword_autoreply_info": 1}, {"x": {"list": [1]}}])
def test_an_export_of_another_form_holds_nothing(channel, export):
    assert channel.keyword_replies(export) == []


# --- one notice for one consent -------------------------------------------------------------


@pytest.fixture
def noticing(account):
    text = "点此订阅答复提醒：https://mp.example.edu/notice"
    return account(
        subscribe_template=TEMPLATE, consent_text=text, subscribe_page="https://ref.example.edu"
    )


def test_a_promise_says_where_to_agree_and_an_answer_does_not(noticing, clock, platform):
    desk = Desk(noticing, clock)
    desk.answer = lambda inbound: (Reply("最迟周一17:30回复。", ReplyKind.ACKNOWLEDGEMENT),)
    reader = platform.patron(READER, desk)
    assert reader.says("县志在哪里？").reply.endswith("https://mp.example.edu/notice")

    desk.answer = lambda inbound: (Reply("在三楼。", ReplyKind.ANSWER),)
    assert reader.says("哪里？").reply == "在三楼。"


def test_consent_is_heard_for_our_template_only(noticing, clock, platform):
    desk = Desk(noticing, clock)
    reader = platform.patron(READER, desk)
    reader.agrees("anothersTemplate")
    assert desk.heard == []

    reader.agrees(TEMPLATE)

    (heard,) = desk.heard
    assert (heard.kind, heard.event) == (InboundKind.EVENT, reading.CONSENT)


def test_one_consent_is_one_notice_that_names_the_question(noticing, platform):
    reader = platform.patron(READER, lambda call: (200, b""))
    reader.agrees(TEMPLATE)
    noticing.announce(READER, LATE, key="k", now=NOON)

    assert reader.screen[-1].text == "[notice] 县志在哪里？ 还有地图集，想借回家看几…"
    with pytest.raises(SendError) as caught:
        noticing.announce(READER, LATE, key="k", now=NOON)
    assert (caught.value.failure, caught.value.code) == (SendFailure.PERMANENT, "43101")


def test_without_a_template_the_next_way_is_used(channel):
    with pytest.raises(SendError) as caught:
        channel.announce(READER, LATE, key="k", now=NOON)

    assert caught.value.failure is SendFailure.WINDOW_CLOSED


# --- typing sign, and what a reply costs --------------------------------------------------------


def test_the_typing_sign_is_shown_where_the_account_may(channel, account, platform):
    channel.show_typing(READER, thread={})
    account(passive_only="true").show_typing(READER, thread={})

    assert platform.typing == [READER]


@pytest.mark.parametrize("code", [45080, 45081])
def test_that_the_sign_is_shown_already_is_no_failure(channel, platform, code):
    platform.fail_next(code, path="/cgi-bin/message/custom/typing")

    channel.show_typing(READER, thread={})


def test_a_long_reply_says_how_many_messages_it_takes(channel):
    assert parts_of(channel, Reply("短", ReplyKind.LIBRARIAN)) == 1
    assert parts_of(channel, Reply("一句完整的话。" * 300, ReplyKind.LIBRARIAN)) == 4
