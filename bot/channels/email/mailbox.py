"""Reading a mailbox over IMAP, without changing anything in it.

Polling, not IDLE: a look every 20 seconds is soon enough for mail, needs no connection that
stays open for each account, and goes on after any failure by itself.
"""

import imaplib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from imap_tools import (
    BaseMailBox,
    ImapToolsError,
    MailBox,
    MailboxLoginError,
    MailBoxStartTls,
    MailBoxUnencrypted,
)

from bot.channels.base import SendError, SendFailure
from bot.channels.email.account import STARTTLS, TLS, Account

TIMEOUT_SECONDS = 20.0
PAGE = 25  # mails a look
MAX_MAIL = 1024 * 1024  # bytes of a mail that are fetched; attachments behind them are only named
RENUMBERED = timedelta(days=3)  # how far back to look when the server has numbered all mails anew
LOGIN_PAUSE = 600.0  # seconds: a wrong password tried too often locks an account
_CURSOR = re.compile(r"(\d{1,12}):(\d{1,12})")
_BROKEN = (OSError, EOFError, imaplib.IMAP4.error, ImapToolsError)


@dataclass(frozen=True, slots=True)
class Page:
    """Some new mails, raw, and up to where the mailbox has been read."""

    mails: tuple[bytes, ...]
    cursor: str
    more: bool


def read_page(account: Account, folder: str, cursor: str | None, *, now: datetime) -> Page:
    """The mails after the cursor ("uidvalidity:uid"). Raises SendError.

    The first look (None) only notes where the mailbox ends: what lies in it was somebody
    else's to answer.
    """
    with signed_in(account) as box, _failures():
        status = box.folder.status(folder, ["UIDVALIDITY", "UIDNEXT"])
        numbering, following = status["UIDVALIDITY"], status["UIDNEXT"]
        if cursor is None:
            return Page((), f"{numbering}:{following - 1}", more=False)
        box.folder.set(folder, readonly=True)
        last, criteria = _after(cursor, numbering, now)
        uids = sorted(uid for uid in map(int, box.uids(criteria)) if uid > last)
        page = uids[:PAGE]
        mails = tuple(mail for uid in page if (mail := _fetch(box, uid)) is not None)
        read_to = page[-1] if page else max(last, 0)
        return Page(mails, f"{numbering}:{read_to}", more=len(uids) > len(page))


def check_mailbox(account: Account) -> None:
    """Sign in and open the folder. Raises SendError."""
    with signed_in(account) as box, _failures():
        box.folder.set(account.folder, readonly=True)


@contextmanager
def signed_in(account: Account) -> Iterator[BaseMailBox]:
    """The mailbox's server, with us signed in. Raises SendError."""
    with _failures():
        box = _connected(account)
    try:
        with _failures():
            box.login(account.imap.user, account.imap.password, initial_folder=None)
        yield box
    finally:
        _leave(box)


def _connected(account: Account) -> BaseMailBox:
    server = account.imap
    if server.security == TLS:
        context = ssl.create_default_context()
        return MailBox(server.host, server.port, TIMEOUT_SECONDS, ssl_context=context)
    if server.security == STARTTLS:
        context = ssl.create_default_context()
        return _StartTls(server.host, server.port, TIMEOUT_SECONDS, ssl_context=context)
    return MailBoxUnencrypted(server.host, server.port, TIMEOUT_SECONDS)


def _leave(box: BaseMailBox) -> None:
    try:
        box.logout()
    except _BROKEN:  # the connection was lost before: there is nothing left to leave
        box.client.shutdown()


class _StartTls(MailBoxStartTls):
    """Hangs up on a server that will not encrypt, which the library leaves open."""

    def _get_mailbox_client(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4(self._host, self._port, timeout=self._timeout)
        try:
            client.starttls(self._ssl_context)
        except BaseException:
            client.shutdown()
            raise
        return client


@contextmanager
def _failures() -> Iterator[None]:
    """What goes wrong with a mailbox, without the server's words (they may quote ours)."""
    try:
        yield
    except MailboxLoginError:
        message = "The mail server refuses the user name or password."
        raise SendError(
            message, failure=SendFailure.RETRY, code="login", retry_after=LOGIN_PAUSE
        ) from None
    except ssl.SSLError as error:
        message = f"The mail server's certificate is not accepted ({type(error).__name__})."
        raise SendError(message, failure=SendFailure.RETRY, code="tls") from None
    except (*_BROKEN, LookupError, ValueError, TypeError) as error:  # the latter: an odd answer
        message = f"The mailbox could not be read ({type(error).__name__})."
        raise SendError(message, failure=SendFailure.RETRY) from None


def _after(cursor: str, numbering: int, now: datetime) -> tuple[int, str]:
    """The last number that was read, and what to search for."""
    found = _CURSOR.fullmatch(cursor)
    if found is not None and int(found[1]) == numbering:
        last = int(found[2])
        return last, f"UID {last + 1}:*"
    # All numbers are new. What was stored before is known by its Message-ID.
    since = now - RENUMBERED
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return 0, f"SINCE {since.day}-{months[since.month - 1]}-{since.year}"


def _fetch(box: BaseMailBox, uid: int) -> bytes | None:
    """A mail's first megabyte; None when it was deleted meanwhile."""
    state, parts = box.client.uid("fetch", str(uid), f"(UID BODY.PEEK[]<0.{MAX_MAIL}>)")
    if state != "OK":
        raise ImapToolsError(state)
    for part in parts or ():
        if isinstance(part, tuple) and isinstance(part[1], bytes):
            return part[1]
    return None
