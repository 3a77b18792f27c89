"""Open, answer, hand over, close, merge and split consultations.

Every verb appends one event and folds the consultation anew; nothing else writes a folded
column. `at` is when it happened, `now` when we learnt of it. No event is placed before the
receipt: clocks that disagree by seconds must not make an answer come before its question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime, timedelta, tzinfo
from typing import Any
from uuid import uuid4

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from tracker import calendars, errors
from tracker.clock import zone
from tracker.dirty import mark_dirty
from tracker.fold import (
    BOT,
    DAY,
    FOLLOW_UP,
    GONE,
    PATRON,
    EventData,
    Facts,
    Kind,
    Status,
    Stream,
    after,
    comes_after,
    fold,
)
from tracker.memory import memory_of
from tracker.models import Consultation, Event, Library, Miss
from tracker.rows import add, change, store
from tracker.streams import families

OLDEST_RECEIPT = timedelta(days=7)
NEWEST_RECEIPT = timedelta(minutes=5)
TICK = timedelta(microseconds=1)
RECENT = 3  # of a conversation, among which the one that takes a message is looked for
EXCLUSION_REASONS = ("spam", "test", "probe", "non_question")
CORRECTABLE = ("topic", "language", "directional", "read_scale")
FACTS = tuple(field.name for field in fields(Facts))
_RECENT = (
    select(Consultation)
    .where(
        Consultation.library_id == bindparam("library"),
        Consultation.conversation_id == bindparam("conversation"),
        Consultation.status.not_in((Status.WITHDRAWN, Status.EXCLUDED, Status.MERGED)),
    )
    .order_by(Consultation.received_at.desc(), Consultation.id.desc())
    .limit(RECENT)
)
_RECENT_LOCKED = _RECENT.with_for_update().execution_options(populate_existing=True)
_TIMEZONE = select(Library.timezone).where(Library.id == bindparam("library"))

# What undoes what: at one and the same instant, the later told must also come later.
UNDOES: dict[str, tuple[str, ...]] = {
    Kind.BOT_ANSWER: (Kind.BOT_REJECTED,),
    Kind.ASSIGNED: (Kind.ASSIGNED,),
    Kind.CLOSED: (Kind.REOPENED,),
    Kind.PAUSED: (Kind.RESUMED,),
    Kind.EXCLUDED: (Kind.CORRECTED,),
    Kind.CORRECTED: (Kind.EXCLUDED, Kind.CORRECTED),
}


def receipt(provider_at: datetime | None, now: datetime) -> tuple[datetime, bool]:
    """When a message counts as received, and whether the provider's clock is suspect.

    The provider's time counts from seven days before to five minutes after our own.
    """
    if provider_at is None:
        return now, False
    if now - OLDEST_RECEIPT <= provider_at <= now + NEWEST_RECEIPT:
        return provider_at, False
    return now, True


def open_consultation(
    session: Session,
    library: Library,
    *,
    channel: str,
    conversation_id: int | None,
    at: datetime,
    now: datetime,
    text: str | None,
    language: str | None,
    by: str = PATRON,
    key: str | None = None,
    clock_suspect: bool = False,
    linked_to: str | None = None,
) -> Consultation:
    """Open a consultation with the patron's first message.

    `at` is the provider's time; where it cannot be true, `now` counts and the consultation
    is flagged. `linked_to` is the key of an earlier consultation that this one goes on from.
    """
    received, suspect = receipt(at, now)
    opened = {
        "library_id": library.id,
        "key": key or uuid4().hex,
        "conversation_id": conversation_id,
        "linked_to": linked_to,
        "opened_at": received,
        "opened_channel": channel,
        "clock_suspect": clock_suspect or suspect,
    }
    data = {"language": language} if language else None
    first = EventData(Kind.MESSAGE.value, received, by, text, data)
    return _begin(session, opened, [first], zone(library.timezone), now=now)


def _begin(
    session: Session,
    opened: Mapping[str, Any],
    events: Sequence[EventData],
    tz: tzinfo,
    *,
    now: datetime,
) -> Consultation:
    """Store a new consultation with its first events, folded already."""
    facts = fold([Stream(opened["key"], opened["opened_at"], opened["opened_channel"], events)])
    derived = _derived(session, opened["library_id"], facts, now=now)
    consultation = store(session, Consultation, {**opened, **derived})
    memory = memory_of(session)
    memory.events[consultation.id] = []
    memory.locked.add(consultation.id)
    for event in events:
        _record(session, consultation, event, now=now)
    memory.zones[consultation.library_id] = tz
    mark_dirty(session, consultation.library_id, {_local_day(session, consultation)})
    return consultation


def find(session: Session, library_id: int, key: str) -> Consultation | None:
    """The consultation of that key."""
    return session.scalars(
        select(Consultation).where(Consultation.library_id == library_id, Consultation.key == key)
    ).first()


def open_for(
    session: Session,
    library_id: int,
    conversation_id: int,
    *,
    now: datetime,
    lock: bool = False,
) -> Consultation | None:
    """The consultation that a new message of this conversation belongs to, if there is one.

    That is one which still waits or is in hand; one that a librarian answered at most 72
    hours ago, even if closed since; or one that the bot answered at most 24 hours ago.
    `lock`: keep its row from others until the commit, because something will be added to it.
    """
    named = {"library": library_id, "conversation": conversation_id}
    recent = _RECENT_LOCKED if lock else _RECENT
    candidates = session.scalars(recent, named).all()
    if lock:
        memory_of(session).locked.update(item.id for item in candidates)
    return next((item for item in candidates if _takes_messages(item, now)), None)


def previous_for(session: Session, library_id: int, conversation_id: int) -> Consultation | None:
    """The conversation's latest consultation, open or not: what a new one is linked to."""
    return session.scalars(
        select(Consultation)
        .where(
            Consultation.library_id == library_id,
            Consultation.conversation_id == conversation_id,
        )
        .order_by(Consultation.received_at.desc(), Consultation.id.desc())
        .limit(1)
    ).first()


def _takes_messages(consultation: Consultation, now: datetime) -> bool:
    last = consultation.last_feedback_at
    if last is not None and now - last <= FOLLOW_UP:
        return True
    if consultation.status in (Status.OPEN, Status.WAITING, Status.PAUSED):
        return True
    idle = consultation.idle_close_at
    return consultation.status == Status.ANSWERED and idle is not None and now < idle


def events_of(session: Session, consultation: Consultation) -> list[Event]:
    """The consultation's own events, oldest first."""
    return list(
        session.scalars(
            select(Event)
            .where(
                Event.library_id == consultation.library_id,
                Event.consultation_id == consultation.id,
            )
            .order_by(Event.at, Event.id)
        )
    )


def add_message(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    text: str | None,
    by: str = PATRON,
    courtesy: bool = False,
) -> EventData:
    """Record another message. It restarts no clock: the oldest unanswered one counts.

    A `courtesy` ("thanks") asks for nothing. Any other message of the patron reopens a
    consultation that was closed.
    """
    event = _append(
        session,
        consultation,
        Kind.MESSAGE,
        at=at,
        now=now,
        by=by,
        text=text,
        data={"courtesy": True} if courtesy else None,
    )
    if by == PATRON and not courtesy and consultation.status == Status.CLOSED:
        _append(session, consultation, Kind.REOPENED, at=event.at, now=now, by=by)
    return event


def bot_answer(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    text: str,
    entry: str | None,
    probability: float | None,
) -> EventData:
    """Record an answer of the bot from the knowledge base, not a greeting or a menu."""
    data = {"entry": entry, "probability": probability}
    return _append(
        session, consultation, Kind.BOT_ANSWER, at=at, now=now, by=BOT, text=text, data=data
    )


def bot_accepted(
    session: Session, consultation: Consultation, *, at: datetime, now: datetime
) -> EventData:
    """Record that the patron said the bot's answer helped."""
    return _append(session, consultation, Kind.BOT_ACCEPTED, at=at, now=now, by=PATRON)


def bot_rejected(
    session: Session, consultation: Consultation, *, at: datetime, now: datetime, cause: str
) -> EventData:
    """Record that the bot's answer did not help: a no, a call for a person, or asking again.

    It takes back the bot's answers of the last 24 hours; older ones stand.
    """
    data = {"cause": cause}
    return _append(session, consultation, Kind.BOT_REJECTED, at=at, now=now, by=PATRON, data=data)


def acknowledge(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    text: str,
    promised_at: datetime | None,
    by: str = BOT,
) -> EventData:
    """Record that we told the patron a librarian will answer, and by when. Never feedback."""
    data = {"promised_at": promised_at.isoformat()} if promised_at else None
    return _append(
        session, consultation, Kind.ACKNOWLEDGED, at=at, now=now, by=by, text=text, data=data
    )


def escalate(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    reason: str,
    urgent: bool = False,
    by: str = BOT,
    topic: str | None = None,
) -> EventData:
    """Hand a consultation over to the librarians. `topic` is the nearest entry, if any."""
    data: dict[str, Any] = {"reason": reason}
    if urgent:
        data["urgent"] = True
    if topic:
        data["topic"] = topic
    return _append(session, consultation, Kind.ESCALATED, at=at, now=now, by=by, data=data)


def assign(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    by: str,
    to: str | None,
    take_over: bool = False,
) -> EventData:
    """Give a consultation to a librarian, or back to the queue (`to` None). No clock moves.

    Raises AlreadyAssigned when somebody claims (`to` is `by`) what a colleague has just
    claimed, unless it is meant (`take_over`).
    """
    claim = to is not None and to == by and not take_over
    if claim and not _claimed(session, consultation, by):
        session.refresh(consultation)
        raise errors.AlreadyAssigned(consultation.assigned_to or "")
    return _append(session, consultation, Kind.ASSIGNED, at=at, now=now, by=by, data={"to": to})


def _claimed(session: Session, consultation: Consultation, by: str) -> bool:
    """Take the row if nobody else has it: of two who try at once the database picks one."""
    free = Consultation.assigned_to.is_(None) | (Consultation.assigned_to == by)
    session.flush()
    result = session.execute(
        update(Consultation)
        .where(Consultation.id == consultation.id, free)
        .values(assigned_to=by)
        .execution_options(synchronize_session=False)
        .returning(Consultation.id)
    )
    return result.first() is not None


def feedback(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    by: str,
    text: str | None,
    substantive: bool = True,
) -> EventData:
    """Record that the channel accepted a librarian's message, at that instant.

    What was typed, queued or refused is not feedback. A holding reply ("I am looking into
    it") is not `substantive`: it is a first response and no answer.
    """
    data = {"substantive": substantive}
    return _append(
        session, consultation, Kind.FEEDBACK, at=at, now=now, by=by, text=text, data=data
    )


def pause(
    session: Session, consultation: Consultation, *, at: datetime, now: datetime, by: str
) -> EventData:
    """Wait for the patron. Raises CannotPause before a librarian has written."""
    if consultation.feedback_at is None:
        raise errors.CannotPause(consultation.key)
    return _append(session, consultation, Kind.PAUSED, at=at, now=now, by=by)


def resume(
    session: Session, consultation: Consultation, *, at: datetime, now: datetime, by: str
) -> EventData:
    """Stop waiting for the patron. A message of the patron does the same by itself."""
    return _append(session, consultation, Kind.RESUMED, at=at, now=now, by=by)


def close(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    by: str,
    reason: str | None = None,
) -> EventData:
    """Close a consultation. Closing answers nobody: without a reply it stays a miss."""
    if consultation.status == Status.CLOSED:
        raise errors.AlreadyClosed(consultation.key)
    data = {"reason": reason} if reason else None
    return _append(session, consultation, Kind.CLOSED, at=at, now=now, by=by, data=data)


def reopen(
    session: Session, consultation: Consultation, *, at: datetime, now: datetime, by: str
) -> EventData:
    """Open a closed consultation again; its clock runs from the receipt as before."""
    if consultation.status != Status.CLOSED:
        raise errors.NotClosed(consultation.key)
    return _append(session, consultation, Kind.REOPENED, at=at, now=now, by=by)


def exclude(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    by: str,
    reason: str,
) -> EventData:
    """Take a consultation out of the rates: spam, a test, a probe, no question.

    After a missed deadline this is shown beside the rate. Raises WrongReason.
    """
    if reason not in EXCLUSION_REASONS:
        raise errors.WrongReason(f"{reason}; use one of {', '.join(EXCLUSION_REASONS)}")
    if consultation.excluded_at is not None:
        raise errors.AlreadyExcluded(consultation.key)
    data = {"reason": reason}
    return _append(session, consultation, Kind.EXCLUDED, at=at, now=now, by=by, data=data)


def restore(
    session: Session, consultation: Consultation, *, at: datetime, now: datetime, by: str
) -> EventData:
    """Undo an exclusion. The consultation counts again, with the clock it always had."""
    data = {"excluded": False}
    return _append(session, consultation, Kind.CORRECTED, at=at, now=now, by=by, data=data)


def withdraw(
    session: Session, consultation: Consultation, *, at: datetime, now: datetime
) -> EventData:
    """Record that the patron took the question back. It stays in the official rates."""
    return _append(session, consultation, Kind.WITHDRAWN, at=at, now=now, by=PATRON)


def fail(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    reason: str,
    by: str = BOT,
    feedback_at: datetime | None = None,
) -> EventData:
    """Record that a message could not be delivered for good. It stops no clock.

    `feedback_at` is the instant of a librarian's message that a channel had taken and that did
    not arrive after all: it is no feedback any more.
    """
    data = {"reason": reason}
    if feedback_at is not None:
        data["feedback_at"] = feedback_at.isoformat()
    return _append(session, consultation, Kind.FAILED, at=at, now=now, by=by, data=data)


def correct(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    by: str,
    feedback_at: datetime | None = None,
    substantive: bool | None = None,
    **changes: Any,
) -> EventData:
    """Correct topic, language, directional or read_scale, or whether a reply was an answer.

    A reply is named by its instant (`feedback_at`). Raises WrongReason for another field.
    """
    unknown = set(changes) - set(CORRECTABLE)
    if unknown:
        raise errors.WrongReason(f"{sorted(unknown)[0]} cannot be corrected")
    data = dict(changes)
    if feedback_at is not None and substantive is not None:
        data |= {"feedback_at": feedback_at.isoformat(), "substantive": substantive}
    return _append(session, consultation, Kind.CORRECTED, at=at, now=now, by=by, data=data)


def split(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    by: str,
    messages: Sequence[Event],
    key: str | None = None,
) -> EventData:
    """Make a second consultation of some of the patron's messages.

    Its clock starts at the first of them; `data["into"]` of the event is its key. Replies
    stay where they are, so that one answer never counts twice, and the first message stays
    too, so that the original's wait cannot shrink. Raises CannotSplit.
    """
    own = {event.id: event for event in events_of(session, consultation)}
    moved = sorted(messages, key=lambda event: (event.at, event.id))
    if not moved or any(
        event.id not in own or event.kind != Kind.MESSAGE or event.by != PATRON for event in moved
    ):
        raise errors.CannotSplit("choose messages of the patron")
    first = next(e for e in own.values() if e.kind == Kind.MESSAGE and e.by == PATRON)
    if moved[0].at <= first.at:
        raise errors.CannotSplit("the first message stays")
    opened = {
        "library_id": consultation.library_id,
        "key": key or uuid4().hex,
        "conversation_id": consultation.conversation_id,
        "linked_to": consultation.key,
        "opened_at": moved[0].at,
        "opened_channel": consultation.channel,
        "clock_suspect": consultation.clock_suspect,
    }
    copies = [_copy(event, language=consultation.language) for event in moved]
    new = _begin(session, opened, copies, _zone(session, consultation), now=now)
    data = {"into": new.key, "moved": [event.at.isoformat() for event in moved]}
    done = _append(session, consultation, Kind.SPLIT, at=at, now=now, by=by, data=data)
    _append(
        session,
        new,
        Kind.ESCALATED,
        at=at,
        now=now,
        by=by,
        data={"reason": "split", "from": consultation.key},
    )
    return done


def _copy(event: Event, *, language: str | None) -> EventData:
    data = {**(event.data or {}), "language": language}
    return EventData(event.kind, event.at, event.by, event.text, data)


def merge(
    session: Session,
    consultation: Consultation,
    *,
    at: datetime,
    now: datetime,
    by: str,
    into: Consultation,
) -> EventData:
    """Merge a consultation into another: the union of both, refolded.

    The earliest receipt and its channel count; this one leaves the rates. Raises CannotMerge
    across libraries, in a circle, or where one was answered before the other's question came:
    that question is owed an answer of its own.
    """
    if into.library_id != consultation.library_id or into.id == consultation.id:
        raise errors.CannotMerge("not two consultations of one library")
    if consultation.merged_into is not None:
        raise errors.CannotMerge("merged already")
    target = survivor(session, into)
    if target.id == consultation.id:
        raise errors.CannotMerge("that one was merged into this one")
    for one, other in ((consultation, target), (target, consultation)):
        first = min((at for at in (other.feedback_at, other.bot_at) if at), default=None)
        last_asked = max(stream.opened_at for stream in streams_of(session, one))
        if first is not None and first < last_asked:
            raise errors.CannotMerge("one was answered before the other's question came")
    data = {"into": target.key}
    return _append(session, consultation, Kind.MERGED, at=at, now=now, by=by, data=data)


def survivor(session: Session, consultation: Consultation) -> Consultation:
    """Where a merged consultation's events count; itself, if it was not merged.

    A circle of merges, which only imported history can hold, ends at its earliest receipt.
    """
    chain = _merge_chain(session, consultation)
    following = next((item for item in chain if item.key == chain[-1].merged_into), None)
    if following is None:
        return chain[-1]
    circle = chain[chain.index(following) :]
    return min(circle, key=lambda item: (item.opened_at, item.key))


def _merge_chain(session: Session, consultation: Consultation) -> list[Consultation]:
    """A consultation, what it was merged into, what that was merged into, each once."""
    chain = [consultation]
    while chain[-1].merged_into is not None:
        following = find(session, consultation.library_id, chain[-1].merged_into)
        if following is None or following in chain:
            break
        chain.append(following)
    return chain


def refold(session: Session, consultation: Consultation, *, now: datetime) -> None:
    """Write the row anew from the events: its own and those of what was merged into it."""
    session.flush()
    memory_of(session).events.pop(consultation.id, None)
    _write(session, consultation, fold(streams_of(session, consultation)), now=now)


def _write(session: Session, consultation: Consultation, facts: Facts, *, now: datetime) -> None:
    """Write the facts, set the deadlines, and mark the days whose counts may have changed."""
    days = {_local_day(session, consultation)}
    derived = _derived(session, consultation.library_id, facts, now=now, before=consultation)
    change(session, consultation, derived)
    days.add(_local_day(session, consultation))
    mark_dirty(session, consultation.library_id, days)


def _local_day(session: Session, consultation: Consultation) -> date:
    return consultation.received_at.astimezone(_zone(session, consultation)).date()


def _zone(session: Session, consultation: Consultation) -> tzinfo:
    zones = memory_of(session).zones
    if consultation.library_id not in zones:
        named = {"library": consultation.library_id}
        name = session.connection().execute(_TIMEZONE, named).scalar_one()
        zones[consultation.library_id] = zone(name)
    return zones[consultation.library_id]


def streams_of(session: Session, consultation: Consultation) -> list[Stream]:
    """What the fold of a consultation reads: its own stream first, then those merged in."""
    return families(session, consultation.library_id, [consultation])[consultation.key]


def _append(
    session: Session,
    consultation: Consultation,
    kind: Kind,
    *,
    at: datetime,
    now: datetime,
    by: str | None,
    text: str | None = None,
    data: dict[str, Any] | None = None,
) -> EventData:
    """Add an event and refold, with the row locked: of two at once, the second sees both."""
    told = EventData(kind.value, max(at, consultation.opened_at), by, text, data)
    _lock(session, consultation)
    # Of the last event before this transaction only the instant is known, not the kind.
    before = (consultation.last_event_at, Kind.MERGED.value)
    last = memory_of(session).tails.setdefault(consultation.id, before)
    if last[0] == told.at and last[1] in UNDOES.get(kind, ()):
        told = told._replace(at=told.at + TICK)
    facts = _with_one_more(consultation, told) if comes_after(told, *last) else None
    if facts is None:
        return _append_and_refold(session, consultation, told, now=now)
    _record(session, consultation, told, now=now)
    _write(session, consultation, facts, now=now)
    return told


def _append_and_refold(
    session: Session, consultation: Consultation, told: EventData, *, now: datetime
) -> EventData:
    alone = _alone(session, consultation)
    told = told._replace(at=_placed(session, consultation, alone, told))
    _record(session, consultation, told, now=now)
    if alone is not None and told.kind != Kind.MERGED:
        own = Stream(consultation.key, consultation.opened_at, consultation.opened_channel, alone)
        _write(session, consultation, fold([own]), now=now)
        return told
    refold(session, consultation, now=now)
    for target in _merge_chain(session, consultation)[1:]:
        session.refresh(target, with_for_update=True)
        refold(session, target, now=now)
    return told


def _with_one_more(consultation: Consultation, told: EventData) -> Facts | None:
    """The facts with this event too, where they can be told without the other events."""
    if not consultation.plain:
        return None
    return after(Facts(**{name: getattr(consultation, name) for name in FACTS}), told)


def _record(
    session: Session, consultation: Consultation, told: EventData, *, now: datetime
) -> None:
    values = told._asdict() | {
        "library_id": consultation.library_id,
        "consultation_id": consultation.id,
        "recorded_at": now,
    }
    add(session, Event, values)
    memory = memory_of(session)
    if consultation.id in memory.events:
        memory.events[consultation.id].append(told)
    tail = memory.tails.get(consultation.id)
    if tail is None or comes_after(told, *tail):
        memory.tails[consultation.id] = (told.at, told.kind)


def _lock(session: Session, consultation: Consultation) -> None:
    """Keep the row from others until the commit."""
    locked = memory_of(session).locked
    if consultation.id not in locked:
        session.flush()
        session.refresh(consultation, with_for_update=True)
        locked.add(consultation.id)


def _alone(session: Session, consultation: Consultation) -> list[EventData] | None:
    """The locked consultation's events; None where a merge plays a part."""
    memory = memory_of(session)
    known = memory.events.get(consultation.id)
    if known is not None:
        return known
    streams = streams_of(session, consultation)
    if len(streams) > 1 or consultation.merged_into is not None:
        return None
    events = memory.events[consultation.id] = list(streams[0].events)
    return events


def _placed(
    session: Session,
    consultation: Consultation,
    alone: Sequence[EventData] | None,
    told: EventData,
) -> datetime:
    """After what it undoes."""
    at = told.at
    if told.kind not in UNDOES:
        return at
    events = alone if alone is not None else events_of(session, consultation)
    taken = {event.at for event in events if event.kind in UNDOES[told.kind]}
    while at in taken:
        at += TICK
    return at


def deadlines(consultation: Consultation) -> list[tuple[str, datetime]]:
    """The deadlines that run for a consultation: the clock's name and when it runs out."""
    return deadlines_of(consultation, consultation.next_day_due_at)


def deadlines_of(
    facts: Facts | Consultation, next_day_due_at: datetime | None
) -> list[tuple[str, datetime]]:
    """The deadlines that run by the facts.

    `answer` is 24 hours of real time for an answer; `promise` what we told the patron and
    `next_day` the end of the next staffed day, both met by any feedback; `next_response`
    24 hours for a question asked after an answer, the only one that waiting for the patron
    stops.
    """
    waiting = facts.waiting_since
    if waiting is None or facts.status in GONE:
        return []
    if facts.answered_at is not None:
        return [] if facts.status == Status.PAUSED else [("next_response", waiting + DAY)]
    running = [("answer", facts.received_at + DAY)]
    if facts.feedback_at is None:
        if facts.promised_at is not None:
            running.append(("promise", facts.promised_at))
        if next_day_due_at is not None:
            running.append(("next_day", next_day_due_at))
    return running


def _derived(
    session: Session,
    library_id: int,
    facts: Facts,
    *,
    now: datetime,
    before: Consultation | None = None,
) -> dict[str, Any]:
    """What the row must say: the facts, and what follows from them and a calendar.

    The next-day due is by the calendar that was in force, and stays when that changes; only a
    merge moves the receipt, on which it depends.
    """
    values = {name: getattr(facts, name) for name in FACTS}
    version = None if before is None else before.calendar_version
    next_day_due_at = None if before is None else before.next_day_due_at
    if version is None or before is None or before.received_at != facts.received_at:
        current = (
            calendars.desk(session, library_id)
            if version is None
            else calendars.desk_version(session, library_id, version)
        )
        if current is not None:
            version = current.version
            next_day_due_at = current.calendar.next_opening_day_due(facts.received_at)
    running = deadlines_of(facts, next_day_due_at)
    if before is not None and any(due <= now for _, due in running):
        noticed = _noticed(session, before)
        running = [item for item in running if item not in noticed]
    return values | {
        "calendar_version": version,
        "next_day_due_at": next_day_due_at,
        "next_due_at": min((due for _, due in running), default=None),
    }


def _noticed(session: Session, consultation: Consultation) -> set[tuple[str, datetime]]:
    """The deadlines that the sweep has seen pass."""
    rows = session.execute(
        select(Miss.clock, Miss.due_at).where(Miss.consultation_id == consultation.id)
    )
    return {(row.clock, row.due_at) for row in rows}
