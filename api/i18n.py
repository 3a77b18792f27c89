"""The languages of the pages: message catalogues, and dates and numbers as a reader writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = ("zh-Hans", "zh-Hant", "en", "vi")
NAMES = {"zh-Hans": "简体中文", "zh-Hant": "繁體中文", "en": "English", "vi": "Tiếng Việt"}
DEFAULT = "zh-Hans"
FOLDER = Path(__file__).parent / "locales"


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """All texts of one language by dotted key, such as `desk.claim`.

    What only some pages say stands in a folder of theirs, under keys of its own.
    """
    paths = [FOLDER / f"{language}.yaml", *sorted(FOLDER.glob(f"*/{language}.yaml"))]
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    return {key: text for document in documents for key, text in _flat(document)}


def _flat(branch: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in branch.items():
        name = f"{prefix}{key}"
        pairs += _flat(value, f"{name}.") if isinstance(value, dict) else [(name, str(value))]
    return pairs


def negotiate(*wanted: str | None) -> str:
    """The first language we speak among a cookie, a setting and an Accept-Language header."""
    for header in wanted:
        for tag in _by_preference(header or ""):
            if language := known(tag):
                return language
    return DEFAULT


def known(tag: str) -> str | None:
    """Our name of a language tag: zh-TW is zh-Hant, zh-CN is zh-Hans, en-GB is en."""
    lower = tag.strip().lower()
    if lower.startswith("zh"):
        traditional = any(part in lower for part in ("hant", "-tw", "-hk", "-mo"))
        return "zh-Hant" if traditional else "zh-Hans"
    return next((name for name in ("en", "vi") if lower.split("-")[0] == name), None)


def _by_preference(header: str) -> list[str]:
    weighted: list[tuple[float, str]] = []
    for part in header.split(",")[:20]:
        tag, _, weight = part.strip().partition(";q=")
        try:
            weighted.append((-float(weight or 1), tag))
        except ValueError:
            continue
    return [tag for _, tag in sorted(weighted, key=lambda pair: pair[0])]


def percent(numerator: int, denominator: int) -> Decimal:
    """A share in percent with one decimal, rounded half up from the integer fraction: 1/16 is 6.3.

    Raises ZeroDivisionError for an empty denominator: nothing of nothing is no rate.
    """
    if denominator == 0:
        raise ZeroDivisionError("a share of nothing")
    share = Decimal(numerator) * 100 / Decimal(denominator)
    return share.quantize(Decimal("0.1"), rounding=ROUND_HALF_UP)


@dataclass(frozen=True)
class Reader:
    """Whoever reads the page: their language, and the time zone of the library."""

    language: str
    zone: tzinfo

    def text(self, key: str, **values: object) -> str:
        """The text of `key` with its `{names}` filled in. Raises KeyError for an unknown key."""
        found = catalogue(self.language)[key]
        return found.format(**values) if values else found

    def count(self, key: str, n: int, **values: object) -> str:
        """The text of `key.one` or `key.other`, with `{n}` as a number of this language."""
        form = "one" if n == 1 else "other"
        return self.text(f"{key}.{form}", n=self.number(n), **values)

    def number(self, value: int | float | Decimal, places: int = 0) -> str:
        """1234.5 as 1,234.5 in English and Chinese, 1.234,5 in Vietnamese."""
        written = f"{value:,.{places}f}"
        if self.language == "vi":
            written = written.translate(str.maketrans(",.", ".,"))
        return written

    def percent(self, numerator: int, denominator: int) -> str:
        """A share such as 17.1 %, or a dash where nothing was counted."""
        if denominator == 0:
            return "–"
        return self.percent_of(percent(numerator, denominator))

    def percent_of(self, value: Decimal | float) -> str:
        """A number that already is a percentage, with one decimal and the sign."""
        exact = Decimal(str(value)).quantize(Decimal("0.1"), rounding=ROUND_HALF_UP)
        sign = "%" if self.language != "vi" else "\N{NO-BREAK SPACE}%"
        return self.number(exact, 1) + sign

    def local(self, at: datetime) -> datetime:
        """An instant on the library's wall clock."""
        return at.astimezone(self.zone)

    def moment(self, at: datetime, *, year: bool = False) -> str:
        """A day and a time of day: 11月22日 17:30."""
        local = self.local(at)
        return f"{self.day(local.date(), year=year)} {local:%H:%M}"

    def clock(self, at: datetime) -> str:
        """The time of day alone."""
        return f"{self.local(at):%H:%M}"

    def when(self, at: datetime, now: datetime) -> str:
        """The time alone on the same day, else the day too, else the year too."""
        local, today = self.local(at), self.local(now)
        if local.date() == today.date():
            return self.clock(at)
        return self.moment(at, year=local.year != today.year)

    def day(self, day: date, *, year: bool = False) -> str:
        """A date without its weekday."""
        form = self.text("format.day_year" if year else "format.day")
        month = self.text(f"format.month.{day.month}")
        return form.format(year=day.year, month=month, day=day.day)

    def weekday(self, day: date) -> str:
        """The short name of a date's weekday."""
        return self.text(f"format.weekday.{day.isoweekday()}")

    def span(self, seconds: float) -> str:
        """A length of time in its two largest units: 2 d 4 h, 3 h 20 min, 45 s."""
        whole = int(abs(seconds))
        if whole < 60:
            return self.text("format.seconds", n=whole)
        days, rest = divmod(whole, 86_400)
        hours, rest = divmod(rest, 3_600)
        parts = [("days", days), ("hours", hours), ("minutes", rest // 60)]
        first = next(index for index, (_, n) in enumerate(parts) if n)
        shown = [self.text(f"format.{unit}", n=n) for unit, n in parts[first : first + 2] if n]
        return self.text("format.join").join(shown)
