"""Each night: ask every library's knowledge again what its patrons asked, and learn from it.

What was confirmed comes from the tracker: an answer that a patron said helped is right; one that
was rejected should have gone to a person. `kb/review.py` says what is made of it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api.errors import RefdeskError
from api.libraries import all_libraries
from api.logs import log_problem
from api.state import State
from kb.errors import KnowledgeError
from kb.evaluate import Query, evaluate
from kb.review import Verdicted, keep_review, latest_reviews, save_lean
from kb.sentence_store import remember_library
from tracker.fold import DAY, Kind
from tracker.models import Consultation, Event, Library

DAYS = 90
MOST = 1_000  # confirmed questions, the newest: a second or two of asking
NIGHT = 2  # the hour, local time, from which a library's review is due


@dataclass(frozen=True, slots=True)
class _Due:
    library_id: int
    confirmed: list[Query]


class Reviews:
    """Runs these rounds in a thread of its own: patrons' messages do not wait for them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._thread: threading.Thread | None = None

    def start_round(self) -> None:
        """Begin a round unless one is under way."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._round, name="reviews", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Wait for the round that is under way."""
        if self._thread is not None:
            self._thread.join()

    def _round(self) -> None:
        for name, do in (
            ("embed", embed_phrasings),
            ("learn", learn_from_feedback),
            ("review", review_libraries),
        ):
            try:
                do(self._state)
            except (SQLAlchemyError, RefdeskError, KnowledgeError) as error:
                log_problem(f"{name}_failed", error)


def review_libraries(state: State) -> int:
    """Review every library whose night has come; returns how many."""
    now = state.clock()
    with state.database.snapshot() as session:
        due = [_gathered(session, library, now) for library in all_libraries(session)]
    reviewed = [one for one in due if one is not None]
    for one in reviewed:
        _review(state, one, now)
    return len(reviewed)


def learn_from_feedback(state: State) -> None:
    """Let each library's answers, accepted or rejected, move the threshold of its bot."""
    now = state.clock()
    with state.database.snapshot() as session:
        found = {one.id: judged_answers(session, one, now) for one in all_libraries(session)}
    with state.database.transaction() as session:
        for library_id, answers in found.items():
            save_lean(session, library_id, answers)


def embed_phrasings(state: State) -> int:
    """Compute and store the sentence vectors that are missing, a batch at a time."""
    with state.database.snapshot() as session:
        ids = [library.id for library in all_libraries(session)]
    stored = 0
    for library_id in ids:
        with state.database.transaction() as session:
            stored += remember_library(session, library_id, state.knowledge.meaning)
    return stored


def _gathered(session: Session, library: Library, now: datetime) -> _Due | None:
    zone = ZoneInfo(library.timezone)
    local = now.astimezone(zone)
    last = latest_reviews(session, library.id, limit=1)
    if local.hour < NIGHT or (last and last[0].at.astimezone(zone).date() >= local.date()):
        return None
    confirmed = _confirmed(session, library, now)
    return _Due(library.id, confirmed) if confirmed else None


def _review(state: State, due: _Due, now: datetime) -> None:
    with state.database.snapshot() as session:
        knowledge = state.desks.of(session, due.library_id, now=now).knowledge
    found = evaluate(due.confirmed, knowledge)
    with state.database.transaction() as session:
        keep_review(
            session, due.library_id, due.confirmed, found, version=knowledge.version, now=now
        )


def _settled(library: Library, now: datetime) -> list[ColumnElement[bool]]:
    return [
        Consultation.library_id == library.id,
        Consultation.received_at >= now - timedelta(days=DAYS),
        Consultation.excluded_at.is_(None),
        or_(Consultation.bot_accepted, Consultation.bot_rejected_at.is_not(None)),
    ]


def _confirmed(session: Session, library: Library, now: datetime) -> list[Query]:
    query = (
        select(
            Consultation.title,
            Consultation.language,
            Consultation.topic,
            Consultation.bot_accepted,
            Consultation.bot_rejected_at,
        )
        .where(*_settled(library, now), Consultation.title.is_not(None))
        .order_by(Consultation.received_at.desc())
        .limit(MOST)
    )
    found: dict[str, Query] = {}
    for title, language, topic, accepted, rejected_at in session.execute(query):
        right = topic if accepted and rejected_at is None else None
        if title and (right or rejected_at is not None):
            entries = frozenset([right]) if right else frozenset()
            found.setdefault(title, Query(title, language, right, right=entries))
    return list(found.values())


def judged_answers(session: Session, library: Library, now: datetime) -> Sequence[Verdicted]:
    """The bot's answers that were rejected, and those that were not within their 24 hours.

    Who is content says so much more rarely than who is not: the confirmed ones alone would make
    every bot look worse than it is.
    """
    query = (
        select(Event.data, Consultation.bot_rejected_at)
        .join(Consultation, Consultation.id == Event.consultation_id)
        .where(
            Consultation.library_id == library.id,
            Consultation.received_at >= now - timedelta(days=DAYS),
            Consultation.excluded_at.is_(None),
            Consultation.bot_at.is_not(None) | Consultation.bot_rejected_at.is_not(None),
            Event.kind == Kind.BOT_ANSWER,
            Event.at <= now - DAY,
        )
        .order_by(Event.at.desc())
        .limit(MOST)
    )
    return [
        Verdicted(float(data["probability"]), was_right=rejected_at is None)
        for data, rejected_at in session.execute(query)
        if data and data.get("probability") is not None
    ]
