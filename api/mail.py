"""E-mail out: to staff about waiting questions, to patrons who asked for their answer there."""

import smtplib
import ssl
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Protocol

from api.settings import Settings
from bot.channels.base import SendError, SendFailure

TIMEOUT_SECONDS = 8
PERMANENT = range(500, 600)  # SMTP replies that trying again will not change
# What is wrong with the server or with our account there is not wrong with the message.
NOT_THE_MESSAGE = (
    smtplib.SMTPAuthenticationError,
    smtplib.SMTPConnectError,
    smtplib.SMTPHeloError,
    smtplib.SMTPSenderRefused,
)


class Mailer(Protocol):
    """Sends e-mail."""

    def send(self, message: EmailMessage) -> None:
        """Hand one message to the mail server. Raises SendError."""
        ...


def letter_to(
    address: str, *, subject: str, text: str, sender: str, key: str | None = None
) -> EmailMessage:
    """A plain message that says it is automatic (RFC 3834), so that machines do not answer it.

    `key` makes the Message-ID stable, so that a repetition can be recognised.
    """
    if any(letter in address + subject for letter in "\r\n"):
        raise SendError("a header cannot hold a line break", failure=SendFailure.PERMANENT)
    message = EmailMessage()
    try:
        message["To"] = Address(addr_spec=address)
    except (ValueError, IndexError, HeaderParseError) as error:
        reason = "this is no e-mail address"
        raise SendError(reason, failure=SendFailure.PERMANENT) from error
    domain = sender.rpartition("@")[2].strip("> ") or "localhost"
    message["From"] = sender
    message["Subject"] = subject
    message["Message-ID"] = f"<{key}@{domain}>" if key else make_msgid(domain=domain)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(text)
    return message


class SmtpMailer:
    """Sends through the mail server of the settings, one connection per message."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, message: EmailMessage) -> None:
        try:
            with self._connect() as server:
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise _failure(max(codes, default=550), error) from error
        except smtplib.SMTPResponseException as error:
            raise _failure(error.smtp_code, error) from error
        except (smtplib.SMTPException, OSError) as error:
            name = type(error).__name__
            raise SendError(f"the mail server: {name}", failure=SendFailure.RETRY) from error

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        host, port = settings.smtp_host or "", settings.smtp_port
        tls = ssl.create_default_context()
        server: smtplib.SMTP
        if settings.smtp_security == "tls":
            server = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=tls)
        else:
            server = smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)
            if settings.smtp_security == "starttls":
                server.starttls(context=tls)
        if settings.smtp_user:
            password = settings.smtp_password
            server.login(settings.smtp_user, password.get_secret_value() if password else "")
        return server


def _failure(code: int, error: Exception) -> SendError:
    is_final = code in PERMANENT and not isinstance(error, NOT_THE_MESSAGE)
    failure = SendFailure.PERMANENT if is_final else SendFailure.RETRY
    return SendError(f"the mail server: {type(error).__name__}", failure=failure, code=str(code))


class NoMailer:
    """Stands where no mail server is set: nothing leaves, and the reply says why."""

    def send(self, message: EmailMessage) -> None:
        reason = "no mail server is set (REFDESK_SMTP_HOST)"
        raise SendError(reason, failure=SendFailure.PERMANENT)


def create_mailer(settings: Settings) -> Mailer:
    """The mailer that the settings ask for."""
    return SmtpMailer(settings) if settings.smtp_host else NoMailer()
