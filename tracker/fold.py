"""What a consultation's events amount to: one pure function.

The fold is a set operation: the order in which events arrive and how often each arrives
make no difference. Where two kinds happen at the same instant, CAUSE decides which counts
as first. Terms are those of the metric dictionary in docs/metrics.md.

A bot answer *stands* unless the patron rejected it within 24 hours. A consultation is
*handed over* unless a bot answer stands, nothing was escalated and no librarian wrote: a
question left without any answer is handed over too, so that a dead end cannot hide.
Nothing that happened before the receipt can answer it.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from json import dumps
from operator import lt
from typing import Any, NamedTuple

FOLD_VERSION = 1
DAY = timedelta(days=1)
FOLLOW_UP = timedelta(hours=72)
MICROSECOND = timedelta(microseconds=1)
IDLE_CLOSE = timedelta(hours=24)
# Instants outside are refused where they come in, so that no sum of dates overflows.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
TITLE_LENGTH = 200
PATRON = "patron"
BOT = "bot"
MERGED = "merged"


class Kind(StrEnum):
    """Everything that can happen to a consultation, in the order of cause and effect."""

    MESSAGE = "message"
    SPLIT = "split"
    BOT_ANSWER = "bot_answer"
    BOT_ACCEPTED = "bot_accepted"
    BOT_REJECTED = "bot_rejected"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    ASSIGNED = "assigned"
    FEEDBACK = "feedback"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"
    PAUSED = "paused"
    RESUMED = "resumed"
    CLOSED = "closed"
    REOPENED = "reopened"
    CORRECTED = "corrected"
    EXCLUDED = "excluded"
    MERGED = "merged"


CAUSE = {kind.value: position for position, kind in enumerate(Kind)}


class Status(StrEnum):
    """Where a consultation stands, in one word."""

    OPEN = "open"  # the bot has it and has not answered
    ANSWERED = "answered"  # answered, by bot or librarian, and nothing new is asked
    WAITING = "waiting"  # a patron waits for a librarian
    PAUSED = "paused"  # a librarian waits for the patron
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"
    EXCLUDED = "excluded"
    MERGED = "merged"


_ADDABLE = frozenset({Kind.MESSAGE, Kind.BOT_ANSWER, Kind.BOT_REJECTED})

# What says something of other events, so that the facts alone do not tell what follows.
_REWRITING = frozenset({Kind.SPLIT, Kind.CORRECTED, Kind.EXCLUDED, Kind.MERGED})

GONE = frozenset({Status.CLOSED, Status.WITHDRAWN, Status.EXCLUDED, Status.MERGED})


class EventData(NamedTuple):
    """One event without its place in a database."""

    kind: str
    at: datetime
    by: str | None = None
    text: str | None = None
    data: Mapping[str, Any] | None = None


class Stream(NamedTuple):
    """What came in as one consultation: its receipt, its channel and its events."""

    key: str
    opened_at: datetime
    opened_channel: str
    events: Sequence[EventData]


@dataclass(slots=True)
class Facts:
    """What a consultation's row says beyond its identity; one field per column."""

    received_at: datetime
    channel: str
    status: str = Status.OPEN.value
    handed_over: bool = True
    bot_first: bool = False
    bot_accepted: bool = False
    bot_at: datetime | None = None
    bot_rejected_at: datetime | None = None
    escalated_at: datetime | None = None
    acknowledged_at: datetime | None = None
    promised_at: datetime | None = None
    first_assigned_at: datetime | None = None
    assigned_to: str | None = None
    feedback_at: datetime | None = None
    feedback_by: str | None = None
    answered_at: datetime | None = None
    answered_by: str | None = None
    feedback_micros: int | None = None
    answered_micros: int | None = None
    last_feedback_at: datetime | None = None
    last_reply_at: datetime | None = None
    waiting_since: datetime | None = None
    paused_at: datetime | None = None
    closed_at: datetime | None = None
    first_closed_at: datetime | None = None
    reopened_at: datetime | None = None
    reopen_count: int = 0
    withdrawn_at: datetime | None = None
    excluded_at: datetime | None = None
    excluded_reason: str | None = None
    excluded_late: bool = False
    reclassified_late: bool = False
    merged_into: str | None = None
    failed_at: datetime | None = None
    topic: str | None = None
    language: str | None = None
    urgent: bool = False
    directional: bool = False
    read_scale: int | None = None
    title: str | None = None
    last_event_at: datetime | None = None
    idle_close_at: datetime | None = None
    plain: bool = True  # a later message or bot answer can be added without the log: see `after`
    fold_version: int = FOLD_VERSION


def fold(streams: Sequence[Stream]) -> Facts:
    """The facts of a consultation, from its own stream and those merged into it.

    The first stream is its own; whether it was excluded or merged away is for that one to
    say, while what patron, bot and librarians did is the union of all. The earliest receipt
    and its channel count.
    """
    own = streams[0]
    first = min(streams, key=lambda stream: (stream.opened_at, stream.key))
    facts = Facts(first.opened_at, first.opened_channel)
    if len(streams) == 1:
        events = ordered(own.events)
    else:
        events = ordered([event for stream in streams for event in stream.events])
    facts.last_event_at = max(stream.opened_at for stream in streams)
    if events:
        facts.last_event_at = max(facts.last_event_at, events[-1].at)
    by_kind = by_kind_of(events)
    messages = patron_messages(by_kind.get(Kind.MESSAGE, ()), by_kind.get(Kind.SPLIT, ()))
    _clocks(facts, by_kind)
    _handling(facts, by_kind)
    _description(facts, by_kind, messages)
    _course(facts, by_kind, messages)
    rewritten = not by_kind.keys().isdisjoint(_REWRITING)
    if rewritten:
        own_kinds = by_kind if len(streams) == 1 else by_kind_of(ordered(own.events))
        _leaving(facts, own_kinds, own.key)
    _standing(facts)
    early = bool(events) and events[0].at < facts.received_at
    facts.plain = len(streams) == 1 and not early and not rewritten
    return facts


def after(facts: Facts, event: EventData) -> Facts | None:
    """The facts with one more event, which comes after all others; None: only `fold` can tell.

    A patron who asks a hundred things has a hundred messages and answers in one log; this
    spares reading it again with each.
    """
    if not facts.plain or event.kind not in _ADDABLE:
        return None
    if event.kind == Kind.BOT_REJECTED and facts.bot_at and facts.bot_at < event.at - DAY:
        return None  # some answers stand, and which is the first of them the facts do not tell
    facts = copy(facts)
    facts.last_event_at = event.at
    if event.kind == Kind.BOT_ANSWER:
        _answer_after(facts, event)
    elif event.kind == Kind.BOT_REJECTED:
        _rejection_after(facts, event)
    elif (event.by or PATRON) == PATRON:
        _message_after(facts, event)
    _standing(facts)
    return facts


def comes_after(event: EventData, at: datetime, kind: str) -> bool:
    """Whether an event is read later than the one of that instant and kind."""
    return (event.at, CAUSE[event.kind]) > (at, CAUSE[kind])


def _message_after(facts: Facts, event: EventData) -> None:
    if facts.title is None and event.text:
        facts.title = event.text[:TITLE_LENGTH]
    if facts.language is None:
        facts.language = _get(event, "language")
    facts.paused_at = None
    has_answer = facts.handed_over and facts.answered_at is not None
    if has_answer and facts.waiting_since is None and not _get(event, "courtesy"):
        facts.waiting_since = event.at


def _answer_after(facts: Facts, event: EventData) -> None:
    if facts.bot_at is None and facts.bot_rejected_at is None:
        facts.bot_first = facts.feedback_at is None
    if facts.bot_at is None:
        facts.bot_at, facts.bot_accepted = event.at, False
    facts.last_reply_at = event.at
    facts.topic = _get(event, "entry") or facts.topic
    if facts.escalated_at is None and facts.feedback_at is None:
        facts.handed_over, facts.waiting_since = False, None


def _rejection_after(facts: Facts, event: EventData) -> None:
    if facts.bot_at is None:
        return
    facts.bot_rejected_at = facts.bot_rejected_at or event.at
    facts.bot_at, facts.bot_accepted, facts.handed_over = None, False, True
    if facts.answered_at is None:
        facts.waiting_since = facts.received_at


def _standing(facts: Facts) -> None:
    """The status, and when the bot's answer closes by itself."""
    facts.status = _status(facts).value
    facts.idle_close_at = None
    if facts.status == Status.ANSWERED and not facts.handed_over and facts.last_reply_at:
        facts.idle_close_at = facts.last_reply_at + IDLE_CLOSE


def ordered(events: Iterable[EventData]) -> list[EventData]:
    """The events in the one order that the fold reads them in, each once."""
    events = list(events)
    moments = [(event.at, CAUSE[event.kind]) for event in events]
    if all(map(lt, moments, moments[1:])):  # in order already, as logs mostly are
        return events
    result: list[EventData] = []
    for _, same in groupby(sorted(events, key=_moment), key=_moment):
        tied = list(same)
        if len(tied) > 1:
            tied = [next(copies) for _, copies in groupby(sorted(tied, key=_whole), key=_whole)]
        result += tied
    return result


def _moment(event: EventData) -> tuple[datetime, int]:
    return event.at, CAUSE[event.kind]


def _whole(event: EventData) -> tuple[datetime, int, str, str, str]:
    data = dumps(event.data, sort_keys=True, default=str) if event.data else ""
    return event.at, CAUSE[event.kind], event.by or "", event.text or "", data


def by_kind_of(events: Iterable[EventData]) -> dict[str, list[EventData]]:
    """The events in their order, by kind."""
    result: dict[str, list[EventData]] = {}
    for event in events:
        result.setdefault(event.kind, []).append(event)
    return result


def _get(event: EventData, name: str) -> Any:
    return event.data.get(name) if event.data else None


def is_substantive(event: EventData) -> bool:
    """Whether a librarian's message answers, and is not only "I am looking into it"."""
    return _get(event, "substantive") is not False


def _clocks(facts: Facts, events: Mapping[str, list[EventData]]) -> None:
    """Who answered when. Decides `handed_over`."""
    written = arrived(events)
    if written:
        _feedback(facts, written, _reclassified(events))
    escalated = events.get(Kind.ESCALATED, ())
    if escalated:
        facts.escalated_at = escalated[0].at
        facts.urgent = any(bool(_get(event, "urgent")) for event in escalated)
    if Kind.BOT_ANSWER in events:
        _bot(facts, events)
    facts.handed_over = bool(escalated or written) or facts.bot_at is None
    spoke = facts.last_feedback_at
    if spoke is not None and (facts.last_reply_at is None or spoke > facts.last_reply_at):
        facts.last_reply_at = spoke


def _feedback(
    facts: Facts, written: Sequence[EventData], reclassified: Mapping[datetime, "_Called"]
) -> None:
    """What librarians wrote first, what of it answered first, and how long each took."""
    received = facts.received_at
    for event in written:
        if event.at < received:
            continue
        if facts.feedback_at is None:
            facts.feedback_at, facts.feedback_by = event.at, event.by
            facts.feedback_micros = (event.at - received) // MICROSECOND
        facts.last_feedback_at = event.at
        called = reclassified.get(event.at)
        substantive = is_substantive(event) if called is None else called.substantive
        if facts.answered_at is None and substantive:
            facts.answered_at, facts.answered_by = event.at, event.by
            facts.answered_micros = (event.at - received) // MICROSECOND
            facts.reclassified_late = (
                called is not None
                and not is_substantive(event)
                and event.at <= received + DAY < called.at
            )


def arrived(events: Mapping[str, list[EventData]]) -> Sequence[EventData]:
    """Librarians' messages without those that a channel took and could not deliver after all.

    A delivery's failure names the message by its instant: feedback must reach the patron.
    """
    written = events.get(Kind.FEEDBACK, ())
    if Kind.FAILED not in events:
        return written
    lost = {
        datetime.fromisoformat(at)
        for event in events[Kind.FAILED]
        if (at := _get(event, "feedback_at")) is not None
    }
    return [event for event in written if event.at not in lost]


class _Called(NamedTuple):
    """When a reply was called an answer, or no answer."""

    at: datetime
    substantive: bool


def _reclassified(events: Mapping[str, list[EventData]]) -> dict[datetime, _Called]:
    """By their instants, the librarians' messages that a correction has called something."""
    return {
        datetime.fromisoformat(at): _Called(event.at, bool(_get(event, "substantive")))
        for event in events.get(Kind.CORRECTED, ())
        if (at := _get(event, "feedback_at")) is not None
    }


def _bot(facts: Facts, events: Mapping[str, list[EventData]]) -> None:
    answers = [event.at for event in events[Kind.BOT_ANSWER] if event.at >= facts.received_at]
    if not answers:
        return
    facts.last_reply_at = answers[-1]
    facts.bot_first = facts.feedback_at is None or answers[0] <= facts.feedback_at
    rejections = [event.at for event in events.get(Kind.BOT_REJECTED, ())]
    for answered in answers:
        retracted = [at for at in rejections if answered <= at <= answered + DAY]
        if not retracted:
            facts.bot_at = facts.bot_at or answered
        elif facts.bot_rejected_at is None:
            facts.bot_rejected_at = retracted[0]
    if facts.bot_at is not None and Kind.BOT_ACCEPTED in events:
        facts.bot_accepted = events[Kind.BOT_ACCEPTED][-1].at >= facts.bot_at


def _handling(facts: Facts, events: Mapping[str, list[EventData]]) -> None:
    """Acknowledged, assigned, failed: what librarians and delivery did besides answering."""
    for event in events.get(Kind.ACKNOWLEDGED, ()):
        facts.acknowledged_at = facts.acknowledged_at or event.at
        promised = _get(event, "promised_at")
        if promised:
            facts.promised_at = datetime.fromisoformat(promised)
    for event in events.get(Kind.ASSIGNED, ()):
        facts.first_assigned_at = facts.first_assigned_at or event.at
        known = event.data is not None and "to" in event.data
        facts.assigned_to = _get(event, "to") if known else event.by
    for event in events.get(Kind.FAILED, ()):
        facts.failed_at = event.at


def _description(
    facts: Facts, events: Mapping[str, list[EventData]], messages: Sequence[EventData]
) -> None:
    """Topic, language, title and classification; a correction has the last word."""
    escalated = events.get(Kind.ESCALATED, ())
    facts.title = _title(messages, escalated)
    for event in messages:
        if facts.language is None:
            facts.language = _get(event, "language")
    for event in events.get(Kind.BOT_ANSWER, ()):
        facts.topic = _get(event, "entry") or facts.topic
    for event in escalated:
        facts.topic = facts.topic or _get(event, "topic")
    for event in events.get(Kind.CORRECTED, ()):
        data = event.data or {}
        facts.topic = data.get("topic", facts.topic)
        facts.language = data.get("language", facts.language)
        facts.directional = bool(data.get("directional", facts.directional))
        facts.read_scale = data.get("read_scale", facts.read_scale)


def _title(messages: Sequence[EventData], escalated: Sequence[EventData]) -> str | None:
    """What it is about: the question that the bot had no answer to, else the first one."""
    texts = [event.text for event in messages if event.text]
    if escalated and _get(escalated[0], "reason") == "unknown":
        handed = [event.text for event in messages if event.text and event.at <= escalated[0].at]
        texts = handed[-1:] or texts
    return texts[0][:TITLE_LENGTH] if texts else None


def patron_messages(
    messages: Iterable[EventData], splits: Iterable[EventData] = ()
) -> list[EventData]:
    """The patron's own messages, without those that a split has moved elsewhere."""
    moved = {at for split in splits for at in _get(split, "moved") or ()}
    return [
        event
        for event in messages
        if (event.by or PATRON) == PATRON and (not moved or event.at.isoformat() not in moved)
    ]


def _course(
    facts: Facts, events: Mapping[str, list[EventData]], messages: Sequence[EventData]
) -> None:
    """Closing, reopening, pausing, withdrawing, and since when a patron has been waiting."""
    if Kind.CLOSED in events:
        closed = [event.at for event in events[Kind.CLOSED]]
        facts.first_closed_at = closed[0]
        again = sorted({e.at for e in events.get(Kind.REOPENED, ()) if e.at >= closed[0]})
        facts.reopen_count = len(again)
        facts.reopened_at = again[0] if again else None
        facts.closed_at = closed[-1] if not again or closed[-1] > again[-1] else None
    withdrawn = [e.at for e in events.get(Kind.WITHDRAWN, ()) if e.at >= facts.received_at]
    if withdrawn and (facts.answered_at is None or withdrawn[0] < facts.answered_at):
        facts.withdrawn_at = withdrawn[0]
    facts.waiting_since = _waiting_since(facts, messages)
    if Kind.PAUSED in events:
        facts.paused_at = _paused_at(facts, events, messages)


def _waiting_since(facts: Facts, messages: Sequence[EventData]) -> datetime | None:
    if not facts.handed_over:
        return None
    if facts.answered_at is None:
        return facts.received_at
    last = facts.last_feedback_at
    new = (m.at for m in messages if last and m.at > last and not _get(m, "courtesy"))
    return next(new, None)


def _paused_at(
    facts: Facts, events: Mapping[str, list[EventData]], messages: Sequence[EventData]
) -> datetime | None:
    """Since when a librarian has been waiting for the patron; a patron's message ends it."""
    paused = [event.at for event in events[Kind.PAUSED]]
    if facts.feedback_at is None or paused[-1] < facts.feedback_at:
        return None
    ends = [event.at for event in events.get(Kind.RESUMED, ())]
    ends += [message.at for message in messages if message.at > paused[-1]]
    return None if any(at >= paused[-1] for at in ends) else paused[-1]


def _leaving(facts: Facts, events: Mapping[str, list[EventData]], key: str) -> None:
    """Whether it has left the rates: excluded with a reason, or merged into another."""
    excluded = events.get(Kind.EXCLUDED, ())
    restored = [e.at for e in events.get(Kind.CORRECTED, ()) if _get(e, "excluded") is False]
    standing = [event for event in excluded if not restored or event.at > restored[-1]]
    if standing:
        facts.excluded_at = standing[0].at
        facts.excluded_reason = _get(standing[0], "reason")
    for event in events.get(Kind.MERGED, ()):
        into = _get(event, "into")
        if into is not None and into != key:
            facts.merged_into = into
            facts.excluded_at = facts.excluded_at or event.at
            facts.excluded_reason = facts.excluded_reason or MERGED
            break
    if facts.excluded_at is not None:
        facts.excluded_late = missed_by(facts, facts.excluded_at)


def missed_by(facts: Facts, at: datetime) -> bool:
    """Whether 24 hours had already passed without an answer by then."""
    limit = facts.received_at + DAY
    answers = (facts.answered_at,) if facts.handed_over else (facts.answered_at, facts.bot_at)
    return at > limit and not any(answer and answer <= limit for answer in answers)


def _status(facts: Facts) -> Status:
    if facts.merged_into is not None:
        return Status.MERGED
    if facts.excluded_at is not None:
        return Status.EXCLUDED
    if facts.closed_at is not None:
        return Status.CLOSED
    if facts.withdrawn_at is not None:
        return Status.WITHDRAWN
    if facts.paused_at is not None:
        return Status.PAUSED
    if facts.waiting_since is None:
        return Status.ANSWERED
    in_hand = facts.escalated_at or facts.feedback_at or facts.assigned_to
    return Status.WAITING if in_hand else Status.OPEN
