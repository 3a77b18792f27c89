"""How a fact reads in the patron's language: a promise, a day, opening hours, an answer."""

from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

from bot.phrases import Phrasebook

BUBBLE = 300  # characters: one answer on a phone's screen
_SENTENCE_ENDS = "。！？!?\n"


def moment(say: Phrasebook, at: datetime, *, now: datetime, zone: ZoneInfo) -> str:
    """A time as a patron says it: 「今天17:30」, "Monday 17:30", "17:30 thứ Hai"."""
    local = at.astimezone(zone)
    today = now.astimezone(zone).date()
    return say.say("day_time", day=day_name(say, local.date(), today=today), time=f"{local:%H:%M}")


def day_name(say: Phrasebook, day: date, *, today: date) -> str:
    """Today, tomorrow, a weekday within a week, else the date with its weekday."""
    distance = (day - today).days
    near = {-1: "yesterday", 0: "today", 1: "tomorrow"}.get(distance)
    if near:
        return say.say(near)
    weekday = say.words("weekdays")[day.weekday()]
    if 0 < distance < 7:
        return weekday
    return dated(say, day, "date_weekday")


def dated(say: Phrasebook, day: date, phrase: str = "date") -> str:
    """A date in the patron's language, without the year."""
    months = say.words("months") if say.has("months") else []
    return say.say(
        phrase,
        day=day.day,
        month=day.month,
        month_name=months[day.month - 1] if months else "",
        weekday=say.words("weekdays")[day.weekday()],
    )


def spans_text(say: Phrasebook, spans: list[tuple[datetime, datetime]], zone: ZoneInfo) -> str:
    """Opening spans in wall time: "8:00–12:00, 14:00–17:30"; midnight as a close is 24:00."""
    return say.say("list_separator").join(
        f"{_clock(opens, zone)}–{_clock(shuts, zone, closing=True)}" for opens, shuts in spans
    )


def _clock(at: datetime, zone: ZoneInfo, *, closing: bool = False) -> str:
    local = at.astimezone(zone)
    if closing and (local.hour, local.minute) == (0, 0):
        return "24:00"
    return f"{local.hour}:{local.minute:02d}"


def bubble(text: str, *, limit: int = BUBBLE) -> tuple[str, bool]:
    """The text, cut at a sentence's end when it is longer than a bubble, and whether it was."""
    text = text.strip()
    if len(text) <= limit:
        return text, False
    head = text[:limit]
    cut = max(*(head.rfind(end) for end in _SENTENCE_ENDS), head.rfind(". "))
    if cut >= limit // 3:
        return head[: cut + 1].strip(), True
    space = head.rfind(" ")
    return (head[:space] if space >= limit // 2 else head).rstrip() + "…", True


def entry_link(base_url: str, library: str, entry: str) -> str:
    """Where the whole entry can be read."""
    return f"{base_url.rstrip('/')}/faq/{quote(library)}#{quote(entry)}"


def catalogue_link(template: str, title: str) -> str:
    """A search for the title in the library's catalogue; `{title}` in the template is it."""
    return template.replace("{title}", quote(title))


def parse_instant(text: str) -> datetime:
    """An instant that we wrote into JSON ourselves."""
    return datetime.fromisoformat(text).astimezone(UTC)


def within(text: str | None, now: datetime, span: timedelta) -> bool:
    """Whether a stored instant exists and lies less than `span` before now."""
    return text is not None and now - parse_instant(text) < span
