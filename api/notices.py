"""What a commit tells the bus: which desk and which conversation have something new.

What a session flushes is remembered and published after its commit, so that whoever hears a
notice finds what it speaks of. Notices carry numbers and kinds, never a patron's words.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, sessionmaker

from api.bus import Notice, conversation_topic, desk_topic
from bot.models import ChannelAccount, Outbox
from kb.models import EntryVersion
from tracker.columns import Base
from tracker.models import Calendar, Consultation, Event, Library
from tracker.rows import HEARS

SETTINGS = "settings"
"""The topic that says: what doors were opened with has changed (api.doors)."""
_PENDING = "notices"
_TOLD = ("library_id", "consultation_id", "conversation_id", "kind", "state", "position")
_SETTINGS = (Library, Calendar, ChannelAccount, EntryVersion)


class Publish(Protocol):
    """Takes all notices of a commit at once, as api.bus.EventBus.publish does."""

    def __call__(self, *notices: Notice) -> None: ...


def watch(sessions: sessionmaker[Session]) -> None:
    """Let sessions of this maker remember notices of what they flush, in `pending`."""

    @event.listens_for(sessions, "after_flush")
    def remember(session: Session, _context: object) -> None:
        pending(session).extend(_of_flush(session))

    def remember_at_once(session: Session, model: type[Base], values: Mapping[str, Any]) -> None:
        pending(session).extend(_of_new(session, model, values))

    sessions.configure(info={HEARS: remember_at_once})


def pending(session: Session) -> list[Notice]:
    """The notices that a session's commit will give."""
    notices: list[Notice] = session.info.setdefault(_PENDING, [])
    return notices


def _of_flush(session: Session) -> Iterator[Notice]:
    for row in session.new:
        yield from _of_new(session, type(row), _values(row))
    for row in session.dirty:
        if isinstance(row, _SETTINGS):
            if session.is_modified(row):  # not only set to what it was
                yield Notice(SETTINGS, {})
        elif isinstance(row, Outbox) and inspect(row).attrs.state.history.has_changes():
            yield from _of_reply(_values(row))


def _values(row: object) -> dict[str, Any]:
    names = _TOLD if isinstance(row, Event | Outbox) else ()
    return {name: getattr(row, name) for name in names if hasattr(row, name)}


def _of_new(session: Session, model: type[object], values: Mapping[str, Any]) -> Sequence[Notice]:
    if issubclass(model, Event):
        return _of_event(session, values)
    if issubclass(model, Outbox):
        return _of_reply(values)
    return [Notice(SETTINGS, {})] if issubclass(model, _SETTINGS) else []


def _of_event(session: Session, values: Mapping[str, Any]) -> list[Notice]:
    number = values["consultation_id"]
    data = {"type": "event", "kind": values["kind"], "consultation": number}
    notices = [Notice(desk_topic(values["library_id"]), data)]
    consultation = session.identity_map.get(session.identity_key(Consultation, number))
    if isinstance(consultation, Consultation) and consultation.conversation_id is not None:
        notices.append(Notice(conversation_topic(consultation.conversation_id), data))
    return notices


def _of_reply(values: Mapping[str, Any]) -> list[Notice]:
    data = {
        "type": "reply",
        "state": str(values["state"]),
        "position": values["position"],
        "consultation": values["consultation_id"],
        "conversation": values["conversation_id"],
    }
    return [
        Notice(conversation_topic(values["conversation_id"]), data),
        Notice(desk_topic(values["library_id"]), data),
    ]
