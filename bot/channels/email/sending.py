"""Writing an answer and handing it to the mail server.

smtplib, not aiosmtplib: the worker sends each reply in a thread of its own, where an event
loop for a single connection would add nothing.
"""

import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any

from bot.channels.base import SendError, SendFailure, said_with_choices
from bot.channels.email.account import STARTTLS, TLS, Account
from bot.channels.email.addresses import address_in
from bot.channels.email.signing import message_id, plus_address
from bot.messages import Reply, ReplyKind

TIMEOUT_SECONDS = 10  # each step; a lease lasts 60
LOGIN_PAUSE = 600.0  # seconds: a wrong password tried too often locks an account
_IDS = {"message-id", "in-reply-to", "references"}
FALLBACK_SUBJECT = "Your question"
_RETRY, _PERMANENT = SendFailure.RETRY, SendFailure.PERMANENT


class _Policy(EmailPolicy):
    """Keeps Message-IDs whole: the standard library encodes any that is longer than a line,
    and no mail program finds its thread then."""

    def fold_binary(self, name: str, value: Any) -> bytes:
        if name.lower() in _IDS:
            return f"{name}: {(self.linesep + ' ').join(str(value).split())}{self.linesep}".encode()
        return super().fold_binary(name, value)


_POLICY = _Policy(linesep="\r\n", cte_type="7bit")


def compose(account: Account, to: str, reply: Reply, *, key: str) -> EmailMessage:
    """An answer in its thread. Raises SendError for an address that cannot be one.

    Only a librarian's own words go without the mark of a machine (RFC 3834).
    """
    if address_in(to) is None:
        raise SendError("This is no e-mail address.", failure=_PERMANENT, code="address")
    thread = reply.thread or {}
    mail = EmailMessage(_POLICY)
    mail["From"] = Address(account.from_name, addr_spec=account.address)
    mail["To"] = Address(addr_spec=to)
    if account.plus_addressing:
        reply_to = plus_address(account.signing_key, key, account.address)
        mail["Reply-To"] = Address(account.from_name, addr_spec=reply_to)
    subject = thread.get("subject") or account.from_name or FALLBACK_SUBJECT
    mail["Subject"] = f"Re: {subject}" if thread else subject
    mail["Message-ID"] = message_id(account.signing_key, key, account.domain)
    if thread.get("in_reply_to"):
        mail["In-Reply-To"] = thread["in_reply_to"]
    if thread.get("references"):
        mail["References"] = thread["references"]
    if reply.kind is not ReplyKind.LIBRARIAN:
        mail["Auto-Submitted"] = "auto-replied"
        mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(said_with_choices(reply) + "\n")
    return mail


def deliver(account: Account, mail: EmailMessage, to: str) -> None:
    """Hand one mail to the server. Raises SendError.

    A machine's mail leaves without a return address, so that no bounce answers it; where the
    server does not take that, with ours.
    """
    is_automatic = mail["Auto-Submitted"] is not None
    server = _connect(account)
    try:
        if is_automatic and _is_taken(server, ""):
            _hand_over(server, mail, to)
        else:
            _say(server, "mail", account.address)
            _hand_over(server, mail, to)
    finally:
        _leave(server)


def check_server(account: Account) -> None:
    """Sign in at the server that takes our mail. Raises SendError."""
    _leave(_connect(account))


def _connect(account: Account) -> smtplib.SMTP:
    settings = account.smtp
    server: smtplib.SMTP | None = None
    try:
        context = ssl.create_default_context()
        if settings.security == TLS:
            server = smtplib.SMTP_SSL(
                settings.host, settings.port, timeout=TIMEOUT_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(settings.host, settings.port, timeout=TIMEOUT_SECONDS)
            if settings.security == STARTTLS:
                server.starttls(context=context)
        server.ehlo_or_helo_if_needed()
        if server.has_extn("auth"):
            server.login(settings.user, settings.password)
        return server
    except smtplib.SMTPAuthenticationError as error:
        message = "The mail server refuses the user name or password."
        failure = SendError(
            message, failure=_RETRY, code=str(error.smtp_code), retry_after=LOGIN_PAUSE
        )
    except (smtplib.SMTPException, OSError) as error:
        message = f"The mail server could not be reached ({type(error).__name__})."
        failure = SendError(message, failure=_RETRY)
    if server is not None:
        server.close()
    raise failure


def _is_taken(server: smtplib.SMTP, sender: str) -> bool:
    """Whether the server accepts this return address; a refusal leaves the connection usable."""
    try:
        code, _ = server.mail(sender)
    except (smtplib.SMTPException, OSError) as error:
        raise _broken(error, _RETRY) from None
    if code == 250:
        return True
    try:
        server.rset()
    except (smtplib.SMTPException, OSError) as error:
        raise _broken(error, _RETRY) from None
    return False


def _hand_over(server: smtplib.SMTP, mail: EmailMessage, to: str) -> None:
    _say(server, "rcpt", to)
    content = _as_bytes(mail)
    try:
        code, _ = server.data(content)
    except smtplib.SMTPDataError as error:  # refused before the content
        raise _refusal(error.smtp_code) from None
    except (smtplib.SMTPException, OSError) as error:
        raise _broken(error, SendFailure.UNCERTAIN) from None
    if code != 250:
        raise _refusal(code)


def _say(server: smtplib.SMTP, command: str, address: str) -> None:
    try:
        code, _ = server.mail(address) if command == "mail" else server.rcpt(address)
    except (smtplib.SMTPException, OSError) as error:
        raise _broken(error, _RETRY) from None
    if code not in {250, 251}:
        raise _refusal(code)


def _as_bytes(mail: EmailMessage) -> bytes:
    return mail.as_bytes(policy=_POLICY)


def _refusal(code: int) -> SendError:
    """4xx is a passing trouble, 5xx a final one (RFC 5321, 4.2.1)."""
    failure = _PERMANENT if 500 <= code < 600 else _RETRY
    return SendError(f"The mail server refused the mail ({code}).", failure=failure, code=str(code))


def _broken(error: Exception, failure: SendFailure) -> SendError:
    message = f"The connection to the mail server broke ({type(error).__name__})."
    return SendError(message, failure=failure)


def _leave(server: smtplib.SMTP) -> None:
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):  # it has what it got; there is no more to say
        server.close()
