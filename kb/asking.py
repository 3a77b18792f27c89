"""What a message asks, without the greeting, the thanks and the story around it."""

import re
from functools import cache

from kb.wordlists import phraselist, wordlist

_EDGES = re.compile(r"^[\s,.!?;:~，。！？；：～、]+|[\s,;:~，；：、]+$")
_SENTENCE = re.compile(r"[^.!?。！？;；\n]+[.!?。！？;；]*")
_CLAUSE = re.compile(r"[^.!?。！？;；\n,，]+[.!?。！？;；,，]*")


@cache
def _padding() -> re.Pattern[str]:
    spaced = [*phraselist("politeness_en"), *phraselist("politeness_vi")]
    words = "|".join(re.escape(phrase) for phrase in sorted(spaced, key=len, reverse=True))
    chinese = sorted(wordlist("politeness_zh"), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)|{'|'.join(map(re.escape, chinese))}")


def without_padding(text: str) -> str:
    """A normalised text without greetings, thanks and "could you tell me".

    A text that is nothing else stays as it is.
    """
    bare = _EDGES.sub("", _padding().sub(" ", text))
    return bare if any(character.isalnum() for character in bare) else text


def clauses(text: str) -> list[str]:
    """The clauses of a normalised text, in order."""
    found = (match.group().strip() for match in _CLAUSE.finditer(text))
    return [clause for clause in found if any(character.isalnum() for character in clause)]


def sentences(text: str) -> list[str]:
    """The sentences of a normalised text, in order."""
    found = (match.group().strip() for match in _SENTENCE.finditer(text))
    return [sentence for sentence in found if any(character.isalnum() for character in sentence)]
