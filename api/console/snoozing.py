"""Until when a question can be put off, in a librarian's words."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from api.errors import BadRequest
from api.screens import Screen

LENGTHS = {
    "hour": timedelta(hours=1),
    "hours": timedelta(hours=4),
    "day": timedelta(days=1),
}
OPENING = "opening"


@dataclass(frozen=True, slots=True)
class Option:
    """One line of the menu."""

    value: str
    label: str


def options(session: Session, screen: Screen) -> list[Option]:
    """What the menu offers now."""
    opening = _next_opening(session, screen)
    offered = [Option(name, screen.text(f"desk.snooze_{name}")) for name in LENGTHS]
    if opening is not None:
        when = screen.reader.when(opening, screen.now)
        offered.append(Option(OPENING, screen.text("desk.snooze_opening", when=when)))
    return offered


def until(session: Session, screen: Screen, value: str) -> datetime:
    """The instant that an option means now. Raises BadRequest for an unknown one."""
    if value in LENGTHS:
        return screen.now + LENGTHS[value]
    opening = _next_opening(session, screen) if value == OPENING else None
    if opening is None:
        raise BadRequest("Choose until when.")
    return opening


def _next_opening(session: Session, screen: Screen) -> datetime | None:
    """When the desk opens next, after it has closed if it is open now."""
    desk = screen.state.desks.of(session, screen.library.id, now=screen.now).staffed
    if desk is None:
        return None
    closes = desk.closes_at(screen.now) if desk.is_open(screen.now) else None
    return desk.next_opening(closes or screen.now)
