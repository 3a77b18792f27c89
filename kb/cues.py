"""Signs that a question is about one person, one book or one event: only a person can help."""

import re
from collections.abc import Sequence

_MONTHS = "jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec"
_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"


def _any(words: Sequence[str], parts: Sequence[str] = ()) -> re.Pattern[str]:
    """One of the `words`, whole, or one of the `parts`, anywhere."""
    whole = rf"\b(?:{'|'.join(words)})\b"
    return re.compile("|".join([whole, *parts]))


_CUES = {
    # a student number, an order number, a request number
    "number": _any(
        ["mssv", "student (?:id|no|number)", r"\d{5,}", r"[a-z]{1,4}-?\d{4,}"],
        [r"#\d+", "学号", "单号", "编号", r"\d{5,}"],
    ),
    # a title in its marks, an edition
    "title": _any(
        ["isbn", "edition", "volume", r"vol\.?", "by [a-z]+ [a-z]+$", "tập", "bản in"],
        ["[《「『]", r"(?<!\w)[\"“][^\"”]{3,}[\"”]"],
    ),
    # a day or an hour at which something happened
    "event": _any(
        [
            *("yesterday", f"last (?:night|week|month|{_DAYS})", "this morning", "ago"),
            *(rf"(?:{_MONTHS})[a-z]* \d{{1,2}}", r"\d{1,2}/\d{1,2}", r"\d{1,2}(?:st|nd|rd|th)"),
            *("hôm qua", "hom qua", "sáng nay", "sang nay", "tuần trước", "tuan truoc", "hôm kia"),
        ],
        ["昨天", "前天", "昨晚", "上周", "上个?月", "今早", "刚才", r"\d{1,2}月\d{1,2}[号日]"],
    ),
    # somebody of the staff, by how they behaved or what they look like
    "person": _any(
        [
            *("rude", "shouted", "yelled", r"apolog\w+", "the (?:guy|man|woman|lady) (?:at|on|in)"),
            *("quát", "mắng", "thái độ", "thai do"),
        ],
        ["骂", "道歉", "态度", "姓.的", "那个?[男女]", "阿姨", "保安"],
    ),
    # "check it for me", "take it off my record"
    "record": _any(
        [
            "on my (?:account|record|name|card)",
            *("my (?:account|record) (?:says|shows|still)", "charged me", "refund"),
            "(?:remove|delete|cancel|undo|waive|fix|correct|check|look up) "
            "(?:it|this|that|mine|them|my)",
            "(?:kiểm tra|kiem tra|xem|xoá|xóa|huỷ|hủy|huy|sửa|sua|gia hạn|gia han) "
            "(?:giúp|hộ|giup|ho)",
            *("hoàn tiền", "hoan tien", "tài khoản em", "tai khoan em"),
        ],
        [
            *("[帮给]我(?:查|看|改|取消|续|处理|删|催|退)", "退给?我", "我账上", "我名下"),
            *("系统里(?:还|显示)", "没人处理", "处理一下"),
        ],
    ),
    # "find me", "recommend me", "write me": research, or work to be done
    "task": _any(
        [
            *("find me", "give me a list", "recommend", "suggest (?:some|a few|me)"),
            *(r"summari[sz]e", "translate", "write (?:me|a|an)", "explain"),
            *("tìm giúp", "tim giup", "giới thiệu (?:cho|vài|mấy)", "viết giúp", "dịch giúp"),
            *("gioi thieu (?:cho|vai|may)", "viet giup", "dich giup"),
        ],
        ["帮我[找写翻列做]", "推荐(?:[几三两一]|一些)", "给我列", "翻译成", "写一篇"],
    ),
}


def cues(text: str) -> list[str]:
    """The signs that a normalised text shows."""
    return [name for name, pattern in _CUES.items() if pattern.search(text)]
