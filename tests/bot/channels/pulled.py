"""The library's end of a channel whose messages must be fetched: a small desk with cursors."""

from dataclasses import dataclass, field

from bot.channels.base import SendError, Undelivered
from bot.messages import Waiting
from tests.bot.channels.library import Desk, request_of
from tests.fakes.platform import Call


@dataclass
class PullingDesk(Desk):
    """Remembers a callback's word, acknowledges, then fetches until nothing is left."""

    cursors: dict[str, str | None] = field(default_factory=dict)
    undelivered: list[Undelivered] = field(default_factory=list)
    failures: list[SendError] = field(default_factory=list)
    words: list[Waiting] = field(default_factory=list)
    fetches: bool = True  # False: the worker stands still
    lose_next_store: bool = False

    def __call__(self, call: Call) -> tuple[int, bytes]:
        answer = super().__call__(call)
        if answer[0] == 200:
            self.words += self.channel.receive(request_of(call), now=self.clock()).waiting
            if self.fetches:
                self.works()
        return answer

    def works(self) -> None:
        """Fetch what callbacks spoke of."""
        for waiting in self.words:
            self.fetch(waiting.source, waiting.hint)
        self.words.clear()

    def fetch(self, source: str, hint: str | None = None) -> None:
        """Look into one source, page after page; what is not stored is fetched again."""
        more = True
        while more:
            cursor = self.cursors.get(source)
            try:
                pulled = self.channel.pull(source, cursor, hint=hint, now=self.clock())
            except SendError as error:
                self.failures.append(error)
                return
            if self.lose_next_store:
                self.lose_next_store = False
                continue
            for inbound in pulled.messages:
                self._take(inbound)
            self.undelivered += pulled.undelivered
            self.cursors[source] = pulled.cursor or cursor
            more = pulled.more
