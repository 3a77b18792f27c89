"""Telegram's side of one bot, for tests and for the demo."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.platform import Answer, Asked, Call, Exchange, Platform, Shown, Webhook, utf16

TEXT_LIMIT = 4096
DATA_BYTES = 64
BOT_ID = 7_001_002_003


@dataclass
class Telegram(Platform):
    """The Bot API, and the deliveries to the bot's webhook."""

    bot_token: str = f"{BOT_ID}:AAdemo-token_for-tests"
    secret: str = "reading-room-secret"
    address: str = "https://ref.example.edu/channels/telegram/demo"
    burst: int = 20  # messages that a chat takes within a second
    answered_taps: list[str] = field(default_factory=list)
    last_error: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._typing: list[str] = []
        self._started: dict[int, bool] = {}  # chats, and whether they let the bot write
        self._last_update = 700_100_200
        self._last_message = 30

    @property
    def typing(self) -> list[str]:
        """To whom the sign was shown that somebody writes."""
        return self._typing

    def patron(self, chat: int, webhook: Webhook, *, name: str = "Reader") -> "Patron":
        return Patron(self, chat, webhook, name)

    def update(self, **content: Any) -> dict[str, Any]:
        self._last_update += 1
        return {"update_id": self._last_update, **content}

    def next_message(self) -> int:
        self._last_message += 1
        return self._last_message

    def call(self, update: dict[str, Any]) -> Call:
        headers = {
            "content-type": "application/json",
            "x-telegram-bot-api-secret-token": self.secret,
        }
        return Call(json.dumps(update).encode(), headers=headers)

    def push(self, update: dict[str, Any], webhook: Webhook) -> Exchange:
        exchange = self.deliver(self.call(update), webhook)
        self.last_error = "" if exchange.taken else "Wrong response from the webhook"
        if exchange.taken and exchange.body:
            answer = json.loads(exchange.body)
            if answer.get("method") == "answerCallbackQuery":
                self.answered_taps.append(answer["callback_query_id"])
        return exchange

    def lets_write(self, chat: int, may: bool) -> None:
        self._started[chat] = may

    def handle(self, asked: Asked) -> Answer:
        token, _, method = asked.path.removeprefix("/bot").partition("/")
        if token != self.bot_token:
            return _refusal(401, "Unauthorized")
        match method:
            case "getMe":
                return _result({"id": BOT_ID, "is_bot": True, "username": "library_bot"})
            case "getWebhookInfo":
                return _result({"url": self.address, "last_error_message": self.last_error})
            case "sendChatAction":
                self.typing.append(str(asked.document["chat_id"]))
                return _result(True)
            case "sendMessage":
                return self._send(asked.document)
        return _refusal(404, "Not Found")

    def _send(self, message: dict[str, Any]) -> Answer:
        chat, text = message.get("chat_id"), message.get("text") or ""
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        choices = tuple((b["callback_data"], b["text"]) for row in rows for b in row)
        if chat not in self._started:
            return _refusal(400, "Bad Request: chat not found")
        if not self._started[chat]:
            return _refusal(403, "Forbidden: bot was blocked by the user")
        if not text.strip():
            return _refusal(400, "Bad Request: message text is empty")
        if utf16(text) > TEXT_LIMIT:
            return _refusal(400, "Bad Request: message is too long")
        if any(not 1 <= len(data.encode()) <= DATA_BYTES for data, _ in choices):
            return _refusal(400, "Bad Request: BUTTON_DATA_INVALID")
        if self.sent_within(str(chat), 1) >= self.burst:
            return too_many(1)
        self.show(str(chat), Shown(text, self.clock(), choices))
        return _result({"message_id": self.next_message(), "chat": {"id": chat}})


@dataclass
class Patron:
    """A patron's hand on the telephone. Every deed returns what it led to."""

    telegram: Telegram
    chat: int
    webhook: Webhook
    name: str
    _last: dict[str, Any] = field(default_factory=dict)

    @property
    def screen(self) -> list[Shown]:
        return self.telegram.screens[str(self.chat)]

    def starts(self, argument: str = "") -> Exchange:
        return self.says(f"/start {argument}".strip())

    def says(self, text: str) -> Exchange:
        return self.sends(text=text)

    def sends(self, **content: Any) -> Exchange:
        """A message with any content of the Bot API: photo=[…], voice={…} …"""
        self.telegram.lets_write(self.chat, True)
        return self._push(message={**self._frame(), **content})

    def taps(self, label: str) -> Exchange:
        """Tap a button of the newest keyboard on the screen."""
        newest = next(shown for shown in reversed(self.screen) if shown.choices)
        data = next(payload for payload, shown_label in newest.choices if shown_label == label)
        keyboard = [[{"text": text, "callback_data": given}] for given, text in newest.choices]
        message = {**self._frame(), "reply_markup": {"inline_keyboard": keyboard}}
        tap = {"id": f"tap-{message['message_id']}", "from": self._person(), "data": data}
        return self._push(callback_query={**tap, "message": message})

    def blocks(self) -> Exchange:
        self.telegram.lets_write(self.chat, False)
        change = {**self._frame(), "new_chat_member": {"status": "kicked"}}
        return self._push(my_chat_member=change)

    def again(self) -> Exchange:
        """Telegram repeats the last update, because the answer got lost."""
        return self.telegram.push(self._last, self.webhook)

    def _push(self, **content: Any) -> Exchange:
        self._last = self.telegram.update(**content)
        return self.again()

    def _person(self) -> dict[str, Any]:
        return {"id": self.chat, "is_bot": False, "first_name": self.name}

    def _frame(self) -> dict[str, Any]:
        return {
            "message_id": self.telegram.next_message(),
            "date": int(self.telegram.clock().timestamp()),
            "chat": {"id": self.chat, "type": "private"},
            "from": self._person(),
        }


def too_many(seconds: int) -> Answer:
    """Slow down: the answer names the pause."""
    document = {
        "ok": False,
        "error_code": 429,
        "description": f"Too Many Requests: retry after {seconds}",
        "parameters": {"retry_after": seconds},
    }
    return Answer(document, 429)


def _result(content: Any) -> Answer:
    return Answer({"ok": True, "result": content})


def _refusal(code: int, description: str) -> Answer:
    return Answer({"ok": False, "error_code": code, "description": description}, code)
