"""A chat widget's side of Socket.IO: Engine.IO 4 over a WebSocket, written from its protocol."""

import json
import time
from typing import Any, Self

from websockets.sync.client import connect

OPEN, PING, PONG, MESSAGE = "0", "2", "3", "4"
CONNECT, EVENT, CONNECT_ERROR = "0", "2", "4"


class Widget:
    """One connection; what it hears is kept in order."""

    def __init__(self, url: str, *, origin: str | None = None, eio: int = 4) -> None:
        address = url.replace("http", "ws", 1) + f"/socket.io/?EIO={eio}&transport=websocket"
        self._socket = connect(address, origin=origin, open_timeout=30)  # type: ignore[arg-type]
        self.heard: list[tuple[str, Any]] = []
        self.refusal: Any = None
        packet = self._next(30)
        assert packet is not None
        assert packet.startswith(OPEN)
        self._socket.send(MESSAGE + CONNECT)
        answer = self._next(30) or ""
        if answer.startswith(MESSAGE + CONNECT_ERROR):
            self.refusal = json.loads(answer[2:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def emit(self, event: str, *data: Any) -> None:
        self._socket.send(MESSAGE + EVENT + json.dumps([event, *data]))

    def hear(self, count: int = 1, within: float = 30) -> list[Any]:
        """The next events' data; fewer where none comes in time."""
        deadline = time.monotonic() + within
        found: list[Any] = []
        while len(found) < count and (left := deadline - time.monotonic()) > 0:
            packet = self._next(left)
            if packet is not None and packet.startswith(MESSAGE + EVENT):
                name, *data = json.loads(packet[2:])
                self.heard.append((name, data[0] if data else None))
                found.append(self.heard[-1][1])
        return found

    def begin(self, session: str | None = None) -> str:
        """Ask for a session; returns the one that was confirmed."""
        self.emit("session_request", {"session_id": session})
        (confirmed,) = self.hear()
        assert self.heard[-1][0] == "session_confirm"
        return str(confirmed)

    def say(self, text: str, session: str | None, **more: Any) -> None:
        self.emit("user_uttered", {"message": text, "session_id": session, **more})

    def _next(self, within: float) -> str | None:
        try:
            packet = str(self._socket.recv(timeout=within))
        except TimeoutError:
            return None
        if packet == PING:
            self._socket.send(PONG)
        return packet
