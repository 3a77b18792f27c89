"""Cases in the threads of a channel where librarians work, and what librarians write there.

Each message either way is a row of StaffPost, so that it goes once and survives a restart.
Who may answer is decided here: only a member of the library's staff, known by the e-mail
address that the platform has confirmed. Everybody in the room can read a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session

from api import asides, audit
from api.db import insert
from api.errors import BadRequest
from api.letters import letter
from api.models import Staff
from bot.channels.base import SendError, SendFailure
from bot.delivery import conversation_of, reply_as_librarian
from bot.messages import StaffMessage
from bot.models import ChannelAccount, StaffPost
from tracker import consultations
from tracker.errors import AlreadyAssigned, TrackerError
from tracker.fold import BOT, PATRON, Kind
from tracker.models import Consultation, Event, Library
from tracker.queue import waiting
from tracker.rows import savepoint

CASES_A_ROUND = 20  # so that a room that is new does not get a whole backlog at once
FOLLOWED = timedelta(days=14)  # how long a thread hears what happens to its case
# Events get their numbers before they are committed, and one may be committed after a later one.
SETTLED = timedelta(seconds=2)
LEASE = timedelta(seconds=60)
BACK_OFF = (5, 30, 120, 600, 1800)  # seconds before the 2nd, 3rd … attempt
MAX_ATTEMPTS = 12
CONTEXT = 8  # messages that open a case's thread
_TOLD = (Kind.MESSAGE, Kind.FEEDBACK, Kind.ASSIGNED, Kind.FAILED, Kind.CLOSED, Kind.WITHDRAWN)


@dataclass(frozen=True, slots=True)
class Errand:
    """A leased message, with all that carrying it needs and no session behind it."""

    post_id: int
    account_id: int
    thread: str | None
    text: str
    author: str | None  # None: for the room; else from there


def keep(
    session: Session, account: ChannelAccount, said: Sequence[StaffMessage], *, now: datetime
) -> None:
    """Store what librarians wrote, each once; a worker takes it from there."""
    for message in said:
        values = {
            **_row(account, f"in:{message.dedupe_key}", now),
            "thread": message.thread,
            "author": message.author,
            "text": message.text,
            "is_note": message.is_note,
        }
        session.execute(insert(session, StaffPost).values(**values).on_conflict_do_nothing())


def _row(account: ChannelAccount, key: str, now: datetime) -> dict[str, Any]:
    return {
        "library_id": account.library_id,
        "account_id": account.id,
        "key": key,
        "is_note": False,
        "due_at": now,
        "attempts": 0,
        "created_at": now,
    }


# --- from the desk to the room -------------------------------------------------------------


def fresh_cases(
    session: Session, library_id: int, account_id: int, *, now: datetime
) -> list[Consultation]:
    """The cases that wait for a librarian and have no thread here, most urgent first."""
    cases = [c for c in waiting(session, library_id, now=now) if c.escalated_at is not None]
    known = set(
        session.scalars(
            select(StaffPost.consultation_id).where(
                StaffPost.library_id == library_id,
                StaffPost.account_id == account_id,
                StaffPost.told_event_id.is_not(None),
                StaffPost.consultation_id.in_([case.id for case in cases]),
            )
        )
    )
    return [case for case in cases if case.id not in known][:CASES_A_ROUND]


def fresh_events(
    session: Session, library_id: int, account_id: int, *, now: datetime
) -> list[tuple[StaffPost, Event]]:
    """What has happened to cases that have a thread here, and is not told there, with its case."""
    rows = session.execute(
        select(StaffPost, Event)
        .join(Event, Event.consultation_id == StaffPost.consultation_id)
        .where(
            StaffPost.library_id == library_id,
            StaffPost.account_id == account_id,
            StaffPost.thread.is_not(None),
            StaffPost.created_at > now - FOLLOWED,
            Event.library_id == library_id,
            Event.id > StaffPost.told_event_id,
            Event.recorded_at <= now - SETTLED,
            Event.kind.in_(_TOLD),
        )
        .order_by(Event.id)
    )
    return [(case, event) for case, event in rows]


def announce(
    session: Session, library: Library, account: ChannelAccount, *, base_url: str, now: datetime
) -> int:
    """Open a thread for each case that waits and has none here; returns for how many."""
    fresh = fresh_cases(session, library.id, account.id, now=now)
    for case in fresh:
        events = consultations.events_of(session, case)
        values = {
            **_row(account, f"case:{case.id}", now),
            "consultation_id": case.id,
            "text": _opening(library, case, events, base_url),
            "told_event_id": max((event.id for event in events), default=0),
        }
        session.execute(insert(session, StaffPost).values(**values).on_conflict_do_nothing())
    return len(fresh)


def follow(session: Session, library: Library, account: ChannelAccount, *, now: datetime) -> int:
    """Tell each thread what has happened to its case since; returns how many messages."""
    count = 0
    for case, event in fresh_events(session, library.id, account.id, now=now):
        case.told_event_id = max(case.told_event_id or 0, event.id)
        text = _told(session, library, case, event)
        if text is not None:
            _post(session, case, f"event:{event.id}", text, now=now)
            count += 1
    session.flush()
    return count


def _opening(library: Library, case: Consultation, events: Sequence[Event], base_url: str) -> str:
    zone = ZoneInfo(library.timezone)
    due = f"{case.promised_at.astimezone(zone):%m-%d %H:%M}" if case.promised_at else "–"
    name = "room_urgent" if case.urgent else "room_case"
    said = [event for event in events if event.kind in (Kind.MESSAGE, Kind.BOT_ANSWER)]
    lines = [_line(library, event) for event in said if event.text]
    return "\n".join(
        [
            _say(library, name, channel=case.channel, due=due),
            *lines[-CONTEXT:],
            f"{base_url}/desk/c/{case.id}",
        ]
    )


def _line(library: Library, event: Event) -> str:
    name = "room_bot" if event.by == BOT else "room_patron"
    return _say(library, name, text=event.text or "")


def _told(session: Session, library: Library, case: StaffPost, event: Event) -> str | None:
    match event.kind:
        case Kind.MESSAGE:
            return _line(library, event) if event.by == PATRON and event.text else None
        case Kind.FEEDBACK:
            return _told_answer(session, library, case, event)
        case Kind.ASSIGNED:
            to = (event.data or {}).get("to")
            return _say(library, "room_taken", who=_name(session, to)) if to else None
        case Kind.FAILED:
            return _say(library, "room_failed", reason=(event.data or {}).get("reason", ""))
        case Kind.WITHDRAWN:
            return _say(library, "room_withdrawn")
        case _:
            return _say(library, "room_closed")


def _told_answer(session: Session, library: Library, case: StaffPost, event: Event) -> str:
    """An answer that was typed in the thread is only confirmed there."""
    typed_here = session.scalars(
        select(StaffPost)
        .where(
            StaffPost.library_id == library.id,
            StaffPost.account_id == case.account_id,
            StaffPost.thread == case.thread,
            StaffPost.author.is_not(None),
            StaffPost.text == event.text,
        )
        .limit(1)
    ).first()
    if typed_here is not None:
        typed_here.text = None
        return _say(library, "room_sent")
    return _say(library, "room_sent_by", who=_name(session, event.by), text=event.text or "")


def _post(session: Session, case: StaffPost, key: str, text: str, *, now: datetime) -> None:
    values = {
        **_row(case.account, key, now),
        "consultation_id": case.consultation_id,
        "thread": case.thread,
        "text": text,
    }
    session.execute(insert(session, StaffPost).values(**values).on_conflict_do_nothing())


# --- from the room to the patron -----------------------------------------------------------


def hear(
    session: Session, library: Library, post: StaffPost, email: str | None, *, now: datetime
) -> None:
    """Do what a librarian's message in a thread asks for; say in the thread why not."""
    case = session.scalars(
        select(StaffPost).where(
            StaffPost.library_id == library.id,
            StaffPost.account_id == post.account_id,
            StaffPost.thread == post.thread,
            StaffPost.told_event_id.is_not(None),
        )
    ).first()
    post.due_at = None
    if case is None or case.consultation_id is None:
        _object(session, library, post, "room_no_case", now=now)
        return
    post.consultation_id = case.consultation_id
    staff = _staff(session, library, email)
    if staff is None:
        _object(session, library, post, "room_stranger", now=now)
        return
    consultation = session.get_one(Consultation, case.consultation_id)
    if post.is_note:
        _take_note(session, library, post, consultation, staff, now=now)
    else:
        _answer(session, library, post, consultation, staff, now=now)


def _take_note(
    session: Session,
    library: Library,
    post: StaffPost,
    consultation: Consultation,
    staff: Staff,
    *,
    now: datetime,
) -> None:
    text = (post.text or "")[: asides.LONGEST_NOTE]
    asides.add_note(session, consultation, by=staff.email, text=text, now=now)
    _object(session, library, post, "room_note", now=now)


def _answer(
    session: Session,
    library: Library,
    post: StaffPost,
    consultation: Consultation,
    staff: Staff,
    *,
    now: datetime,
) -> None:
    text = post.text or ""
    try:
        with savepoint(session):
            conversation_of(session, consultation)
            if consultation.assigned_to != staff.email:
                consultations.assign(
                    session, consultation, at=now, now=now, by=staff.email, to=staff.email
                )
            asides.wake(session, consultation)
            reply_as_librarian(
                session,
                library,
                consultation,
                by=staff.email,
                name=staff.name,
                text=text,
                now=now,
            )
            audit.record(
                session,
                actor=staff.email,
                action="consultation.answer",
                subject=consultation.key,
                now=now,
                library_id=library.id,
                room=post.account.name,
            )
    except AlreadyAssigned as refusal:
        who = _name(session, refusal.detail)
        _object(session, library, post, "room_other", now=now, who=who)
    except (TrackerError, BadRequest) as refusal:
        _object(session, library, post, "room_refused", now=now, reason=str(refusal))


def _object(
    session: Session,
    library: Library,
    post: StaffPost,
    wording: str,
    /,
    *,
    now: datetime,
    **facts: str,
) -> None:
    """Say in the thread what became of a message that did not go to the patron."""
    post.text = None
    _post(session, post, f"about:{post.id}", _say(library, wording, **facts), now=now)


def _staff(session: Session, library: Library, email: str | None) -> Staff | None:
    if email is None:
        return None
    return session.scalar(
        select(Staff).where(
            Staff.email == email.lower(),
            or_(Staff.library_id == library.id, Staff.library_id.is_(None)),
            Staff.disabled_at.is_(None),
        )
    )


# --- carrying ------------------------------------------------------------------------------


def is_anything_due(session: Session, *, now: datetime) -> bool:
    """A look without a write lock: most rounds find nothing."""
    return bool(session.scalar(select(exists().where(StaffPost.due_at <= now))))


def lease(session: Session, *, now: datetime, limit: int) -> list[Errand]:
    """Take up to `limit` messages that are due, oldest first; they are due again in a minute."""
    rows = session.scalars(
        select(StaffPost)
        .join(ChannelAccount, ChannelAccount.id == StaffPost.account_id)
        .where(StaffPost.due_at <= now, ChannelAccount.enabled)
        .order_by(StaffPost.id)
        .limit(limit)
        .with_for_update(of=StaffPost, skip_locked=True)
    ).all()
    for row in rows:
        row.attempts += 1
        row.due_at = now + LEASE
    return [Errand(row.id, row.account_id, row.thread, row.text or "", row.author) for row in rows]


def posted(session: Session, errand: Errand, thread: str) -> None:
    """The room has it; its words need not be kept here any longer."""
    session.execute(
        update(StaffPost)
        .where(StaffPost.id == errand.post_id)
        .values(thread=thread, text=None, due_at=None)
    )


def not_carried(session: Session, errand: Errand, error: SendError, *, now: datetime) -> None:
    """Try again later, or give up.

    What the room should have shown is at the desk all the same. An answer of a librarian is
    not given up silently: the thread says that it was not sent.
    """
    post = session.get(StaffPost, errand.post_id)
    if post is None:
        return
    if error.failure is SendFailure.PERMANENT or post.attempts >= MAX_ATTEMPTS:
        post.due_at = None
        if post.author is not None:
            library = session.get_one(Library, post.library_id)
            _object(session, library, post, "room_refused", now=now, reason=str(error))
        return
    step = BACK_OFF[min(post.attempts, len(BACK_OFF)) - 1]
    post.due_at = now + timedelta(seconds=max(step, error.retry_after or 0))


def _name(session: Session, email: str | None) -> str:
    if email is None:
        return ""
    return session.scalar(select(Staff.name).where(Staff.email == email)) or email


def _say(library: Library, wording: str, /, **facts: object) -> str:
    first = (library.languages or ["zh"])[0]
    return letter({"zh": "zh-Hans"}.get(first, first), wording, **facts)
