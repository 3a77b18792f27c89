"""Chinese by sound: for patrons without an input method, or with a wrong character picked."""

from functools import cache, lru_cache

from kb.wordlists import wordlist

SYLLABLES = wordlist("pinyin")
_LONGEST = max(map(len, SYLLABLES))
_MAX_WORD = 30


@lru_cache(maxsize=8_192)
def syllables(word: str) -> tuple[str, ...]:
    """The pinyin syllables that a Latin word is made of; empty when it is not pinyin.

    Longest syllables first, as readers cut them: "xian" is one syllable, "tushuguan" three.
    """
    if len(word) > _MAX_WORD:
        return ()
    return _cut(word.replace("'", "").replace("ü", "v"), {}) or ()


def _cut(word: str, known: dict[str, tuple[str, ...] | None]) -> tuple[str, ...] | None:
    if not word:
        return ()
    if word not in known:
        known[word] = None
        for size in range(min(_LONGEST, len(word)), 0, -1):
            rest = _cut(word[size:], known) if word[:size] in SYLLABLES else None
            if rest is not None:
                known[word] = (word[:size], *rest)
                break
    return known[word]


@cache
def _readings() -> dict[str, str]:
    """Each character's most usual reading, without its tone."""
    from pypinyin.constants import PINYIN_DICT  # noqa: PLC0415  (40 MB: only where Chinese is read)
    from pypinyin.contrib.tone_convert import to_normal  # noqa: PLC0415

    table = {}
    for point, readings in PINYIN_DICT.items():
        if 0x4E00 <= point <= 0x9FFF:
            table[chr(point)] = to_normal(readings.split(",")[0]).replace("ü", "v")
    return table


def sounds(text: str) -> list[str]:
    """The reading of each Chinese character of a text; other characters are left out."""
    table = _readings()
    return [table[character] for character in text if character in table]
