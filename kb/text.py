"""What a patron typed, made comparable: one script, one case, one width, its language named."""

import re
import threading
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import opencc

from kb.pinyin import syllables
from kb.wordlists import wordlist

MAX_CHARACTERS = 2_000  # what is longer is read to here; no question needs more

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_LATIN_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_VIETNAMESE_LETTER = re.compile(r"[ăâđêôơưĂÂĐÊÔƠƯ]|[\u1ea0-\u1ef9]")
# Tones that only Vietnamese writes over the plain vowels (French or Spanish words have them
# too, but seldom twice in a sentence without any of the letters above).
_TONED_VOWEL = re.compile(r"[àáãèéìíĩòóõùúũýỳ]", re.IGNORECASE)
_INVISIBLE = dict.fromkeys(
    [
        *(0x00AD, 0x034F, 0x061C, 0x180E, 0xFEFF),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFE00, 0xFE10),
    ]
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_SPACE = re.compile(r"\s+")
_LONG_REPEAT = re.compile(r"([^\W\d_])\1{3,}")
_LONGEST_VIETNAMESE = 7  # letters in "nghiêng", the longest syllable
_lock = threading.Lock()


@cache
def _converter(name: str) -> Any:
    return opencc.OpenCC(name)


def _convert(name: str, text: str) -> str:
    with _lock:  # OpenCC does not promise that one converter serves two threads
        converted: str = _converter(name).convert(text)
    return converted


@lru_cache(maxsize=4_096)
def to_simplified(text: str) -> str:
    """The text in the simplified characters of the mainland."""
    return _convert("t2s", text) if _HAN.search(text) else text


@lru_cache(maxsize=4_096)
def to_traditional(text: str) -> str:
    """The text in traditional characters."""
    return _convert("s2t", text) if _HAN.search(text) else text


def has_han(text: str) -> bool:
    """Whether any Chinese character occurs."""
    return _HAN.search(text) is not None


def fold_marks(text: str) -> str:
    """The text without accents and tone marks: "gia hạn" as "gia han"."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(mark for mark in decomposed if not unicodedata.combining(mark))


def printable(text: str) -> str:
    """The text without control, zero-width and direction characters, spaces made single."""
    seen = _CONTROL.sub(" ", text.translate(_INVISIBLE))
    return _SPACE.sub(" ", seen.encode("utf-8", "ignore").decode()).strip()


def normalise(text: str) -> str:
    """The form in which texts are compared: NFKC, lower case, simplified, no invisible marks."""
    folded = unicodedata.normalize("NFKC", printable(text[:MAX_CHARACTERS])).casefold()
    folded = unicodedata.normalize("NFC", folded.replace("’", "'"))
    return _SPACE.sub(" ", to_simplified(_LONG_REPEAT.sub(r"\1\1", folded))).strip()


def detect_language(text: str, *, fallback: str = "zh-Hans") -> str:
    """The language of a text: zh-Hans, zh-Hant, en or vi; `fallback` where nothing tells."""
    seen = unicodedata.normalize("NFC", printable(text[:MAX_CHARACTERS]))
    if _HAN.search(seen):
        return _chinese_script(seen, fallback)
    words = [word.casefold() for word in _LATIN_WORD.findall(seen)]
    if not words:
        return fallback
    if has_vietnamese_letter(seen):
        return "vi"
    return _latin_language(words, fallback)


def _chinese_script(text: str, fallback: str) -> str:
    han = "".join(_HAN.findall(text))
    traditional = sum(a != b for a, b in zip(han, _convert("t2s", han), strict=False))
    if not traditional:
        differs = any(a != b for a, b in zip(han, _convert("s2t", han), strict=False))
        return fallback if fallback == "zh-Hant" and not differs else "zh-Hans"
    simplified = sum(a != b for a, b in zip(han, _convert("s2t", han), strict=False))
    return "zh-Hant" if traditional >= simplified else "zh-Hans"


def has_vietnamese_letter(text: str) -> bool:
    """Whether a letter occurs that only Vietnamese writes, or two of its tones."""
    return _VIETNAMESE_LETTER.search(text) is not None or len(_TONED_VOWEL.findall(text)) > 1


def known_words(folded: Sequence[str]) -> tuple[int, int]:
    """How many words, without marks, are Vietnamese only, and how many are English only."""
    vietnamese, english = wordlist("vietnamese"), wordlist("english")
    return sum(word in vietnamese for word in folded), sum(word in english for word in folded)


def _latin_language(words: list[str], fallback: str) -> str:
    folded = [fold_marks(word) for word in words]
    if is_pinyin(folded):
        return fallback if fallback.startswith("zh") else "zh-Hans"
    vietnamese, english = known_words(folded)
    if vietnamese != english:
        return "vi" if vietnamese > english else "en"
    if vietnamese:
        return fallback if fallback in ("en", "vi") else "en"
    if len(words) == 1:
        return fallback
    syllabic = all(len(word) <= _LONGEST_VIETNAMESE for word in folded)
    return "vi" if fallback == "vi" and syllabic else "en"


def is_pinyin(words: Sequence[str]) -> bool:
    """Whether Latin words spell Chinese: "tushuguan jidian guanmen", "wifi mima shi shenme"."""
    others = [word for word in words if word not in wordlist("english")]
    parts = [syllables(word) for word in others]
    if not others or not all(parts):
        return False
    if any(word in wordlist("vietnamese") for word in others) and max(map(len, parts)) == 1:
        return False
    foreign = len(words) - len(others)
    return sum(map(len, parts)) >= 2 + 2 * foreign and foreign <= 1
