"""The other indicators of a library's micro-media: posts, pushes, followers and what they do.

Entered by hand, by CSV or by API, a row per channel and week. Questions that were answered
on the platform itself come in as consultations of that channel (tracker.history).
"""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker import rates
from tracker.consortium import channels_of
from tracker.errors import TrackerError
from tracker.models import ChannelActivity, ChannelPresence, Library
from tracker.trends import monday

COUNTS = (
    "posts",
    "pushes",
    "followers",
    "reads",
    "likes",
    "comments",
    "shares",
    "total_posts",
)
LARGEST = 2**31 - 1
WEEK = timedelta(days=7)
MANY_POSTS = 1_000
FOLLOWING = 10_000


class BadActivity(TrackerError):
    """Nothing was entered, because some rows cannot be read."""

    status = 422

    def __init__(self, rows: list[tuple[int, str]]) -> None:
        super().__init__(f"{len(rows)} bad rows, the first in row {rows[0][0]}: {rows[0][1]}")
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Entry:
    """One checked row."""

    channel: str
    week: date
    counts: dict[str, int | None]


def enter(
    session: Session,
    library: Library,
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    *,
    now: datetime,
    by: str,
) -> int:
    """Enter numbered rows (channel, week, any of COUNTS); the same week is replaced.

    `week` is any date of the week. All or nothing: raises BadActivity naming each bad row.
    """
    entries, bad = [], []
    for number, row in rows:
        try:
            entries.append(_read(row))
        except ValueError as error:
            bad.append((number, str(error)))
    if bad:
        raise BadActivity(bad)
    for entry in entries:
        session.merge(
            ChannelActivity(
                library_id=library.id,
                channel=entry.channel,
                week=entry.week,
                recorded_at=now,
                by=by,
                **entry.counts,
            )
        )
        have_channel(session, library, entry.channel)
    session.flush()
    return len(entries)


def enter_file(session: Session, library: Library, path: Path, *, now: datetime, by: str) -> int:
    """Enter a CSV with the columns channel, week and any of COUNTS."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return enter(session, library, enumerate(csv.DictReader(file), start=2), now=now, by=by)


def have_channel(
    session: Session, library: Library, channel: str, *, opened_on: date | None = None
) -> None:
    """Say that a library has a channel, whether or not anybody has asked there yet."""
    known = session.get(ChannelPresence, (library.id, channel))
    if known is None:
        session.add(ChannelPresence(library_id=library.id, channel=channel, opened_on=opened_on))
        session.flush()
    elif opened_on is not None:
        known.opened_on = opened_on


def _read(row: Mapping[str, Any]) -> Entry:
    channel = str(row.get("channel") or "").strip()
    if not channel:
        raise ValueError("channel is missing")
    try:
        week = date.fromisoformat(str(row.get("week") or ""))
    except ValueError:
        raise ValueError(f"week: {row.get('week')!r} is not a date") from None
    return Entry(channel, monday(week), {name: _count(row, name) for name in COUNTS})


def _count(row: Mapping[str, Any], name: str) -> int | None:
    value = row.get(name)
    if value is None or str(value).strip() == "":
        return None
    text = str(value).strip()
    if not text.isdecimal() or int(text) > LARGEST:
        raise ValueError(f"{name}: {text[:20]!r} is not a count")
    return int(text)


def indicators(
    session: Session, library: Library, *, start: date, end: date
) -> dict[str, dict[str, Any]]:
    """By channel: sums, growth, engagement, and the share of weeks with a push.

    Weeks count whose Monday lies in the period. `engagement` is likes, comments and shares
    per read; `growth` is the change of followers between the first and the last known week.
    """
    rows = session.scalars(
        select(ChannelActivity)
        .where(
            ChannelActivity.library_id == library.id,
            ChannelActivity.week >= start,
            ChannelActivity.week <= end,
        )
        .order_by(ChannelActivity.week)
    ).all()
    channels = {row.channel for row in rows} | channels_of(session, library)
    return {
        name: _summed([row for row in rows if row.channel == name], start, end)
        for name in sorted(channels)
    }


def _summed(rows: list[ChannelActivity], start: date, end: date) -> dict[str, Any]:
    sums: dict[str, int] = {
        name: sum(getattr(row, name) or 0 for row in rows)
        for name in COUNTS
        if name not in ("followers", "total_posts")
    }
    followers = [row.followers for row in rows if row.followers is not None]
    totals = [row.total_posts for row in rows if row.total_posts is not None]
    pushed = sum((row.pushes or 0) > 0 for row in rows)
    weeks = _mondays(start, end)
    reads = sums["reads"]
    acts = sums["likes"] + sums["comments"] + sums["shares"]
    return {
        **sums,
        "followers": followers[-1] if followers else None,
        "growth": followers[-1] - followers[0] if len(followers) > 1 else None,
        "total_posts": totals[-1] if totals else None,
        "engagement": acts / reads if reads else None,
        "weeks": weeks,
        "weeks_entered": len(rows),
        "weeks_with_push": pushed,
        "pushes_weekly": pushed >= weeks if any(row.pushes is not None for row in rows) else None,
    }


def _mondays(start: date, end: date) -> int:
    first = monday(start + timedelta(days=6))
    return max(0, (end - first).days // 7 + 1)


def survey(
    session: Session,
    libraries: Iterable[Library],
    *,
    start: date,
    end: date,
    many_posts: int = MANY_POSTS,
    following: int = FOLLOWING,
) -> dict[str, dict[str, Any]]:
    """The study's table for a group of libraries, by channel, as shares with intervals.

    `have` is the share of all that have the channel. Of those that have it and of which it
    is known: `push_weekly` pushed in every week, `many_posts` over so many posts in all,
    `following` at least so many followers.
    """
    members = list(libraries)
    by_library = [indicators(session, item, start=start, end=end) for item in members]
    names = sorted({name for found in by_library for name in found})
    table = {}
    for name in names:
        having = [found[name] for found in by_library if name in found]
        table[name] = {
            "have": _share(len(having), len(members)),
            "push_weekly": _known(having, "pushes_weekly", bool),
            "many_posts": _known(having, "total_posts", lambda posts: posts > many_posts),
            "following": _known(having, "followers", lambda count: count >= following),
        }
    return table


def _known(
    found: Iterable[Mapping[str, Any]], name: str, fits: Callable[[Any], bool]
) -> dict[str, Any]:
    """What nobody has entered is in no share."""
    values = [item[name] for item in found if item[name] is not None]
    return _share(sum(map(fits, values)), len(values))


def _share(count: int, of: int) -> dict[str, Any]:
    share = rates.wilson(count, of)
    return {
        "numerator": count,
        "denominator": of,
        "rate": share.rate,
        "low": share.low,
        "high": share.high,
    }
