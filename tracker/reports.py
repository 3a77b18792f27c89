"""The report that a manager signs: plain data for pages, documents and spreadsheets.

A report is preliminary until everything in its period has matured; then it is sealed. What
changes afterwards (a late event, a merge, another calendar) never replaces sealed figures:
both are shown, and a restatement keeps who made it and why.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tracker import calendars, rates
from tracker.clock import day_bounds, parse_instant, utc_text, zone
from tracker.dirty import mark_dirty
from tracker.errors import TrackerError
from tracker.figures import ANSWERED, DEFLECTION_MATURITY, INCLUSIVE, NEXT_DAY, RATES
from tracker.handling import exclusions, volumes
from tracker.models import Consultation, Library, Report, ReportVersion
from tracker.stats import read, stats
from tracker.trends import arrivals, by_topic, by_week

HEADLINES = (INCLUSIVE, ANSWERED)
PRELIMINARY, FINAL, SEALED = "preliminary", "final", "sealed"
_BATCH = 5_000


class NotFinal(TrackerError):
    """Some consultations of the period have not matured yet."""


class NotSealed(TrackerError):
    """Only a sealed report can be restated."""


def month(year: int, number: int) -> tuple[date, date]:
    """The first and last date of a month."""
    first = date(year, number, 1)
    following = date(year + number // 12, number % 12 + 1, 1)
    return first, following - timedelta(days=1)


def previous(start: date, end: date) -> tuple[date, date]:
    """The period before: the month before a whole month, else as many days before."""
    if start.day == 1 and (end + timedelta(days=1)).day == 1:
        months = (end.year - start.year) * 12 + end.month - start.month + 1
        index = start.year * 12 + start.month - 1 - months
        return date(index // 12, index % 12 + 1, 1), start - timedelta(days=1)
    return start - (end - start) - timedelta(days=1), start - timedelta(days=1)


def final_at(session: Session, library: Library, *, start: date, end: date) -> datetime:
    """From when on the figures of a period are final: all its clocks have run out."""
    finish = day_bounds(end, zone(library.timezone))[1]
    latest = session.scalar(
        select(Consultation.next_day_due_at)
        .where(
            Consultation.library_id == library.id,
            Consultation.received_at < finish,
            Consultation.received_at >= day_bounds(start, zone(library.timezone))[0],
            Consultation.next_day_due_at.is_not(None),
        )
        .order_by(Consultation.next_day_due_at.desc())
        .limit(1)
    )
    matured = finish + DEFLECTION_MATURITY
    return max(matured, latest + timedelta(seconds=1)) if latest else matured


def report(
    session: Session, library: Library, *, start: date, end: date, at: datetime
) -> dict[str, Any]:
    """Everything a report says, JSON-ready.

    `state` is preliminary (with `final_at` and `pending`), final or sealed. `figures` are
    those of `stats`; once sealed, the sealed ones, and `now` holds today's where they
    differ. `versions` are all sealed ones, oldest first. `change` compares with the period
    before: per headline the difference and whether chance can explain it.
    """
    row = _row(session, library, start, end)
    current = figures(session, library, start=start, end=end, at=at)
    versions = _versions(session, row)
    final = final_at(session, library, start=start, end=end)
    shown = versions[-1]["figures"] if versions else current
    before = previous(start, end)
    earlier = stats(session, library, start=before[0], end=before[1], at=at)
    return {
        "library": {"slug": library.slug, "name": library.name, "timezone": library.timezone},
        "from": start.isoformat(),
        "to": end.isoformat(),
        "at": utc_text(at),
        "state": SEALED if versions else FINAL if at >= final else PRELIMINARY,
        "final_at": utc_text(final),
        "pending": {name: shown["stats"]["total"][name]["pending"] for name in RATES},
        "figures": shown,
        "now": current if _same_without_time(shown, current) is False else None,
        "versions": versions,
        "before": {"from": before[0].isoformat(), "to": before[1].isoformat(), "stats": earlier},
        "change": {
            name: change(shown["stats"]["total"][name], earlier["total"][name])
            for name in HEADLINES
        },
        "provisional": desk_is_provisional(session, library, start, end),
        "problems": row.problems if row else _carried(session, library, start, "problems"),
        "measures": row.measures if row else _carried(session, library, start, "measures"),
    }


def figures(
    session: Session, library: Library, *, start: date, end: date, at: datetime
) -> dict[str, Any]:
    """The figures that a report seals: stats, volumes, weeks, topics, arrivals."""
    once = read(session, library, start=start, end=end, at=at)
    return {
        "stats": stats(session, library, start=start, end=end, at=at, reading=once),
        "volumes": {
            **volumes(session, library, start=start, end=end, at=at),
            "excluded_by_reason": exclusions(session, library, start=start, end=end, at=at),
        },
        "weeks": [
            {
                "week": week.start.isoformat(),
                "channel": week.channel,
                "received": week.counts.received,
                **{name: week.counts.shares[name].as_dict() for name in RATES},
            }
            for week in by_week(session, library, start=start, end=end, at=at, reading=once)
        ],
        "topics": by_topic(session, library, start=start, end=end, at=at, reading=once),
        "arrivals": arrivals(session, library, start=start, end=end, at=at, reading=once),
    }


def change(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any] | None:
    """One rate against another, both as `stats` prints them; None where one counts nothing."""
    difference = rates.newcombe(
        (now["within"], now["matured"]), (before["within"], before["matured"])
    )
    if difference is None:
        return None
    return {
        "difference": difference.difference,
        "low": difference.low,
        "high": difference.high,
        "distinguishable": difference.distinguishable,
        "too_few": rates.too_few(min(now["matured"], before["matured"])),
    }


def write_notes(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    problems: str,
    measures: str,
) -> Report:
    """Keep what the manager writes; the next report begins with it."""
    row = _row(session, library, start, end) or Report(library_id=library.id, start=start, end=end)
    row.problems, row.measures = problems, measures
    session.add(row)
    session.flush()
    return row


def seal(
    session: Session, library: Library, *, start: date, end: date, now: datetime, by: str
) -> ReportVersion:
    """Fix the figures of a period that has matured. Raises NotFinal before; twice is once."""
    if now < final_at(session, library, start=start, end=end):
        raise NotFinal(utc_text(final_at(session, library, start=start, end=end)) or "")
    row = _row(session, library, start, end)
    if row is not None:
        known = _rows_of(session, row)
        if known:
            return known[-1]
    return _add_version(session, library, start=start, end=end, now=now, by=by, reason="")


def restate(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    now: datetime,
    by: str,
    reason: str,
) -> ReportVersion:
    """Seal a period anew, by the desk's hours now in force; the earlier figures stay on show.

    This is the only way in which a calendar reaches a closed period. Raises NotSealed, and
    ValueError without a reason.
    """
    if not reason.strip():
        raise ValueError("a restatement needs a reason")
    row = _row(session, library, start, end)
    if row is None or not _rows_of(session, row):
        raise NotSealed(f"{start} to {end}")
    _apply_calendar(session, library, start=start, end=end)
    return _add_version(session, library, start=start, end=end, now=now, by=by, reason=reason)


def _add_version(
    session: Session,
    library: Library,
    *,
    start: date,
    end: date,
    now: datetime,
    by: str,
    reason: str,
) -> ReportVersion:
    row = _row(session, library, start, end)
    if row is None:
        row = write_notes(
            session,
            library,
            start=start,
            end=end,
            problems=_carried(session, library, start, "problems"),
            measures=_carried(session, library, start, "measures"),
        )
    version = ReportVersion(
        library_id=library.id,
        report_id=row.id,
        number=len(_rows_of(session, row)) + 1,
        sealed_at=now,
        by=by,
        reason=reason,
        figures=figures(session, library, start=start, end=end, at=now),
    )
    session.add(version)
    session.flush()
    return version


def _apply_calendar(session: Session, library: Library, *, start: date, end: date) -> None:
    """Give all consultations of a period the next-day due of the calendar in force."""
    desk = calendars.desk(session, library.id)
    if desk is None:
        return
    tz = zone(library.timezone)
    bounds = (
        Consultation.library_id == library.id,
        Consultation.received_at >= day_bounds(start, tz)[0],
        Consultation.received_at < day_bounds(end, tz)[1],
    )
    rows = session.execute(select(Consultation.id, Consultation.received_at).where(*bounds)).all()
    for first in range(0, len(rows), _BATCH):
        session.execute(
            update(Consultation),
            [
                {
                    "id": row.id,
                    "calendar_version": desk.version,
                    "next_day_due_at": desk.calendar.next_opening_day_due(row.received_at),
                }
                for row in rows[first : first + _BATCH]
            ],
        )
    mark_dirty(session, library.id, (row.received_at.astimezone(tz).date() for row in rows))
    session.expire_all()


def _row(session: Session, library: Library, start: date, end: date) -> Report | None:
    return session.scalars(
        select(Report).where(
            Report.library_id == library.id, Report.start == start, Report.end == end
        )
    ).first()


def _rows_of(session: Session, row: Report) -> list[ReportVersion]:
    return list(
        session.scalars(
            select(ReportVersion)
            .where(ReportVersion.report_id == row.id)
            .order_by(ReportVersion.number)
        )
    )


def _versions(session: Session, row: Report | None) -> list[dict[str, Any]]:
    return [
        {
            "number": version.number,
            "sealed_at": utc_text(version.sealed_at),
            "by": version.by,
            "reason": version.reason,
            "figures": version.figures,
        }
        for version in (_rows_of(session, row) if row else ())
    ]


def _carried(session: Session, library: Library, start: date, field: str) -> str:
    """What the latest report before said: problems stay until somebody says otherwise."""
    row = session.scalars(
        select(Report)
        .where(Report.library_id == library.id, Report.end < start)
        .order_by(Report.end.desc())
        .limit(1)
    ).first()
    return getattr(row, field) if row else ""


def desk_is_provisional(session: Session, library: Library, start: date, end: date) -> bool:
    """Whether opening-day figures of a period rest on holidays that are not announced yet."""
    desk = calendars.calendar(session, library.id)
    if desk is None:
        return False
    tz = zone(library.timezone)
    instants = [day_bounds(day, tz)[0] for day in _ends(start, end)]
    last_due = desk.next_opening_day_due(instants[-1])
    return any(desk.is_provisional(at) for at in (*instants, *([last_due] if last_due else [])))


def _ends(start: date, end: date) -> Iterable[date]:
    return (*(date(year, 12, 31) for year in range(start.year, end.year)), start, end)


def _same_without_time(sealed: dict[str, Any], current: dict[str, Any]) -> bool:
    """Whether two sets of figures count the same; ages of what still waits do not matter."""
    return _counts(sealed["stats"]) == _counts(current["stats"])


def _counts(found: dict[str, Any]) -> list[Any]:
    blocks = [found["total"], *(found["channels"][name] for name in sorted(found["channels"]))]
    names = ("received", "excluded", "handed_over", "bot_only", *RATES, "deflection")
    return [[block[name] for name in names] for block in blocks]


def preliminary_note(result: dict[str, Any]) -> dict[str, Any] | None:
    """For "preliminary: 7 cases younger than 24 h, final on ...": the count and the instant."""
    if result["state"] != PRELIMINARY:
        return None
    return {
        "pending": result["pending"][ANSWERED],
        "pending_next_day": result["pending"][NEXT_DAY],
        "final_at": parse_instant(result["final_at"]),
    }
