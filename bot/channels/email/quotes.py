"""What is new in a mail, and what it only quotes or ends with.

Where an answer stands between quoted lines, only those lines go. Where nothing would be left,
everything stays: losing a question is worse than reading one twice.
"""

import re

# A year or an address must be in it: "Lu Xun wrote:" may be the very question.
_DATED = r"(?=.*(?:\d{4}|@))"
_ATTRIBUTIONS = (
    rf"{_DATED}On\b.{{1,300}}\bwrote:",
    rf"{_DATED}Le\b.{{1,300}}\ba écrit\s?:",
    rf"{_DATED}(?:于|在|於)\s?\d.{{1,300}}(?:写道|寫道)[:：]",
    rf"{_DATED}(?:Vào|Lúc|Ngày)\b.{{1,300}}\bđã viết:",
    r"-{2,}\s*(?:Original Message|Forwarded message|Thư gốc)\s*-{2,}",
    r"-{2,}\s*(?:原始邮件|原始郵件|回复邮件|转发邮件)\s*-{2,}",
)
# Begins with a name, so that it can be told from what stands before it only on one line.
_NAMED = re.compile(rf"{_DATED}.{{1,300}}(?:写道|寫道)[:：]")
_ATTRIBUTION = re.compile("|".join(f"(?:{each})" for each in _ATTRIBUTIONS), re.IGNORECASE)
# Outlook quotes without marks, under a block of headers.
_BLOCK_FROM = re.compile(r"(?:From|De|Từ|发件人|寄件者)\s?[:：]\s*\S", re.IGNORECASE)
_BLOCK_MORE = re.compile(
    r"(?:Sent|Date|To|Đã gửi|Đến|Ngày|发送时间|寄件日期|日期|收件人|收件者)\s?[:：]", re.IGNORECASE
)
_QUOTED = re.compile(r"\s{0,3}>")
_SIGNATURE = re.compile(r"-- ?")
_SENT_FROM = re.compile(
    r"(?:_{5,}|Sent from my \S.{0,60}|Get Outlook for .{1,60}|发自我的.{1,30}|從我的.{1,30}傳送"
    r"|Đã gửi từ .{1,60})"
)
MAX_LINES = 5_000
MAX_LINE = 2_000  # characters looked at: patterns must not crawl over endless lines


def newest(text: str) -> str:
    """The part of a mail's text that its sender has just written."""
    lines = text.splitlines()[:MAX_LINES]
    found = _without_signature(_without_quotes(lines))
    return "\n".join(found).strip() or text.strip()


def _without_quotes(lines: list[str]) -> list[str]:
    kept: list[str] = []
    index = 0
    while index < len(lines):
        length = _attribution_at(lines, index)
        if length:
            rest = lines[index + length :]
            if not any(_QUOTED.match(line) for line in rest):
                return kept  # quoted without marks, to the end
            index += length
        elif _QUOTED.match(lines[index]):
            index += 1
        else:
            kept.append(lines[index])
            index += 1
    return kept


def _attribution_at(lines: list[str], index: int) -> int:
    """How many lines a quotation's heading takes here; 0 where none begins.

    Mail programs wrap "On …, … wrote:" over up to three lines.
    """
    line = lines[index][:MAX_LINE].strip()
    if not line or _QUOTED.match(line):
        return 0
    if _BLOCK_FROM.match(line):
        following = [each[:MAX_LINE].strip() for each in lines[index + 1 : index + 5]]
        return 1 if any(_BLOCK_MORE.match(each) for each in following) else 0
    if _NAMED.fullmatch(line):
        return 1
    for count in (1, 2, 3):
        joined = " ".join(each[:MAX_LINE].strip() for each in lines[index : index + count])
        if _ATTRIBUTION.fullmatch(joined[:MAX_LINE]):
            return count
    return 0


def _without_signature(lines: list[str]) -> list[str]:
    for index, line in enumerate(lines):
        if _SIGNATURE.fullmatch(line):
            return lines[:index]
    while lines and (not lines[-1].strip() or _SENT_FROM.fullmatch(lines[-1].strip()[:MAX_LINE])):
        lines = lines[:-1]
    return lines
