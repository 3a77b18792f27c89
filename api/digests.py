"""Yesterday in a few lines, for managers."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from api.i18n import Reader
from api.letters import letter
from tracker.models import Library
from tracker.rates import too_few
from tracker.reports import HEADLINES
from tracker.stats import stats

DAYS = 28  # of the rates


@dataclass(frozen=True, slots=True)
class Digest:
    """What one reader is told."""

    subject: str
    text: str
    data: dict[str, Any]


def digest_text(
    session: Session, library: Library, reader: Reader, *, day: date, base_url: str, now: datetime
) -> Digest | None:
    """A day's counts, who waits, and the two rates of four weeks; None for a quiet day."""
    that_day = stats(session, library, start=day, end=day, at=now)["total"]
    weeks = stats(session, library, start=day - timedelta(days=DAYS - 1), end=day, at=now)
    backlog = stats(session, library, at=now)["total"]["backlog"]
    if not that_day["received"] and not backlog["waiting"]:
        return None
    facts = {
        "library": library.name,
        "day": reader.day(day, year=True),
        "received": reader.number(that_day["received"]),
        "bot_only": reader.number(that_day["bot_only"]),
        "handed_over": reader.number(that_day["handed_over"]),
        "waiting": reader.number(backlog["waiting"]),
        "overdue": reader.number(backlog["overdue"]),
        "rates": "\n".join(_rate(name, weeks["total"][name], reader) for name in HEADLINES),
        "days": DAYS,
        "url": f"{base_url}/manage",
    }
    return Digest(
        letter(reader.language, "digest_subject", **facts),
        letter(reader.language, "digest_body", **facts),
        {
            "library": library.slug,
            "day": day.isoformat(),
            "received": that_day["received"],
            "handed_over": that_day["handed_over"],
            "bot_only": that_day["bot_only"],
            "waiting": backlog["waiting"],
            "overdue": backlog["overdue"],
            **{name: weeks["total"][name] for name in HEADLINES},
        },
    )


def _rate(name: str, share: dict[str, Any], reader: Reader) -> str:
    if share["matured"] == 0:
        value = "–"
    elif too_few(share["matured"]):
        value = letter(reader.language, "digest_few")
    else:
        value = reader.percent(share["within"], share["matured"])
    return letter(
        reader.language,
        "digest_rate",
        label=reader.text(f"metric.{name}"),
        value=value,
        within=reader.number(share["within"]),
        matured=reader.number(share["matured"]),
    )
