"""Asks the probes: over the widget by itself, over other channels by somebody with a telephone.

A question over the widget goes through the front door like a patron's: an HTTP request to our
own public address, with a session of its own.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import select

from api import egress
from api.logs import log_problem
from api.state import State
from bot.channels.base import SendError
from bot.channels.web import session_patron
from bot.models import Inbox
from kb.text import detect_language
from tracker import probes
from tracker.models import Library, Probe

WEB = "web"
AT_ONCE = 10
Post = Callable[..., egress.Answer]  # as egress.post


class Shopper:
    """One worker's part in probing; several share the work without asking twice."""

    def __init__(self, state: State, *, post: Post = egress.post) -> None:
        self._state = state
        self._post = post

    def round(self) -> int:
        """Ask what is due, recognise what was asked by hand, flag what is a day old.

        Returns how many were asked.
        """
        now = self._state.clock()
        with self._state.database.snapshot() as session:
            open_states = (probes.PLANNED, probes.ASKED, probes.FOUND)
            wanted = select(Probe.id).where(Probe.state.in_(open_states), Probe.due_at <= now)
            if session.scalar(wanted.limit(1)) is None:
                return 0
        asked = self._ask_due()
        with self._state.database.transaction() as session:
            probes.recognise(session, now=now)
            probes.flag(session, now=now)
        return asked

    def _ask_due(self) -> int:
        with self._state.database.transaction() as session:
            due = probes.take_due(session, channel=WEB, now=self._state.clock(), limit=AT_ONCE)
            wanted = [
                (probe.id, session.get_one(Library, probe.library_id).slug, probe.question)
                for probe in due
            ]
        for number, slug, question in wanted:
            self._ask(number, slug, question)
        return len(wanted)

    def _ask(self, number: int, slug: str, question: str) -> None:
        message = secrets.token_hex(8)
        try:
            started = self._call(
                f"/widget/{slug}/sessions", {"language": detect_language(question)}
            )
            given = str(started["session"])
            self._call(
                f"/widget/{slug}/messages", {"session": given, "id": message, "text": question}
            )
        except (SendError, KeyError, ValueError) as error:
            log_problem("probe_not_asked", error)
            with self._state.database.transaction() as session:
                probes.failed(session, session.get_one(Probe, number), str(error)[:200])
            return
        self._link(number, f"{session_patron(given)}:{message}")

    def _call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask our own front door. Raises SendError, ValueError."""
        content = json.dumps(body, ensure_ascii=False).encode()
        headers = {"content-type": "application/json", "user-agent": "refdesk"}
        url = f"{self._state.settings.public_url}{path}"
        answer = self._post(url, content, headers, allow_private=True)
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
        found = json.loads(answer.body)
        if not isinstance(found, dict):
            raise ValueError("the answer is no object")
        return found

    def _link(self, number: int, dedupe_key: str) -> None:
        with self._state.database.transaction() as session:
            probe = session.get_one(Probe, number)
            arrived = session.scalar(
                select(Inbox.consultation_id).where(
                    Inbox.library_id == probe.library_id, Inbox.dedupe_key == dedupe_key
                )
            )
            if arrived is not None:
                probes.found(session, probe, arrived)
