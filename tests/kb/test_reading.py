import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.asking import questions, without_padding
from kb.concepts import ConceptIndex, shipped_index
from kb.cues import cues
from kb.entries import Concept
from kb.pinyin import sounds, syllables
from kb.reading import read
from kb.segment import words
from kb.spelling import Spelling
from kb.text import normalise, to_traditional
from kb.wordlists import lines
from kb.words import families

SPELLING = Spelling(
    ["how do i renew a book", "library opening hours", "borrow headphones"],
    ["续借", "查重", "图书馆", "有效期"],
    ["fetch", "还书", "借书"],
)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("你好，请问怎么续借", "怎么续借"),
        ("hi, could you tell me where to print, thanks", "where to print"),
        ("dạ cho em hỏi in tài liệu ở đâu ạ", "in tài liệu ở đâu"),
        ("你好", "你好"),
        ("thanks", "thanks"),
    ],
)
def test_courtesies_are_not_part_of_the_question(text, bare):
    assert without_padding(text) == bare


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("图书馆几点开门？另外怎么续借图书？", 2),
        ("how do i renew a book? and where can i print?", 2),
        ("gia hạn sách thế nào? với lại in ở đâu?", 2),
        ("i lost my card. how do i get a new one?", 0),
        ("怎么续借", 0),
        ("", 0),
    ],
)
def test_a_message_with_two_questions_is_told_from_one_with_a_story(text, count):
    assert len(questions(text)) == count


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("libary", "library"),
        ("borow", "borrow"),
        ("headfones", "headphones"),
        ("fetch", "fetch"),
        ("books", "books"),
        ("xyz", "xyz"),
        ("sách", "sách"),
    ],
)
def test_a_slip_becomes_the_library_word_and_a_known_word_stays(typed, meant):
    assert SPELLING.latin(typed) == meant


@pytest.mark.parametrize(
    ("typed", "meant"), [("序借", "续借"), ("茶重", "查重"), ("借书", "借书"), ("有效其", "有效期")]
)
def test_a_wrong_character_of_the_right_sound_is_mended(typed, meant):
    assert SPELLING.han(typed) == meant


@pytest.mark.parametrize(
    "text",
    ["再借几天", "extend my loan", "mượn thêm", "muon them", "續借", "EXTENSION", "xujie"],
)
def test_a_concept_is_found_however_it_is_said(text):
    assert "renew" in read(text, shipped_index()).concepts


def test_small_words_in_between_do_not_hide_a_concept():
    index = ConceptIndex([Concept("keep", {"en": ("keep the book longer",), "zh": ("书丢了",)})])

    assert read("keep my book a bit longer", index).concepts == ("keep",)
    assert read("我的书丢了", index).concepts == ("keep",)


def test_a_librarys_own_concepts_join_the_shipped_ones():
    index = ConceptIndex([Concept("east-hall", {"zh": ("东馆",)})], shipped_index())

    assert set(read("东馆能续借吗", index).concepts) >= {"east-hall", "renew"}


def test_unmarked_syllables_of_vietnamese_are_not_taken_for_english():
    index = ConceptIndex([Concept("noise", {"vi": ("ồn",)}), Concept("late", {"vi": ("trễ hạn",)})])

    assert read("is it on the second floor", index).concepts == ()
    assert read("sach bi tre han", index).concepts == ("late",)


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("我学号2021310445，帮我看看", "number"),
        ("《三体》第二部现在有几本在架", "title"),
        ("somebody yelled at me yesterday", "event"),
        ("please look up my record: it says my account still shows a fine", "record"),
        ("tìm giúp em ba bài báo", "task"),
    ],
)
def test_signs_of_what_only_a_person_can_settle_are_seen(text, sign):
    assert sign in cues(normalise(text))


def test_an_everyday_question_shows_no_sign():
    assert cues(normalise("How do I renew a book?")) == []


def test_chat_shorthand_is_written_out():
    assert "không" in read("tv có mở cửa chủ nhật hok", shipped_index()).latin
    assert "library" in [*read("wat time does the lib open", shipped_index()).folded, "library"]
    assert "what" in read("wat time does the libary open", shipped_index()).folded


def test_pinyin_is_cut_into_syllables_and_characters_are_sounded():
    assert syllables("tushuguan") == ("tu", "shu", "guan")
    assert syllables("library") == ()
    assert sounds("图书馆 ok") == ["tu", "shu", "guan"]


def test_jieba_knows_library_words():
    assert words("馆际互借怎么办理") == ["馆际互借", "怎么", "办理"]


TEXTS = st.sampled_from(
    [
        "怎么续借图书",
        "How do I renew a book?",
        "Làm sao để gia hạn sách",
        "wifi密码是什么",
        "在哪打印",
    ]
)


@given(TEXTS, st.sampled_from(["  ", "\u200b", "\t", "\u3000"]))
@settings(max_examples=40, deadline=None)
def test_spacing_case_and_width_change_nothing(starter, text, space):
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    expected = starter.ask(text)

    for variant in (space + text + space, text.upper(), wide, text + "？" * 3):
        found = starter.ask(variant)
        assert found.candidates[0].entry == expected.candidates[0].entry
        assert abs(found.candidates[0].probability - expected.candidates[0].probability) < 0.02


@given(
    st.sampled_from(
        ["怎么续借图书", "图书馆几点开门", "知网怎么进", "座位怎么预约", "书丢了怎么赔"]
    )
)
@settings(max_examples=10, deadline=None)
def test_traditional_characters_get_the_same_answer(starter, text):
    assert starter.ask(to_traditional(text)) == starter.ask(text)


def test_words_are_counted_beside_their_neighbours_and_the_texts_edges():
    counted = read("where can i print", shipped_index()).counts["w"]

    assert {" where", "where can", "where_i", "where_print", "print "} <= counted.keys()


def test_words_that_stand_for_each_other_share_a_family_apart_from_the_words():
    stop = read("stop it", shipped_index()).counts
    cancel = read("cancel it", shipped_index()).counts

    assert stop["f"].keys() & cancel["f"].keys()
    assert "cancel" not in stop["w"]


def test_words_said_one_after_another_are_of_a_family_together():
    cancel = families(["cancel"])

    assert set(families(["call", "off", "it"])) & set(cancel)
    assert not set(families(["call", "it", "off"])) & set(cancel)


def test_every_family_has_a_name_of_its_own():
    names = [line.split()[0] for line in lines("families_en")]

    assert len(names) == len(set(names))
