"""A conversation as a letter to its patron."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bot.delivery import EMAIL
from bot.messages import InboundKind, Reply, ReplyKind
from bot.models import Conversation, Inbox, Outbox, OutboxState
from bot.outbox import enqueue
from bot.phrases import Phrasebook, phrasebook
from bot.wording import moment
from tracker.models import Library

LONGEST = 400  # messages of one letter, the newest
BY = "bot"  # a librarian's answer by e-mail is by the librarian


def transcripts_since(session: Session, conversation: Conversation, start: datetime) -> int:
    """How many letters with this conversation were asked for since then."""
    count = session.scalar(
        select(func.count()).where(
            Outbox.library_id == conversation.library_id,
            Outbox.conversation_id == conversation.id,
            Outbox.via == EMAIL,
            Outbox.by == BY,
            Outbox.created_at > start,
        )
    )
    return count or 0


def enqueue_transcript(session: Session, conversation: Conversation, *, now: datetime) -> Outbox:
    """Put the letter in line for the patron's address."""
    text = transcript(session, conversation, now=now)
    return enqueue(session, conversation, Reply(text, ReplyKind.NOTICE), by=BY, now=now, via=EMAIL)


def transcript(session: Session, conversation: Conversation, *, now: datetime) -> str:
    """Everything that was said, oldest first, in the conversation's language."""
    library = session.get_one(Library, conversation.library_id)
    say = phrasebook(conversation.language)
    zone = ZoneInfo(library.timezone)
    lines = []
    for at, who, text in _turns(session, conversation, say):
        when = moment(say, at, now=now, zone=zone)
        lines.append(f"{who} · {when}\n{text}")
    return say.say("transcript", library=library.name, turns="\n\n".join(lines))


def _turns(
    session: Session, conversation: Conversation, say: Phrasebook
) -> list[tuple[datetime, str, str]]:
    start = conversation.position - LONGEST
    asked = session.scalars(
        select(Inbox).where(
            Inbox.library_id == conversation.library_id,
            Inbox.conversation_id == conversation.id,
            Inbox.position > start,
            Inbox.kind != InboundKind.EVENT,
        )
    )
    said = session.scalars(
        select(Outbox).where(
            Outbox.library_id == conversation.library_id,
            Outbox.conversation_id == conversation.id,
            Outbox.position > start,
            Outbox.via.is_(None),
            Outbox.state == OutboxState.SENT,
        )
    )
    you, assistant = say.say("transcript_you"), say.say("transcript_assistant")
    turns = [(row.position, row.received_at, you, row.text or f"[{row.kind}]") for row in asked]
    turns += [
        (
            row.position,
            row.sent_at or row.created_at,
            row.reply.get("by") or assistant,
            row.reply["text"],
        )
        for row in said
    ]
    return [(at, who, text) for _, at, who, text in sorted(turns)]
