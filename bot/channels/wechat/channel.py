"""WeChat Official Account (微信公众号): the callback in safe mode, the passive reply, and
late answers through the customer-service interface."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar
from xml.etree.ElementTree import Element

import httpx

from bot.channels.base import (
    Declaration,
    Json,
    KeywordReply,
    QuickReplies,
    Refused,
    SendError,
    SendFailure,
    TextLimit,
    TokenStore,
    Window,
    member,
    send_in_order,
)
from bot.channels.wechat import account as settings_of
from bot.channels.wechat import console, reading, service, shaping
from bot.channels.wechat.account import Account
from bot.channels.wechat.crypto import CannotDecrypt, Envelope, matches, signature
from bot.channels.wechat.forwarding import Forwarder
from bot.channels.wechat.service import MENU_REFUSED, CustomerService
from bot.messages import (
    Inbound,
    OneBody,
    Received,
    Reply,
    ReplyKind,
    WebhookRequest,
    WebhookResponse,
)

ACK_SECONDS = 5.0
CLOCK_TOLERANCE = timedelta(minutes=10)
# Documented: a patron's message opens 48 hours for 5 messages. Reported, not documented:
# each new message starts both anew.
MESSAGE_WINDOW = Window("message", 48 * 3600, 5)
# Documented: a menu click, a follow and a scan open one minute for 3 messages. The documents
# count a tap in a sent menu as a menu click; not tried on a live account.
CLICK_SECONDS, CLICK_MESSAGES = 60, 3

_DONE = WebhookResponse(b"success")


class WeChat:
    """One official account. It translates; it decides nothing."""

    kind: ClassVar[str] = "wechat"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="push",
        signature_covers_body=True,  # in safe mode; plaintext=true gives that up
        ack_seconds=ACK_SECONDS,
        passive_reply=True,
        pushes=True,
        windows=(
            MESSAGE_WINDOW,
            Window(reading.TAP, CLICK_SECONDS, CLICK_MESSAGES),
            Window("follow", CLICK_SECONDS, CLICK_MESSAGES),
            Window("SCAN", CLICK_SECONDS, CLICK_MESSAGES),
            # Documented: one consent, one notice, without a term.
            Window(reading.CONSENT, None, 1, refills_on_message=False, announces=True),
        ),
        # E-mail before waiting: waiting always works, so nothing behind it would be tried.
        late_reply=("in_window", "template", "email", "idle_until_contact"),
        text=TextLimit(shaping.TEXT_BYTES, "bytes"),
        quick_replies=QuickReplies(
            max=shaping.MENU_CHOICES, label_limit=shaping.MENU_LABEL_BYTES // 3
        ),
        idempotent_send=False,
        required_settings=settings_of.REQUIRED,
        secret_settings=settings_of.SECRET,
        optional_settings=settings_of.OPTIONAL,
        typing=True,
        availability="verified_account",
        unverified=(
            "how many bytes of text a message may hold",
            "whether each message of the patron starts the 48 hours and the 5 messages anew",
            "whether a tap in a sent menu opens one minute only",
            "how many choices a menu may hold, and how long they may be",
            "how often WeChat repeats a message, and whether with the same nonce",
            "when the daily quota of calls returns",
            "which categories of subscription notices a library may choose",
            "the error codes of the IP allow-list and of menus on test accounts",
        ),
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        """Raises ValueError with a sentence for every setting that is wrong."""
        self.name = name
        self._account = Account.read(settings)
        self._envelopes = tuple(
            Envelope(key, self._account.app_id) for key in self._account.encoding_aes_keys
        )
        self._service = CustomerService(self._account, http=http, tokens=tokens)
        target = self._account.forwarding
        self._forwarder = Forwarder(target, self._account.app_id, http) if target else None

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify, then translate; see bot.channels.base. Anything not verifiable is 403."""
        _check_time(request.query.get("timestamp", ""), now)
        if request.method == "GET":
            return self._handshake(request.query)
        if request.method != "POST":
            raise Refused("only GET and POST are answered", status=405)
        if len(request.body) > reading.MAX_BODY:
            raise Refused("the message is too large")
        if request.query.get("encrypt_type") == "aes" or "msg_signature" in request.query:
            return self._receive_sealed(request)
        return self._receive_plain(request)

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """The passive reply, or the word that stops the platform's retries."""
        if received.handshake is not None:
            return received.handshake
        consent = self._account.consent_text if self._account.notice else None
        text = shaping.passive_text([shaping.with_consent(reply, consent) for reply in replies])
        context = received.reply_context
        if not text or not context:
            return _DONE
        body = shaping.passive_xml(
            text, to=context["patron"], sender=context["account"], seconds=int(at.timestamp())
        )
        return self._response(body, context)

    def forward(self, received: Received, replies: Sequence[Reply]) -> WebhookResponse | None:
        """Pass on what the second vendor shall have; see bot.channels.base.Forwarding."""
        context = received.reply_context
        if self._forwarder is None or "message" not in context:
            return None
        if not self._forwarder.wants(context["name"], answered=bool(replies)):
            return None
        reply = self._forwarder.pass_on(context["message"].encode(), context)
        # A librarian's answer that waited for this contact counts as delivered with our response.
        must_answer = any(each.kind is ReplyKind.LIBRARIAN for each in replies)
        return None if reply is None or must_answer else self._response(reply, context)

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send through the customer-service interface; WeChat takes no key of ours."""
        if self._account.passive_only:
            raise _only_when_asked(reply)
        messages = shaping.pushed(reply)
        try:
            return self._send_all(to, messages)
        except SendError as error:
            if error.code != str(MENU_REFUSED) or len(messages) > 1:
                raise
        return self._send_all(to, shaping.pushed_as_text(reply))

    def announce(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send the one notice that the patron agreed to; see bot.channels.base.Announcing."""
        notice = self._account.notice
        if notice is None:
            raise SendError(
                "No subscription notice is set (subscribe_template).",
                failure=SendFailure.WINDOW_CLOSED,
                code="no_template",
            )
        message = {
            "touser": to,
            "template_id": notice.template,
            "data": {notice.field: {"value": shaping.notice_words(reply)}},
        }
        if notice.page is not None:
            message["page"] = notice.page
        self._service.ask(service.SUBSCRIBED, message)
        return None

    def show_typing(self, to: str, *, thread: Mapping[str, str]) -> None:
        """Show that somebody writes, for 15 seconds; see bot.channels.base.Typing."""
        if not self._account.passive_only:
            self._service.show_typing(to)

    def menu(self) -> Json:
        """The menu that patrons see; before it was ever set here, the console's."""
        try:
            found = self._service.ask(service.MENU_GET)
        except SendError as error:
            if error.code != service.NO_MENU:
                raise
            found = self._service.ask(service.MENU_OF_CONSOLE)
            return console.settable(member(found, "selfmenu_info"))
        return console.settable(member(found, "menu"))

    def set_menu(self, menu: Json) -> None:
        """Show this menu; see bot.channels.base.Menued."""
        wrong = console.mistakes(menu)
        if wrong:
            raise ValueError(" ".join(wrong))
        self._service.ask(service.MENU_CREATE, menu)

    def remove_menu(self) -> None:
        """Show no menu."""
        self._service.ask(service.MENU_DELETE)

    def keyword_replies(self, export: Json | None = None) -> list[KeywordReply]:
        """The console's keyword auto-replies; see bot.channels.base.KeywordReplying."""
        found = self._service.ask(service.AUTOREPLIES) if export is None else export
        return console.keyword_replies(found)

    def parts(self, reply: Reply) -> int:
        """How many messages a reply takes; see bot.channels.base.Counting."""
        return len(shaping.pushed(reply))

    def check(self) -> list[str]:
        """Whether WeChat gives this server an access token: sentences of trouble."""
        if self._account.passive_only:
            return []
        try:
            self._service.token()
        except SendError as error:
            return [str(error)]
        return []

    def _handshake(self, query: Mapping[str, str]) -> Received:
        self._check_plain_signature(query)
        echo = query.get("echostr", "").encode("utf-8", "replace")
        return Received(handshake=WebhookResponse(echo))

    def _receive_sealed(self, request: WebhookRequest) -> Received:
        """Only what `Encrypt` holds counts: in compatible mode the rest is unsigned."""
        query = request.query
        timestamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
        try:
            encrypted = reading.field(reading.parsed(request.body), "Encrypt")
        except reading.Unreadable as error:
            raise Refused(str(error)) from None
        expected = signature(self._account.token, timestamp, nonce, encrypted)
        if not matches(expected, query.get("msg_signature", "")):
            raise Refused("the signature does not match")
        number, message = self._opened(encrypted)
        context = {"envelope": str(number), "timestamp": timestamp, "nonce": nonce}
        return self._read(message, context)

    def _opened(self, encrypted: str) -> tuple[int, bytes]:
        """The message, and which of our keys opened it: the present or the previous one."""
        refusal = "the message cannot be decrypted"
        for number, envelope in enumerate(self._envelopes):
            try:
                return number, envelope.open(encrypted)
            except CannotDecrypt as error:
                refusal = str(error)
        raise Refused(refusal)

    def _receive_plain(self, request: WebhookRequest) -> Received:
        if not self._account.plaintext:
            raise Refused("this account accepts encrypted messages only (safe mode)")
        expected = self._check_plain_signature(request.query)
        once = OneBody(expected.decode(), hashlib.sha256(request.body).hexdigest())
        return replace(self._read(request.body, {}), one_body=once)

    def _check_plain_signature(self, query: Mapping[str, str]) -> bytes:
        expected = signature(
            self._account.token, query.get("timestamp", ""), query.get("nonce", "")
        )
        if not matches(expected, query.get("signature", "")):
            raise Refused("the signature does not match")
        return expected

    def _read(self, message: bytes, context: dict[str, str]) -> Received:
        try:
            root = reading.parsed(message)
            inbound = self._inbound(root)
            if inbound is None and self._forwarder is None:
                return Received()
            context["patron"] = reading.identifier(root, "FromUserName")
            context["account"] = reading.identifier(root, "ToUserName")
            if self._forwarder is not None:
                context |= {"message": message.decode(), "name": reading.name_of(root)}
        except reading.Unreadable as error:
            raise Refused(str(error), status=400) from None
        return Received((inbound,) if inbound else (), reply_context=context)

    def _inbound(self, root: Element) -> Inbound | None:
        """The patron's message; consent to another vendor's notice is none of ours."""
        inbound = reading.inbound(root)
        if inbound is None or inbound.event != reading.CONSENT:
            return inbound
        notice = self._account.notice
        return inbound if notice is not None and inbound.payload == notice.template else None

    def _response(self, body: bytes, context: Mapping[str, str]) -> WebhookResponse:
        if "envelope" in context:
            body = self._sealed(body, context)
        return WebhookResponse(body, "application/xml; charset=utf-8")

    def _sealed(self, body: bytes, context: Mapping[str, str]) -> bytes:
        encrypted = self._envelopes[int(context["envelope"])].seal(body)
        timestamp, nonce = context["timestamp"], context["nonce"]
        signed = signature(self._account.token, timestamp, nonce, encrypted)
        return shaping.sealed_xml(
            encrypted, signature=signed.decode(), timestamp=timestamp, nonce=nonce
        )

    def _send_all(self, to: str, messages: Sequence[dict[str, object]]) -> str | None:
        return send_in_order(
            messages, lambda message: self._service.send({"touser": to, **message})
        )


def _only_when_asked(reply: Reply) -> SendError:
    """Why an account without the customer-service interface sends nothing by itself."""
    if len(shaping.pushed_as_text(reply)) > 1:
        limit = shaping.TEXT_BYTES
        text = f"This account may only answer in one text of {limit} bytes: shorten it."
        return SendError(text, failure=SendFailure.PERMANENT, code="too_long")
    text = "This account may only answer when the patron writes."
    return SendError(text, failure=SendFailure.WINDOW_CLOSED, code="passive_only")


def _check_time(timestamp: str, now: datetime) -> None:
    """A captured request is worth nothing ten minutes later."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Refused("the timestamp is not a time")
    if abs(int(timestamp) - now.timestamp()) > CLOCK_TOLERANCE.total_seconds():
        raise Refused("the timestamp is more than ten minutes off")
