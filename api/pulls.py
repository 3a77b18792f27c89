"""The worker's fetching: from every channel that does not bring its messages, when it is due.

Each source is fetched in a thread of its own, as replies are sent: a mail server that does
not answer holds up nobody else.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from api.errors import RefdeskError
from api.logs import log_problem
from api.state import State
from bot import pulling
from bot.channels.base import Channel, Pulled, SendError, SendFailure
from bot.models import ChannelAccount, ChannelCursor

SLOTS = 8  # sources that are fetched at the same time
STOP_SECONDS = 6
NOTICE_EVERY = timedelta(seconds=15)  # how soon an account that was added is looked into


class Pulls:
    """Fetches what is due, round after round."""

    def __init__(
        self, state: State, *, worker: str, lease_time: Callable[[Session], datetime]
    ) -> None:
        """`lease_time` is the clock that all workers share."""
        self._state = state
        self._worker = worker
        self._lease_time = lease_time
        self._slots = threading.BoundedSemaphore(SLOTS)
        self._watched_at: datetime | None = None

    def round(self) -> int:
        """Start fetching from every source that is due; returns from how many."""
        now = self._state.clock()
        if self._watched_at is None or now - self._watched_at >= NOTICE_EVERY:
            self._watched_at = now
            self.watch()
        return self._start() if self._is_anything_due() else 0

    def finish(self) -> bool:
        """Wait for what is being fetched, so long as a server that stops may; whether all is."""
        taken = sum(self._slots.acquire(timeout=STOP_SECONDS / SLOTS) for _ in range(SLOTS))
        for _ in range(taken):
            self._slots.release()
        return taken == SLOTS

    def watch(self) -> None:
        """Know the sources of every account, those that were added meanwhile among them."""
        with self._state.database.snapshot() as session:
            asked = ChannelAccount.kind.in_(pulling.asked_kinds())
            accounts = session.scalars(select(ChannelAccount).where(asked, ChannelAccount.enabled))
            wanted = [(account, self._sources(account)) for account in accounts]
            rows = session.execute(select(ChannelCursor.account_id, ChannelCursor.source))
            known = {(account_id, source) for account_id, source in rows}
            missing = {(account.id, s) for account, found in wanted for s in found} - known
        for account, sources in wanted:
            if any((account.id, source) in missing for source in sources):
                with self._state.database.transaction() as session:
                    pulling.watch(session, account, sources, now=self._state.clock())

    def _sources(self, account: ChannelAccount) -> tuple[str, ...]:
        try:
            return pulling.pulling(self._state.channels.of(account)).sources
        except (RefdeskError, ValueError) as error:  # its settings cannot be read or are wrong
            log_problem("account_not_opened", error)
            return ()

    def _is_anything_due(self) -> bool:
        """A look without a write lock: most rounds find nothing."""
        with self._state.database.snapshot() as session:
            now = self._lease_time(session)
            due = or_(ChannelCursor.due_at <= now, ChannelCursor.leased_until <= now)
            return session.scalar(select(ChannelCursor.id).where(due).limit(1)) is not None

    def _start(self) -> int:
        free = 0
        while free < SLOTS and self._slots.acquire(blocking=False):
            free += 1
        errands: list[pulling.Errand] = []
        try:
            if free:
                with self._state.database.transaction() as session:
                    now = self._lease_time(session)
                    errands = pulling.lease(session, worker=self._worker, now=now, limit=free)
        finally:
            for _ in range(free - len(errands)):
                self._slots.release()
        for errand in errands:
            threading.Thread(target=self._fetch, args=(errand,), daemon=True).start()
        return len(errands)

    def _fetch(self, errand: pulling.Errand) -> None:
        try:
            self._fetch_and_store(errand)
        except Exception as error:  # noqa: BLE001 - the lease ends, and another look comes
            log_problem("messages_not_stored", error)
        finally:
            self._slots.release()

    def _fetch_and_store(self, errand: pulling.Errand) -> None:
        state = self._state
        with state.database.snapshot() as session:
            account = session.get_one(ChannelAccount, errand.account_id)
        try:
            channel = state.channels.of(account)
            pulled = pulling.pulling(channel).pull(
                errand.source, errand.cursor, hint=errand.hint, now=state.clock()
            )
        except SendError as error:
            self._fail(errand, error)
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, the source must not stay leased
            log_problem("pull_broke", error)
            self._fail(errand, SendError(type(error).__name__, failure=SendFailure.RETRY))
            return
        self._store(errand, channel, pulled)

    def _store(self, errand: pulling.Errand, channel: Channel, pulled: Pulled) -> None:
        state = self._state
        now = state.clock()
        with state.database.snapshot() as session:
            desk = state.desks.of(session, errand.library_id, now=now)
        with state.database.transaction() as session:
            stored = pulling.store(
                session,
                desk,
                errand,
                pulled,
                worker=self._worker,
                poll_seconds=pulling.pulling(channel).poll_seconds,
                now=now,
            )
        if stored is None:
            return
        new = sum(not turn.duplicate for turn in stored.turns)
        state.measures.messages.labels(channel.kind).inc(new)
        for _, trouble in (*stored.stumbled, *stored.lost):
            log_problem("message_not_taken", trouble)

    def _fail(self, errand: pulling.Errand, error: SendError) -> None:
        log_problem("pull_failed", error)
        with self._state.database.transaction() as session:
            pulling.failed(session, errand, error, worker=self._worker, now=self._state.clock())
