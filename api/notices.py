"""What a commit tells the bus: which desk and which conversation have something new.

What a session flushes is remembered and published after its commit, so that whoever hears a
notice finds what it speaks of. Notices carry numbers and kinds, never a patron's words.
"""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, sessionmaker

from api.bus import conversation_topic, desk_topic
from bot.models import ChannelAccount, Outbox
from kb.models import EntryVersion
from tracker.models import Calendar, Consultation, Event, Library

Pending = tuple[str, dict[str, Any]]
Publish = Callable[[str, dict[str, Any]], None]


SETTINGS = "settings"
"""The topic that says: what doors were opened with has changed (api.doors)."""
_PENDING = "notices"
_SETTINGS = (Library, Calendar, ChannelAccount, EntryVersion)


def watch(sessions: sessionmaker[Session]) -> None:
    """Let sessions of this maker remember notices of what they flush, in `pending`."""

    @event.listens_for(sessions, "after_flush")
    def remember(session: Session, _context: object) -> None:
        pending(session).extend(_of_flush(session))

    @event.listens_for(sessions, "detached_to_persistent")  # written at once: tracker.rows
    def remember_at_once(session: Session, row: object) -> None:
        pending(session).extend(_of_new(session, row))


def pending(session: Session) -> list[Pending]:
    """The notices that a session's commit will give."""
    notices: list[Pending] = session.info.setdefault(_PENDING, [])
    return notices


def _of_flush(session: Session) -> Iterator[Pending]:
    for row in session.new:
        yield from _of_new(session, row)
    for row in session.dirty:
        if isinstance(row, _SETTINGS):
            if session.is_modified(row):  # not only set to what it was
                yield SETTINGS, {}
        elif isinstance(row, Outbox) and inspect(row).attrs.state.history.has_changes():
            yield from _of_reply(row)


def _of_new(session: Session, row: object) -> Iterator[Pending]:
    if isinstance(row, Event):
        yield from _of_event(session, row)
    elif isinstance(row, Outbox):
        yield from _of_reply(row)
    elif isinstance(row, _SETTINGS):
        yield SETTINGS, {}


def _of_event(session: Session, row: Event) -> list[Pending]:
    data = {"type": "event", "kind": row.kind, "consultation": row.consultation_id}
    notices = [(desk_topic(row.library_id), data)]
    key = session.identity_key(Consultation, row.consultation_id)
    consultation = session.identity_map.get(key)
    if isinstance(consultation, Consultation) and consultation.conversation_id is not None:
        notices.append((conversation_topic(consultation.conversation_id), data))
    return notices


def _of_reply(row: Outbox) -> list[Pending]:
    data = {
        "type": "reply",
        "state": str(row.state),
        "position": row.position,
        "consultation": row.consultation_id,
        "conversation": row.conversation_id,
    }
    return [
        (conversation_topic(row.conversation_id), data),
        (desk_topic(row.library_id), data),
    ]
