import unicodedata

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from bot.channels.wechat import shaping
from bot.channels.wechat.shaping import TEXT_BYTES, passive_text, passive_xml, pushed, split
from bot.messages import Choice, Reply, ReplyKind

RATING = (Choice("解决了", "/helped yes"), Choice("没解决", "/helped no"))
ENTRIES = (
    Choice("怎么续借", "/entry renew-book"),
    Choice("怎么借书", "/entry borrow-book"),
    Choice("都不是", "/none"),
)


def answer(text: str, choices: tuple[Choice, ...] = (), **more: str) -> Reply:
    return Reply(text, ReplyKind.ANSWER, choices=choices, **more)


def test_several_replies_become_one_text():
    assert passive_text([answer("第一"), answer("第二")]) == "第一\n\n第二"


def test_nothing_to_say_is_no_text():
    assert passive_text([]) == ""


def test_choices_are_numbered_in_the_order_offered():
    assert passive_text([answer("您想问的是？", ENTRIES)]) == (
        "您想问的是？\n1. 怎么续借\n2. 怎么借书\n3. 都不是"
    )


def test_a_rating_is_one_last_line_without_numbers():
    assert passive_text([answer("可以续借两次。", RATING)]) == (
        "可以续借两次。\n\n[解决了 / 没解决]"
    )


def test_numbers_count_the_rating_too_because_typed_numbers_are_understood_so():
    text = passive_text([answer("可以。", RATING), answer("还是？", ENTRIES)])

    assert text == ("可以。\n\n还是？\n3. 怎么续借\n4. 怎么借书\n5. 都不是\n\n[解决了 / 没解决]")


def test_a_late_answer_shows_its_question_first():
    assert passive_text([answer("在三楼。", quote="县志\n在哪？")]) == "「县志 在哪？」\n在三楼。"


def test_a_link_is_shown_once():
    assert (
        shaping.said(answer("见 https://a.example/x", link="https://a.example/x")).count("https")
        == 1
    )
    assert shaping.said(answer("见目录", link="https://a.example/x")).endswith(
        "\nhttps://a.example/x"
    )


def test_a_long_text_is_cut_before_its_choices():
    text = passive_text([answer("长" * 3000, ENTRIES)])

    assert len(text.encode()) <= TEXT_BYTES
    assert text.endswith("…\n1. 怎么续借\n2. 怎么借书\n3. 都不是")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=1500), st.integers(0, 3))
def test_a_passive_text_always_fits_and_is_whole_characters(text, count):
    shown = passive_text([answer(text * 3, ENTRIES[:count])])

    assert len(shown.encode()) <= TEXT_BYTES


def test_a_family_emoji_and_a_stacked_accent_are_not_cut_apart():
    family = "👨‍👩‍👧"
    stacked = unicodedata.normalize("NFD", "ệ")

    for unit in (family, stacked, "👍🏽"):
        part = split(unit * 1000)[0]
        assert part.replace(unit, "") == ""


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.integers(8, 60))
def test_parts_fit_and_lose_nothing_but_space(text, limit):
    parts = split(text.strip() or "a", limit)

    assert all(len(part.encode()) <= limit for part in parts)
    whole = "".join("".join(parts).split())
    assert whole == "".join((text.strip() or "a").split())


def test_parts_end_where_a_reader_pauses():
    sentence = "这是一句有二十多个字的话，用来看看在哪里断开。"
    first, *_ = split(sentence * 60)

    assert first.endswith("。")


def test_a_push_is_one_message_where_it_fits():
    assert pushed(answer("在三楼。", quote="县志在哪？")) == [
        {"msgtype": "text", "text": {"content": "「县志在哪？」\n在三楼。"}}
    ]


def test_a_push_with_choices_is_a_menu_without_the_rating():
    (menu,) = pushed(answer("您想问的是？", (*RATING, *ENTRIES)))

    assert menu["msgtype"] == "msgmenu"
    assert menu["msgmenu"]["head_content"] == "您想问的是？"
    assert menu["msgmenu"]["list"][0] == {"id": "/entry renew-book", "content": "怎么续借"}
    assert len(menu["msgmenu"]["list"]) == 3
    assert menu["msgmenu"]["tail_content"] == "[解决了 / 没解决]"


def test_a_push_with_only_a_rating_is_text():
    (message,) = pushed(answer("可以。", RATING))

    assert message["text"]["content"] == "可以。\n\n[解决了 / 没解决]"


def test_more_choices_than_a_menu_holds_are_numbered():
    many = tuple(Choice(f"第{n}项", f"/entry e{n}") for n in range(11))

    (message,) = pushed(answer("哪一个？", many))

    assert message["text"]["content"].endswith("\n11. 第10项")


def test_a_long_push_with_choices_ends_in_the_menu():
    first, last = pushed(answer("很长。" * 300, ENTRIES))

    assert first["msgtype"] == "text"
    assert last["msgtype"] == "msgmenu"


@pytest.mark.parametrize("text", ["]]>", "a]]>b]]>", "<b>&amp;</b>", "\x0b\x00\ud800x\uffff"])
def test_the_passive_xml_carries_any_text(text):
    xml = passive_xml(text, to="o]]>", sender="gh_", seconds=1)

    root = fromstring(xml)
    assert root.findtext("Content") == shaping.clean(text)
    assert root.findtext("ToUserName") == "o]]>"
