"""Make a report, and seal what has become final."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api import audit
from api.i18n import known
from api.reports.compose import compose
from api.reports.content import Content
from api.reports.gather import Findings, gather
from api.reports.periods import Period, month_before
from kb.library import export_entries
from tracker import reports
from tracker.clock import day_bounds
from tracker.models import Consultation, Library, Report, ReportVersion

BY = "refdesk"  # who seals when nobody is asked


def make(
    session: Session,
    library: Library,
    period: Period,
    *,
    language: str | None,
    now: datetime,
    published: bool = False,
) -> Content:
    """The report on a period as it stands now, in a language; else in the library's first."""
    findings = gather(session, library, period, at=whole(now))
    return told(session, library, findings, language=language, published=published)


def told(
    session: Session,
    library: Library,
    findings: Findings,
    *,
    language: str | None,
    published: bool = False,
) -> Content:
    """The findings in a language, topics called by the titles of their entries."""
    chosen = language or first_language(library)
    entries = export_entries(session, library.id)
    titles = {entry.id: entry.title(chosen) for entry in entries}
    return compose(findings, language=chosen, titles=titles, published=published)


def first_language(library: Library) -> str:
    """The language that a library's own papers are written in."""
    return next((tag for tag in map(known, library.languages) if tag), "zh-Hans")


def whole(now: datetime) -> datetime:
    """The instant of a report, in whole seconds, so that it can be typed in again."""
    return now.replace(microsecond=0)


def can_be_sealed(session: Session, library: Library, period: Period, *, now: datetime) -> bool:
    """Whether all clocks of a period have run out and its figures are not fixed yet."""
    if _is_sealed(session, library, period):
        return False
    final = reports.final_at(session, library, start=period.start, end=period.end)
    return final <= whole(now)


def seal(session: Session, library: Library, period: Period, *, now: datetime, by: str) -> None:
    """Fix the figures of a period; once is enough. Raises tracker.reports.NotFinal."""
    if _is_sealed(session, library, period):
        return
    at = whole(now)
    reports.seal(session, library, start=period.start, end=period.end, now=at, by=by)
    _record(session, library, period, "report.seal", by=by, now=now)


def restate(
    session: Session, library: Library, period: Period, *, now: datetime, by: str, reason: str
) -> None:
    """Seal a period anew, with a reason. Raises tracker.reports.NotSealed, ValueError."""
    at = whole(now)
    reports.restate(
        session, library, start=period.start, end=period.end, now=at, by=by, reason=reason.strip()
    )
    _record(session, library, period, "report.restate", by=by, now=now)


def write_notes(
    session: Session,
    library: Library,
    period: Period,
    *,
    problems: str,
    measures: str,
    now: datetime,
    by: str,
) -> None:
    """Keep what the manager writes; the next report begins with it."""
    reports.write_notes(
        session,
        library,
        start=period.start,
        end=period.end,
        problems=problems.strip(),
        measures=measures.strip(),
    )
    _record(session, library, period, "report.notes", by=by, now=now)


def seal_month_before(session: Session, library: Library, *, now: datetime) -> bool:
    """Seal the last whole month as soon as it is final, if anything was received in it.

    A manager who never opens the page still gets figures that do not change behind them.
    """
    today = now.astimezone(ZoneInfo(library.timezone)).date()
    period = month_before(today)
    if not _has_any(session, library, period):
        return False
    if not can_be_sealed(session, library, period, now=now):
        return False
    seal(session, library, period, now=now, by=BY)
    return True


def _record(
    session: Session, library: Library, period: Period, action: str, *, by: str, now: datetime
) -> None:
    audit.record(
        session, actor=by, action=action, subject=period.slug, now=now, library_id=library.id
    )


def _is_sealed(session: Session, library: Library, period: Period) -> bool:
    found = session.scalar(
        select(func.count())
        .select_from(ReportVersion)
        .join(Report, Report.id == ReportVersion.report_id)
        .where(
            Report.library_id == library.id,
            Report.start == period.start,
            Report.end == period.end,
        )
    )
    return bool(found)


def _has_any(session: Session, library: Library, period: Period) -> bool:
    tz = ZoneInfo(library.timezone)
    inside = (
        Consultation.library_id == library.id,
        Consultation.received_at >= day_bounds(period.start, tz)[0],
        Consultation.received_at < day_bounds(period.end, tz)[1],
    )
    return session.scalar(select(Consultation.id).where(*inside).limit(1)) is not None
