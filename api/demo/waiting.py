"""Questions that wait right now get a real conversation, so that a reply has somewhere to go."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from api.accounts import built_in_account
from bot.channels.web import Web, session_patron
from bot.messages import Inbound, InboundKind, Reply, ReplyKind
from bot.models import Conversation, Inbox, Outbox, OutboxState, Patron
from bot.windows import open_window
from tracker.consultations import events_of
from tracker.fold import Kind
from tracker.models import Consultation, Event, Library
from tracker.queue import waiting

RECENT = timedelta(days=7)
REPLY_KINDS = {
    Kind.BOT_ANSWER: ReplyKind.ANSWER,
    Kind.ACKNOWLEDGED: ReplyKind.ACKNOWLEDGEMENT,
    Kind.FEEDBACK: ReplyKind.LIBRARIAN,
}


def give_conversations(session: Session, library: Library, *, now: datetime) -> int:
    """Put the waiting questions of the widget into conversations; returns how many wait."""
    account = built_in_account(session, library, Web.kind, now=now)
    pending = waiting(session, library.id, now=now)
    for consultation in pending:
        if consultation.channel == Web.kind and consultation.conversation_id is None:
            conversation = _conversation(session, library, account.id, consultation)
            consultation.conversation_id = conversation.id
    session.flush()
    return len(pending)


def _conversation(
    session: Session, library: Library, account_id: int, consultation: Consultation
) -> Conversation:
    at = consultation.received_at
    inbound = Inbound(consultation.key, consultation.title or "", consultation.key)
    conversation = Conversation(
        library_id=library.id,
        account_id=account_id,
        patron=Patron(library_id=library.id, created_at=at),
        external_id=session_patron(consultation.key.replace("-", "")),  # a session's name has none
        issued=True,
        language=consultation.language or "zh-Hans",
        position=0,
        read_position=0,
        state={},
        windows=open_window([], Web.declaration, inbound, at=at),
        last_patron_at=at,
        created_at=at,
    )
    session.add(conversation)
    session.flush()
    for event in events_of(session, consultation):
        _repeat(session, conversation, consultation, event)
    return conversation


def _repeat(
    session: Session, conversation: Conversation, consultation: Consultation, event: Event
) -> None:
    """The event as a message of the conversation, where it was one."""
    if event.text is None:
        return
    conversation.position += 1
    place = {
        "library_id": conversation.library_id,
        "conversation_id": conversation.id,
        "consultation_id": consultation.id,
        "position": conversation.position,
    }
    name = f"{consultation.key}:{conversation.position}"
    if event.kind == Kind.MESSAGE:
        session.add(
            Inbox(
                **place,
                account_id=conversation.account_id,
                dedupe_key=name,
                kind=InboundKind.TEXT,
                text=event.text,
                received_at=event.at,
                replies=[],
            )
        )
    elif event.kind in REPLY_KINDS:
        kind = REPLY_KINDS[Kind(event.kind)]
        session.add(
            Outbox(
                **place,
                key=name,
                reply=Reply(event.text, kind).as_dict(),
                by=event.by or "bot",
                state=OutboxState.SENT,
                created_at=event.at,
                sent_at=event.at,
            )
        )
