"""E-mail: a mailbox is read every few seconds, answers leave in the same thread."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

import httpx

from bot.channels.base import (
    Declaration,
    Pulled,
    QuickReplies,
    Refused,
    TextLimit,
    TokenStore,
    Undelivered,
    Window,
    trouble,
)
from bot.channels.email import account as settings_of
from bot.channels.email.account import Account
from bot.channels.email.mailbox import check_mailbox, read_page
from bot.channels.email.reading import Mail
from bot.channels.email.sending import check_server, compose, deliver
from bot.messages import Inbound, Received, Reply, WebhookRequest, WebhookResponse

# Not from any standard: enough for a conversation, too little for two machines to enjoy.
AUTOMATIC_AN_HOUR = 5


class Email:
    """One mailbox. It translates; it decides nothing."""

    kind: ClassVar[str] = "email"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="poll",
        signature_covers_body=False,  # anybody can write under any name
        ack_seconds=60.0,
        passive_reply=False,
        pushes=True,
        windows=(Window("message", None, None),),
        late_reply=("in_window",),
        text=TextLimit(None),
        quick_replies=QuickReplies(),
        idempotent_send=False,
        required_settings=settings_of.REQUIRED,
        secret_settings=settings_of.SECRET,
        optional_settings=settings_of.OPTIONAL,
        automatic_an_hour=AUTOMATIC_AN_HOUR,
        unverified=(
            "whether the mail server takes mail without a return address",
            "whether the mail server delivers plus-addresses",
        ),
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        """Raises ValueError with a sentence for what is wrong."""
        self.name = name
        self._account = Account.read(self.declaration, settings)
        self.poll_seconds: float = self._account.poll_seconds
        self.sources: tuple[str, ...] = (self._account.folder,)

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Nothing calls us: mail is fetched."""
        raise Refused("e-mail has no webhook", status=404)

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """Never asked for, as nothing is received."""
        return WebhookResponse()

    def pull(self, source: str, cursor: str | None, *, hint: str | None, now: datetime) -> Pulled:
        """Some new mails of a folder; see bot.channels.base.Pulling."""
        page = read_page(self._account, source, cursor, now=now)
        read = [_read(raw, self._account) for raw in page.mails]
        return Pulled(
            tuple(each for each in read if isinstance(each, Inbound)),
            page.cursor,
            more=page.more,
            undelivered=tuple(each for each in read if isinstance(each, Undelivered)),
        )

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send one mail, with the same Message-ID for the same key."""
        mail = compose(self._account, to, reply, key=key)
        deliver(self._account, mail, to)
        return str(mail["Message-ID"])

    def check(self) -> list[str]:
        """Whether we can sign in at both servers: sentences of trouble."""
        reading = trouble(lambda: check_mailbox(self._account))
        sending = trouble(lambda: check_server(self._account))
        return [
            *(f"Reading: {sentence}" for sentence in reading),
            *(f"Sending: {sentence}" for sentence in sending),
        ]


def _read(raw: bytes, account: Account) -> Inbound | Undelivered | None:
    mail = Mail(raw, account)
    return mail.undelivered() or mail.inbound()
