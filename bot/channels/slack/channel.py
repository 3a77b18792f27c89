"""Slack: signed events, commands and taps; answers in the place where the question was asked.

One app serves two sides. Patrons write to it directly, mention it, or use its command. In the
librarians' channel, if there is one, each case is a thread.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

import httpx

from bot.channels.base import (
    Declaration,
    Json,
    QuickReplies,
    Refused,
    SendError,
    SendFailure,
    TextLimit,
    TokenStore,
    Window,
    json_object,
    member,
    read_settings,
    said,
    said_with_choices,
    send_in_order,
    shorten,
    split,
    trouble,
    unclear,
    words,
)
from bot.channels.slack.reading import Reader, challenge, form_of, payload_of
from bot.channels.slack.signing import verify
from bot.channels.slack.web_api import API_BASE, PLATFORM, WebApi, email_in
from bot.channels.slack.wording import escaped
from bot.messages import Received, Reply, WebhookRequest, WebhookResponse

ACK_SECONDS = 3.0
# Slack cuts at 40 000 and advises 4 000; a longer answer is several messages.
TEXT = TextLimit(4000)
SECTION = 3000  # characters of text above buttons (reported)
BUTTONS, LABEL, VALUE = 25, 75, 2000  # documented

_DONE = WebhookResponse()
_FORM = "application/x-www-form-urlencoded"


class Slack:
    """One app in one workspace. It translates; it decides nothing."""

    kind: ClassVar[str] = "slack"
    declaration: ClassVar[Declaration] = Declaration(
        inbound="push",
        signature_covers_body=True,
        ack_seconds=ACK_SECONDS,
        passive_reply=False,
        pushes=True,
        windows=(Window("message", None, None), Window("follow", None, None)),
        late_reply=("in_window", "email", "idle_until_contact"),
        text=TEXT,
        quick_replies=QuickReplies(max=BUTTONS, label_limit=LABEL),
        idempotent_send=False,
        required_settings=("bot_token", "signing_secret"),
        secret_settings=("bot_token", "signing_secret"),
        optional_settings=("staff_channel", "api_base"),
        staffroom=True,
        unverified=(
            "how often and how long a command may be answered where it was typed",
            "how much text may stand above buttons",
        ),
    )

    def __init__(
        self, name: str, settings: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore
    ) -> None:
        """Raises ValueError with a sentence for every setting that is wrong."""
        given = read_settings(self.declaration, settings)
        if not given["bot_token"].startswith("xoxb-"):
            raise ValueError("The setting bot_token must be the bot's token, xoxb-….")
        room = given.get("staff_channel")
        if room is not None and not (room[0] in "CG" and room.isalnum()):
            raise ValueError("The setting staff_channel must be a channel's id, C…, not its name.")
        self.name = name
        self.room: str | None = room
        self._secret = given["signing_secret"]
        self._api = WebApi(
            given["bot_token"], given.get("api_base", API_BASE).rstrip("/"), http=http
        )
        self._reader = Reader(room)

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify over the raw bytes, then translate; see bot.channels.base.

        Slack repeats what was not answered in time: each event has an id, and is stored once.
        """
        if request.method != "POST":
            raise Refused("only POST is answered", status=405)
        verify(self._secret, request.headers, request.body, now=now)
        if request.headers.get("content-type", "").startswith(_FORM):
            return self._read_form(request.body)
        document = json_object(request.body)
        word = challenge(document)
        if word is not None:
            return Received(handshake=WebhookResponse(word))
        return self._reader.event(document)

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """The word of the handshake, else an empty 200."""
        return received.handshake or _DONE

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Post where the patron last wrote, or to them directly. Slack takes no key of ours."""
        place = reply.thread or {}
        where = {"channel": place.get("channel") or to}
        if place.get("thread_ts"):
            where["thread_ts"] = place["thread_ts"]

        def say(message: Json) -> str | None:
            if self._has_answered(place.get("response_url"), message):
                return None
            return self._post({**where, **message})

        return send_in_order(_messages(reply), say)

    def post(self, text: str, *, thread: str | None) -> str:
        """Post for librarians; see bot.channels.base.Staffroom."""
        if self.room is None:
            message = "No staff_channel is set for this account."
            raise SendError(message, failure=SendFailure.PERMANENT)
        for part in split(text, TEXT):
            posted: Json = {"channel": self.room, **_text(part), "unfurl_links": False}
            if thread is not None:
                posted["thread_ts"] = thread
            number = self._post(posted)
            if number is None:
                raise unclear(PLATFORM)
            thread = thread or number
        return thread or ""

    def email_of(self, author: str) -> str | None:
        """The confirmed address of a member of the workspace. Raises SendError."""
        return email_in(self._api.ask("users.info", user=author))

    def check(self) -> list[str]:
        """Whether the token is good and the librarians' channel can be posted in."""
        found = trouble(lambda: self._api.ask("auth.test"))
        if found or self.room is None:
            return found
        try:
            channel = member(self._api.ask("conversations.info", channel=self.room), "channel")
        except SendError as error:
            return [f"The librarians' channel: {error}"]
        if channel.get("is_member") is not True:
            return ["The app is not in the librarians' channel: invite it there."]
        return []

    def _read_form(self, body: bytes) -> Received:
        form = form_of(body)
        if "payload" in form:
            tap = self._reader.tap(payload_of(form))
            return Received((tap,) if tap else ())
        if form.get("ssl_check"):
            return Received()
        return Received((self._reader.command(form),))

    def _post(self, message: Json) -> str | None:
        return words(self._api.post(message), "ts") or None

    def _has_answered(self, address: str | None, message: Json) -> bool:
        """Answer a command where it was typed; False where that is not, or no longer, possible."""
        if not address:
            return False
        return self._api.respond(address, {"response_type": "ephemeral", **message})


def _messages(reply: Reply) -> list[Json]:
    """The fewest messages that hold the reply, the last with its buttons."""
    buttons = _buttons(reply)
    if not buttons:
        return [_text(part) for part in split(said_with_choices(reply), TEXT)]
    *before, last = split(said(reply), TextLimit(SECTION))
    section = {"type": "section", "text": {"type": "plain_text", "text": last, "emoji": False}}
    actions = {"type": "actions", "elements": buttons}
    blocks: Json = {**_text(last), "blocks": [section, actions]}
    return [*map(_text, before), blocks]


def _buttons(reply: Reply) -> list[Json]:
    """None when a choice does not fit one, or nothing stands above, so that all are written."""
    fit = all(1 <= len(c.payload) <= VALUE and c.label.strip() for c in reply.choices)
    if not fit or len(reply.choices) > BUTTONS or not said(reply):
        return []
    return [
        {
            "type": "button",
            "action_id": f"choice-{number}",
            "text": {"type": "plain_text", "text": shorten(choice.label, LABEL), "emoji": False},
            "value": choice.payload,
        }
        for number, choice in enumerate(reply.choices)
    ]


def _text(text: str) -> Json:
    return {"text": escaped(text), "mrkdwn": False}
