"""What a message asks: without greeting and thanks, its questions one by one."""

import re
from functools import cache

from kb.wordlists import phraselist, wordlist

_EDGES = re.compile(r"^[\s,.!?;:~，。！？；：～、]+|[\s,;:~，；：、]+$")
# Where one question ends and another may begin.
_BREAK = re.compile(
    r"(?<=[?？])|[。!！;；\n]|\.\s|[,，]?\s*(?:另外|还有就?是?|顺便(?:问一?下)?|以及想问|再问一?下)"
    r"|[,，]?\s*(?<!\w)(?:and also|also"
    r"|and (?=how|what|when|where|who|which|can|could|do|does|is|are)"
    r"|ngoài ra|ngoai ra|với lại|voi lai|với cả|tiện thể|tien the|và cho|va cho)(?!\w)"
)
_ASKING = re.compile(
    r"[?？吗呢么]|怎|如何|哪|几|多少|什么|能不能|可不可以|可以|能否|是否|有没有|多久|谁"
    r"|\b(?:how|what|when|where|who|which|why|can|could|may|do|does|is|are|will|should"
    r"|sao|nào|đâu|bao nhiêu|bao giờ|bao lâu|mấy|gì|không|được|chưa"
    r"|nao|dau|bao nhieu|bao gio|bao lau|may|gi|khong|duoc|chua|ko)\b"
)
_SHORTEST = 4


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


def questions(text: str) -> list[str]:
    """The questions that a normalised text puts, where it puts more than one."""
    parts = (part.strip(" ,，、") for part in _BREAK.split(text))
    asked = [part for part in parts if len(part) >= _SHORTEST and _ASKING.search(part)]
    return asked if len(asked) > 1 else []
