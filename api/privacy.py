"""Personal data: kept no longer than a library says, and erased when a patron asks.

Counts stay: a consultation, its clock and its figures do not need the words nor the name.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from api.asides import Note
from api.crypto import Keyring
from api.db import insert
from api.models import Erasure, Upload
from bot import linking
from bot.channels import CHANNELS
from bot.models import ChannelAccount, Conversation, Inbox, Outbox, Patron, StaffPost
from tracker.models import Consultation, Event, Library

RETENTION_DAYS = 180
BATCH = 500


def forget_old(session: Session, library: Library, *, now: datetime) -> int:
    """Remove words and names of conversations that have been silent too long; returns how many.

    A conversation with an open consultation is kept until that is closed.
    """
    days = int(library.settings.get("retention_days", RETENTION_DAYS))
    before = now - timedelta(days=days)
    open_ones = select(Consultation.conversation_id).where(
        Consultation.library_id == library.id,
        Consultation.closed_at.is_(None),
        Consultation.excluded_at.is_(None),
        Consultation.conversation_id.is_not(None),
    )
    old = session.scalars(
        select(Conversation)
        .where(
            Conversation.library_id == library.id,
            or_(
                Conversation.last_patron_at < before,
                Conversation.last_patron_at.is_(None) & (Conversation.created_at < before),
            ),
            Conversation.id.not_in(open_ones),
        )
        .limit(BATCH)
    ).all()
    for conversation in old:
        _erase(session, conversation)
    _forget_imported(session, library, before)
    return len(old)


def _forget_imported(session: Session, library: Library, before: datetime) -> None:
    """Words of history that was imported, which belongs to no conversation here."""
    closed = (
        select(Consultation.id)
        .where(
            Consultation.library_id == library.id,
            Consultation.conversation_id.is_(None),
            Consultation.last_event_at < before,
            Consultation.title.is_not(None),
        )
        .limit(BATCH)
    )
    ids = session.scalars(closed).all()
    _remove_words(session, library.id, ids)


def erase_patron(
    session: Session,
    library: Library,
    *,
    channel: str,
    patron: str,
    keyring: Keyring,
    now: datetime,
) -> int:
    """Erase everything personal of one patron of a channel; returns how many conversations.

    `patron` is the channel's id, or for the widget the session. What the same patron said on
    channels that they linked goes with it. Each erasure is noted as a keyed hash, so that a
    restored backup erases it again (`erase_again`).
    """
    external_id = _external(channel, patron)
    _note(session, library, _hash(keyring, channel, external_id), now)
    found = _with_linked(session, _matching(session, library, channel, external_id))
    for conversation in found:
        hashed = _hash(keyring, conversation.account.kind, conversation.external_id)
        _note(session, library, hashed, now)
    for conversation in found:
        _erase(session, conversation)
    return len(found)


def erase_again(session: Session, keyring: Keyring) -> int:
    """After a restore: erase whoever had been erased since the backup; returns how many."""
    noted = {(row.library_id, row.patron_hash) for row in session.scalars(select(Erasure))}
    count = 0
    if not noted:
        return 0
    rows = session.execute(
        select(Conversation, ChannelAccount.kind).join(
            ChannelAccount, ChannelAccount.id == Conversation.account_id
        )
    )
    for conversation, kind in rows.all():
        hashed = _hash(keyring, kind, conversation.external_id)
        if (conversation.library_id, hashed) in noted:
            _erase(session, conversation)
            count += 1
    return count


def _external(channel: str, patron: str) -> str:
    """The id under which the channel keeps the patron, who may be known by another one."""
    kept_id = CHANNELS[channel].declaration.kept_id if channel in CHANNELS else None
    return kept_id(patron) if kept_id is not None else patron


def _hash(keyring: Keyring, channel: str, external_id: str) -> str:
    return keyring.sign("erasure", f"{channel} {external_id}")


def _note(session: Session, library: Library, patron_hash: str, now: datetime) -> None:
    session.execute(
        insert(session, Erasure)
        .values(library_id=library.id, patron_hash=patron_hash, at=now)
        .on_conflict_do_nothing()
    )


def _matching(
    session: Session, library: Library, channel: str, external_id: str
) -> Sequence[Conversation]:
    return session.scalars(
        select(Conversation)
        .join(ChannelAccount, ChannelAccount.id == Conversation.account_id)
        .where(
            Conversation.library_id == library.id,
            ChannelAccount.kind == channel,
            Conversation.external_id == external_id,
        )
    ).all()


def _with_linked(session: Session, found: Sequence[Conversation]) -> list[Conversation]:
    """These conversations and those that are linked with them."""
    every = {each.id: each for each in found}
    for conversation in found:
        if conversation.state.get(linking.LINKED):
            every |= {each.id: each for each in linking.others(session, conversation)}
    return list(every.values())


def _erase(session: Session, conversation: Conversation) -> None:
    """Remove words, names and ids of a conversation; its consultations keep only their times."""
    ids = session.scalars(
        select(Consultation.id).where(
            Consultation.library_id == conversation.library_id,
            Consultation.conversation_id == conversation.id,
        )
    ).all()
    _remove_words(session, conversation.library_id, ids)
    for consultation in session.scalars(select(Consultation).where(Consultation.id.in_(ids))):
        consultation.conversation_id = None
    session.flush()
    patron_id = conversation.patron_id
    session.execute(delete(Inbox).where(Inbox.conversation_id == conversation.id))
    session.execute(delete(Outbox).where(Outbox.conversation_id == conversation.id))
    session.execute(delete(Upload).where(Upload.conversation_id == conversation.id))
    session.delete(conversation)
    session.flush()
    if patron_id is not None:
        others = select(Conversation.id).where(Conversation.patron_id == patron_id)
        if session.scalar(others.limit(1)) is None:
            session.execute(delete(Patron).where(Patron.id == patron_id))


def _remove_words(session: Session, library_id: int, ids: Sequence[int]) -> None:
    for start in range(0, len(ids), BATCH):
        some = ids[start : start + BATCH]
        session.execute(
            update(Event)
            .where(Event.library_id == library_id, Event.consultation_id.in_(some))
            .values(text=None)
        )
        session.execute(update(Consultation).where(Consultation.id.in_(some)).values(title=None))
        session.execute(delete(Note).where(Note.consultation_id.in_(some)))
        session.execute(delete(StaffPost).where(StaffPost.consultation_id.in_(some)))
