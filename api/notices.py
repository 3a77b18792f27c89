"""What a commit tells the bus: which desk and which conversation have something new.

What a session flushes is remembered and published after its commit, so that whoever hears a
notice finds what it speaks of. Notices carry numbers and kinds, never a patron's words.
"""

from collections.abc import Iterator
from typing import Protocol

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, sessionmaker

from api.bus import Notice, conversation_topic, desk_topic
from bot.models import ChannelAccount, Outbox
from kb.models import EntryVersion
from tracker.models import Calendar, Consultation, Event, Library

SETTINGS = "settings"
"""The topic that says: what doors were opened with has changed (api.doors)."""
_PENDING = "notices"
_SETTINGS = (Library, Calendar, ChannelAccount, EntryVersion)


class Publish(Protocol):
    """Takes all notices of a commit at once, as api.bus.EventBus.publish does."""

    def __call__(self, *notices: Notice) -> None: ...


def watch(sessions: sessionmaker[Session]) -> None:
    """Let sessions of this maker remember notices of what they flush, in `pending`."""

    @event.listens_for(sessions, "after_flush")
    def remember(session: Session, _context: object) -> None:
        pending(session).extend(_of_flush(session))

    @event.listens_for(sessions, "detached_to_persistent")  # written at once: tracker.rows
    def remember_at_once(session: Session, row: object) -> None:
        pending(session).extend(_of_new(session, row))


def pending(session: Session) -> list[Notice]:
    """The notices that a session's commit will give."""
    notices: list[Notice] = session.info.setdefault(_PENDING, [])
    return notices


def _of_flush(session: Session) -> Iterator[Notice]:
    for row in session.new:
        yield from _of_new(session, row)
    for row in session.dirty:
        if isinstance(row, _SETTINGS):
            if session.is_modified(row):  # not only set to what it was
                yield Notice(SETTINGS, {})
        elif isinstance(row, Outbox) and inspect(row).attrs.state.history.has_changes():
            yield from _of_reply(row)


def _of_new(session: Session, row: object) -> Iterator[Notice]:
    if isinstance(row, Event):
        yield from _of_event(session, row)
    elif isinstance(row, Outbox):
        yield from _of_reply(row)
    elif isinstance(row, _SETTINGS):
        yield Notice(SETTINGS, {})


def _of_event(session: Session, row: Event) -> list[Notice]:
    data = {"type": "event", "kind": row.kind, "consultation": row.consultation_id}
    notices = [Notice(desk_topic(row.library_id), data)]
    key = session.identity_key(Consultation, row.consultation_id)
    consultation = session.identity_map.get(key)
    if isinstance(consultation, Consultation) and consultation.conversation_id is not None:
        notices.append(Notice(conversation_topic(consultation.conversation_id), data))
    return notices


def _of_reply(row: Outbox) -> list[Notice]:
    data = {
        "type": "reply",
        "state": str(row.state),
        "position": row.position,
        "consultation": row.consultation_id,
        "conversation": row.conversation_id,
    }
    return [
        Notice(conversation_topic(row.conversation_id), data),
        Notice(desk_topic(row.library_id), data),
    ]
