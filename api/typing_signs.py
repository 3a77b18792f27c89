"""The sign on a patron's telephone that a librarian is writing, where the channel has one.

It is a courtesy: shown in the background, seldom, and forgotten when the platform is away.
"""

import threading
import time
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from api.accounts import Channels
from api.db import Database
from api.errors import RefdeskError
from api.logs import log_problem
from bot.channels import CHANNELS
from bot.channels.base import SendError, Typing
from bot.models import Conversation

AGAIN_SECONDS = 8.0  # platforms show it for 5 to 25 seconds
AT_ONCE = 4
MOST_KEPT = 1_000


class TypingSigns:
    """Shows signs for one process."""

    def __init__(
        self,
        database: Database,
        channels: Channels,
        *,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._channels = channels
        self._ticks = ticks
        self._lock = threading.Lock()
        self._shown: dict[int, float] = {}  # conversation: when
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def show(self, conversation_id: int) -> threading.Thread | None:
        """Show it soon, unless it was shown just now; None where nothing was begun."""
        now = self._ticks()
        with self._lock:
            if now - self._shown.get(conversation_id, -AGAIN_SECONDS) < AGAIN_SECONDS:
                return None
            if len(self._shown) >= MOST_KEPT:
                self._shown.clear()
            self._shown[conversation_id] = now
        if not self._places.acquire(blocking=False):
            return None
        thread = threading.Thread(target=self._show, args=(conversation_id,), daemon=True)
        thread.start()
        return thread

    def _show(self, conversation_id: int) -> None:
        try:
            with self._database.snapshot() as session:
                conversation = session.scalars(
                    select(Conversation)
                    .options(joinedload(Conversation.account))
                    .where(Conversation.id == conversation_id)
                ).one()
            account = conversation.account
            if not CHANNELS[account.kind].declaration.typing or account.failures_in_row:
                return
            channel = self._channels.of(account)
            if isinstance(channel, Typing):
                channel.show_typing(conversation.external_id, thread=conversation.thread)
        except (SendError, RefdeskError) as error:
            log_problem("typing_not_shown", error)
        finally:
            self._places.release()
