"""Opening hours in an answer, worked out from the calendars and never from typed text."""

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from bot.phrases import Phrasebook
from bot.wording import day_name, moment, spans_text
from kb.text import normalise
from tracker.clock import Calendar

HOURS_TAG = "live:hours"  # entries with it are answered from the calendars

_ZH_WEEKDAY = re.compile(r"(下)?(?:周|星期|礼拜)([一二三四五六日天末])")
_ZH_DATE = re.compile(r"(\d{1,2})月(\d{1,2})[日号]")
_VI_WEEKDAY = re.compile(r"\b(?:thứ|thu|t)\s?([2-7]|hai|ba|tư|tu|năm|nam|sáu|sau|bảy|bay)\b")
_VI_NUMBERS = {"hai": 2, "ba": 3, "tư": 4, "tu": 4, "năm": 5, "nam": 5, "sáu": 6, "sau": 6}
_VI_NUMBERS |= {"bảy": 7, "bay": 7}
_VI_DATE = re.compile(r"\b(?:ngày|ngay)\s(\d{1,2})[/-](\d{1,2})\b")
_ISO_DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = f"({'|'.join(_MONTHS)})[a-z]*"
_EN_DATE = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH}\b")
_EN_DATE_US = re.compile(rf"\b{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?\b")
_EN_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# "mon" and "thu" alone are Vietnamese words typed without marks (môn, thư).
_EN_SHORT = (
    (1, r"\btues?\b"),
    (2, r"\bwed\b"),
    (3, r"\bthurs?\b"),
    (4, r"\bfri\b"),
    (5, r"\bsat\b"),
    (6, r"\bsun\b"),
)
_RELATIVE = (  # days from today; the longer phrases before the shorter that they contain
    (2, re.compile(r"后天|day after tomorrow|\b(?:ngày kia|ngay kia|ngày mốt)\b")),
    (
        1,
        re.compile(r"明天|明日|明晚|明早|\b(?:tomorrow|tmr|tmrw|ngày mai|ngay mai|sáng mai|mai)\b"),
    ),
    (
        0,
        re.compile(
            r"今天|今日|今晚|现在|今儿"
            r"|\b(?:today|tonight|right now|hôm nay|hom nay|tối nay|bây giờ)\b"
        ),
    ),
)
_WEEKEND = re.compile(r"周末|\bweekends?\b|\bcuối tuần\b|\bcuoi tuan\b")
_VI_SUNDAY = re.compile(r"\bchủ nhật\b|\bchu nhat\b|\bcn\b")


def asked_days(text: str, *, today: date) -> list[date]:
    """The days that a question names ("on Sunday", 「明天」, "cuối tuần"), soonest first."""
    folded = normalise(text)
    for days, pattern in _RELATIVE:
        if pattern.search(folded):
            return [today + timedelta(days=days)]
    dated = _named_date(folded, today)
    if dated:
        return [dated]
    if _WEEKEND.search(folded):
        return sorted(_coming(today, weekday) for weekday in (5, 6))
    weekdays = _weekdays(folded)
    return sorted(_coming(today, day) + timedelta(weeks=later) for day, later in weekdays)


def hours_answer(
    say: Phrasebook,
    calendars: Mapping[str, Calendar],
    question: str,
    *,
    now: datetime,
    zone: ZoneInfo,
) -> str:
    """The building's hours on the days asked for (else today and the week), and the desk's."""
    building = calendars.get("building") or calendars.get("desk")
    if building is None:
        return say.say("no_calendar")
    today = now.astimezone(zone).date()
    days = asked_days(question, today=today)
    lines = [_day_line(say, building, day, today, zone) for day in days or [today]]
    asked = (days or [today])[0]
    if not _spans(building, asked):
        opening = building.next_opening(max(now, datetime.combine(asked, time(), zone)))
        if opening is not None:
            lines.append(say.say("next_open", when=moment(say, opening, now=now, zone=zone)))
    desk = calendars.get("desk")
    if desk is not None and len(days) <= 1:
        lines.append(_desk_line(say, desk, asked, zone))
    if not days:
        lines.append(_week_line(say, building, today, zone))
    return "\n".join(lines)


def _day_line(say: Phrasebook, calendar: Calendar, day: date, today: date, zone: ZoneInfo) -> str:
    spans = _spans(calendar, day)
    name = _capitalised(day_name(say, day, today=today))
    place = say.say("place_building")
    if not spans:
        return say.say("closed_on", day=name, place=place)
    return say.say("open_on", day=name, place=place, spans=spans_text(say, spans, zone))


def _desk_line(say: Phrasebook, desk: Calendar, day: date, zone: ZoneInfo) -> str:
    spans = _spans(desk, day)
    if not spans:
        return say.say("desk_closed_on")
    return say.say("desk_on", spans=spans_text(say, spans, zone))


def _week_line(say: Phrasebook, calendar: Calendar, today: date, zone: ZoneInfo) -> str:
    """The coming seven days, neighbours with the same hours drawn together, from Monday on."""
    days = sorted((today + timedelta(days=n) for n in range(7)), key=date.weekday)
    groups: list[tuple[list[date], str]] = []
    for day in days:
        spans = _spans(calendar, day)
        text = spans_text(say, spans, zone) if spans else "–"
        if groups and groups[-1][1] == text:
            groups[-1][0].append(day)
        else:
            groups.append(([day], text))
    names = say.words("weekdays")
    parts = [f"{_range(names, group)} {text}" for group, text in groups]
    return say.say("week", place=say.say("place_building")) + "; ".join(parts)


def _range(names: list[str], days: list[date]) -> str:
    first, last = names[days[0].weekday()], names[days[-1].weekday()]
    return first if first == last else f"{first}–{last}"


def _spans(calendar: Calendar, day: date) -> list[tuple[datetime, datetime]]:
    return [(span[0], span[1]) for span in calendar.spans_on(day)]


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _named_date(text: str, today: date) -> date | None:
    iso = _ISO_DATE.search(text)
    if iso:
        return _valid(int(iso[1]), int(iso[2]), int(iso[3]))
    for pattern, month, day in ((_ZH_DATE, 1, 2), (_VI_DATE, 2, 1)):
        found = pattern.search(text)
        if found:
            return _next_date(int(found[month]), int(found[day]), today)
    for pattern, month, day in ((_EN_DATE, 2, 1), (_EN_DATE_US, 1, 2)):
        found = pattern.search(text)
        if found:
            return _next_date(_MONTHS.index(found[month]) + 1, int(found[day]), today)
    return None


def _next_date(month: int, day: int, today: date) -> date | None:
    this_year = _valid(today.year, month, day)
    if this_year is not None and this_year < today:
        return _valid(today.year + 1, month, day)
    return this_year


def _valid(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:  # 31 June and the like: the patron named no day that exists
        return None


def _weekdays(text: str) -> set[tuple[int, int]]:
    """(weekday, weeks later than the coming one) for each weekday that is named."""
    found: set[tuple[int, int]] = set()
    for later, name in _ZH_WEEKDAY.findall(text):
        if name != "末":
            found.add(("一二三四五六日".find(name.replace("天", "日")), 1 if later else 0))
    for number, name in enumerate(_EN_WEEKDAYS):
        if re.search(rf"\b{name}s?\b", text):
            found.add((number, 0))
    for number, pattern in _EN_SHORT:
        if re.search(pattern, text):
            found.add((number, 0))
    for word in _VI_WEEKDAY.findall(text):
        found.add(((_VI_NUMBERS.get(word) or int(word)) - 2, 0))  # thứ 2 is Monday
    if _VI_SUNDAY.search(text):
        found.add((6, 0))
    return found


def _coming(today: date, weekday: int) -> date:
    return today + timedelta(days=(weekday - today.weekday()) % 7)
