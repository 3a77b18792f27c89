"""What a commit tells the bus: which desk and which conversation have something new.

The session remembers what it flushed and publishes after the commit, so that whoever hears
a notice finds what it speaks of. Notices carry numbers and kinds, never a patron's words.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, sessionmaker

from api.bus import conversation_topic, desk_topic
from bot.models import Outbox
from tracker.models import Consultation, Event

Publish = Callable[[str, dict[str, Any]], None]
_PENDING = "notices"


def watch(sessions: sessionmaker[Session], publish: Publish) -> None:
    """From now on tell of every new event and every new or changed reply."""

    @event.listens_for(sessions, "after_flush")
    def remember(session: Session, _context: Any) -> None:
        pending = session.info.setdefault(_PENDING, [])
        for row in session.new:
            if isinstance(row, Event):
                pending.extend(_of_event(session, row))
            elif isinstance(row, Outbox):
                pending.extend(_of_reply(row))
        for row in session.dirty:
            if isinstance(row, Outbox) and inspect(row).attrs.state.history.has_changes():
                pending.extend(_of_reply(row))

    @event.listens_for(sessions, "after_commit")
    def tell(session: Session) -> None:
        for topic, data in session.info.pop(_PENDING, ()):
            publish(topic, data)

    @event.listens_for(sessions, "after_rollback")
    def forget(session: Session) -> None:
        session.info.pop(_PENDING, None)


def _of_event(session: Session, row: Event) -> list[tuple[str, dict[str, Any]]]:
    data = {"type": "event", "kind": row.kind, "consultation": row.consultation_id}
    notices = [(desk_topic(row.library_id), data)]
    key = session.identity_key(Consultation, row.consultation_id)
    consultation = session.identity_map.get(key)
    if isinstance(consultation, Consultation) and consultation.conversation_id is not None:
        notices.append((conversation_topic(consultation.conversation_id), data))
    return notices


def _of_reply(row: Outbox) -> list[tuple[str, dict[str, Any]]]:
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
