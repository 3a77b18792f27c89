"""The cases behind a figure, misses first: nobody has to believe a number.

The address says all that chose them, and the page says it in words.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, time, timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.auth import Manager
from api.console.queue import staff_names
from api.dashboard.arrivals import NO_TOPIC
from api.dashboard.period import Period, Selection, chosen
from api.dashboard.waiting import AGES, age_of
from api.errors import BadRequest
from api.i18n import catalogue
from api.screens import Screen, reading
from tracker.clock import first_instant, zone
from tracker.figures import MISSED, RATES, WITHIN
from tracker.handling import responses, staffed_cases
from tracker.models import Consultation
from tracker.outcomes import (
    BACKLOG,
    CLOSED_UNANSWERED,
    READ_LEVELS,
    Listed,
    Of,
    is_asked_for,
    listed,
    totals,
)

PAGE = 100
BATCH = 500  # rows that are named in one statement
TARGET_MINUTES = 120  # staffed; a library's setting target_minutes replaces it
SHARE = ("matured", "missed", "within", "pending")
OUTCOMES = {
    **dict.fromkeys((*RATES, "next_response", "staffed_target"), SHARE),
    BACKLOG: ("waiting", "overdue"),
    "deflection": ("confirmed", "presumed", "abandoned", "staffed"),
    "reopened": ("again", "stayed"),
    "acceptance": ("said", "accepted", "rejected", "silent"),
    "resolution": ("closed", "open"),
    "read": tuple(f"read_{level}" for level in READ_LEVELS),
}
STANDING = frozenset({BACKLOG, CLOSED_UNANSWERED})  # figures of now, whatever the period
TONES = {
    MISSED: "late",
    "overdue": "late",
    "again": "late",
    "rejected": "late",
    CLOSED_UNANSWERED: "late",
    WITHIN: "good",
    "confirmed": "good",
    "accepted": "good",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Filters:
    """What else the address asks of a consultation."""

    weekday: int | None = None  # 1 is Monday
    hour: int | None = None
    topic: str | None = None  # an entry's key, "-" for none
    age: str | None = None  # a group of the backlog
    by: str | None = None  # who gave the first feedback

    def named(self) -> dict[str, str]:
        """Those that are set, as an address names them."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in found.items() if value is not None}

    def without(self, name: str) -> "Filters":
        """All but one."""
        return replace(self, **{name: None})

    @property
    def ask_for_a_time(self) -> bool:
        """Whether local hours or ages are asked about, which no database knows."""
        return any(value is not None for value in (self.weekday, self.hour, self.age))

    def hours(self, selection: Selection, screen: Screen) -> list[tuple[datetime, datetime]]:
        """The stretches of the period that an hour of a weekday is; none where both are not set.

        They spare reading all the rest of it.
        """
        if self.weekday is None or self.hour is None:
            return []
        days = [
            selection.start + timedelta(days=offset)
            for offset in range((selection.end - selection.start).days + 1)
        ]
        starts = [
            datetime.combine(day, time(self.hour))
            for day in days
            if day.isoweekday() == self.weekday
        ]
        tz = zone(screen.library.timezone)
        return [
            (first_instant(start, tz), first_instant(start + timedelta(hours=1), tz))
            for start in starts
        ]

    def fit(self, case: Listed, screen: Screen) -> bool:
        """Whether a consultation came at the time that is asked for."""
        if not self.ask_for_a_time:
            return True
        local = screen.reader.local(case.received_at)
        return (
            self.weekday in (None, local.isoweekday())
            and self.hour in (None, local.hour)
            and self.age in (None, age_of(case.received_at, screen.now))
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """Which figure, which of its outcomes, how many cases at once, and which of them."""

    figure: str
    outcome: str | None
    shown: int
    filters: Filters

    def address(self, selection: Selection, **changes: Any) -> str:
        """The address of this list with something else asked."""
        asked = replace(self, **changes)
        return selection.address(
            "/manage/cases",
            figure=asked.figure,
            outcome=asked.outcome,
            shown=None if asked.shown == PAGE else str(asked.shown),
            **asked.filters.named(),
        )


def asked(
    *,
    figure: Annotated[str, Query(max_length=40)] = "received",
    outcome: Annotated[str | None, Query(max_length=40)] = None,
    shown: Annotated[int, Query(ge=1, le=10_000)] = PAGE,
    weekday: Annotated[int | None, Query(ge=1, le=7)] = None,
    hour: Annotated[int | None, Query(ge=0, le=23)] = None,
    topic: Annotated[str | None, Query(max_length=200)] = None,
    age: Annotated[str | None, Query(max_length=20)] = None,
    by: Annotated[str | None, Query(max_length=254)] = None,
) -> Asked:
    """Read from the address which cases are wanted. Raises BadRequest for an unknown age."""
    if age and age not in dict(AGES):
        raise BadRequest("There is no such age.")
    filters = Filters(weekday, hour, topic or None, age or None, by or None)
    return Asked(figure, outcome or None, shown, filters)


@router.get("/manage/cases")
def case_list(
    request: Request, caller: Manager, period: Period, ask: Annotated[Asked, Depends(asked)]
) -> HTMLResponse:
    """The consultations that one figure counts. Raises BadRequest for an unknown figure."""
    with reading(request, caller, section="manage") as (session, screen):
        today = screen.reader.local(screen.now).date()
        selection = chosen(period, today=today)
        found = _found(session, screen, selection, ask)
        count = sum(n for name, n in found.counts.items() if is_asked_for(name, ask.outcome))
        context = {
            "page": "cases",
            "heading": _heading(screen, ask.figure),
            "selection": selection,
            "is_now": ask.figure in STANDING,
            "count": screen.reader.count("manage.cases.count", count),
            "filters": _described(session, screen, selection, ask),
            "outcomes": _outcomes(found.counts, selection, ask),
            "cases": shown(session, screen, found.first),
            "more_address": (
                ask.address(selection, shown=ask.shown + PAGE) if count > ask.shown else None
            ),
        }
        return screen.render("manage/cases.html", context)


class _Found(NamedTuple):
    """What the list shows: how many cases have each outcome, and the first of those wanted."""

    counts: Counter[str]
    first: Sequence[Listed]


def _found(session: Session, screen: Screen, selection: Selection, ask: Asked) -> _Found:
    """The figure's cases. Who waits now waits whatever the period, so that none is hidden."""
    library, filters = screen.library, ask.filters
    facts: dict[str, Any] = {
        "start": selection.start,
        "end": selection.end,
        "at": screen.now,
        "channel": selection.channel,
    }
    if ask.figure == "next_response":
        return _chosen(responses(session, library, **facts), screen, ask)
    if ask.figure == "staffed_target":
        minutes = int(library.settings.get("target_minutes", TARGET_MINUTES))
        judged = staffed_cases(session, library, minutes=minutes, **facts)
        return _chosen(judged, screen, ask)
    if ask.figure in STANDING:
        facts |= {"start": None, "end": None}
    facts["of"] = Of("" if filters.topic == NO_TOPIC else filters.topic, filters.by)
    try:
        if filters.ask_for_a_time:
            hours = filters.hours(selection, screen)
            judged = listed(session, library, ask.figure, hours=hours, **facts)
            return _chosen(judged, screen, ask)
        counts = totals(session, library, ask.figure, **facts)
        facts |= {"outcome": ask.outcome, "limit": ask.shown}
        return _Found(counts, listed(session, library, ask.figure, **facts))
    except ValueError:
        raise BadRequest("There is no such figure.") from None


def _chosen(judged: Sequence[Listed], screen: Screen, ask: Asked) -> _Found:
    """Of cases that are all at hand, those that fit."""
    every = [case for case in judged if ask.filters.fit(case, screen)]
    wanted = [case for case in every if is_asked_for(case.outcome, ask.outcome)]
    return _Found(Counter(case.outcome for case in every), wanted[: ask.shown])


def _heading(screen: Screen, figure: str) -> str:
    texts = catalogue(screen.reader.language)
    return texts.get(f"metric.{figure}") or texts[f"manage.figure.{figure}"]


def _outcomes(counts: Mapping[str, int], selection: Selection, ask: Asked) -> list[dict[str, Any]]:
    names = OUTCOMES.get(ask.figure, ())
    if not names:
        return []
    return [
        {
            "name": name or "all",
            "address": ask.address(selection, outcome=name, shown=PAGE),
            "is_current": name == ask.outcome,
            "count": sum(n for outcome, n in counts.items() if is_asked_for(outcome, name)),
        }
        for name in (None, *names)
    ]


# --- the filters in words ------------------------------------------------------------------


def _described(
    session: Session, screen: Screen, selection: Selection, ask: Asked
) -> list[dict[str, str]]:
    """Each filter with the address of the list without it."""
    found = []
    if selection.channel:
        found.append(
            {
                "name": screen.text("manage.channel"),
                "value": screen.channel_name(selection.channel),
                "address": ask.address(selection.of_channel(None), shown=PAGE),
            }
        )
    words = _words(session, screen, ask.filters)
    return found + [
        {
            "name": screen.text(f"manage.filter.{name}"),
            "value": words[name],
            "address": ask.address(selection, filters=ask.filters.without(name), shown=PAGE),
        }
        for name in ask.filters.named()
    ]


def _words(session: Session, screen: Screen, filters: Filters) -> dict[str, str]:
    words = {}
    if filters.weekday is not None:
        words["weekday"] = screen.text(f"format.weekday.{filters.weekday}")
    if filters.hour is not None:
        words["hour"] = f"{filters.hour}:00–{filters.hour + 1}:00"
    if filters.topic is not None:
        words["topic"] = _topic(session, screen, filters.topic)
    if filters.age is not None:
        words["age"] = screen.text(f"manage.age.{filters.age}")
    if filters.by is not None:
        words["by"] = staff_names(session, screen.library.id).get(filters.by, filters.by)
    return words


def _topic(session: Session, screen: Screen, key: str) -> str:
    if key == NO_TOPIC:
        return screen.text("manage.topics.none")
    knowledge = screen.state.desks.of(session, screen.library.id, now=screen.now).knowledge
    entry = knowledge.entry(key)
    return key if entry is None else entry.title(screen.reader.language)


# --- the rows ------------------------------------------------------------------------------


def shown(session: Session, screen: Screen, found: Sequence[Listed]) -> list[dict[str, Any]]:
    """Consultations as the rows of a list, with what each is to the figure."""
    by_id = _rows(session, screen, found)
    names = staff_names(session, screen.library.id)
    return [_case(screen, by_id[case.id], case.outcome, names) for case in found]


def _rows(session: Session, screen: Screen, found: Sequence[Listed]) -> dict[int, Consultation]:
    """The rows of consultations by their numbers."""
    rows: dict[int, Consultation] = {}
    for first in range(0, len(found), BATCH):
        wanted = [case.id for case in found[first : first + BATCH]]
        read = session.scalars(
            select(Consultation).where(
                Consultation.library_id == screen.library.id, Consultation.id.in_(wanted)
            )
        )
        rows.update({row.id: row for row in read})
    return rows


def _case(
    screen: Screen, row: Consultation, outcome: str, names: Mapping[str, str]
) -> dict[str, Any]:
    answers = [(row.feedback_at, row.feedback_by), (row.bot_at, "bot")]
    given = [(at, by) for at, by in answers if at is not None]
    at, by = min(given, default=(None, None), key=lambda pair: pair[0])
    return {
        "id": row.id,
        "title": row.title or "…",
        "channel_name": screen.channel_name(row.channel),
        "received_at": row.received_at,
        "answered_after": None if at is None else (at - row.received_at).total_seconds(),
        "answered_by": screen.text("common.bot") if by == "bot" else names.get(by or "", by or ""),
        "outcome": outcome,
        "tone": TONES.get(outcome, "soon" if outcome.startswith("pending") else ""),
    }
