"""What somebody else's assistant passes on to us, and what its patron hears back.

The assistant (Rasa, say) keeps its own conversation; ours runs beside it under the same id.
A turn is taken exactly as on any other channel: stored once, tracked, answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from bot.desk import Desk
from bot.hearing import Signal, signals
from bot.hours import HOURS_TAG
from bot.intake import Turn, known_patron, locked_conversation, receive
from bot.messages import Inbound, InboundKind, Reply, ReplyKind
from bot.models import ChannelAccount, Conversation, Inbox, Outbox, OutboxState
from bot.outbox import held
from bot.wording import moment, parse_instant
from kb.entries import EntryData
from kb.knowledge import KnowledgeBase
from kb.text import detect_language
from kb.verdict import Decision
from tracker import consultations
from tracker.fold import BOT, PATRON, Status
from tracker.models import Consultation

PAUSED = "assistant_paused_since"  # in the conversation's state: we have paused the assistant
HANDED = ":person"  # ends the key of a message that was handed over, answered before or not
BROUGHT = "brought_until"  # in the conversation's state: the transcript is known up to here
TRANSCRIPT = timedelta(hours=24)  # what was said before belongs to another question
TRANSCRIPT_LINES = 100
_TRADITIONAL = ("zh-hant", "zh-tw", "zh-hk", "zh-mo")


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was said before, in the assistant's own conversation."""

    by: str  # patron | bot
    text: str
    at: datetime
    key: str  # a patron's message: its dedupe key


@dataclass(frozen=True, slots=True)
class Answer:
    """What the patron hears, and what the assistant may want to know about it."""

    replies: tuple[Reply, ...] = ()
    verdict: str = "none"  # sure | unsure | unknown; none: no question was put
    entry: str | None = None
    probability: float | None = None
    consultation: str | None = None  # its key
    language: str = "zh-Hans"


class _Listening:
    """A knowledge base that remembers what it decided last."""

    def __init__(self, knowledge: KnowledgeBase) -> None:
        self._knowledge = knowledge
        self.decision: Decision | None = None

    def ask(self, text: str, **facts: Any) -> Decision:
        self.decision = self._knowledge.ask(text, **facts)
        return self.decision

    def entry(self, key: str) -> EntryData | None:
        return self._knowledge.entry(key)


def take(
    session: Session,
    desk: Desk,
    account: ChannelAccount,
    inbound: Inbound,
    *,
    language: str | None = None,
    now: datetime,
) -> Answer:
    """Take one turn. `language` is the assistant's own guess; the patron's words go first."""
    conversation = locked_conversation(session, desk, account, inbound.patron, now=now)
    _hear_language(conversation, inbound, language)
    listening = _Listening(desk.knowledge)
    heard = replace(desk, knowledge=cast("KnowledgeBase", listening))
    turn = receive(session, heard, account, inbound, now=now)
    return _answer(session, conversation, turn, listening.decision)


def hand_over(
    session: Session,
    desk: Desk,
    account: ChannelAccount,
    inbound: Inbound,
    before: Sequence[Line],
    *,
    language: str | None = None,
    now: datetime,
) -> Answer:
    """Open a consultation with all that was said, and promise by when a librarian answers."""
    conversation = locked_conversation(session, desk, account, inbound.patron, now=now)
    _bring(session, desk, conversation, before, now=now)
    if Signal.CRISIS in signals(inbound.text):
        return take(session, desk, account, inbound, language=language, now=now)
    _hear_language(conversation, inbound, language)
    text = inbound.text
    if is_known(session, account, inbound.dedupe_key):
        text = desk.phrases(conversation.language).say("ask_person")
    asked = replace(
        inbound,
        text=text,
        kind=InboundKind.CHOICE,
        payload="/person",
        dedupe_key=inbound.dedupe_key + HANDED,
    )
    answer = take(session, desk, account, asked, now=now)
    if answer.replies or with_librarian(session, conversation, now=now):
        return answer
    text = _nothing_yet(session, desk, conversation, now=now)  # they waited before
    return replace(answer, replies=(Reply(text, ReplyKind.NOTICE),))


def ask_librarian(
    session: Session, desk: Desk, account: ChannelAccount, inbound: Inbound, *, now: datetime
) -> Turn:
    """Give a message to the librarians without looking into it, and promise by when."""
    conversation = locked_conversation(session, desk, account, inbound.patron, now=now)
    _hear_language(conversation, inbound, None)
    asked = replace(inbound, kind=InboundKind.CHOICE, payload="/person")
    return receive(session, desk, account, asked, now=now)


def opening_hours(
    session: Session,
    desk: Desk,
    account: ChannelAccount,
    inbound: Inbound,
    *,
    language: str | None = None,
    now: datetime,
) -> Answer:
    """The hours from the calendars, as the answer of the entry that is made of them.

    Where the library has no such entry, the question is taken like any other.
    """
    entry = next((each for each in desk.knowledge.entries if HOURS_TAG in each.tags), None)
    if entry is None or not entry.answers or inbound.payload is not None:
        return take(session, desk, account, inbound, language=language, now=now)
    conversation = locked_conversation(session, desk, account, inbound.patron, now=now)
    _hear_language(conversation, inbound, language)
    text = inbound.text
    if _is_tapped(inbound):
        text = entry.title(conversation.language)
    asked = replace(inbound, text=text, kind=InboundKind.CHOICE, payload=f"/entry {entry.id}")
    return take(session, desk, account, asked, now=now)


def waiting_replies(
    session: Session,
    desk: Desk,
    account: ChannelAccount,
    inbound: Inbound,
    *,
    language: str | None = None,
    now: datetime,
) -> Answer:
    """What librarians have written: all that waits, else the latest reply once more."""
    conversation = locked_conversation(session, desk, account, inbound.patron, now=now)
    _hear_language(conversation, inbound, language)
    _take_along(session, conversation)
    key = f"{inbound.dedupe_key}:look"
    look = replace(
        inbound, text="", payload=None, kind=InboundKind.EVENT, dedupe_key=key, event="message"
    )
    answer = take(session, desk, account, look, now=now)
    if answer.replies:
        return answer
    last = _last_of_a_librarian(session, conversation)
    if last is not None:
        return replace(answer, replies=(Reply.from_dict(last.reply),))
    text = _nothing_yet(session, desk, conversation, now=now)
    return replace(answer, replies=(Reply(text, ReplyKind.NOTICE),))


def overhear(
    session: Session, desk: Desk, account: ChannelAccount, inbound: Inbound, *, now: datetime
) -> Turn:
    """Take a message that no action of ours was called for: nobody waits for its response.

    What we have to say goes out by itself, like a late answer.
    """
    conversation = locked_conversation(session, desk, account, inbound.patron, now=now)
    for row in held(session, conversation):
        row.next_attempt_at = now
    turn = receive(session, desk, account, inbound, now=now)
    if turn.duplicate:
        return turn
    said = session.scalars(
        select(Outbox).where(
            Outbox.library_id == account.library_id,
            Outbox.conversation_id == conversation.id,
            Outbox.position > turn.position,
            Outbox.by == BOT,
        )
    )
    for row in said:
        row.state, row.sent_at, row.next_attempt_at = OutboxState.NEW, None, now
    return turn


def keep_email(
    session: Session,
    desk: Desk,
    account: ChannelAccount,
    patron: str,
    address: str,
    *,
    now: datetime,
) -> None:
    """Keep the address to which a late answer goes as well."""
    conversation = locked_conversation(session, desk, account, patron, now=now)
    known_patron(conversation, now=now).email = address
    session.flush()


def known_language(name: str) -> str | None:
    """Our name of a language that somebody else named ("zh-TW", "en_US"); None for others."""
    code = name.strip().lower().replace("_", "-")
    if code.startswith(_TRADITIONAL):
        return "zh-Hant"
    return {"zh": "zh-Hans", "en": "en", "vi": "vi"}.get(code.split("-", maxsplit=1)[0])


def to_follow(
    session: Session, account: ChannelAccount, *, now: datetime
) -> list[tuple[Conversation, datetime | None]]:
    """The conversations that a librarian has, each with since when; and those that are still
    paused though nobody has them any more (None).
    """
    in_hand = or_(Consultation.assigned_to.is_not(None), Consultation.feedback_at.is_not(None))
    had = session.scalars(
        select(Conversation)
        .join(Consultation, Consultation.conversation_id == Conversation.id)
        .where(
            Conversation.library_id == account.library_id,
            Conversation.account_id == account.id,
            Consultation.library_id == account.library_id,
            Consultation.status.in_((Status.OPEN, Status.WAITING, Status.PAUSED, Status.ANSWERED)),
            in_hand,
        )
        .distinct()
    ).all()
    paused = session.scalars(
        select(Conversation).where(
            Conversation.library_id == account.library_id,
            Conversation.account_id == account.id,
            Conversation.state[PAUSED].as_string().is_not(None),
        )
    ).all()
    found = {each.id: each for each in (*had, *paused)}
    since = {number: _in_hand_since(session, each, now=now) for number, each in found.items()}
    still = {each.id for each in paused}
    return [(found[n], at) for n, at in since.items() if at is not None or n in still]


def _in_hand_since(
    session: Session, conversation: Conversation, *, now: datetime
) -> datetime | None:
    if not with_librarian(session, conversation, now=now):
        return None
    c = consultations.open_for(session, conversation.library_id, conversation.id, now=now)
    begun = [at for at in (c.first_assigned_at, c.feedback_at) if at is not None] if c else []
    return min(begun, default=now)


def with_librarian(session: Session, conversation: Conversation, *, now: datetime) -> bool:
    """Whether a librarian has the conversation, so that no bot should speak in it."""
    c = consultations.open_for(session, conversation.library_id, conversation.id, now=now)
    if c is None or c.status == Status.CLOSED:
        return False
    return c.assigned_to is not None or c.feedback_at is not None


def is_known(session: Session, account: ChannelAccount, key: str) -> bool:
    """Whether a message has been stored."""
    found = select(Inbox.id).where(
        Inbox.library_id == account.library_id,
        Inbox.account_id == account.id,
        Inbox.dedupe_key.in_((key, key + HANDED)),
    )
    return session.scalar(found) is not None


def paused_since(conversation: Conversation) -> datetime | None:
    """From when on we have read along, because the assistant is paused; None: it is not."""
    since = conversation.state.get(PAUSED)
    return parse_instant(since) if since is not None else None


def remember_pause(session: Session, conversation_id: int, since: datetime | None) -> None:
    """Note that the assistant is paused, or (None) that it speaks again."""
    conversation = session.scalars(
        select(Conversation)
        .where(Conversation.id == conversation_id)
        .with_for_update(of=Conversation)
    ).one()
    state = {key: value for key, value in conversation.state.items() if key != PAUSED}
    conversation.state = state | ({PAUSED: since.isoformat()} if since is not None else {})
    session.flush()


# --- within one turn ---------------------------------------------------------------------


def _answer(
    session: Session, conversation: Conversation, turn: Turn, decision: Decision | None
) -> Answer:
    kinds = {reply.kind for reply in turn.replies}
    entry = next((reply.entry for reply in turn.replies if reply.entry), None)
    probability = decision.candidates[0].probability if decision and decision.candidates else None
    if ReplyKind.ANSWER in kinds:
        verdict = "sure"
    elif ReplyKind.CHOICES in kinds:
        verdict = "unsure"
    elif kinds & {ReplyKind.ACKNOWLEDGEMENT, ReplyKind.CRISIS}:
        verdict = "unknown"
    else:
        verdict = "none"
    if entry is not None and decision is None and not turn.duplicate:
        probability = 1.0  # the patron chose it
    consultation = session.get(Consultation, turn.consultation_id) if turn.consultation_id else None
    return Answer(
        turn.replies,
        verdict,
        entry,
        probability,
        consultation.key if consultation is not None else None,
        conversation.language,
    )


def _bring(
    session: Session,
    desk: Desk,
    conversation: Conversation,
    before: Sequence[Line],
    *,
    now: datetime,
) -> None:
    """Put on record what was said in the assistant's own conversation and not yet to us.

    A greeting opens no consultation, here as elsewhere.
    """
    lines = _unknown(session, conversation, before, now=now)
    consultation = consultations.open_for(
        session, conversation.library_id, conversation.id, now=now
    )
    if consultation is None:
        while lines and (lines[0].by != PATRON or not _asks(lines[0].text)):
            lines = lines[1:]
        if not lines:
            return
        first, *lines = lines
        conversation.position += 1  # our own first turn must look for this consultation
        consultation = consultations.open_consultation(
            session,
            desk.library,
            channel=conversation.account.kind,
            conversation_id=conversation.id,
            at=first.at,
            now=now,
            text=first.text,
            language=detect_language(first.text, fallback=conversation.language),
        )
    for line in lines:
        consultations.add_message(
            session, consultation, at=line.at, now=now, text=line.text, by=line.by
        )


def _unknown(
    session: Session, conversation: Conversation, before: Sequence[Line], *, now: datetime
) -> list[Line]:
    """The lines of the last day that are news to us; what followed a message of ours is not."""
    since = now - TRANSCRIPT
    brought = conversation.state.get(BROUGHT)
    if brought is not None:
        since = max(since, parse_instant(brought))
    fresh = [line for line in before if since < line.at <= now][-TRANSCRIPT_LINES:]
    keys = [line.key for line in fresh if line.by == PATRON]
    known = set(
        session.scalars(
            select(Inbox.dedupe_key).where(
                Inbox.library_id == conversation.library_id,
                Inbox.account_id == conversation.account_id,
                Inbox.dedupe_key.in_([*keys, *(key + HANDED for key in keys)]),
            )
        )
    )
    known = {key.removesuffix(HANDED) for key in known}
    lines, ours = [], False
    for line in fresh:
        if line.by == PATRON:
            ours = line.key in known
        if not ours:
            lines.append(line)
    if fresh:
        conversation.state = {**conversation.state, BROUGHT: fresh[-1].at.isoformat()}
    return lines


def _hear_language(conversation: Conversation, inbound: Inbound, named: str | None) -> None:
    """The patron's own words tell; where they do not, the assistant's guess."""
    guess = known_language(named or "") or conversation.language
    words = "" if _is_tapped(inbound) else inbound.text
    conversation.language = detect_language(words, fallback=guess)


def _is_tapped(inbound: Inbound) -> bool:
    """Whether it is a button's payload, in which nobody wrote anything."""
    return inbound.payload is not None or inbound.text.startswith("/")


def _take_along(session: Session, conversation: Conversation) -> None:
    """Let what is still to be pushed ride with the response: the patron is here now."""
    unsent = session.scalars(
        select(Outbox)
        .where(
            Outbox.library_id == conversation.library_id,
            Outbox.conversation_id == conversation.id,
            Outbox.by != BOT,
            Outbox.via.is_(None),
            Outbox.state == OutboxState.NEW,
        )
        .with_for_update(of=Outbox, skip_locked=True)
    )
    for row in unsent:
        row.next_attempt_at = None
    session.flush()


def _asks(text: str) -> bool:
    return bool(signals(text) & {Signal.QUESTION, Signal.CRISIS})


def _last_of_a_librarian(session: Session, conversation: Conversation) -> Outbox | None:
    return session.scalars(
        select(Outbox)
        .where(
            Outbox.library_id == conversation.library_id,
            Outbox.conversation_id == conversation.id,
            Outbox.by != BOT,
            Outbox.via.is_(None),
            Outbox.state.in_((OutboxState.SENT, OutboxState.SENDING)),
        )
        .order_by(Outbox.position.desc())
        .limit(1)
    ).first()


def _nothing_yet(session: Session, desk: Desk, conversation: Conversation, *, now: datetime) -> str:
    """By when a reply comes, or that nothing is being waited for."""
    say = desk.phrases(conversation.language)
    c = consultations.open_for(session, conversation.library_id, conversation.id, now=now)
    if c is None or c.status != Status.WAITING:
        return say.say("no_reply_due")
    if c.promised_at is None or c.promised_at <= now:
        return say.say("reply_overdue")
    return say.say("reply_due", promise=moment(say, c.promised_at, now=now, zone=desk.zone))
