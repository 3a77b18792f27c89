"""A consultation as librarians read it: who said what, and what happened, in order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.asides import notes_of
from api.console.queue import staff_names
from api.screens import Screen, known_text
from bot.messages import ReplyKind
from bot.models import Outbox, OutboxState
from bot.wording import parse_instant
from tracker.consultations import events_of
from tracker.fold import BOT, PATRON, Kind
from tracker.models import Consultation, Event

SAID = {Kind.MESSAGE: PATRON, Kind.BOT_ANSWER: BOT, Kind.FEEDBACK: "librarian"}
TONES = {OutboxState.DEAD: "late", OutboxState.UNCERTAIN: "soon", OutboxState.FENCED: "soon"}


@dataclass(frozen=True, slots=True)
class Item:
    """One turn (patron, bot, librarian, note) or one thing that happened (event)."""

    id: str
    kind: str
    at: datetime
    text: str
    name: str = ""
    state: str | None = None
    state_tone: str = ""
    entry: str | None = None
    probability: float | None = None


def thread(session: Session, screen: Screen, consultation: Consultation) -> list[Item]:
    """Everything of a consultation and of what was merged into it, oldest first."""
    names = staff_names(session, screen.library.id)
    events = [*events_of(session, consultation)]
    for merged in _merged_into(session, consultation):
        events += events_of(session, merged)
    items = [item for event in events if (item := _of_event(screen, event, names))]
    items += _unaccepted(session, screen, consultation, names)
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


def _of_event(screen: Screen, event: Event, names: Mapping[str, str]) -> Item | None:
    role = SAID.get(Kind(event.kind))
    if role is None:
        text = _happened(screen, event, names)
        return Item(f"e{event.id}", "event", event.at, text) if text else None
    if role == PATRON and event.by not in (None, PATRON):
        # Another bot's words in a transcript, or a question that a librarian wrote down by hand.
        role = BOT if event.by == BOT else "librarian"
    data = event.data or {}
    held = role == "librarian" and data.get("substantive") is False
    return Item(
        f"e{event.id}",
        role,
        event.at,
        event.text or "…",
        name_of(screen, event.by, names),
        state=screen.text("desk.holding") if held else None,
        entry=data.get("entry"),
        probability=data.get("probability"),
    )


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


def _unaccepted(
    session: Session, screen: Screen, consultation: Consultation, names: Mapping[str, str]
) -> Iterable[Item]:
    """What is no event: choices that the bot offered, and replies that are still on their way."""
    rows = session.scalars(
        select(Outbox).where(
            Outbox.library_id == consultation.library_id,
            Outbox.conversation_id == consultation.conversation_id,
            Outbox.consultation_id == consultation.id,
        )
    )
    for row in rows:
        kind = row.reply["kind"]
        if kind == ReplyKind.CHOICES:
            labels = [choice["label"] for choice in row.reply.get("choices", ())]
            text = "\n".join([row.reply["text"], *(f"• {label}" for label in labels)])
            yield Item(f"o{row.id}", BOT, row.created_at, text, screen.text("common.bot"))
        elif kind == ReplyKind.LIBRARIAN and row.state != OutboxState.SENT:
            yield Item(
                f"o{row.id}",
                "librarian",
                row.created_at,
                row.reply["text"],
                names.get(row.by, row.by),
                state=screen.text(f"desk.delivery.{row.state}"),
                state_tone=TONES.get(OutboxState(row.state), ""),
            )
