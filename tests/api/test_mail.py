import socket
import threading
from collections.abc import Iterator

import pytest

from api.mail import NoMailer, SmtpMailer, create_mailer, letter_to
from api.settings import Settings
from bot.channels.base import SendError, SendFailure


class MailServer(threading.Thread):
    """Speaks enough SMTP for one message; answers RCPT with a code of our choice."""

    def __init__(self, code: int = 250) -> None:
        super().__init__(daemon=True)
        self.code = code
        self.greeting = "220 ready"
        self.lines: list[str] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])

    def run(self) -> None:
        connection, _ = self._door.accept()
        with connection, connection.makefile("rw", newline="\r\n") as wire:
            self._say(wire, self.greeting)
            in_letter = False
            for line in wire:
                self.lines.append(line.rstrip())
                verb = line[:4].upper()
                if in_letter:
                    if line == ".\r\n":
                        in_letter = False
                        self._say(wire, "250 kept")
                elif verb == "DATA":
                    in_letter = True
                    self._say(wire, "354 go on")
                elif verb == "RCPT":
                    self._say(wire, f"{self.code} so be it")
                elif verb == "QUIT":
                    self._say(wire, "221 bye")
                    break
                else:
                    self._say(wire, "250 fine")
        self._door.close()

    @staticmethod
    def _say(wire, line: str) -> None:  # type: ignore[no-untyped-def]
        wire.write(line + "\r\n")
        wire.flush()


@pytest.fixture
def server() -> Iterator[MailServer]:
    made = MailServer()
    yield made
    made.join(timeout=5)


def settings(port: int) -> Settings:
    return Settings.load(
        smtp_host="127.0.0.1",
        smtp_port=port,
        smtp_security="none",
        smtp_from="Desk <desk@example.org>",
    )


def letter(key: str | None = None):  # type: ignore[no-untyped-def]
    return letter_to(
        "reader@example.org",
        subject="云岭大学图书馆的答复",
        text="可以，请登记。",
        sender="Desk <desk@example.org>",
        key=key,
    )


def test_a_letter_reaches_the_server(server: MailServer) -> None:
    server.start()

    SmtpMailer(settings(server.port)).send(letter("abc"))
    server.join(timeout=5)

    assert "rcpt TO:<reader@example.org>" in server.lines
    assert "Message-ID: <abc@example.org>" in server.lines
    assert "Auto-Submitted: auto-generated" in server.lines


@pytest.mark.parametrize(
    ("code", "failure"), [(450, SendFailure.RETRY), (550, SendFailure.PERMANENT)]
)
def test_a_refused_address_is_tried_again_only_when_that_can_help(
    server: MailServer, code: int, failure: SendFailure
) -> None:
    server.code = code
    server.start()

    with pytest.raises(SendError) as caught:
        SmtpMailer(settings(server.port)).send(letter())

    assert caught.value.failure is failure
    assert "reader@example.org" not in str(caught.value)


def test_a_server_that_turns_everybody_away_is_asked_later(server: MailServer) -> None:
    server.greeting = "554 closed for repairs"
    server.start()

    with pytest.raises(SendError) as caught:
        SmtpMailer(settings(server.port)).send(letter())

    assert caught.value.failure is SendFailure.RETRY


def test_a_server_that_is_not_there_is_asked_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = int(door.getsockname()[1])

    with pytest.raises(SendError) as caught:
        SmtpMailer(settings(port)).send(letter())

    assert caught.value.failure is SendFailure.RETRY


def test_without_a_mail_server_a_letter_says_what_to_set() -> None:
    mailer = create_mailer(Settings.load())

    assert isinstance(mailer, NoMailer)
    with pytest.raises(SendError, match="REFDESK_SMTP_HOST"):
        mailer.send(letter())


def test_a_line_break_cannot_smuggle_a_header() -> None:
    with pytest.raises(SendError) as caught:
        letter_to("a@b.org", subject="x\r\nBcc: y@z.org", text="", sender="desk@example.org")

    assert caught.value.failure is SendFailure.PERMANENT
