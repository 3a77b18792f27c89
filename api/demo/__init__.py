"""A library to look at: knowledge base, calendars, staff, and weeks of consultations.

Yunling University Library does not exist. Its passwords are printed in this file and open
nothing but this library, so they are worth nothing elsewhere.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.demo.history import History
from api.demo.waiting import give_conversations
from api.libraries import DEMO, add_library
from api.models import Role, Staff
from api.schedules import Weekly
from api.staff import add_staff
from kb.entries import EntryData
from kb.files import load_file
from kb.library import import_entries
from kb.starter import STARTER
from tracker.calendars import calendar, save_calendar
from tracker.clock import WEEKDAYS, Calendar
from tracker.history import import_rows
from tracker.models import Library
from tracker.seeds import seed as seeded

DAYS, SEED = 60, 1  # unless asked otherwise
NAME = "云岭大学图书馆"
ZONE = "Asia/Shanghai"
BY = "refdesk demo"
STAFFED: Weekly = {
    **{day: [["08:30", "12:00"], ["13:30", "17:30"]] for day in WEEKDAYS[:5]},
    "sat": [["09:00", "12:00"]],
}
OPEN: Weekly = {
    **{day: [["07:30", "22:30"]] for day in WEEKDAYS[:5]},
    **{day: [["08:30", "21:30"]] for day in WEEKDAYS[5:]},
}
SETTINGS: dict[str, Any] = {
    "catalogue_url": "https://catalogue.yunling.example/search?title={title}",
}


@dataclass(frozen=True, slots=True)
class Account:
    """One of the accounts that everybody may know."""

    email: str
    password: str
    name: str
    role: Role


ACCOUNTS = (
    Account("librarian@demo.example", "demo-librarian", "李老师", Role.LIBRARIAN),
    Account("manager@demo.example", "demo-manager", "陈主任", Role.MANAGER),
    Account("admin@demo.example", "demo-administrator", "周馆员", Role.ADMIN),
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was put in."""

    consultations: int
    events: int
    waiting: int
    entries: int


def exists(session: Session) -> bool:
    """Whether the demo library is there already."""
    return session.scalar(select(Library.id).where(Library.slug == DEMO)) is not None


def load(session: Session, *, days: int, seed: int, now: datetime) -> Loaded:
    """Create the demo library, or bring its history up to `now`. The same seed and time give
    the same consultations.
    """
    library = session.scalar(select(Library).where(Library.slug == DEMO))
    if library is None:
        library = add_library(session, DEMO, name=NAME, timezone=ZONE, now=now)
        library.settings = SETTINGS
    entries = load_file(STARTER)
    import_entries(session, library.id, entries, now=now, by=BY)
    desk = _calendars(session, library, now=now)
    _staff(session, library, now=now)
    rows = list(_history(entries, desk, days=days, seed=seed, now=now))
    report = import_rows(session, enumerate(rows, start=1), now=now)
    waiting = give_conversations(session, library, now=now)
    return Loaded(report.added + report.replaced, report.events, waiting, len(entries))


def _history(
    entries: list[EntryData], desk: Calendar, *, days: int, seed: int, now: datetime
) -> list[dict[str, Any]]:
    return History(entries, desk, seed=seed, now=now).days(days)


def _calendars(session: Session, library: Library, *, now: datetime) -> Calendar:
    """Staffed hours closed on China's holidays, open on its make-up days; the building's too."""
    years = range(now.year - 1, now.year + 2)
    hours = {"desk": STAFFED, "building": OPEN}
    for name, weekly in hours.items():
        document = seeded("CN", tz=ZONE, weekly=weekly, years=years, today=now.date())
        save_calendar(session, library.id, name, document, now=now, by=BY)
    desk = calendar(session, library.id)
    if desk is None:
        raise LookupError("the desk's calendar was saved and is not there")
    return desk


def _staff(session: Session, library: Library, *, now: datetime) -> None:
    for account in ACCOUNTS:
        if session.scalar(select(Staff.id).where(Staff.email == account.email)) is None:
            add_staff(
                session,
                account.email,
                name=account.name,
                role=account.role,
                library_id=library.id,
                password=account.password,
                now=now,
            )
