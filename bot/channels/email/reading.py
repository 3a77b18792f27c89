"""From a raw mail to a patron's message, a failed delivery, or nothing.

RFC 3834: what a machine wrote is never answered by a machine. An out-of-office note is kept
and asks nothing. Mail that came through a list may be a person's (libraries' addresses often
are groups), so that a librarian reads it and the bot keeps silent.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from email.utils import parsedate_to_datetime

from bot.channels.base import (
    EARLIEST,
    LATEST,
    SendFailure,
    Undelivered,
    one_line,
    shorten,
    storable,
)
from bot.channels.email.account import Account
from bot.channels.email.addresses import addresses, decoded, header, text_of
from bot.channels.email.html import text_of_html
from bot.channels.email.quotes import newest
from bot.channels.email.signing import key_in_address, key_in_id
from bot.messages import Inbound, InboundKind

MAX_TEXT = 20_000  # characters of a message that reach the desk
MAX_ORIGINAL = 100_000
MAX_SUBJECT = 250
MAX_ID = 200  # characters; a longer Message-ID is kept as a digest
MAX_PARTS = 200
MAX_THREAD = 20  # Message-IDs of a References header that we keep
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,500}>")
_REPLY_PREFIX = re.compile(
    r"(?:(?:re|aw|fwd?|tr|sv|vs|回复|回覆|答复|转发|轉寄|trả lời|chuyển tiếp)"
    r"\s?(?:\[\d+\])?\s?[:：]\s*)+",
    re.IGNORECASE,
)
_MACHINE = {"bulk", "junk", "auto_reply"}
_FAILED = re.compile(r"^action:\s*failed", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(r"^status:\s*([245]\.\d{1,3}\.\d{1,3})", re.IGNORECASE | re.MULTILINE)


class Mail:
    """One raw mail, and what it is to us."""

    def __init__(self, raw: bytes, account: Account) -> None:
        self._raw = raw
        self._account = account
        self._message: Message = message_from_bytes(raw)
        self._parts = list(_leaves(self._message))

    @property
    def is_ours(self) -> bool:
        """Something that we sent came back to our own mailbox."""
        own = key_in_id(self._account.signing_key, header(self._message, "Message-ID"))
        return own is not None or self._sender == self._account.address

    @property
    def is_machine(self) -> bool:
        """An out-of-office note, a delivery report, a mass mailing."""
        submitted = header(self._message, "Auto-Submitted").split(";")[0].strip().lower()
        precedence = header(self._message, "Precedence").lower()
        return (
            submitted not in {"", "no"}
            or precedence in _MACHINE
            or header(self._message, "Return-Path") == "<>"
            or any(self._message.get(name) for name in ("X-Autoreply", "X-Autorespond"))
            or self._is_report
        )

    @property
    def is_listed(self) -> bool:
        """It came through a mailing list or a group."""
        precedence = header(self._message, "Precedence").lower()
        return precedence == "list" or self._message.get("List-Id") is not None

    def undelivered(self) -> Undelivered | None:
        """News that a reply of ours could not be delivered for good."""
        if not self._is_report:
            return None
        reports = [str(part) for part in self._parts if part.get_content_type() == _STATUS_TYPE]
        report = "\n".join(reports)[:MAX_TEXT]
        if not _FAILED.search(report):
            return None
        returned = "\n".join(
            str(part)[:MAX_TEXT] for part in self._parts if part.get_content_type() in _RETURNED
        )
        key = key_in_id(self._account.signing_key, returned.replace("\n ", " "))
        if key is None:
            return None
        status = _STATUS.search(report)
        code = status[1] if status else None
        reason = f"The mail came back as undeliverable ({code or 'no status given'})."
        return Undelivered(key, SendFailure.PERMANENT, reason, code=code)

    def inbound(self) -> Inbound | None:
        """The patron's message; None where nobody can be answered, or it is ours."""
        if self.is_ours or self._patron is None:
            return None
        name, patron = self._patron
        written = self._text()[:MAX_ORIGINAL]
        answers = self._answers()
        text = self._composed(newest(written), is_answer=answers is not None)
        kind = InboundKind.TEXT if text else InboundKind.FILE
        if self.is_machine:
            kind = InboundKind.EVENT
        return Inbound(
            patron,
            text[:MAX_TEXT],
            self._dedupe_key(),
            kind,
            sent_at=self._sent_at(),
            display_name=shorten(name, 100) or None,
            original=written if written.strip() != text.strip() else None,
            answers=answers,
            thread=None if self.is_machine else self._thread(),
            quiet=self.is_listed and not self.is_machine,
        )

    @property
    def _sender(self) -> str | None:
        found = addresses(self._message, "From")
        return found[0][1] if found else None

    @property
    def _patron(self) -> tuple[str, str] | None:
        """Whom an answer goes to: Reply-To where it is one person's, else From."""
        senders = addresses(self._message, "From") or addresses(self._message, "Sender")
        wished = addresses(self._message, "Reply-To")
        others = [each for each in wished if each[1] != self._account.address]
        if len(others) == 1 and not self.is_listed:
            same_person = [each for each in senders if each[1] == others[0][1]]
            return others[0] if others[0][0] else (same_person or others)[0]
        return senders[0] if senders else None

    @property
    def _is_report(self) -> bool:
        return self._message.get_content_type() == "multipart/report"

    def _answers(self) -> str | None:
        signing_key = self._account.signing_key
        for name in ("In-Reply-To", "References"):
            found = key_in_id(signing_key, header(self._message, name))
            if found is not None:
                return found
        for _, address in addresses(self._message, "To", "Cc", "Delivered-To", "X-Original-To"):
            found = key_in_address(signing_key, address)
            if found is not None:
                return found
        return None

    def _composed(self, body: str, *, is_answer: bool) -> str:
        """What was written, after the subject where that says something of its own."""
        subject = _REPLY_PREFIX.sub("", decoded(self._message, "Subject")).strip()
        files = [f"📎 {name}" for name in self._file_names()]
        says_more = subject and not is_answer and subject.casefold() not in body.casefold()
        return "\n".join(part for part in ((subject if says_more else ""), body, *files) if part)

    def _text(self) -> str:
        """The plain text, else what the HTML says."""
        texts = {"text/plain": "", "text/html": ""}
        for part in self._parts:
            kind = part.get_content_type()
            if kind in texts and part.get_content_disposition() != "attachment":
                raw = part.get_payload(decode=True)
                if isinstance(raw, bytes):
                    texts[kind] += text_of(raw[: 4 * MAX_ORIGINAL], part.get_content_charset())
        plain = texts["text/plain"].strip()
        return storable(plain or text_of_html(texts["text/html"]))

    def _file_names(self) -> list[str]:
        names = []
        for part in self._parts:
            shown_inline = part.get_content_maintype() == "text" and not part.get_filename()
            if part.get_content_type() in _RETURNED or shown_inline:
                continue
            names.append(shorten(str(part.get_filename() or part.get_content_type()), 100))
        return names

    def _dedupe_key(self) -> str:
        number = header(self._message, "Message-ID")
        if _MESSAGE_ID.fullmatch(number) and len(number) <= MAX_ID:
            return storable(number)
        content = number.encode("utf-8", "replace") if number else self._raw
        return "sha256:" + hashlib.sha256(content).hexdigest()

    def _sent_at(self) -> datetime | None:
        try:
            found = parsedate_to_datetime(header(self._message, "Date"))
            sent_at = found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
        except (ValueError, TypeError, OverflowError, IndexError):  # no date, or no possible one
            return None
        return sent_at if EARLIEST <= sent_at <= LATEST else None

    def _thread(self) -> dict[str, str]:
        """What an answer must name to stand in the same thread (RFC 5322, 3.6.4)."""
        own = _MESSAGE_ID.findall(header(self._message, "Message-ID"))[:1]
        chain = _MESSAGE_ID.findall(header(self._message, "References"))
        chain = chain or _MESSAGE_ID.findall(header(self._message, "In-Reply-To"))[:1]
        chain = [each for each in chain if each not in own]
        if len(chain) > MAX_THREAD:
            chain = [chain[0], *chain[1 - MAX_THREAD :]]
        subject = _REPLY_PREFIX.sub("", decoded(self._message, "Subject"))
        return {
            "subject": shorten(one_line(subject), MAX_SUBJECT),
            "references": storable(" ".join([*chain, *own])),
            "in_reply_to": storable("".join(own)),
        }


_STATUS_TYPE = "message/delivery-status"
_RETURNED = {_STATUS_TYPE, "message/rfc822", "text/rfc822-headers"}


def _leaves(message: Message) -> Iterator[Message]:
    """The parts that hold something; a mail that was attached is one part."""
    pending = [message]
    for _ in range(MAX_PARTS):
        if not pending:
            return
        part = pending.pop(0)
        inner = part.get_payload()
        is_container = part.get_content_maintype() == "multipart" and isinstance(inner, list)
        if is_container:
            pending[:0] = [each for each in inner if isinstance(each, Message)]
        else:
            yield part
