"""What every route of one running server shares."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from fastapi import FastAPI, Request

from api.accounts import Channels
from api.bus import EventBus
from api.crypto import Keyring
from api.db import Database
from api.desks import Desks
from api.doors import Doors
from api.limits import Limiter
from api.measures import Measures
from api.settings import Settings
from api.standby import Standby
from api.typing_signs import TypingSigns
from kb.knowledge import KnowledgeBases

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class State:
    """One installation, ready to serve."""

    settings: Settings
    database: Database
    bus: EventBus
    clock: Clock
    knowledge: KnowledgeBases
    keyring: Keyring
    limiter: Limiter
    channels: Channels
    desks: Desks
    doors: Doors
    standby: Standby
    typing_signs: TypingSigns
    uses_present_time: bool = True  # False: a clock that somebody else moves
    measures: Measures = field(default_factory=Measures)
    warmed: threading.Event = field(default_factory=threading.Event)

    def close(self) -> None:
        """Let go of connections."""
        self.channels.close()
        self.bus.close()
        self.database.close()


def install(app: FastAPI, state: State) -> None:
    """Make the state known to the routes, whole and by its parts."""
    app.state.refdesk = state
    for part in ("settings", "database", "bus", "clock", "knowledge"):
        setattr(app.state, part, getattr(state, part))


def state_of(request: Request) -> State:
    """The state of the server that answers this request."""
    found: State = request.app.state.refdesk
    return found
