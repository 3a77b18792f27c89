"""Everything a report is made from, read in one snapshot of the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from api.reports.periods import Period, before
from tracker import reports
from tracker.activity import indicators
from tracker.clock import parse_instant
from tracker.figures import RATES, Case, judge
from tracker.models import Library
from tracker.stats import selected


@dataclass(frozen=True, slots=True)
class Judged:
    """One consultation, and what it is to each rate (None: the rate does not ask for it)."""

    case: Case
    outcomes: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Findings:
    """A period of one library as the tracker reports it, with the cases behind the figures."""

    library: str
    slug: str
    timezone: str
    period: Period
    before: Period
    made_at: datetime
    figures_at: datetime  # as of when the figures shown were counted: sealed ones stay
    result: Mapping[str, Any]  # of tracker.reports.report
    cases: Sequence[Judged]
    activity: Mapping[str, Mapping[str, Any]]

    @property
    def stats(self) -> Mapping[str, Any]:
        """The figures shown, as `tracker.stats` prints them."""
        found: Mapping[str, Any] = self.result["figures"]["stats"]
        return found


def gather(session: Session, library: Library, period: Period, *, at: datetime) -> Findings:
    """What happened in a period; of a sealed report, the sealed figures and their cases."""
    result = reports.report(session, library, start=period.start, end=period.end, at=at)
    figures_at = parse_instant(result["figures"]["stats"]["at"])
    return Findings(
        library=library.name,
        slug=library.slug,
        timezone=library.timezone,
        period=period,
        before=before(period),
        made_at=at,
        figures_at=figures_at,
        result=result,
        cases=_cases(session, library, period, at=figures_at),
        activity=indicators(session, library, start=period.start, end=period.end),
    )


def _cases(
    session: Session, library: Library, period: Period, *, at: datetime
) -> tuple[Judged, ...]:
    found = selected(session, library, start=period.start, end=period.end, at=at)
    judged = [Judged(case, {name: judge(case, name, at) for name in RATES}) for case in found]
    return tuple(sorted(judged, key=lambda each: (each.case.received_at, each.case.key)))
