"""WeCom customer service (微信客服): a callback that only calls, messages fetched by cursor,
answers under our own ids."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

import httpx

from bot.channels.base import (
    Declaration,
    Json,
    Pulled,
    QuickReplies,
    Refused,
    SendError,
    TokenStore,
    Window,
    instant,
    members,
    same,
    words,
)
from bot.channels.wecom import account as settings_of
from bot.channels.wecom import reading, shaping
from bot.channels.wecom.account import Account
from bot.channels.wecom.crypto import CannotDecrypt, Envelope, signature
from bot.channels.wecom.service import CustomerService
from bot.channels.wecom.welcomes import WELCOME_SECONDS, Welcomes
from bot.messages import (
    Inbound,
    Received,
    Reply,
    ReplyKind,
    Waiting,
    WebhookRequest,
    WebhookResponse,
)

ACK_SECONDS = 1.0  # of the handshake; a callback has five
CLOCK_TOLERANCE = timedelta(minutes=10)
# Documented: a patron's message opens 48 hours for 5 messages, and each starts both anew.
MESSAGE_WINDOW = Window("message", 48 * 3600, 5)
# One greeting, through an interface of its own.
WELCOME_WINDOW = Window("follow", WELCOME_SECONDS, 1)
PAGE = 100  # messages a look; WeCom gives up to 1000, too many for one transaction
# Without a callback's word WeCom allows fetching only rarely: how often is not documented.
POLL_SECONDS = 900.0
# The first look reaches back three days: what is older than this was somebody else's to answer.
FIRST_LOOK = timedelta(hours=1)

_DONE = WebhookResponse()


class WeCom:
    """One company's customer-service app. It translates; it decides nothing."""

    kind: ClassVar[str] = "wecom"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="push_then_pull",
        signature_covers_body=True,
        ack_seconds=ACK_SECONDS,
        passive_reply=False,
        pushes=True,
        windows=(MESSAGE_WINDOW, WELCOME_WINDOW),
        # E-mail before waiting: waiting always works, so nothing behind it would be tried.
        late_reply=("in_window", "email", "idle_until_contact"),
        text=shaping.TEXT,
        quick_replies=QuickReplies(
            max=shaping.MENU_CHOICES, label_limit=shaping.MENU_LABEL_BYTES // 3
        ),
        idempotent_send=True,
        required_settings=settings_of.REQUIRED,
        secret_settings=settings_of.SECRET,
        optional_settings=settings_of.OPTIONAL,
        availability="verified_account",
        unverified=(
            "whether a desk's cursor also covers other desks",
            "how often messages may be fetched without a callback's word",
            "the error code of a callback's word that is too old",
            "the error code of an id that was used before",
            "how long a greeting may take",
        ),
    )
    poll_seconds: float = POLL_SECONDS

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        """Raises ValueError with a sentence for every setting that is wrong."""
        self.name = name
        self._account = Account.read(self.declaration, settings)
        self._envelopes = tuple(
            Envelope(key, self._account.corp_id) for key in self._account.encoding_aes_keys
        )
        self._service = CustomerService(self._account, http=http, tokens=tokens)
        self._welcomes = Welcomes()
        self.sources: tuple[str, ...] = self._account.desks

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify, then say which desk has something. Anything not verifiable is 403."""
        _check_time(request.query.get("timestamp", ""), now)
        if request.method == "GET":
            # Decoded once too often, a "+" arrives as a space; base64 has no spaces.
            echo = request.query.get("echostr", "").replace(" ", "+")
            return Received(handshake=WebhookResponse(self._opened(request.query, echo)))
        if request.method != "POST":
            raise Refused("only GET and POST are answered", status=405)
        encrypted = reading.field(reading.parsed(request.body), "Encrypt")
        return self._read(self._opened(request.query, encrypted))

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """The opened echo of the handshake, else an empty 200."""
        return received.handshake or _DONE

    def pull(self, source: str, cursor: str | None, *, hint: str | None, now: datetime) -> Pulled:
        """One page of a desk's messages; see bot.channels.base.Pulling."""
        page = self._service.sync(source, cursor, hint, limit=PAGE)
        messages = members(page, "msg_list")
        if cursor is None:
            messages = [each for each in messages if _is_recent(each, now)]
        for each in messages:
            self._keep_welcome(each, source, now)
        return Pulled(
            tuple(found for each in messages if (found := _inbound(each, source))),
            words(page, "next_cursor") or None,
            more=page.get("has_more") == 1,
            undelivered=tuple(news for each in messages if (news := reading.undelivered(each))),
        )

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send as few messages as hold the reply, each under an id that WeCom takes once."""
        desk, person = reading.address(to)
        messages = shaping.messages(reply)
        code = self._welcomes.take(to, now=now) if reply.kind is ReplyKind.NOTICE else None
        if code is not None:
            greeting = {"code": code, "msgid": shaping.message_id(key, 0), **messages[0]}
            return self._service.send(greeting, path="kf/send_msg_on_event")
        last = None
        for number, message in enumerate(messages):
            identified = {"msgid": shaping.message_id(key, number), **message}
            last = self._service.send({"touser": person, "open_kfid": desk, **identified})
        return last

    def parts(self, reply: Reply) -> int:
        """How many messages a reply takes; see bot.channels.base.Counting."""
        return len(shaping.messages(reply))

    def check(self) -> list[str]:
        """Whether the app may serve its desks: sentences of trouble."""
        try:
            known = self._service.desks()
        except SendError as error:
            return [str(error)]
        if not known:
            return ["The app may serve no desk yet: see step 3 of the guide."]
        return [
            f"The app may not serve the desk {desk}, or it does not exist."
            for desk in self._account.desks
            if desk not in known
        ]

    def _opened(self, query: Mapping[str, str], encrypted: str) -> bytes:
        """What was encrypted, with the present key or, while it changes, the previous one."""
        timestamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
        expected = signature(self._account.token, timestamp, nonce, encrypted)
        if not same(expected, query.get("msg_signature", "")):
            raise Refused("the signature does not match")
        refusal = "the message cannot be decrypted"
        for envelope in self._envelopes:
            try:
                return envelope.open(encrypted)
            except CannotDecrypt as error:
                refusal = str(error)
        raise Refused(refusal)

    def _read(self, callback: bytes) -> Received:
        root = reading.parsed(callback)
        desk, hint = reading.field(root, "OpenKfId"), reading.field(root, "Token")
        if reading.field(root, "Event") != reading.CALLBACK or not desk:
            return Received()
        if self._account.desks and desk not in self._account.desks:
            return Received()
        return Received(waiting=(Waiting(desk, hint or None),))

    def _keep_welcome(self, message: Json, desk: str, now: datetime) -> None:
        try:
            found = reading.welcome(message, desk)
        except Refused:
            return
        if found is not None:
            came_at = instant(message.get("send_time")) or now
            self._welcomes.keep(found.patron, found.code, came_at=came_at)


def _check_time(timestamp: str, now: datetime) -> None:
    """A captured request is worth nothing ten minutes later."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Refused("the timestamp is not a time")
    if abs(int(timestamp) - now.timestamp()) > CLOCK_TOLERANCE.total_seconds():
        raise Refused("the timestamp is more than ten minutes off")


def _is_recent(message: Json, now: datetime) -> bool:
    sent_at = instant(message.get("send_time"))
    return sent_at is None or sent_at >= now - FIRST_LOOK


def _inbound(message: Json, desk: str) -> Inbound | None:
    """A message that lacks an id cannot be stored, and must not hold up those behind it."""
    try:
        return reading.inbound(message, desk)
    except Refused:
        return None
