"""Meta's side of one WhatsApp business number, for tests and for the demo."""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.platform import Answer, Asked, Call, Exchange, NoAnswer, Platform, Shown, Webhook

WINDOW = timedelta(hours=24)
TEXT_LIMIT = 4096
BODY_LIMIT = 1024


@dataclass
class WhatsApp(Platform):
    """The Cloud API, and the deliveries to the app's webhook."""

    phone_number_id: str = "200300400500600"
    access_token: str = "EAAdemo-system-user-token"
    app_secret: str = "whatsappDemoAppSecret"
    verify_token: str = "readingRoom7"
    templates: set[tuple[str, str]] = field(default_factory=lambda: {("answer_ready", "en")})
    burst: int = 45  # messages to one patron within six seconds

    def __post_init__(self) -> None:
        super().__post_init__()
        self._aliases: dict[str, str] = {}  # telephone number or user id: the patron's screen
        self._open_until: dict[str, datetime] = {}
        self._last = 0
        self.marks: dict[str, str | None] = {}  # what the library wrote on each message
        self.typing: list[str] = []  # the messages at which the sign was shown

    # --- the library's webhook ----------------------------------------------------------

    def verify(self, webhook: Webhook) -> bool:
        """The handshake when the callback address is saved in the console."""
        query = {
            "hub.mode": "subscribe",
            "hub.verify_token": self.verify_token,
            "hub.challenge": "1158201444",
        }
        try:
            status, body = webhook(Call(method="GET", query=query))
        except NoAnswer:
            return False
        return status == 200 and body == b"1158201444"

    def patron(
        self, user_id: str, webhook: Webhook, *, phone: str | None = None, name: str = "Reader"
    ) -> "Patron":
        """Somebody with a user id, and with a telephone number unless they hide it."""
        for alias in (user_id, phone):
            if alias:
                self._aliases[alias] = user_id
        return Patron(self, user_id, phone, name, webhook)

    def call(self, *values: dict[str, Any]) -> Call:
        """The signed request with one change a value."""
        changes = [{"field": "messages", "value": value} for value in values]
        entry = [{"id": "100200300400500", "changes": changes}]
        document = {"object": "whatsapp_business_account", "entry": entry}
        body = json.dumps(document, separators=(",", ":")).encode()
        return Call(body, headers={"x-hub-signature-256": self.sign(body)})

    def sign(self, body: bytes) -> str:
        digest = hmac.digest(self.app_secret.encode(), body, hashlib.sha256)
        return f"sha256={digest.hex()}"

    def value(self, **content: Any) -> dict[str, Any]:
        metadata = {"phone_number_id": self.phone_number_id}
        return {"messaging_product": "whatsapp", "metadata": metadata, **content}

    def next_id(self) -> str:
        self._last += 1
        return f"wamid.HBgLfake{self._last:04}"

    def moves(self, before: str, user_id: str, phone: str) -> None:
        """A patron has another user id and number from now on."""
        for name in (user_id, phone):
            self._aliases[name] = user_id
        self.screens[user_id] = self.screens.pop(before, [])
        if before in self._open_until:
            self._open_until[user_id] = self._open_until.pop(before)

    def opens(self, user_id: str) -> None:
        self._open_until[user_id] = self.clock() + WINDOW

    # --- the interface that the library calls -------------------------------------------

    def handle(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {self.access_token}":
            return error(190, "Invalid OAuth access token", 401)
        _, _, number, *rest = asked.path.split("/")
        if number != self.phone_number_id:
            return error(100, "Unsupported request: the object does not exist")
        if asked.method == "GET" and not rest:
            return Answer({"id": number, "verified_name": "Library", "quality_rating": "GREEN"})
        if rest == ["messages"]:
            return self._send(asked.document)
        return error(100, "Unsupported request", 404)

    def _send(self, message: dict[str, Any]) -> Answer:
        if message.get("status") == "read":
            self.typing.append(message["message_id"])
            return Answer({"success": True})
        patron = self._aliases.get(message.get("recipient") or message.get("to") or "")
        shown = self._shown(message)
        if isinstance(shown, Answer):
            return shown
        if patron is None:
            return error(131026, "Message undeliverable")
        if self.sent_within(patron, 6) >= self.burst:
            return error(131056, "Pair rate limit hit")
        open_until = self._open_until.get(patron)
        if shown.template is None and (open_until is None or open_until <= self.clock()):
            return error(131047, "Re-engagement message")
        self.show(patron, shown)
        number = self.next_id()
        self.marks[number] = message.get("biz_opaque_callback_data")
        return Answer({"messaging_product": "whatsapp", "messages": [{"id": number}]})

    def _shown(self, message: dict[str, Any]) -> Shown | Answer:
        now = self.clock()
        match message:
            case {"type": "text", "text": {"body": str(text)}} if 1 <= len(text) <= TEXT_LIMIT:
                return Shown(text, now)
            case {"type": "interactive", "interactive": {"body": {"text": str(text)}} as content}:
                choices = _choices(content)
                if choices and 1 <= len(text) <= BODY_LIMIT:
                    return Shown(text, now, choices)
            case {"type": "template", "template": {"name": name, "language": {"code": code}}}:
                if (name, code) not in self.templates:
                    return error(132001, "Template name does not exist in the translation")
                return _template(message["template"], now)
        return error(131009, "Parameter value is not valid")


@dataclass
class Patron:
    """A patron's hand on the telephone. Every deed returns what it led to."""

    whatsapp: WhatsApp
    user_id: str
    phone: str | None
    name: str
    webhook: Webhook
    _last: Call = field(default_factory=Call)

    @property
    def screen(self) -> list[Shown]:
        return self.whatsapp.screens[self.user_id]

    def says(self, text: str) -> Exchange:
        return self.sends("text", {"body": text})

    def taps(self, label: str) -> Exchange:
        """Tap a button or row of the newest choice on the screen."""
        newest = next(shown for shown in reversed(self.screen) if shown.choices)
        payload = next(given for given, shown_label in newest.choices if shown_label == label)
        kind = "button_reply" if len(newest.choices) <= 3 else "list_reply"
        content = {"type": kind, kind: {"id": payload, "title": label}}
        return self.sends("interactive", content)

    def taps_template(self, text: str = "Read it") -> Exchange:
        return self.sends("button", {"payload": text, "text": text})

    def sends(self, kind: str, content: Any) -> Exchange:
        """A message of any type of the Cloud API."""
        self.whatsapp.opens(self.user_id)
        self._last = self.whatsapp.call(self.value(kind, content))
        return self.again()

    def value(self, kind: str, content: Any) -> dict[str, Any]:
        """One change with this message, as the webhook carries it."""
        person = {"profile": {"name": self.name}, "user_id": self.user_id}
        message = {
            "from_user_id": self.user_id,
            "id": self.whatsapp.next_id(),
            "timestamp": str(int(self.whatsapp.clock().timestamp())),
            "type": kind,
            kind: content,
        }
        if self.phone:
            person["wa_id"] = message["from"] = self.phone
        return self.whatsapp.value(contacts=[person], messages=[message])

    def changes_number(self, user_id: str, phone: str) -> Exchange:
        """A new telephone number brings a new user id."""
        before, self.user_id = self.user_id, user_id
        change = {"type": "user_changed_user_id", "user_id": user_id, "body": "changed"}
        value = self.whatsapp.value(
            messages=[
                {
                    "from": self.phone or "",
                    "from_user_id": before,
                    "id": self.whatsapp.next_id(),
                    "timestamp": str(int(self.whatsapp.clock().timestamp())),
                    "type": "system",
                    "system": change,
                }
            ]
        )
        self.whatsapp.moves(before, user_id, phone)
        self.phone = phone
        self._last = self.whatsapp.call(value)
        return self.again()

    def again(self) -> Exchange:
        """WhatsApp repeats the last request, because the answer got lost."""
        return self.whatsapp.deliver(self._last, self.webhook)

    def receives(self, status: str, message_id: str, *, code: int | None = None) -> Exchange:
        """A delivery status: sent, delivered, read or failed."""
        found: dict[str, Any] = {
            "id": message_id,
            "status": status,
            "timestamp": str(int(self.whatsapp.clock().timestamp())),
            "recipient_id": self.phone or self.user_id,
        }
        mark = self.whatsapp.marks.get(message_id)
        if mark is not None:
            found["biz_opaque_callback_data"] = mark
        if code is not None:
            found["errors"] = [{"code": code, "title": "Re-engagement message"}]
        call = self.whatsapp.call(self.whatsapp.value(statuses=[found]))
        return self.whatsapp.deliver(call, self.webhook)


def error(code: int, message: str, status: int = 400) -> Answer:
    """The Graph API's refusal."""
    details = {"message": f"(#{code}) {message}", "type": "OAuthException", "code": code}
    return Answer({"error": {**details, "fbtrace_id": "fake"}}, status)


def _choices(content: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Payloads and labels, or nothing where WhatsApp would refuse them."""
    action = content.get("action", {})
    if content.get("type") == "button":
        replies = [button["reply"] for button in action["buttons"]]
        return _checked(replies, count=3, label=20, payload=256)
    rows = [row for section in action["sections"] for row in section["rows"]]
    if not 1 <= len(action.get("button", "")) <= 20:
        return ()
    if any(len(row.get("description", "")) > 72 for row in rows):
        return ()
    return _checked(rows, count=10, label=24, payload=200)


def _checked(
    rows: list[dict[str, Any]], *, count: int, label: int, payload: int
) -> tuple[tuple[str, str], ...]:
    ids = {row["id"] for row in rows}
    fits = all(1 <= len(row["title"]) <= label and 1 <= len(row["id"]) <= payload for row in rows)
    whole = len(ids) == len(rows) and 1 <= len(rows) <= count
    if not (fits and whole):
        return ()
    return tuple((row["id"], row.get("description") or row["title"]) for row in rows)


def _template(template: dict[str, Any], now: datetime) -> Shown | Answer:
    parameters = [p for part in template.get("components", []) for p in part["parameters"]]
    if len(parameters) != 1:
        return error(132000, "Number of parameters does not match")
    text = parameters[0]["text"]
    if not text or any(sign in text for sign in ("\n", "\t", "    ")):
        return error(132018, "Parameter has new-line, tab or 4 consecutive spaces")
    return Shown(f"Your question “{text}” has been answered.", now, template=template["name"])
