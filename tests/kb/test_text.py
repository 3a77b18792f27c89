import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.text import detect_language, fold_marks, normalise, to_simplified, to_traditional

KINDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("怎么续借图书？", "zh-Hans"),
        ("醫學院那邊的分館怎麼走", "zh-Hant"),
        ("我是new staff,怎么register", "zh-Hans"),
        ("what time do you guys close tonight", "en"),
        ("photocopier access", "en"),
        ("thư viện mở cửa lúc mấy giờ", "vi"),
        ("thu vien mo cua may gio", "vi"),
        ("the bi gay quet khong duoc cong thi lam lai the o dau", "vi"),
        ("tushuguan jidian guanmen", "zh-Hans"),
        ("wifi mima shi shenme", "zh-Hans"),
    ],
)
def test_the_language_of_a_question_is_recognised(text, language):
    assert detect_language(text) == language


@pytest.mark.parametrize("text", ["", "?", "123", "😀", "..."])
def test_the_fallback_decides_where_nothing_tells(text):
    assert detect_language(text, fallback="vi") == "vi"


def test_a_traditional_reader_stays_one_when_the_characters_are_common_to_both():
    assert detect_language("你好", fallback="zh-Hant") == "zh-Hant"
    assert detect_language("怎么办", fallback="zh-Hant") == "zh-Hans"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("ＷｉＦｉ　密码", "wifi 密码"),
        ("醫學院那邊", "医学院那边"),
        ("Re\u200bnew  my\nBOOK", "renew my book"),
        ("Thu\u031b vie\u0323\u0302n", "thư viện"),
        ("THƯ VIỆN", "thư viện"),
        ("can’t", "can't"),
        ("sooooooo", "soo"),
        ("\u202eabc\u202c", "abc"),
        ("a\x00b", "a b"),
    ],
)
def test_writings_of_the_same_become_the_same(text, normal):
    assert normalise(text) == normal


@given(KINDS)
def test_normalising_twice_changes_nothing_more(text):
    assert normalise(normalise(text)) == normalise(text)


@given(KINDS)
def test_every_text_has_a_language(text):
    assert detect_language(text) in ("zh-Hans", "zh-Hant", "en", "vi")


def test_a_lone_surrogate_is_dropped():
    assert normalise("a\ud800b") == "ab"


def test_marks_are_folded():
    assert fold_marks("Gia hạn sách ở đâu Đà Nẵng") == "Gia han sach o dau Da Nang"


def test_the_scripts_convert_into_each_other():
    assert to_traditional("图书馆") == "圖書館"
    assert to_simplified("圖書館") == "图书馆"
    assert to_traditional("library") == "library"
