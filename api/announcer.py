"""Sends what is to be announced: to robots and programs over HTTP, to managers by e-mail."""

import secrets
import threading
from collections.abc import Callable

from api import announcements, egress
from api.announcements import Job
from api.destinations import opened
from api.errors import RefdeskError
from api.letters import letter
from api.libraries import all_libraries
from api.logs import log_problem
from api.mail import Mailer, letter_to
from api.models import AlertDestination
from api.reports.making import seal_month_before
from api.robots import Message, call, read
from api.state import State
from bot.channels.base import SendError, SendFailure
from tracker.models import Library

AT_ONCE = 8  # messages on their way at the same time
Post = Callable[..., egress.Answer]  # as egress.post


class Announcer:
    """One worker's part in announcing; several share the work without doubling it."""

    def __init__(
        self, state: State, *, mailer: Mailer, worker: str, post: Post = egress.post
    ) -> None:
        self._state = state
        self._mailer = mailer
        self._worker = worker
        self._post = post
        self._round: threading.Thread | None = None

    def start_round(self) -> None:
        """Send what is due in threads of their own; a round that still runs is left alone."""
        if self._round is not None and self._round.is_alive():
            return
        with self._state.database.snapshot() as session:
            if not announcements.is_anything_due(session, now=self._state.clock()):
                return
        self._round = threading.Thread(target=self.send_due, name="announcer", daemon=True)
        self._round.start()

    def send_due(self) -> int:
        """Send everything that is due, and wait for it; returns how many were tried."""
        tried = 0
        while jobs := self._leased():
            threads = [threading.Thread(target=self._send, args=(job,)) for job in jobs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            tried += len(jobs)
        return tried

    def _leased(self) -> list[Job]:
        with self._state.database.transaction() as session:
            return announcements.lease(
                session, worker=self._worker, now=self._state.clock(), limit=AT_ONCE
            )

    def _send(self, job: Job) -> None:
        problem: SendError | None = None
        try:
            self._sent(job)
        except SendError as error:
            problem = error
        except RefdeskError as error:  # such as a secret that cannot be read
            problem = SendError(str(error), failure=SendFailure.PERMANENT)
        except Exception as error:  # noqa: BLE001 - whatever it was, the row must not stay leased
            log_problem("announcement_broke", error)
            problem = SendError(type(error).__name__, failure=SendFailure.UNCERTAIN)
        if problem is not None:
            log_problem("announcement_not_sent", problem)
        with self._state.database.transaction() as session:
            announcements.settle(
                session, job, problem, worker=self._worker, now=self._state.clock()
            )

    def _sent(self, job: Job) -> None:
        if job.destination_id is None:
            self._emailed(job)
            return
        with self._state.database.snapshot() as session:
            row = session.get_one(AlertDestination, job.destination_id)
        self._tell(row, Message(job.key, job.kind, job.text, job.data, job.created_at))

    def test(self, row: AlertDestination, *, library: Library) -> None:
        """Show that a destination is reached. Raises SendError."""
        text = letter(row.language, "test_message", library=library.name)
        key = f"msg_{secrets.token_hex(12)}"
        data = {"library": library.slug}
        self._tell(row, Message(key, "destination.test", text, data, self._state.clock()))

    def _tell(self, row: AlertDestination, message: Message) -> None:
        known = opened(row, self._state.keyring)
        made = call(row.kind, known.url, known.secret, message, now=self._state.clock())
        allowed = self._state.settings.private_webhooks
        answer = self._post(made.url, made.body, made.headers, allow_private=allowed)
        read(row.kind, answer)

    def _emailed(self, job: Job) -> None:
        sender = self._state.settings.smtp_from or "refdesk@localhost"
        mail = letter_to(
            job.email or "", subject=job.subject, text=job.text, sender=sender, key=job.key
        )
        self._mailer.send(mail)

    # --- now and then ----------------------------------------------------------------------

    def write_digests(self) -> None:
        """The daily digest of each library whose hour has come."""
        settings = self._state.settings
        for library_id in self._libraries():
            with self._state.database.transaction() as session:
                library = session.get(Library, library_id)
                if library is not None:
                    announcements.announce_digest(
                        session,
                        library,
                        base_url=settings.public_url,
                        by_email=settings.smtp_host is not None,
                        now=self._state.clock(),
                    )

    def seal_reports(self) -> None:
        """Seal each library's last month once it is final, and forget old messages."""
        now = self._state.clock()
        for library_id in self._libraries():
            with self._state.database.transaction() as session:
                library = session.get(Library, library_id)
                if library is not None:
                    seal_month_before(session, library, now=now)
        with self._state.database.transaction() as session:
            announcements.forget_old(session, now=now)

    def _libraries(self) -> list[int]:
        with self._state.database.snapshot() as session:
            return [library.id for library in all_libraries(session)]
