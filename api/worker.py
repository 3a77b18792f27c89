"""The loop behind the pages: deliver replies, notice missed deadlines, close what is done."""

import threading

from api.state import State


class Worker:
    """Runs its round again and again in a thread until it is stopped."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=8)

    def _run(self) -> None:
        while not self._stopping.wait(1):
            pass
