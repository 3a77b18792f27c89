"""The loop behind the pages: deliver replies, notice missed deadlines, close what is done.

Everything that waits is a row with its next moment in an indexed column, so that a worker
can stop at any time and another one goes on. Sending happens in threads of its own: one slow
platform does not hold up the others.
"""

import os
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api import alerts, announcements
from api.announcer import Announcer
from api.errors import RefdeskError
from api.handovers import HandOvers
from api.letters import letter
from api.libraries import all_libraries
from api.logs import log_problem
from api.mail import Mailer, create_mailer, letter_to
from api.privacy import forget_old
from api.pulls import Pulls
from api.reviews import Reviews
from api.shopper import Shopper
from api.staffrooms import Staffrooms
from api.state import State
from bot import delivery, replays
from bot.channels.base import SendError, SendFailure
from bot.models import ChannelAccount, Conversation, Outbox, OutboxState
from tracker import rollups, sweep
from tracker.dirty import mark_dirty
from tracker.models import Library

POLL_SECONDS = 0.5
SHORT_REST_SECONDS = 0.02
TROUBLED_REST_SECONDS = 3.0
SLOTS = 32  # messages on their way at the same time, of them few for one account (bot.delivery)
STOP_SECONDS = 6
BATCH = 100
EMAIL = "email"


@dataclass
class Chore:
    """Something to do now and then."""

    name: str
    every: timedelta
    do: Callable[[], None]
    next_at: datetime | None = None


class Worker:
    """Runs its rounds until it is told to stop."""

    def __init__(self, state: State, *, mailer: Mailer | None = None) -> None:
        self._state = state
        self._mailer = mailer or create_mailer(state.settings)
        self._name = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._random = SystemRandom()
        self._stopping = threading.Event()
        self._slots = threading.BoundedSemaphore(SLOTS)
        self._guard = threading.Lock()
        self._busy: Counter[int] = Counter()  # messages on their way, by lane
        self._freed = threading.Event()  # one of them is there
        self._thread: threading.Thread | None = None
        self.pulls = Pulls(state, worker=self._name, lease_time=self._lease_time)
        self.staffrooms = Staffrooms(state)
        self.hand_overs = HandOvers(state)
        self.announcer = Announcer(state, mailer=self._mailer, worker=self._name)
        self.shopper = Shopper(state)
        self.reviews = Reviews(state)
        self._chores = [
            Chore("recover", timedelta(seconds=10), self.recover),
            Chore("hand_over", timedelta(seconds=2), self.hand_overs.start_round),
            Chore("sweep", timedelta(seconds=10), self.sweep),
            Chore("close_idle", timedelta(minutes=1), self.close_idle),
            Chore("escalate_dead_ends", timedelta(minutes=1), self.escalate_dead_ends),
            Chore("alert_staff", timedelta(seconds=30), self.alert_staff),
            Chore("announce", timedelta(seconds=5), self.announcer.start_round),
            Chore("probe", timedelta(seconds=30), self.probe),
            Chore("write_digests", timedelta(minutes=5), self.announcer.write_digests),
            Chore("seal_reports", timedelta(hours=1), self.announcer.seal_reports),
            Chore("refresh_rollups", timedelta(minutes=1), self.refresh_rollups),
            Chore("check_rollups", timedelta(days=1), self.check_rollups),
            Chore("forget_old", timedelta(hours=6), self.forget_old),
            Chore("review", timedelta(minutes=10), self.reviews.start_round),
            Chore("forget_signatures", timedelta(minutes=10), self.forget_signatures),
            Chore("count_replies", timedelta(seconds=30), self.count_replies),
        ]

    # --- running -------------------------------------------------------------------------

    def start(self) -> None:
        """Run in a thread of this process."""
        self._thread = threading.Thread(target=self.run, name="worker", daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stopping.set()
        self._freed.set()

    def stop(self) -> None:
        """Stop after what is under way; what takes too long is left to the next worker."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join(timeout=STOP_SECONDS)

    def run(self) -> None:
        """Round after round until told to stop."""
        while not self._stopping.is_set():
            is_well = self._guarded("pull", self.pulls.round)
            self._guarded("staffrooms", self.staffrooms.round)
            self._guarded("deliver", self.deliver)
            for chore in self._chores:
                self._run_when_due(chore)
            self._state.measures.worker_seen.set_to_current_time()
            if not is_well:  # the database is away, most likely
                self._stopping.wait(TROUBLED_REST_SECONDS)
            self._rest()
        for _ in range(SLOTS):  # wait for what is on its way
            self._slots.acquire(timeout=STOP_SECONDS / SLOTS)
        self.pulls.finish()
        self.staffrooms.finish()

    def _rest(self) -> None:
        """Until the next round; a place that becomes free is filled soon."""
        if self._freed.wait(POLL_SECONDS):
            self._freed.clear()
            self._stopping.wait(SHORT_REST_SECONDS)

    def _run_when_due(self, chore: Chore) -> None:
        now = self._state.clock()
        if chore.next_at is None or chore.next_at <= now:
            chore.next_at = now + chore.every
            self._guarded(chore.name, chore.do)

    def _guarded(self, name: str, do: Callable[[], object]) -> bool:
        """One chore that fails must not stop the others, nor this one's next round."""
        try:
            do()
            return True
        except (SQLAlchemyError, RefdeskError, OSError) as error:
            log_problem(f"{name}_failed", error)
        except Exception as error:  # noqa: BLE001 - a worker that is gone helps nobody
            log_problem(f"{name}_failed_unexpectedly", error)
        return False

    # --- delivery ------------------------------------------------------------------------

    def deliver(self) -> int:
        """Send what is due, each reply in a thread of its own; returns how many were taken."""
        taken = 0
        while not self._stopping.is_set() and self._is_anything_due():
            free = self._take_slots()
            if not free:
                break
            with self._state.database.transaction() as session:
                now = self._lease_time(session)
                with self._guard:
                    busy = dict(self._busy)
                jobs = delivery.lease(session, worker=self._name, now=now, limit=free, busy=busy)
            for _ in range(free - len(jobs)):
                self._slots.release()
            with self._guard:
                self._busy.update(job.lane for job in jobs)
            for job in jobs:
                threading.Thread(target=self._send, args=(job,), daemon=True).start()
            taken += len(jobs)
            if not jobs:
                break
        return taken

    def deliver_all(self) -> int:
        """Deliver and wait until everything that was taken is settled (for tests and demos)."""
        taken = self.deliver()
        for _ in range(SLOTS):
            self._slots.acquire()
        for _ in range(SLOTS):
            self._slots.release()
        return taken

    def _take_slots(self) -> int:
        free = 0
        while free < SLOTS and self._slots.acquire(blocking=False):
            free += 1
        return free

    def _is_anything_due(self) -> bool:
        """A look without a write lock: most rounds find nothing."""
        with self._state.database.snapshot() as session:
            due = select(Outbox.id).where(
                Outbox.state == OutboxState.NEW,
                Outbox.next_attempt_at <= self._lease_time(session),
            )
            return session.scalar(due.limit(1)) is not None

    def _lease_time(self, session: Session) -> datetime:
        """The database's clock where several machines lease, else the process's."""
        if self._state.database.is_sqlite or not self._state.uses_present_time:
            return self._state.clock()
        moment: datetime = session.scalars(text("SELECT clock_timestamp()")).one()
        return moment

    def _send(self, job: delivery.Job) -> None:
        try:
            self._guarded("send", lambda: self._send_and_settle(job))
        finally:
            with self._guard:
                self._busy[job.lane] -= 1
            self._slots.release()
            self._freed.set()

    def _send_and_settle(self, job: delivery.Job) -> None:
        state = self._state
        try:
            result = self._sent(job)
        except Exception as error:  # noqa: BLE001 - whatever it was, the row must not stay leased
            log_problem("send_broke", error)
            result = SendError(type(error).__name__, failure=SendFailure.UNCERTAIN)
        with state.database.transaction() as session:
            delivery.settle(
                session,
                job,
                result,
                worker=self._name,
                now=self._lease_time(session),
                random=self._random,
            )

    def _sent(self, job: delivery.Job) -> delivery.Result:
        if job.via == EMAIL:
            return self._emailed(job)
        with self._state.database.snapshot() as session:
            account = session.get_one(ChannelAccount, job.account_id)
        channel = self._state.channels.of(account)
        return delivery.send(job, channel, now=self._state.clock())

    def _emailed(self, job: delivery.Job) -> delivery.Result:
        """A reply to a patron's own address."""
        with self._state.database.snapshot() as session:
            row = session.get_one(Outbox, job.outbox_id)
            conversation = session.get_one(Conversation, row.conversation_id)
            library = session.get_one(Library, row.library_id)
        subject = letter(conversation.language, "patron_subject", library=library.name)
        try:
            message = letter_to(
                job.to,
                subject=subject,
                text=job.reply.text,
                sender=self._sender,
                key=job.key,
            )
            self._mailer.send(message)
        except SendError as error:
            return error
        return delivery.Sent(str(message["Message-ID"]))

    @property
    def _sender(self) -> str:
        return self._state.settings.smtp_from or "refdesk@localhost"

    # --- chores --------------------------------------------------------------------------

    def recover(self) -> None:
        """Settle replies whose worker died while sending."""
        with self._state.database.snapshot() as session:
            lost = session.scalar(
                select(func.count()).where(
                    Outbox.state == OutboxState.SENDING,
                    Outbox.leased_until <= self._lease_time(session),
                )
            )
        if lost:
            with self._state.database.transaction() as session:
                delivery.recover(session, now=self._lease_time(session))

    def sweep(self) -> None:
        """Record missed deadlines."""
        while not self._stopping.is_set():
            with self._state.database.transaction() as session:
                if not sweep.sweep(session, now=self._state.clock(), limit=BATCH):
                    return

    def close_idle(self) -> None:
        """Close what the bot answered a day ago."""
        while not self._stopping.is_set():
            with self._state.database.transaction() as session:
                if sweep.close_idle(session, now=self._state.clock(), limit=BATCH) < BATCH:
                    return

    def escalate_dead_ends(self) -> None:
        """Put before the librarians what the bot left open: choices that nobody took, say."""
        while not self._stopping.is_set():
            with self._state.database.transaction() as session:
                now = self._state.clock()
                if len(sweep.escalate_dead_ends(session, now=now, limit=BATCH)) < BATCH:
                    return

    def refresh_rollups(self) -> None:
        """Compute days anew whose events have changed."""
        while not self._stopping.is_set():
            with self._state.database.transaction() as session:
                if rollups.refresh(session, now=self._state.clock(), limit=BATCH) < BATCH:
                    return

    def check_rollups(self) -> None:
        """Count a few days again, others every day, and have those repaired that are wrong."""
        seed = self._state.clock().date().isoformat()
        with self._state.database.snapshot() as session:
            wrong = rollups.wrong_in_sample(session, seed=seed)
        for library_id, days in wrong.items():
            with self._state.database.transaction() as session:
                mark_dirty(session, library_id, days)
            structlog.get_logger("refdesk").error(
                "rollups_wrong", library=library_id, days=[day.isoformat() for day in days]
            )

    def probe(self) -> None:
        """Ask the test questions that are due, and flag those that are a day old."""
        self.shopper.round()

    def forget_old(self) -> None:
        """Remove what is older than a library keeps, and sessions that have ended."""
        with self._state.database.snapshot() as session:
            libraries = [library.id for library in all_libraries(session)]
        for library_id in libraries:
            with self._state.database.transaction() as session:
                library = session.get(Library, library_id)
                if library is not None:
                    forget_old(session, library, now=self._state.clock())

    def forget_signatures(self) -> None:
        """Drop the memory of signatures that can be replayed no longer."""
        with self._state.database.transaction() as session:
            replays.forget(session, now=self._state.clock())

    def count_replies(self) -> None:
        """Keep the gauge of unsent replies."""
        with self._state.database.snapshot() as session:
            rows = session.execute(
                select(Outbox.state, func.count())
                .where(Outbox.state != OutboxState.SENT)
                .group_by(Outbox.state)
            )
            counts = dict(rows.all())
        for each in OutboxState:
            if each is not OutboxState.SENT:
                self._state.measures.replies.labels(str(each)).set(counts.get(str(each), 0))

    def alert_staff(self) -> None:
        """Tell staff about questions that wait, each once per reason: by e-mail, by robots."""
        mails = self._state.settings.smtp_host is not None
        with self._state.database.snapshot() as session:
            libraries = [
                library.id
                for library in all_libraries(session)
                if mails or announcements.has_listeners(session, library)
            ]
        for library_id in libraries:
            self._alert_library(library_id)

    def _alert_library(self, library_id: int) -> None:
        state = self._state
        with state.database.transaction() as session:
            library = session.get(Library, library_id)
            if library is None:
                return
            announcements.announce_waiting(
                session,
                library,
                alerts.claim(session, library, now=state.clock()),
                base_url=state.settings.public_url,
                by_email=state.settings.smtp_host is not None,
                now=state.clock(),
            )
