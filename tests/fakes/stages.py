"""One stage for every channel: its platform, what its console shows, and a patron on it.

With it a story is told once and played on each channel, in tests and in
`refdesk demo --channel`. `api_base` leads to the stand-in.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

import httpx

from tests.fakes import email as mail
from tests.fakes import platform as base
from tests.fakes import wechat
from tests.fakes.douyin import Douyin
from tests.fakes.platform import Answer
from tests.fakes.slack import Slack
from tests.fakes.telegram import Telegram
from tests.fakes.viber import Viber
from tests.fakes.wecom import WeCom
from tests.fakes.weibo import Weibo
from tests.fakes.whatsapp import WhatsApp
from tests.fakes.zalo import Zalo

Clock = Callable[[], datetime]
HOST = "{kind}.platform.example"


@dataclass(frozen=True)
class Stage:
    """Everything that a story needs of one channel."""

    kind: str
    build: Callable[..., Any]  # called with the clock
    settings: Callable[[Any], dict[str, str]]  # of the account, from the platform's console
    seat: Callable[[Any, Any], Any]  # a patron on the platform, with the library's webhook
    send_path: str  # of the interface that sends, as the platform sees it
    window: timedelta | None  # how long after a message we may write; None: for ever
    takes_our_key: bool = False  # sending twice shows once

    def account(self, platform: Any, *, api_base: str | None = None) -> dict[str, str]:
        """The settings of the library's account."""
        if isinstance(platform, Mail):
            return self.settings(platform)
        base_address = api_base or f"https://{HOST.format(kind=self.kind)}"
        return {**self.settings(platform), "api_base": base_address}

    def fail(self, platform: Any, how: str, *, times: int = 1) -> None:
        """Let the next replies fail: refused, reset (after the patron has it), or too_many."""
        if isinstance(platform, Mail):
            platform.fail(how, times)
            return
        if isinstance(platform, wechat.Platform):
            if how == "too_many":
                platform.fail_next(status=429, times=times)
            else:
                faults = {"refused": wechat.Fault.REFUSED, "reset": wechat.Fault.RESET_AFTER_ACCEPT}
                platform.fail_next(faults[how], times=times)
            return
        faults_of_others: Mapping[str, Any] = {
            "refused": base.Fault.REFUSED,
            "reset": base.Fault.RESET_AFTER_ACCEPT,
            "too_many": Answer(b"{}", 429, {"retry-after": "7"}),
        }
        platform.fail_next(faults_of_others[how], path=self.send_path, times=times)

    def heal(self, platform: Any) -> None:
        """Nothing fails any more."""
        faults = platform.server.faults if isinstance(platform, Mail) else platform._faults
        faults.clear()


@dataclass
class Mail:
    """A mailbox on a mail server of this machine, in the form of the other platforms."""

    clock: Clock
    server: mail.MailServer = field(init=False)

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self.server = self._stack.enter_context(mail.MailServer(self.clock).listening())

    def close(self) -> None:
        self._stack.close()

    def fail(self, how: str, times: int) -> None:
        command, answer = {
            "refused": ("MAIL", "421 come back later"),
            "too_many": ("MAIL", "451 too many messages"),
            "reset": ("CONTENT", mail.Fault.CLOSE_AFTER_ACCEPT),
        }[how]
        self.server.fail_next(command, answer, times=times)

    def patron(self, address: str) -> "MailPatron":
        return MailPatron(mail.Writer(self.server, address))


@dataclass
class MailPatron:
    """Somebody who writes e-mail."""

    writer: mail.Writer
    _last: EmailMessage = field(default_factory=EmailMessage)

    @property
    def screen(self) -> list[base.Shown]:
        def shown(taken: mail.Taken) -> base.Shown:
            raw = taken.raw.replace(b"\r\n", b"\n")
            read = cast("EmailMessage", message_from_bytes(raw, policy=policy.default))
            return base.Shown(read.get_content(), self.writer.server.clock())

        return [shown(taken) for taken in self.writer.screen]

    def says(self, text: str) -> None:
        self._last = self.writer.writes(text, subject="")

    def again(self) -> None:
        """The same mail arrives once more."""
        self.writer.server.arrives(self._last)


def _mail(platform: Mail) -> dict[str, str]:
    return {
        "address": mail.USER,
        "password": mail.PASSWORD,
        "imap_host": "127.0.0.1",
        "imap_port": str(platform.server.imap_port),
        "imap_security": "none",
        "smtp_host": "127.0.0.1",
        "smtp_port": str(platform.server.smtp_port),
        "smtp_security": "none",
        "signing_secret": "threads of the demo",
        "poll_seconds": "5",
    }


def _of(*names: str, **renamed: str) -> Callable[[Any], dict[str, str]]:
    """Settings that the platform's stand-in has under the same or another name."""

    def settings(platform: Any) -> dict[str, str]:
        found = {name: str(getattr(platform, name)) for name in names}
        return found | {ours: str(getattr(platform, name)) for ours, name in renamed.items()}

    return settings


def _wechat(platform: wechat.Platform) -> dict[str, str]:
    shown = platform.credentials
    return {
        "token": shown.token,
        "app_id": shown.app_id,
        "encoding_aes_key": shown.encoding_aes_key,
        "app_secret": shown.app_secret,
    }


def _douyin(platform: Douyin) -> dict[str, str]:
    names = ("client_key", "client_secret", "open_id", "refresh_token")
    return {**_of(*names)(platform), "access_granted": "true"}


DAY = timedelta(days=1)
STAGES = {
    stage.kind: stage
    for stage in (
        Stage(
            "wechat",
            wechat.Platform,
            _wechat,
            lambda platform, webhook: platform.patron("oLibQ7m2xReaderA-demo0001", webhook),
            wechat.SEND,
            2 * DAY,
        ),
        Stage(
            "wecom",
            WeCom,
            _of("token", "encoding_aes_key", "corp_id", "secret"),
            lambda platform, webhook: platform.patron("wmDemoReader01", webhook),
            "send_msg",
            2 * DAY,
            takes_our_key=True,
        ),
        Stage(
            "weibo",
            Weibo,
            _of("app_secret", "access_token"),
            lambda platform, webhook: platform.patron(5004003002, webhook),
            "reply.json",
            2 * DAY,
        ),
        Stage(
            "douyin",
            Douyin,
            _douyin,
            lambda platform, webhook: platform.patron("open-reader-01", webhook),
            "/im/send",
            DAY,
        ),
        Stage(
            "whatsapp",
            WhatsApp,
            _of("phone_number_id", "access_token", "app_secret", "verify_token"),
            lambda platform, webhook: platform.patron(
                "VN.9001002003004005", webhook, phone="84900000001"
            ),
            "/messages",
            DAY,
        ),
        Stage(
            "viber",
            Viber,
            _of("auth_token"),
            lambda platform, webhook: platform.patron("demoViberUser01==", webhook),
            "send_message",
            None,
        ),
        Stage(
            "slack",
            Slack,
            _of("bot_token", "signing_secret"),
            lambda platform, webhook: platform.person("U0READER", webhook),
            "chat.postMessage",
            None,
        ),
        Stage(
            "zalo",
            Zalo,
            _of("app_id", "app_secret", "oa_secret_key", "refresh_token"),
            lambda platform, webhook: platform.patron("8001002003004005006", webhook),
            "/message/cs",
            2 * DAY,
        ),
        Stage(
            "telegram",
            Telegram,
            _of("bot_token", webhook_secret="secret"),
            lambda platform, webhook: platform.patron(550660770, webhook),
            "sendMessage",
            None,
        ),
        Stage(
            "email",
            Mail,
            _mail,
            lambda platform, webhook: platform.patron("reader.c@example.net"),
            "",
            None,
        ),
    )
}


class ByHost(httpx.BaseTransport):
    """Leads each call to the platform whose address it has."""

    def __init__(self, platforms: Mapping[str, Any]) -> None:
        """`platforms` by the kind of channel."""
        self._transports = {
            HOST.format(kind=kind): platform.transport
            for kind, platform in platforms.items()
            if hasattr(platform, "transport")
        }

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._transports[request.url.host].handle_request(request)


def through(client: Any, path: str) -> Callable[[Any], tuple[int, bytes]]:
    """The library's webhook, reached with a client of ours."""

    def webhook(call: Any) -> tuple[int, bytes]:
        answer = client.request(
            call.method,
            path,
            params=call.query,
            content=call.body,
            headers=getattr(call, "headers", {"content-type": "text/xml"}),
        )
        return answer.status_code, answer.content

    return webhook
