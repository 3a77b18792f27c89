"""Vietnamese typed letter by letter: keys of the Telex method that stayed letters."""

import unicodedata
from functools import lru_cache

_TONES = {"\u0300": "f", "\u0301": "s", "\u0309": "r", "\u0303": "x", "\u0323": "j"}
_SHAPES = {"ă": "aw", "â": "aa", "đ": "dd", "ê": "ee", "ô": "oo", "ơ": "ow", "ư": "uw"}


@lru_cache(maxsize=32_768)
def typings(word: str) -> frozenset[str]:
    """How a word with marks looks when its tone key, or all its keys, stayed letters.

    "hạn" is typed "hanj" or "hajn"; "mượn" also "muwownj" or, by most hands, "muownj".
    """
    toneless, tone, at = _without_tone(word)
    shaped = "".join(_SHAPES.get(letter, letter) for letter in toneless)
    late = {toneless + tone, shaped + tone, shaped.replace("uwow", "uow") + tone}
    if tone:
        late.add(toneless[: at + 1] + tone + toneless[at + 1 :])
    return frozenset(late - {word})


def _without_tone(word: str) -> tuple[str, str, int]:
    """The word without its tone, the tone's key, and the place of the letter that bears it."""
    letters, tone, at = [], "", 0
    for place, letter in enumerate(word):
        apart = unicodedata.normalize("NFD", letter)
        kept = "".join(mark for mark in apart if mark not in _TONES)
        letters.append(unicodedata.normalize("NFC", kept))
        for mark in apart:
            if mark in _TONES:
                tone, at = _TONES[mark], place
    return "".join(letters), tone, at
