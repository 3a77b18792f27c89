"""Waiting replies: lease, send, settle, retry, give up (RELIABILITY.md, "Design").

A worker leases the head of a conversation's line in one transaction, talks to the channel
with no transaction open, and settles the outcome in another. A lease that ran out while
sending means that a worker died: what may then be repeated depends on the channel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, cast

from sqlalchemy import ColumnElement, case, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from bot import linking
from bot.channels import CHANNELS
from bot.channels.base import Announcing, Channel, Counting, Declaration, SendError, storable
from bot.messages import Arrived, Reply, ReplyKind, SendFailure, Undelivered
from bot.models import ChannelAccount, Conversation, Outbox, OutboxState
from bot.outbox import accept, accept_pushed, enqueue, new_key
from bot.phrases import phrasebook
from bot.windows import can_send, may_announce, messages_left, spend
from tracker import consultations
from tracker.fold import Kind
from tracker.models import Consultation, Event, Library

LEASE = timedelta(seconds=60)  # longer than any channel's time-out
BACK_OFF = (5, 30, 120, 600, 1800)  # seconds before the 2nd, 3rd … attempt
MAX_ATTEMPTS = 12  # with the last step repeated: about four hours
BREAKER_AFTER = 5  # failures of an account in a row
BREAKER_PAUSE = timedelta(minutes=2)
AT_ONCE = 4  # replies on their way to one account: a slow platform holds up no other
EMAIL_LANE = 0  # replies by e-mail share one lane, whatever account they come from
QUOTED_AFTER = timedelta(minutes=10)  # a later answer quotes its question
QUOTED_CHARACTERS = 60
EMAIL = "email"  # to the address that the patron left
UNDELIVERED = "undelivered"  # in the log: the channel took it, and it did not arrive
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
    left: int | None = None  # messages that the reply windows still admit; None: any number

    @property
    def lane(self) -> int:
        """What it shares its places with: its account, or all that goes by e-mail."""
        return EMAIL_LANE if self.via == EMAIL else self.account_id


@dataclass(frozen=True, slots=True)
class Sent:
    """The channel accepted it."""

    provider_id: str | None
    parts: int = 1  # messages that it took


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
    conversation = conversation_of(session, consultation)
    if conversation is None:
        consultations.feedback(
            session, consultation, at=now, now=now, by=by, text=text, substantive=substantive
        )
        return None
    conversation = linking.place_of_answers(session, conversation)
    quoted = consultation.title if now - consultation.received_at > QUOTED_AFTER else None
    reply = Reply(text, ReplyKind.LIBRARIAN, quote=_shortened(quoted), by=name)
    stored = CHANNELS[conversation.account.kind].declaration.stored and linking.may_write_late(
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
    elif not linking.may_write_late(conversation):
        _use_next_way(row, "this channel cannot carry a late answer", now=now)
    session.flush()
    return row


def lease(
    session: Session,
    *,
    worker: str,
    now: datetime,
    limit: int = 20,
    busy: Mapping[int, int] | None = None,
) -> list[Job]:
    """Take up to `limit` replies that are due, each the first of its conversation's line.

    `now` is the database's clock where several workers share it. Two workers never take the
    same row: PostgreSQL skips locked rows, SQLite writes one at a time. `busy` says how many
    this worker has under way in each lane (Job.lane): no account gets more than AT_ONCE, and
    one that has just failed only one at a time.
    """
    under_way = dict(busy or {})
    jobs: list[Job] = []
    for lane, failing in _lanes(session, now):
        most = 1 if failing else AT_ONCE
        free = min(most - under_way.get(lane, 0), limit - len(jobs))
        if free > 0:
            jobs += _lease_lane(session, lane, worker=worker, now=now, limit=free)
    return jobs


_LANE = case((Outbox.via == EMAIL, EMAIL_LANE), else_=Conversation.account_id)


def _lanes(session: Session, now: datetime) -> list[tuple[int, bool]]:
    """Where something is due, the longest wait first; and whether its account fails."""
    failing = case((Outbox.via == EMAIL, 0), else_=ChannelAccount.failures_in_row)
    rows = session.execute(
        select(_LANE, func.max(failing))
        .select_from(Outbox)
        .join(Conversation, Conversation.id == Outbox.conversation_id)
        .join(ChannelAccount, ChannelAccount.id == Conversation.account_id)
        .where(*_due(now))
        .group_by(_LANE)
        .order_by(func.min(Outbox.next_attempt_at))
    )
    return [(lane, failures > 0) for lane, failures in rows]


def _due(now: datetime) -> tuple[ColumnElement[bool] | InstrumentedAttribute[bool], ...]:
    pause = ChannelAccount.paused_until
    return (
        Outbox.state == OutboxState.NEW,
        Outbox.next_attempt_at <= now,
        ChannelAccount.enabled,
        or_(pause.is_(None), pause <= now, Outbox.via == EMAIL),
    )


def _lease_lane(
    session: Session, lane: int, *, worker: str, now: datetime, limit: int
) -> list[Job]:
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
        .where(*_due(now), ~ahead, _LANE == lane)  # noqa: SIM300 - a column is compared
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
        jobs.append(_job(row, now))
    return jobs


def send(job: Job, channel: Channel, *, now: datetime) -> Result:
    """Talk to the channel, with no transaction open."""
    try:
        if job.via == TEMPLATE:
            announcing = cast("Announcing", channel)
            return Sent(announcing.announce(job.to, job.reply, key=job.key, now=now))
        parts = parts_of(channel, job.reply)
        _check_room(channel.declaration, job, parts)
        return Sent(channel.send(job.to, job.reply, key=job.key, now=now), parts)
    except SendError as error:
        return error


def parts_of(channel: Channel, reply: Reply) -> int:
    """How many messages a reply takes, where the channel counts them."""
    return channel.parts(reply) if isinstance(channel, Counting) else 1


def _most_in_a_window(declaration: Declaration) -> int | None:
    """The largest number of messages that any window admits; None: one admits any number."""
    numbers = [window.max_messages for window in declaration.windows if not window.announces]
    if not numbers or None in numbers:
        return None
    return max(number for number in numbers if number is not None)


def _check_room(declaration: Declaration, job: Job, parts: int) -> None:
    """Do not begin what cannot be finished: half an answer helps nobody. Raises SendError."""
    if job.via is not None or job.left is None or parts <= job.left:
        return
    most = _most_in_a_window(declaration)
    if most is not None and parts > most:
        raise SendError(
            f"The reply takes {parts} messages, and the channel admits {most} at most: shorten it.",
            failure=SendFailure.PERMANENT,
            code="too_long",
        )
    raise SendError(
        f"The reply takes {parts} messages, and the channel admits {job.left} more for now.",
        failure=SendFailure.WINDOW_CLOSED,
        code="window_spent",
    )


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
    _locked(session, row.conversation_id)  # its window may have been opened anew meanwhile
    if isinstance(result, Sent):
        _after_success(session, row, result, now=now)
    else:
        _log(row, result, now)
        if row.via is None and result.parts_sent:
            ledger = row.conversation.windows
            row.conversation.windows = spend(ledger, now=now, count=result.parts_sent)
        _after_failure(session, row, result, now=now, random=random)
    session.flush()
    return row


def _after_success(session: Session, row: Outbox, sent: Sent, *, now: datetime) -> None:
    if row.via != EMAIL:
        account = row.conversation.account
        account.failures_in_row, account.paused_until = 0, None
    if row.via == TEMPLATE:
        row.conversation.windows = spend(row.conversation.windows, now=now, announcing=True)
        _hold(row, "the patron was told that an answer waits", now=now)
        return
    if row.via is None and sent.parts > 1:
        ledger = row.conversation.windows
        row.conversation.windows = spend(ledger, now=now, count=sent.parts - 1)
    accept_pushed(session, row, now=now, provider_id=sent.provider_id)
    news = row.attempt_log[-1] if row.attempt_log else {}
    if news.get("what") == UNDELIVERED:  # the news was faster than the answer to our call
        _bring_back(session, row, SendFailure(news["failure"]), news["why"], now=now)


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
    row = _named(session, account, news)
    if row is None or row.via is not None:
        return None
    if row.state not in (OutboxState.SENT, OutboxState.SENDING):
        return None
    _note(row, now, UNDELIVERED, news.reason, code=news.code, failure=str(news.failure))
    if row.state == OutboxState.SENT:
        _bring_back(session, row, news.failure, news.reason, now=now)
    session.flush()
    return row


def arrived(
    session: Session, account: ChannelAccount, news: Arrived, *, now: datetime
) -> Outbox | None:
    """A channel says that a reply is on the patron's device, or was opened there.

    Returns None for a reply that is not ours, or of which we knew as much.
    """
    row = _named(session, account, news)
    what = "seen" if news.seen else "arrived"
    if row is None or any(entry["what"] in {what, "seen"} for entry in row.attempt_log):
        return None
    _note(row, min(news.at or now, now), what, "")
    session.flush()
    return row


def _named(session: Session, account: ChannelAccount, news: Undelivered | Arrived) -> Outbox | None:
    """The reply that the news is about, locked: by our key, else by the channel's id."""
    if news.key is None and news.provider_id is None:
        return None
    name = (
        Outbox.key == news.key if news.key is not None else Outbox.provider_id == news.provider_id
    )
    return session.scalar(
        select(Outbox)
        .join(Conversation, Conversation.id == Outbox.conversation_id)
        .where(name, Conversation.account_id == account.id)
        .order_by(Outbox.id.desc())
        .limit(1)
        .with_for_update(of=Outbox)
    )


def _bring_back(
    session: Session, row: Outbox, failure: SendFailure, reason: str, *, now: datetime
) -> None:
    """A reply that counted as sent did not arrive: record that, and go on as after a failure."""
    row.key = new_key()  # under the old one, a channel would take the next try for a repetition
    if row.consultation_id is not None:
        consultation = session.get_one(Consultation, row.consultation_id)
        counted = _feedback_of(session, row)
        at = max(now, counted or now)
        consultations.fail(
            session, consultation, at=at, now=now, reason=reason, feedback_at=counted
        )
    if failure is SendFailure.WINDOW_CLOSED:
        _use_next_way(row, reason, now=now)
    else:
        _give_up(row, reason, now=now)


def _feedback_of(session: Session, row: Outbox) -> datetime | None:
    """The instant of the feedback that a reply counted as, if it was one."""
    if row.reply["kind"] != ReplyKind.LIBRARIAN:
        return None
    return session.scalar(
        select(Event.at)
        .where(
            Event.library_id == row.library_id,
            Event.consultation_id == row.consultation_id,
            Event.kind == Kind.FEEDBACK,
            Event.by == row.by,
            Event.text == row.reply["text"],
            Event.at >= row.created_at,
        )
        .order_by(Event.at.desc())
        .limit(1)
    )


def push_instead(
    session: Session, conversation_id: int, *, after: int, now: datetime
) -> Sequence[Outbox]:
    """Send by ourselves what was to travel in a response that had gone already.

    `after` is the position of the message that it answers.
    """
    rows = session.scalars(
        select(Outbox).where(
            Outbox.conversation_id == conversation_id,
            Outbox.position > after,
            Outbox.state == OutboxState.SENT,
            Outbox.by == "bot",
            Outbox.via.is_(None),
        )
    ).all()
    for row in rows:
        row.state, row.sent_at, row.next_attempt_at = OutboxState.NEW, None, now
    session.flush()
    return rows


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


def _job(row: Outbox, now: datetime) -> Job:
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
        messages_left(conversation.windows, now=now),
    )


def _after_failure(
    session: Session, row: Outbox, error: SendError, *, now: datetime, random: Random
) -> None:
    if error.failure in (SendFailure.RETRY, SendFailure.UNCERTAIN) and row.via != EMAIL:
        _break_circuit(session, row.conversation.account, now)
    match error.failure:
        case SendFailure.RETRY if row.attempts < MAX_ATTEMPTS:
            row.state = OutboxState.NEW
            row.next_attempt_at = now + _pause(row.attempts, error.retry_after, random)
        case SendFailure.UNCERTAIN:
            row.state, row.next_attempt_at = OutboxState.UNCERTAIN, None
        case SendFailure.PERMANENT if row.via == TEMPLATE:
            _use_next_way(row, str(error), now=now)
        case SendFailure.WINDOW_CLOSED:
            _use_next_way(row, str(error), now=now)
        case _:
            _give_up(row, str(error), now=now)


def _give_up(row: Outbox, reason: str, *, now: datetime) -> None:
    """The channel will not take it. A librarian's answer still goes by e-mail where it can."""
    patron = row.conversation.patron
    ways = CHANNELS[row.conversation.account.kind].declaration.late_reply
    has_address = EMAIL in ways and patron is not None and bool(patron.email)
    if row.reply["kind"] == ReplyKind.LIBRARIAN and row.via != EMAIL and has_address:
        row.state, row.via, row.next_attempt_at = OutboxState.NEW, EMAIL, now
        row.attempts = 0
        _note(row, now, EMAIL, reason)
    else:
        row.state, row.next_attempt_at = OutboxState.DEAD, None


def _pause(attempts: int, asked: float | None, random: Random) -> timedelta:
    """Capped exponential back-off with full jitter above its half; the channel's wish first."""
    step = BACK_OFF[min(attempts, len(BACK_OFF)) - 1]
    seconds = step * (0.5 + random.random() / 2)
    return timedelta(seconds=max(seconds, asked or 0))


def _break_circuit(session: Session, account: ChannelAccount, now: datetime) -> None:
    """Leave an account alone that keeps failing; afterwards one reply at a time tries it."""
    session.refresh(account, with_for_update=True)  # others who send count along
    account.failures_in_row += 1
    if account.failures_in_row >= BREAKER_AFTER:
        account.paused_until = now + BREAKER_PAUSE


def _use_next_way(row: Outbox, reason: str, *, now: datetime) -> None:
    """The channel is shut for now: try its late ways in their order, after the present one."""
    conversation = row.conversation
    ways = CHANNELS[conversation.account.kind].declaration.late_reply
    patron = conversation.patron
    for way in ways[ways.index(row.via) + 1 :] if row.via in ways else ways:
        can_announce = way == TEMPLATE and _may_announce(conversation, now)
        if can_announce or (way == EMAIL and patron is not None and patron.email):
            row.state, row.via, row.next_attempt_at = OutboxState.NEW, way, now
            _note(row, now, way, reason)
            return
        if way == "idle_until_contact":
            _hold(row, reason, now=now)
            return
    row.state, row.next_attempt_at = OutboxState.DEAD, None
    _note(row, now, "dead", reason)


def _may_announce(conversation: Conversation, now: datetime) -> bool:
    """Whether a template may go: always, or where the channel asks for it, with consent."""
    windows = CHANNELS[conversation.account.kind].declaration.windows
    if not any(window.announces for window in windows):
        return True
    return may_announce(conversation.windows, now=now)


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


def conversation_of(session: Session, consultation: Consultation) -> Conversation | None:
    """The conversation that a consultation came from, locked; None if it has none.

    Whoever changes both locks the conversation first, as a patron's turn does: in the other
    order the two would wait for each other.
    """
    if consultation.conversation_id is None:
        return None
    return _locked(session, consultation.conversation_id)


def _locked(session: Session, conversation_id: int) -> Conversation | None:
    return session.scalar(
        select(Conversation)
        .where(Conversation.id == conversation_id)
        .with_for_update(of=Conversation)
        .execution_options(populate_existing=True)
    )


def _shortened(text: str | None) -> str | None:
    if text is None or len(text) <= QUOTED_CHARACTERS:
        return text
    return text[:QUOTED_CHARACTERS] + "…"


def _log(row: Outbox, error: SendError, now: datetime) -> None:
    _note(row, now, error.failure, str(error), code=error.code)


def _note(
    row: Outbox, now: datetime, what: str, why: str, *, code: str | None = None, **more: Any
) -> None:
    entry = {"at": now.isoformat(), "what": str(what), "why": storable(why), "code": code, **more}
    row.attempt_log = [*row.attempt_log, entry]
