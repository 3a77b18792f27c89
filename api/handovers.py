"""Rasa assistants whose conversation a librarian has: paused, read along, resumed at the end.

A paused assistant calls no action, so that what its patron writes then would reach nobody:
we read it from the tracker. What should be so is computed from the consultations in every
round and compared with what Rasa says, so that a server that was away, a session that Rasa
began anew (which ends its pause) or a worker that stopped loses nothing.
"""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from api.errors import RefdeskError
from api.logs import log_problem
from api.state import State
from bot import assistants
from bot.channels.base import SendError
from bot.channels.rasa_server import RasaServer
from bot.messages import Inbound
from bot.models import ChannelAccount, Conversation

SOONEST = timedelta(seconds=2)  # between two looks at a conversation in which somebody writes
LATEST = timedelta(seconds=30)  # in one that has gone quiet
SLOWER = 1.5  # how much longer after each look that brought nothing


@dataclass
class _Rhythm:
    """When to look again."""

    pause: timedelta = SOONEST
    next_at: datetime | None = None
    wanted: bool | None = None

    def is_due(self, wanted: bool, now: datetime) -> bool:
        return self.wanted != wanted or self.next_at is None or self.next_at <= now

    def look(self, wanted: bool, found: bool, now: datetime) -> None:
        self.pause = SOONEST if found or self.wanted != wanted else self.pause * SLOWER
        self.pause = min(self.pause, LATEST)
        self.wanted, self.next_at = wanted, now + self.pause


class HandOvers:
    """Keeps assistants silent while librarians speak, round after round."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._rhythms: dict[int, _Rhythm] = {}
        self._running = threading.Lock()

    def start_round(self) -> None:
        """Look in a thread of its own, unless the last look is still under way."""
        if not self._running.acquire(blocking=False):
            return
        threading.Thread(target=self._guarded_round, name="hand-overs", daemon=True).start()

    def _guarded_round(self) -> None:
        try:
            self.round()
        except (SQLAlchemyError, RefdeskError, ValueError) as error:
            log_problem("hand_overs_failed", error)
        finally:
            self._running.release()

    def round(self) -> int:
        """Look at every conversation that is due; returns how many messages were new."""
        with self._state.database.snapshot() as session:
            accounts = session.scalars(
                select(ChannelAccount).where(
                    ChannelAccount.kind == RasaServer.kind, ChannelAccount.enabled
                )
            ).all()
        return sum(self._look_at(account) for account in accounts)

    def _look_at(self, account: ChannelAccount) -> int:
        channel = self._state.channels.of(account)
        if not isinstance(channel, RasaServer) or not channel.hands_over:
            return 0
        now = self._state.clock()
        with self._state.database.snapshot() as session:
            due = assistants.to_follow(session, account, now=now)
        taken = 0
        for conversation, since in due:
            rhythm = self._rhythms.setdefault(conversation.id, _Rhythm())
            if not rhythm.is_due(since is not None, now):
                continue
            found = 0
            try:
                found = self._follow(channel, account, conversation, since, now)
            except SendError as error:
                log_problem("assistant_not_reached", error)
            else:
                if since is None:
                    self._rhythms.pop(conversation.id)
            rhythm.look(since is not None, found > 0, now)
            taken += found
        return taken

    def _follow(
        self,
        channel: RasaServer,
        account: ChannelAccount,
        conversation: Conversation,
        since: datetime | None,
        now: datetime,
    ) -> int:
        """Pause or resume, and take what was written while it was paused. Raises SendError."""
        followed = channel.follow(conversation.external_id, paused=since is not None)
        begun = since or assistants.paused_since(conversation)
        new = [each for each in followed.messages if begun and _came_after(each, begun)]
        taken = sum(self._take(account, inbound) for inbound in new)
        self._remember(conversation, begun if followed.paused else None)
        return taken

    def _take(self, account: ChannelAccount, inbound: Inbound) -> bool:
        state = self._state
        now = state.clock()
        with state.database.snapshot() as session:
            if assistants.is_known(session, account, inbound.dedupe_key):
                return False
            desk = state.desks.of(session, account.library_id, now=now)
        with state.database.transaction() as session:
            turn = assistants.overhear(session, desk, account, inbound, now=now)
        if not turn.duplicate:
            state.measures.messages.labels(account.kind).inc()
        return not turn.duplicate

    def _remember(self, conversation: Conversation, since: datetime | None) -> None:
        if (assistants.paused_since(conversation) is None) == (since is None):
            return
        with self._state.database.transaction() as session:
            assistants.remember_pause(session, conversation.id, since)


def _came_after(inbound: Inbound, since: datetime) -> bool:
    return inbound.sent_at is not None and inbound.sent_at >= since
