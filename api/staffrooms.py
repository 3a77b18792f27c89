"""The worker's errands between the desk and the channels where librarians work."""

import threading
from datetime import datetime, timedelta

from sqlalchemy import select

from api import staff_threads
from api.errors import RefdeskError
from api.logs import log_problem
from api.staff_threads import Errand
from api.state import State
from bot.channels import CHANNELS
from bot.channels.base import SendError, SendFailure, Staffroom
from bot.models import ChannelAccount, StaffPost
from tracker.models import Library

ROUND_EVERY = timedelta(seconds=2)
BATCH = 20
STOP_SECONDS = 6


class Staffrooms:
    """Opens threads for cases, tells them what happens, and brings answers back.

    One thread of its own carries one message at a time: a room's messages stay in order, and
    a slow platform holds up nothing else.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._thread: threading.Thread | None = None
        self._next_at: datetime | None = None

    def round(self) -> None:
        """Start a round, unless one is under way or has just been."""
        now = self._state.clock()
        is_busy = self._thread is not None and self._thread.is_alive()
        if is_busy or (self._next_at is not None and now < self._next_at):
            return
        self._next_at = now + ROUND_EVERY
        self._thread = threading.Thread(target=self._guarded_work, name="staffrooms", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the round that is under way, so long as a server that stops may wait."""
        if self._thread is not None:
            self._thread.join(timeout=STOP_SECONDS)

    def _guarded_work(self) -> None:
        try:
            self.work()
        except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
            log_problem("staffrooms_failed", error)

    def work(self) -> None:
        """One whole round: announce and follow cases, then carry what is due."""
        for account_id in self._rooms():
            self._gather(account_id)
        while errands := self._due():
            for errand in errands:
                self._carry(errand)

    def _rooms(self) -> list[int]:
        kinds = [kind for kind, made in CHANNELS.items() if made.declaration.staffroom]
        with self._state.database.snapshot() as session:
            accounts = session.scalars(
                select(ChannelAccount).where(ChannelAccount.kind.in_(kinds), ChannelAccount.enabled)
            ).all()
        return [account.id for account in accounts if self._room(account) is not None]

    def _room(self, account: ChannelAccount) -> Staffroom | None:
        try:
            channel = self._state.channels.of(account)
        except (RefdeskError, ValueError) as error:  # its settings cannot be read or are wrong
            log_problem("account_not_opened", error)
            return None
        return channel if getattr(channel, "room", None) is not None else None  # type: ignore[return-value]

    def _gather(self, account_id: int) -> None:
        """Look without a write lock first: most rounds find nothing."""
        state = self._state
        now = state.clock()
        with state.database.snapshot() as session:
            library_id = session.get_one(ChannelAccount, account_id).library_id
            cases = staff_threads.fresh_cases(session, library_id, account_id, now=now)
            events = staff_threads.fresh_events(session, library_id, account_id, now=now)
        if not cases and not events:
            return
        with state.database.transaction() as session:
            account = session.get_one(ChannelAccount, account_id)
            library = session.get_one(Library, library_id)
            base_url = state.settings.public_url
            staff_threads.announce(session, library, account, base_url=base_url, now=now)
            staff_threads.follow(session, library, account, now=now)

    def _due(self) -> list[Errand]:
        now = self._state.clock()
        with self._state.database.snapshot() as session:
            if not staff_threads.is_anything_due(session, now=now):
                return []
        with self._state.database.transaction() as session:
            return staff_threads.lease(session, now=now, limit=BATCH)

    def _carry(self, errand: Errand) -> None:
        with self._state.database.snapshot() as session:
            account = session.get_one(ChannelAccount, errand.account_id)
        room = self._room(account)
        try:
            if room is None:
                raise SendError("the room is closed", failure=SendFailure.RETRY)
            if errand.author is None:
                self._post(errand, room)
            else:
                self._hear(errand, room, errand.author)
        except SendError as error:
            log_problem("staffroom_not_reached", error)
            self._put_off(errand, error)

    def _post(self, errand: Errand, room: Staffroom) -> None:
        thread = room.post(errand.text, thread=errand.thread)
        with self._state.database.transaction() as session:
            staff_threads.posted(session, errand, thread)

    def _hear(self, errand: Errand, room: Staffroom, author: str) -> None:
        email = room.email_of(author)
        with self._state.database.transaction() as session:
            post = session.get_one(StaffPost, errand.post_id)
            library = session.get_one(Library, post.library_id)
            staff_threads.hear(session, library, post, email, now=self._state.clock())

    def _put_off(self, errand: Errand, error: SendError) -> None:
        with self._state.database.transaction() as session:
            staff_threads.not_carried(session, errand, error, now=self._state.clock())
