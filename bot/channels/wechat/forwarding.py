"""A second vendor behind the same account: WeChat knows one callback address, we pass it on.

What goes there is signed anew with that vendor's own token, as if WeChat had sent it, and its
passive reply comes back for us to seal. It has less than WeChat's five seconds, and one that
does not answer is left alone for a while: our own patrons do not wait for it.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock
from urllib.parse import urlencode

import httpx

from bot.channels.base import SendError, SendFailure
from bot.channels.wechat import reading
from bot.channels.wechat.account import UNANSWERED, Forwarding
from bot.channels.wechat.crypto import CannotDecrypt, Envelope, matches, signature

WITHIN = httpx.Timeout(3.0, connect=1.5, pool=0.5)  # seconds; WeChat gives all of us five
WHOLE_ANSWER = 3.5  # seconds, however slowly its parts come
AT_ONCE = 8  # requests under way there
FAILURES, PAUSE = 3, 30.0  # so many in a row, then nothing for so many seconds
NOTHING = {b"", b"success"}


@dataclass
class Forwarder:
    """Passes messages on to the second callback."""

    target: Forwarding
    app_id: str
    http: httpx.Client
    ticks: Callable[[], float] = time.monotonic
    _places: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(AT_ONCE))
    _lock: Lock = field(default_factory=Lock)
    _failures: int = 0
    _rests_until: float = 0.0

    def wants(self, name: str, *, answered: bool) -> bool:
        """Whether a message or event of this name goes there."""
        events = self.target.events
        return name in events or (UNANSWERED in events and not answered)

    def pass_on(self, message: bytes, context: Mapping[str, str]) -> bytes | None:
        """The vendor's reply as XML, None where it has none. Raises SendError.

        `context` holds the patron's and the account's ids.
        """
        if self.ticks() < self._rests_until or not self._places.acquire(blocking=False):
            return None
        try:
            status, body = self._post(message, context["patron"])
        except httpx.HTTPError as error:
            self._count(failed=True)
            name = type(error).__name__
            text = f"The second callback did not answer ({name})."
            raise SendError(text, failure=SendFailure.RETRY) from None
        finally:
            self._places.release()
        self._count(failed=status >= 500)
        if status != httpx.codes.OK:
            text = f"The second callback answered with HTTP status {status}."
            raise SendError(text, failure=SendFailure.PERMANENT)
        return self._reply(body, context)

    def _post(self, message: bytes, patron: str) -> tuple[int, bytes]:
        timestamp, nonce = _second_of(message), secrets.token_hex(5)
        token = self.target.token
        query = {
            "signature": signature(token, timestamp, nonce).decode(),
            "timestamp": timestamp,
            "nonce": nonce,
            "openid": patron,
        }
        if self.target.encoding_aes_key is not None:
            encrypted = Envelope(self.target.encoding_aes_key, self.app_id).seal(message)
            query["encrypt_type"] = "aes"
            query["msg_signature"] = signature(token, timestamp, nonce, encrypted).decode()
            message = f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()
        until = self.ticks() + WHOLE_ANSWER
        with self.http.stream(
            "POST",
            f"{self.target.url}?{urlencode(query)}",
            content=message,
            headers={"content-type": "text/xml"},
            timeout=WITHIN,
            follow_redirects=False,
        ) as answer:
            return answer.status_code, self._body(answer, until)

    def _body(self, answer: httpx.Response, until: float) -> bytes:
        """All of an answer that comes in time and has an end."""
        body = b""
        for part in answer.iter_bytes():
            body += part
            if self.ticks() > until or len(body) > reading.MAX_BODY:
                raise httpx.ReadTimeout("it comes too slowly, or is too large")
        return body

    def _count(self, *, failed: bool) -> None:
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if self._failures >= FAILURES:
                self._failures, self._rests_until = 0, self.ticks() + PAUSE

    def _reply(self, body: bytes, context: Mapping[str, str]) -> bytes | None:
        """A reply that WeChat would take: for this patron, from this account."""
        if body.strip() in NOTHING:
            return None
        try:
            root = reading.parsed(body)
            if self.target.encoding_aes_key is not None:
                body = self._opened(
                    *(reading.field(root, n) for n in ("Encrypt", "MsgSignature")),
                    *(reading.field(root, n) for n in ("TimeStamp", "Nonce")),
                )
                root = reading.parsed(body)
            right = reading.field(root, "ToUserName").strip() == context["patron"]
            right &= reading.field(root, "FromUserName").strip() == context["account"]
        except (reading.Unreadable, CannotDecrypt):
            right = False
        if not right:
            text = "The second callback answered something that is no reply."
            raise SendError(text, failure=SendFailure.PERMANENT)
        return body

    def _opened(self, encrypted: str, signed: str, timestamp: str, nonce: str) -> bytes:
        expected = signature(self.target.token, timestamp, nonce, encrypted)
        if not matches(expected, signed):
            raise CannotDecrypt("the reply's signature does not match")
        return Envelope(self.target.encoding_aes_key or "", self.app_id).open(encrypted)


def _second_of(message: bytes) -> str:
    """The message's own time: a repetition is passed on with the same."""
    return reading.identifier(reading.parsed(message), "CreateTime")
