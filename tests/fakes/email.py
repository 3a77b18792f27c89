"""A mail server for one mailbox, on this machine: IMAP to read it, SMTP to send from it.

As much of RFC 3501 and RFC 5321 as a polite client uses, on an injected clock, with failures
on demand. Nothing here imports the adapter.
"""

import base64
import re
import socketserver
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from enum import StrEnum

USER, PASSWORD = "ask@library.example", "mail demo password"


class Fault(StrEnum):
    """What may go wrong, beside an answer with a code."""

    CLOSE = "close"  # the connection ends instead of an answer
    CLOSE_AFTER_ACCEPT = "close_after_accept"  # the mail was taken, the answer is lost


@dataclass(frozen=True)
class Taken:
    """A mail that was handed to the server."""

    sender: str  # of the envelope; empty: no return address
    to: str
    raw: bytes


@dataclass
class MailServer:
    """One mailbox and the way out."""

    clock: Callable[[], datetime]
    mails: list[tuple[int, datetime, bytes]] = field(default_factory=list)  # uid, arrival, raw
    uidvalidity: int = 7
    taken: list[Taken] = field(default_factory=list)
    faults: deque[tuple[str, str | Fault]] = field(default_factory=deque)
    commands: list[str] = field(default_factory=list)  # without what signs in
    takes_null_sender: bool = True
    asks_for_login: bool = True
    imap_port: int = 0
    smtp_port: int = 0

    def __post_init__(self) -> None:
        self.next_uid = 1
        self.lock = threading.RLock()

    def arrives(self, mail: EmailMessage | bytes) -> int:
        """Put a mail into the mailbox; returns its number."""
        raw = mail if isinstance(mail, bytes) else mail.as_bytes()
        with self.lock:
            uid, self.next_uid = self.next_uid, self.next_uid + 1
            self.mails.append((uid, self.clock(), raw))
        return uid

    def renumber(self) -> None:
        """As after a move to another server: every number is new."""
        self.uidvalidity += 1
        old, self.mails, self.next_uid = self.mails, [], 1
        for _, at, raw in old:
            self.mails.append((self.next_uid, at, raw))
            self.next_uid += 1

    def fail_next(self, command: str, answer: str | Fault, *, times: int = 1) -> None:
        """Let the next commands of that name be answered so (for IMAP, without the tag)."""
        self.faults.extend([(command, answer)] * times)

    def fault(self, command: str) -> str | Fault | None:
        with self.lock:
            for index, (wanted, answer) in enumerate(self.faults):
                if wanted == command:
                    del self.faults[index]
                    return answer
        return None

    @contextmanager
    def listening(self, context: ssl.SSLContext | None = None) -> Iterator["MailServer"]:
        """Answer on two free ports of this machine, over TLS with a context."""
        doors = [_Door(self, kind, context) for kind in (_Imap, _Smtp)]
        self.imap_port, self.smtp_port = (door.server_address[1] for door in doors)
        threads = [threading.Thread(target=d.serve_forever, args=(0.02,)) for d in doors]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            for door, thread in zip(doors, threads, strict=True):
                door.shutdown()
                thread.join()
                door.server_close()


class _Door(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(
        self,
        mailbox: MailServer,
        kind: type[socketserver.StreamRequestHandler],
        context: ssl.SSLContext | None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), kind)
        self.mailbox = mailbox
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up, or does not trust us, is no event."""


class _Talk(socketserver.StreamRequestHandler):
    server: _Door

    @property
    def mailbox(self) -> MailServer:
        return self.server.mailbox

    def line(self) -> str:
        return self.rfile.readline(65536).decode("utf-8", "replace").rstrip("\r\n")

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


class _Imap(_Talk):
    def handle(self) -> None:
        self.say("* OK ready")
        while line := self.line():
            tag, _, rest = line.partition(" ")
            name = " ".join(rest.split(" ")[: 2 if rest.upper().startswith("UID") else 1]).upper()
            self.mailbox.commands.append(name if name == "LOGIN" else rest)
            fault = self.mailbox.fault(name)
            if fault is Fault.CLOSE:
                return
            if fault is not None:
                self.say(f"{tag} {fault}")
                continue
            self.answer(tag, name, rest)
            if name == "LOGOUT":
                return

    def answer(self, tag: str, name: str, rest: str) -> None:
        match name:
            case "CAPABILITY":
                self.say("* CAPABILITY IMAP4rev1")
            case "LOGIN":
                if rest != f'LOGIN "{USER}" "{PASSWORD}"':
                    self.say(f"{tag} NO [AUTHENTICATIONFAILED] no")
                    return
            case "STATUS":
                box = self.mailbox
                numbers = f"UIDVALIDITY {box.uidvalidity} UIDNEXT {box.next_uid}"
                self.say(f'* STATUS "INBOX" ({numbers})')
            case "EXAMINE":
                if '"INBOX"' not in rest and "INBOX" not in rest.split():
                    self.say(f"{tag} NO there is no such folder")
                    return
                self.say(f"* {len(self.mailbox.mails)} EXISTS")
            case "UID SEARCH":
                self.say("* SEARCH " + " ".join(map(str, self.found(rest))))
            case "UID FETCH":
                self.fetch(rest)
            case "LOGOUT":
                self.say("* BYE")
            case _:
                self.say(f"{tag} BAD unknown")
                return
        self.say(f"{tag} OK done")

    def found(self, rest: str) -> list[int]:
        mails = self.mailbox.mails
        after = re.search(r" UID (\d+):\*", rest)
        if after:
            # As the standard wants: "*" is the last mail, even where the range begins behind it.
            chosen = [uid for uid, _, _ in mails if uid >= int(after[1])]
            return chosen or [uid for uid, _, _ in mails[-1:]]
        since = re.search(r" SINCE (\S+)", rest)
        assert since, rest
        first = datetime.strptime(since[1], "%d-%b-%Y").date()  # noqa: DTZ007 - a date
        return [uid for uid, at, _ in mails if at.date() >= first]

    def fetch(self, rest: str) -> None:
        number, limit = re.search(r"(?i)UID FETCH (\d+) .*<0\.(\d+)>", rest).groups()  # type: ignore[union-attr]
        for place, (uid, _, raw) in enumerate(self.mailbox.mails, start=1):
            if uid == int(number):
                part = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")[: int(limit)]
                self.wfile.write(
                    f"* {place} FETCH (UID {uid} BODY[]<0> {{{len(part)}}}\r\n".encode()
                    + part
                    + b")\r\n"
                )


class _Smtp(_Talk):
    def handle(self) -> None:
        self.sender = self.to = ""
        self.say("220 ready")
        while line := self.line():
            name = line.split(" ")[0].split(":")[0].upper()
            self.mailbox.commands.append(name if name == "AUTH" else line)
            fault = self.mailbox.fault(name)
            if fault is Fault.CLOSE:
                return
            if fault is not None and fault is not Fault.CLOSE_AFTER_ACCEPT:
                self.say(fault)
                continue
            if not self.answer(name, line):
                return

    def answer(self, name: str, line: str) -> bool:
        """Whether the talk goes on."""
        match name:
            case "EHLO":
                login = ["250-AUTH PLAIN"] if self.mailbox.asks_for_login else []
                self.say("250-here", *login, "250 8BITMIME")
            case "AUTH":
                given = base64.b64decode(line.rsplit(" ", maxsplit=1)[-1]).decode()
                right = given == f"\0{USER}\0{PASSWORD}"
                self.say("235 welcome" if right else "535 wrong")
            case "MAIL":
                self.sender = _between(line)
                refused = not self.sender and not self.mailbox.takes_null_sender
                self.say("550 a return address is needed" if refused else "250 ok")
            case "RCPT":
                self.to = _between(line)
                self.say("250 ok")
            case "DATA":
                return self.take()
            case "RSET" | "NOOP":
                self.say("250 ok")
            case "QUIT":
                self.say("221 bye")
                return False
            case _:
                self.say("500 unknown")
        return True

    def take(self) -> bool:
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline(65536)) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b"."))
        fault = self.mailbox.fault("CONTENT")
        if isinstance(fault, str) and not isinstance(fault, Fault):
            self.say(fault)
            return True
        self.mailbox.taken.append(Taken(self.sender, self.to, b"".join(lines)))
        if fault is Fault.CLOSE_AFTER_ACCEPT:
            return False
        self.say("250 taken")
        return True


def _between(line: str) -> str:
    return line.partition("<")[2].partition(">")[0]


@dataclass
class Writer:
    """Somebody with an e-mail address, who reads and answers."""

    server: MailServer
    address: str
    name: str = "Reader"
    sent: int = 0

    @property
    def screen(self) -> list[Taken]:
        return [mail for mail in self.server.taken if mail.to == self.address]

    def writes(
        self,
        text: str,
        *,
        subject: str = "Question",
        answering: EmailMessage | None = None,
        **headers: str,
    ) -> EmailMessage:
        """A mail to the library, in the thread of the one that it answers."""
        self.sent += 1
        mail = EmailMessage()
        mail["From"] = f"{self.name} <{self.address}>"
        mail["To"] = USER
        mail["Subject"] = subject
        mail["Date"] = format_datetime(self.server.clock())
        mail["Message-ID"] = f"<m{self.sent}.{self.address.replace('@', '.')}@mail.example.net>"
        if answering is not None:
            del mail["Subject"], mail["To"]
            mail["To"] = answering.get("Reply-To", answering["From"])
            mail["Subject"] = "Re: " + answering["Subject"].removeprefix("Re: ")
            mail["In-Reply-To"] = answering["Message-ID"]
            chain = (answering.get("References", ""), answering["Message-ID"])
            mail["References"] = " ".join(part for part in chain if part)
            text += "\n\nOn 22 Nov 2026 the library wrote:\n" + "\n".join(
                f"> {line}" for line in answering.get_content().splitlines()
            )
        for name, value in headers.items():
            header = name.replace("_", "-")
            del mail[header]
            mail[header] = value
        mail.set_content(text)
        self.server.arrives(mail)
        return mail
