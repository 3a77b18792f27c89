"""A consultation as librarians read it: who said what, and what happened, in order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api import uploads
from api.asides import notes_of
from api.console.queue import staff_names
from api.console.receipts import Receipt, receipt_of, why
from api.screens import Screen, known_text
from bot import linking
from bot.delivery import EMAIL
from bot.messages import ReplyKind
from bot.models import Conversation, Inbox, Outbox
from bot.wording import parse_instant
from tracker.consultations import events_of
from tracker.fold import BOT, PATRON, Kind
from tracker.models import Consultation, Event

SAID = {Kind.MESSAGE: PATRON, Kind.BOT_ANSWER: BOT, Kind.FEEDBACK: "librarian"}


@dataclass(frozen=True, slots=True)
class Item:
    """One turn (patron, bot, librarian, note) or one thing that happened (event)."""

    id: str
    kind: str
    at: datetime
    text: str
    name: str = ""
    state: str | None = None
    entry: str | None = None
    probability: float | None = None
    receipt: Receipt | None = None
    original: str | None = None  # all that was written, where `text` is only what is new in it
    file: dict[str, Any] | None = None
    place: str | None = None  # the channel, where the patron has several


def thread(session: Session, screen: Screen, consultation: Consultation) -> list[Item]:
    """Everything of a consultation and of what was merged into it, oldest first."""
    names = staff_names(session, screen.library.id)
    events = [*events_of(session, consultation)]
    for merged in _merged_into(session, consultation):
        events += events_of(session, merged)
    log = _Log.of(session, consultation)
    items = [item for event in events if (item := _of_event(screen, event, names, log))]
    items += _unaccepted(screen, log, names)
    items += [
        Item(
            f"n{note.id}",
            "note",
            note.at,
            note.text,
            screen.text("desk.note_by", name=names.get(note.by, note.by)),
        )
        for note in notes_of(session, consultation)
    ]
    return sorted(items, key=lambda item: item.at)


class _Log:
    """What came in and went out over the channels for a consultation, to be matched with events.

    An event and its message were stored in one transaction with the same instant and words.
    """

    def __init__(
        self,
        asked: Iterable[Inbox],
        said: Iterable[Outbox],
        files: Mapping[str, dict[str, Any]],
        places: Mapping[int, str],
    ) -> None:
        self.files = files
        self.places = places if len(set(places.values())) > 1 else {}
        self.said = list(said)
        self._asked: dict[tuple[str, datetime], Inbox] = {}
        for row in asked:
            words = row.text.strip() or f"[{row.kind}]"
            for at in (row.received_at, row.sent_at):
                if at is not None:
                    self._asked[words, at] = row
        self._accepted = {
            (row.reply["text"], row.sent_at): row
            for row in self.said
            if row.reply["kind"] == ReplyKind.LIBRARIAN and row.sent_at is not None
        }
        self.shown: set[int] = set()  # replies that stand in the thread as events

    @classmethod
    def of(cls, session: Session, consultation: Consultation) -> "_Log":
        conversation = (
            session.get(Conversation, consultation.conversation_id)
            if consultation.conversation_id is not None
            else None
        )
        if conversation is None:
            return cls((), (), {}, {})
        every = [conversation]
        if conversation.state.get(linking.LINKED):  # it may have begun on another channel
            every += linking.others(session, conversation)
        numbers = [each.id for each in every]
        asked = session.scalars(
            select(Inbox).where(
                Inbox.library_id == consultation.library_id,
                Inbox.conversation_id.in_(numbers),
                Inbox.consultation_id == consultation.id,
            )
        ).all()
        said = session.scalars(
            select(Outbox).where(
                Outbox.library_id == consultation.library_id,
                Outbox.conversation_id.in_(numbers),
                Outbox.consultation_id == consultation.id,
            )
        ).all()
        files: dict[str, dict[str, Any]] = {}
        for each in every:
            media = [row.media for row in asked if row.media and row.conversation_id == each.id]
            files |= uploads.described(session, each, media)
        return cls(asked, said, files, {each.id: each.account.kind for each in every})

    def asked(self, event: Event) -> Inbox | None:
        """The message that a patron's event tells of."""
        return self._asked.get(((event.text or "").strip(), event.at))

    def accepted(self, event: Event) -> Outbox | None:
        """The reply that a librarian's event tells of; it is then shown there."""
        row = self._accepted.get((event.text or "", event.at))
        if row is not None:
            self.shown.add(row.id)
        return row


def last_question(thread: Iterable[Item]) -> str | None:
    """What the patron said last."""
    said = [item.text for item in thread if item.kind == PATRON]
    return said[-1] if said else None


def _merged_into(session: Session, consultation: Consultation) -> Iterable[Consultation]:
    return session.scalars(
        select(Consultation).where(
            Consultation.library_id == consultation.library_id,
            Consultation.merged_into == consultation.key,
        )
    ).all()


def _of_event(screen: Screen, event: Event, names: Mapping[str, str], log: _Log) -> Item | None:
    role = SAID.get(Kind(event.kind))
    if role is None:
        text = _happened(screen, event, names)
        return Item(f"e{event.id}", "event", event.at, text) if text else None
    if role == PATRON and event.by not in (None, PATRON):
        # Another bot's words in a transcript, or a question that a librarian wrote down by hand.
        role = BOT if event.by == BOT else "librarian"
    data = event.data or {}
    item = Item(
        f"e{event.id}",
        role,
        event.at,
        event.text or "…",
        name_of(screen, event.by, names),
        entry=data.get("entry"),
        probability=data.get("probability"),
    )
    if role == PATRON:
        return _with_message(screen, item, log.asked(event), log)
    if role == "librarian":
        held = data.get("substantive") is False
        row = log.accepted(event)
        return replace(
            item,
            state=screen.text("desk.holding") if held else None,
            receipt=receipt_of(screen, row) if row is not None else None,
            place=_place(screen, row, log),
        )
    return item


def _with_message(screen: Screen, item: Item, row: Inbox | None, log: _Log) -> Item:
    """A patron's words with what came beside them."""
    if row is None:
        return item
    file = log.files.get(row.media or "")
    if file is not None:
        key = (row.media or "").removeprefix(uploads.MEDIA)
        is_picture = file["content_type"] in uploads.PICTURES
        size = _size(screen, file["size"])
        file = {**file, "key": key, "size_text": size, "is_picture": is_picture}
        item = replace(item, text="")
    original = row.original if row.original and row.original.strip() != row.text.strip() else None
    return replace(item, original=original, file=file, place=_place(screen, row, log))


def _size(screen: Screen, count: int) -> str:
    """Bytes as people read them."""
    if count < 1_000_000:
        return f"{screen.reader.number(max(1, round(count / 1_000)))} kB"
    return f"{screen.reader.number(count / 1_000_000, 1)} MB"


def _place(screen: Screen, row: Inbox | Outbox | None, log: _Log) -> str | None:
    kind = log.places.get(row.conversation_id) if row is not None else None
    return screen.channel_name(kind) if kind else None


def name_of(screen: Screen, by: str | None, names: Mapping[str, str]) -> str:
    """Who did something, as colleagues call them."""
    if by == PATRON:
        return screen.text("common.patron")
    if by in (None, BOT):
        return screen.text("common.bot")
    return names.get(by, by)


def _happened(screen: Screen, event: Event, names: Mapping[str, str]) -> str | None:
    data = event.data or {}
    facts: dict[str, Any] = {"by": name_of(screen, event.by, names)}
    word = event.kind
    match event.kind:
        case Kind.ACKNOWLEDGED:
            if "promised_at" not in data:
                return None
            facts["when"] = screen.reader.when(parse_instant(data["promised_at"]), screen.now)
        case Kind.ESCALATED:
            facts["reason"] = reason_text(screen, data.get("reason"))
        case Kind.ASSIGNED:
            to = data.get("to")
            facts["to"] = names.get(to or "", to)
            word = "unassigned" if to is None else "claimed" if to == event.by else "assigned"
        case Kind.EXCLUDED:
            facts["reason"] = known_text(screen.reader, "desk.excluded", data.get("reason", ""))
    return screen.text(f"desk.event.{word}", **facts)


def reason_text(screen: Screen, reason: str | None) -> str:
    """Why the bot handed over, in words."""
    known = known_text(screen.reader, "desk.reason", reason or "other")
    return screen.text("desk.reason.other") if known == reason else known


def handed_over_because(session: Session, numbers: Iterable[int]) -> dict[int, str]:
    """The reason of the newest hand-over of each consultation that has one."""
    events = session.scalars(
        select(Event)
        .where(Event.consultation_id.in_(list(numbers)), Event.kind == Kind.ESCALATED)
        .order_by(Event.at, Event.id)
    )
    return {event.consultation_id: (event.data or {}).get("reason", "other") for event in events}


def _unaccepted(screen: Screen, log: _Log, names: Mapping[str, str]) -> Iterable[Item]:
    """What is no event: choices that the bot offered, replies on their way, copies by e-mail."""
    for row in log.said:
        kind = row.reply["kind"]
        if kind == ReplyKind.CHOICES:
            labels = [choice["label"] for choice in row.reply.get("choices", ())]
            text = "\n".join([row.reply["text"], *(f"• {label}" for label in labels)])
            yield Item(f"o{row.id}", BOT, row.created_at, text, screen.text("common.bot"))
        elif kind == ReplyKind.LIBRARIAN and row.id not in log.shown:
            yield Item(
                f"o{row.id}",
                "librarian",
                row.created_at,
                row.reply["text"],
                names.get(row.by, row.by),
                receipt=receipt_of(screen, row),
                place=_place(screen, row, log),
            )
        elif row.via == EMAIL and row.by != BOT:
            state = screen.text(f"desk.delivery.{row.state}")
            reason = why(screen, row)
            text = screen.text("desk.delivery.copy", state=state)
            yield Item(
                f"o{row.id}", "event", row.created_at, f"{text} ({reason})" if reason else text
            )
