"""Waiting replies: lease, send, settle, retry, give up (RELIABILITY.md, "Design").

A worker leases the head of a conversation's line in one transaction, talks to the channel
with no transaction open, and settles the outcome in another. A lease that ran out while
sending means that a worker died: what may then be repeated depends on the channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import cast

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session, aliased

from bot import linking
from bot.channels import CHANNELS
from bot.channels.base import Announcing, Channel, SendError, SendFailure, Undelivered
from bot.messages import Reply, ReplyKind
from bot.models import ChannelAccount, Conversation, Outbox, OutboxState
from bot.outbox import accept, accept_pushed, enqueue, new_key
from bot.phrases import phrasebook
from bot.windows import can_send
from tracker import consultations
from tracker.models import Consultation, Library

LEASE = timedelta(seconds=60)  # longer than any channel's time-out
BACK_OFF = (5, 30, 120, 600, 1800)  # seconds before the 2nd, 3rd … attempt
MAX_ATTEMPTS = 12  # with the last step repeated: about four hours
BREAKER_AFTER = 5  # failures of an account in a row
BREAKER_PAUSE = timedelta(minutes=2)
QUOTED_AFTER = timedelta(minutes=10)  # a later answer quotes its question
QUOTED_CHARACTERS = 60
EMAIL = "email"  # to the address that the patron left
TEMPLATE = "template"  # says that an answer waits; the answer itself is held


@dataclass(frozen=True, slots=True)
class Job:
    """A leased reply, with all that sending needs and no session behind it."""

    outbox_id: int
    account_id: int
    to: str
    reply: Reply
    key: str
    via: str | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Sent:
    """The channel accepted it."""

    provider_id: str | None


Result = Sent | SendError


def reply_as_librarian(
    session: Session,
    library: Library,
    consultation: Consultation,
    *,
    by: str,
    name: str,
    text: str,
    now: datetime,
    substantive: bool = True,
) -> Outbox | None:
    """Send a librarian's reply the way the question came.

    The patron's clock stops only when the channel has accepted it, which for a channel that
    we keep ourselves is at once. Returns None for a consultation without a conversation
    (entered by hand): there the answer was given elsewhere and counts now.
    """
    conversation = _conversation_of(session, consultation)
    if conversation is None:
        consultations.feedback(
            session, consultation, at=now, now=now, by=by, text=text, substantive=substantive
        )
        return None
    conversation = linking.place_of_answers(session, conversation)
    quoted = consultation.title if now - consultation.received_at > QUOTED_AFTER else None
    reply = Reply(text, ReplyKind.LIBRARIAN, quote=_shortened(quoted), by=name)
    stored = CHANNELS[conversation.account.kind].declaration.stored and _may_write_late(
        conversation
    )
    row = enqueue(
        session,
        conversation,
        reply,
        by=by,
        now=now,
        consultation_id=consultation.id,
        substantive=substantive,
        sent=stored,
    )
    if stored:
        accept(session, row, now=now)
        _copy_by_email(session, library, conversation, consultation, reply, by=by, now=now)
    elif not _may_write_late(conversation):
        _use_next_way(row, "this channel cannot carry a late answer", now=now)
    session.flush()
    return row


def lease(session: Session, *, worker: str, now: datetime, limit: int = 20) -> list[Job]:
    """Take up to `limit` replies that are due, each the first of its conversation's line.

    `now` is the database's clock where several workers share it. Two workers never take the
    same row: PostgreSQL skips locked rows, SQLite writes one at a time.
    """
    earlier = aliased(Outbox)
    ahead = (
        select(earlier.id)
        .where(
            earlier.conversation_id == Outbox.conversation_id,
            earlier.position < Outbox.position,
            earlier.state.in_((OutboxState.NEW, OutboxState.SENDING)),
        )
        .exists()
    )
    due = (
        select(Outbox)
        .join(Conversation, Conversation.id == Outbox.conversation_id)
        .join(ChannelAccount, ChannelAccount.id == Conversation.account_id)
        .where(
            Outbox.state == OutboxState.NEW,
            Outbox.next_attempt_at <= now,
            ~ahead,
            ChannelAccount.enabled,
            or_(ChannelAccount.paused_until.is_(None), ChannelAccount.paused_until <= now),
        )
        .order_by(Outbox.next_attempt_at, Outbox.id)
        .limit(limit)
        .with_for_update(of=Outbox, skip_locked=True)
    )
    jobs = []
    for row in session.scalars(due):
        if row.via is None and not can_send(row.conversation.windows, now=now):
            _use_next_way(row, "the channel's reply window is closed", now=now)
            continue
        row.state = OutboxState.SENDING
        row.leased_by = worker
        row.leased_until = now + LEASE
        row.attempts += 1
        jobs.append(_job(row))
    return jobs


def send(job: Job, channel: Channel, *, now: datetime) -> Result:
    """Talk to the channel, with no transaction open."""
    try:
        if job.via == TEMPLATE:
            announcing = cast("Announcing", channel)
            return Sent(announcing.announce(job.to, job.reply, key=job.key, now=now))
        return Sent(channel.send(job.to, job.reply, key=job.key, now=now))
    except SendError as error:
        return error


def settle(
    session: Session, job: Job, result: Result, *, worker: str, now: datetime, random: Random
) -> Outbox | None:
    """Record what became of a leased reply; None when the lease had been lost meanwhile."""
    row = session.scalar(
        select(Outbox)
        .where(Outbox.id == job.outbox_id)
        .with_for_update(of=Outbox)
        .execution_options(populate_existing=True)
    )
    if row is None or row.state != OutboxState.SENDING or row.leased_by != worker:
        return None
    row.leased_by = row.leased_until = None
    account = row.conversation.account
    if isinstance(result, Sent):
        account.failures_in_row, account.paused_until = 0, None
        if job.via == TEMPLATE:
            _hold(row, "the patron was told that an answer waits", now=now)
            return row
        accept_pushed(session, row, now=now, provider_id=result.provider_id)
    else:
        _log(row, result, now)
        _after_failure(session, row, account, result, now=now, random=random)
    session.flush()
    return row


def recover(session: Session, *, now: datetime) -> int:
    """Settle replies whose worker died while sending; returns how many.

    A channel that takes our key gets a staff reply again; any other may have shown it
    already, so that a librarian decides. A bot's answer is never repeated.
    """
    lost = session.scalars(
        select(Outbox)
        .where(Outbox.state == OutboxState.SENDING, Outbox.leased_until <= now)
        .with_for_update(of=Outbox, skip_locked=True)
    ).all()
    for row in lost:
        declaration = CHANNELS[row.conversation.account.kind].declaration
        row.leased_by = row.leased_until = None
        if row.by != "bot" and declaration.idempotent_send and row.via is None:
            row.state, row.next_attempt_at = OutboxState.NEW, now
        else:
            row.state = OutboxState.UNCERTAIN
            _note(row, now, "uncertain", "the worker stopped while sending")
    return len(lost)


def undelivered(
    session: Session, account: ChannelAccount, news: Undelivered, *, now: datetime
) -> Outbox | None:
    """A channel took a reply and says later that it did not arrive: use the next way.

    The consultation records the failure. Returns None for a reply that is not ours, or that
    was dealt with before.
    """
    row = session.scalar(
        select(Outbox)
        .join(Conversation, Conversation.id == Outbox.conversation_id)
        .where(Outbox.key == news.key, Conversation.account_id == account.id)
        .with_for_update(of=Outbox)
    )
    if row is None or row.state != OutboxState.SENT or row.via is not None:
        return None
    _note(row, now, "undelivered", news.reason, code=news.code)
    row.key = new_key()  # under the old one, a channel would take the next try for a repetition
    if row.consultation_id is not None:
        consultation = session.get_one(Consultation, row.consultation_id)
        consultations.fail(session, consultation, at=now, now=now, reason=news.reason)
    if news.failure is SendFailure.WINDOW_CLOSED:
        _use_next_way(row, news.reason, now=now)
    else:
        row.state, row.next_attempt_at = OutboxState.DEAD, None
    session.flush()
    return row


def retry(session: Session, row: Outbox, *, now: datetime) -> None:
    """Send a dead, uncertain or fenced reply once more, because a librarian said so.

    Its key stays: a channel that knows it drops the repetition.
    """
    row.state, row.next_attempt_at, row.attempts = OutboxState.NEW, now, 0
    session.flush()


def confirm(session: Session, row: Outbox, *, now: datetime) -> None:
    """An uncertain reply did arrive, a librarian says: it counts from its attempt."""
    accept_pushed(session, row, now=now)
    session.flush()


def needing_attention(session: Session, library_id: int) -> Sequence[Outbox]:
    """Replies that are dead, uncertain or fenced: a librarian must look, oldest first."""
    return session.scalars(
        select(Outbox)
        .where(
            Outbox.library_id == library_id,
            Outbox.state.in_((OutboxState.DEAD, OutboxState.UNCERTAIN, OutboxState.FENCED)),
        )
        .order_by(Outbox.created_at)
    ).all()


def fence(session: Session) -> int:
    """Hold back everything unsent, after a backup was restored; returns how many."""
    unsent = Outbox.state.in_((OutboxState.NEW, OutboxState.SENDING))
    held = session.execute(
        update(Outbox).where(unsent).values(state=OutboxState.FENCED).returning(Outbox.id)
    )
    return len(held.all())


def _job(row: Outbox) -> Job:
    conversation = row.conversation
    to = conversation.external_id
    if row.via == EMAIL and conversation.patron is not None:
        to = conversation.patron.email or ""
    return Job(
        row.id,
        conversation.account_id,
        to,
        replace(Reply.from_dict(row.reply), thread=conversation.thread or None),
        row.key,
        row.via,
        row.attempts,
    )


def _after_failure(
    session: Session,
    row: Outbox,
    account: ChannelAccount,
    error: SendError,
    *,
    now: datetime,
    random: Random,
) -> None:
    match error.failure:
        case SendFailure.RETRY if row.attempts < MAX_ATTEMPTS:
            row.state = OutboxState.NEW
            row.next_attempt_at = now + _pause(row.attempts, error.retry_after, random)
            _break_circuit(account, now)
        case SendFailure.UNCERTAIN:
            row.state, row.next_attempt_at = OutboxState.UNCERTAIN, None
        case SendFailure.PERMANENT if row.via == TEMPLATE:
            _use_next_way(row, str(error), now=now)
        case SendFailure.WINDOW_CLOSED:
            _use_next_way(row, str(error), now=now)
        case _:
            row.state, row.next_attempt_at = OutboxState.DEAD, None


def _pause(attempts: int, asked: float | None, random: Random) -> timedelta:
    """Capped exponential back-off with full jitter above its half; the channel's wish first."""
    step = BACK_OFF[min(attempts, len(BACK_OFF)) - 1]
    seconds = step * (0.5 + random.random() / 2)
    return timedelta(seconds=max(seconds, asked or 0))


def _break_circuit(account: ChannelAccount, now: datetime) -> None:
    account.failures_in_row += 1
    if account.failures_in_row >= BREAKER_AFTER:
        account.paused_until = now + BREAKER_PAUSE


def _use_next_way(row: Outbox, reason: str, *, now: datetime) -> None:
    """The channel is shut for now: try its late ways in their order, after the present one."""
    conversation = row.conversation
    ways = CHANNELS[conversation.account.kind].declaration.late_reply
    patron = conversation.patron
    for way in ways[ways.index(row.via) + 1 :] if row.via in ways else ways:
        if way == TEMPLATE or (way == EMAIL and patron is not None and patron.email):
            row.state, row.via, row.next_attempt_at = OutboxState.NEW, way, now
            _note(row, now, way, reason)
            return
        if way == "idle_until_contact":
            _hold(row, reason, now=now)
            return
    row.state, row.next_attempt_at = OutboxState.DEAD, None
    _note(row, now, "dead", reason)


def _hold(row: Outbox, reason: str, *, now: datetime) -> None:
    """Keep it until the patron's next contact opens a window."""
    row.state, row.via, row.next_attempt_at = OutboxState.NEW, None, None
    _note(row, now, "held", reason)


def _copy_by_email(
    session: Session,
    library: Library,
    conversation: Conversation,
    consultation: Consultation,
    reply: Reply,
    *,
    by: str,
    now: datetime,
) -> None:
    """A patron who left an address gets a late answer there too; the first one counts."""
    patron = conversation.patron
    if patron is None or not patron.email:
        return
    say = phrasebook(conversation.language)
    body = say.say(
        "email_body", library=library.name, question=consultation.title or "", answer=reply.text
    )
    enqueue(
        session,
        conversation,
        Reply(body, ReplyKind.NOTICE),
        by=by,
        now=now,
        consultation_id=consultation.id,
        via=EMAIL,
    )


def _may_write_late(conversation: Conversation) -> bool:
    declaration = CHANNELS[conversation.account.kind].declaration
    return declaration.pushes and (conversation.issued or not declaration.late_only_to_issued)


def _conversation_of(session: Session, consultation: Consultation) -> Conversation | None:
    if consultation.conversation_id is None:
        return None
    return session.scalar(
        select(Conversation)
        .where(Conversation.id == consultation.conversation_id)
        .with_for_update(of=Conversation)
    )


def _shortened(text: str | None) -> str | None:
    if text is None or len(text) <= QUOTED_CHARACTERS:
        return text
    return text[:QUOTED_CHARACTERS] + "…"


def _log(row: Outbox, error: SendError, now: datetime) -> None:
    _note(row, now, error.failure, str(error), code=error.code)


def _note(row: Outbox, now: datetime, what: str, why: str, *, code: str | None = None) -> None:
    entry = {"at": now.isoformat(), "what": str(what), "why": why, "code": code}
    row.attempt_log = [*row.attempt_log, entry]
