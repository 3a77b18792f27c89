import pytest

from kb.spelling import Spelling
from kb.telex import typings

TEXTS = ["gia hạn sách", "mượn sách ở thư viện", "renew graduation clearance", "library hold"]


@pytest.fixture
def spelling():
    return Spelling(TEXTS, ["馆际互借"], ["how is the weather"])


@pytest.mark.parametrize(
    ("word", "typed"),
    [
        ("hạn", {"hanj", "hajn"}),
        ("sách", {"sachs", "sasch"}),
        ("mượn", {"mươnj", "mươjn", "muwownj", "muownj"}),
        ("đi", {"ddi"}),
        ("gia", set()),
    ],
)
def test_how_a_word_looks_when_its_keys_stayed_letters(word, typed):
    assert typings(word) == typed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("hanj", "hạn"), ("muownj", "mượn"), ("sasch", "sách"), ("viêjn", "viện"), ("hạn", "hạn")],
)
def test_a_vietnamese_word_typed_letter_by_letter_is_read(spelling, typed, meant):
    assert spelling.vietnamese(typed, True) == meant


def test_without_marks_a_word_is_mended_without_marks(spelling):
    assert spelling.vietnamese("hanj", False) == "han"
    assert spelling.vietnamese("mupn", False) == "muon"
    assert spelling.vietnamese("sach", False) == "sach"


def test_short_syllables_are_left_alone(spelling):
    assert spelling.vietnamese("hen", True) == "hen"


def test_a_missing_space_is_put_back(spelling):
    assert spelling.latin("graduationclearance") == "graduation clearance"
    assert spelling.latin("nonsenseword") == "nonsenseword"


def test_a_slip_in_an_english_word_is_mended_and_known_words_are_not(spelling):
    assert spelling.latin("libary") == "library"
    assert spelling.latin("weather") == "weather"


def test_words_learned_later_are_known_too(spelling):
    later = spelling.extended(["đặt phòng"])

    assert later.vietnamese("phongf", True) == "phòng"
    assert spelling.vietnamese("phongf", True) == "phongf"
