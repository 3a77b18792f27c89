"""What a transaction remembers of the consultations that it has locked.

A turn of a conversation records several events of one consultation. Its row is locked by the
first, so that nobody else can add one meanwhile: the later ones need not read the log again.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from tracker.fold import EventData

if TYPE_CHECKING:
    from tracker.calendars import DeskCalendar

_NAME = "tracker.memory"


@dataclass(slots=True)
class Memory:
    """The events of locked consultations that no merge touches, and the days marked already."""

    transaction: tuple[Any, Any]
    events: dict[int, list[EventData]] = field(default_factory=dict)  # by consultation id
    tails: dict[int, tuple[datetime, str]] = field(default_factory=dict)  # the last event's
    locked: set[int] = field(default_factory=set)  # consultations that were read for a change
    dirty: set[tuple[int, date]] = field(default_factory=set)  # library id and local date
    desks: dict[int, "DeskCalendar | None"] = field(default_factory=dict)  # by library id
    zones: dict[int, tzinfo] = field(default_factory=dict)  # by library id


def memory_of(session: Session) -> Memory:
    """The memory of the session's present transaction; a savepoint begins and ends with none."""
    session.connection()
    transaction = (session.get_transaction(), session.get_nested_transaction())
    memory: Memory | None = session.info.get(_NAME)
    if memory is None or any(
        ours is not theirs for ours, theirs in zip(memory.transaction, transaction, strict=True)
    ):
        memory = session.info[_NAME] = Memory(transaction)
    return memory


def forget(session: Session) -> None:
    """Drop what was remembered: rows were changed past it."""
    session.info.pop(_NAME, None)
