"""From Slack's requests to what patrons and librarians wrote.

Messages of bots, ours among them, are never read. In the librarians' channel nobody is a
patron; everywhere else only direct messages, mentions, commands and taps are for us.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from bot.channels.base import (
    MAX_JSON,
    Json,
    Refused,
    identifier,
    instant,
    json_object,
    member,
    members,
    storable,
    words,
)
from bot.channels.slack.wording import is_for_colleagues, plain, without_mark
from bot.messages import Inbound, InboundKind, Received, StaffMessage

MAX_FIELDS = 100  # of a form
RESPONSE_HOST = "hooks.slack.com"
_FILES = {"file_share", "thread_broadcast", ""}  # subtypes of what a person wrote


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads for one app. `room` is the librarians' channel, if it has one."""

    room: str | None

    def event(self, document: Json) -> Received:
        """An event of the Events API. Raises Refused."""
        event = member(document, "event")
        if words(document, "type") != "event_callback" or not self._is_a_persons(event):
            return Received()
        me = _own_id(document)
        if words(event, "user") == me:
            return Received()
        key = identifier(document, "event_id")
        if self.room is not None and words(event, "channel") == self.room:
            said = self._from_staff(event, key, me)
            return Received(from_staff=(said,) if said else ())
        kind = words(event, "type")
        if kind == "message" and words(event, "channel_type") == "im":
            return Received((self._message(event, key, me),))
        if kind == "app_mention":
            return Received((self._message(event, key, me, in_thread=True),))
        return Received()

    def command(self, form: Mapping[str, str]) -> Inbound:
        """A slash command. Raises Refused."""
        fields: Json = dict(form)
        text = plain(words(fields, "text"))
        thread = {"channel": words(fields, "user_id")}
        address = words(fields, "response_url")
        if _is_slacks(address):
            thread["response_url"] = address
        return Inbound(
            identifier(fields, "user_id"),
            text,
            f"command:{identifier(fields, 'trigger_id')}",
            InboundKind.TEXT if text else InboundKind.FOLLOW,
            display_name=words(fields, "user_name") or None,
            thread=thread,
        )

    def tap(self, payload: Json) -> Inbound | None:
        """A tap on a button of ours. Raises Refused."""
        actions = members(payload, "actions")
        if words(payload, "type") != "block_actions" or not actions:
            return None
        action, user = actions[0], member(payload, "user")
        if not words(action, "value"):
            return None
        thread = {"channel": words(member(payload, "channel"), "id") or words(user, "id")}
        origin = words(member(payload, "container"), "thread_ts")
        if origin:
            thread["thread_ts"] = origin
        person = identifier(user, "id")
        return Inbound(
            person,
            words(member(action, "text"), "text"),
            f"tap:{person}:{identifier(action, 'action_ts')}",
            InboundKind.CHOICE,
            payload=words(action, "value"),
            event="message",
            thread=thread,
        )

    def _is_a_persons(self, event: Json) -> bool:
        return (
            not event.get("bot_id")
            and not event.get("bot_profile")
            and words(event, "subtype") in _FILES
            and bool(words(event, "user"))
        )

    def _message(
        self, event: Json, key: str, me: str | None, *, in_thread: bool = False
    ) -> Inbound:
        text = plain(words(event, "text"), me=me)
        files = members(event, "files")
        kind = InboundKind.TEXT
        if files and not text:
            is_image = words(files[0], "mimetype").startswith("image/")
            kind = InboundKind.IMAGE if is_image else InboundKind.FILE
        thread = {"channel": identifier(event, "channel")}
        origin = words(event, "thread_ts") or (words(event, "ts") if in_thread else "")
        if origin:
            thread["thread_ts"] = origin
        return Inbound(
            identifier(event, "user"),
            text,
            key,
            kind,
            sent_at=instant(words(event, "ts").partition(".")[0]),
            media=(words(files[0], "url_private") or None) if files else None,
            thread=thread,
        )

    def _from_staff(self, event: Json, key: str, me: str | None) -> StaffMessage | None:
        """An answer in a thread that we began."""
        thread = words(event, "thread_ts")
        is_ours = words(event, "parent_user_id") in {me, ""}
        if words(event, "type") != "message" or not thread or not is_ours:
            return None
        if thread == words(event, "ts"):
            return None
        raw = words(event, "text")
        text = plain(raw, me=me)
        is_note = is_for_colleagues(raw, me=me)
        files = [f"📎 {words(each, 'permalink')}" for each in members(event, "files")]
        text = "\n".join(part for part in (without_mark(text) if is_note else text, *files) if part)
        author = identifier(event, "user")
        return StaffMessage(thread, author, text, key, is_note or bool(files)) if text else None


def form_of(body: bytes) -> dict[str, str]:
    """The fields of a form. Raises Refused, whatever is wrong with it."""
    if len(body) > MAX_JSON:
        raise Refused("the message is too large", status=413)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:  # not ASCII, not UTF-8 behind the signs, too many fields
        raise Refused("the message is no form", status=400) from None
    return {storable(name): storable(value) for name, value in pairs}


def payload_of(form: Mapping[str, str]) -> Json:
    """The JSON in a form's `payload`. Raises Refused."""
    return json_object(form["payload"].encode())


def challenge(document: Json) -> bytes | None:
    """The word to send back when Slack checks the address, None for any other request."""
    if words(document, "type") != "url_verification":
        return None
    return identifier(document, "challenge").encode()


def _own_id(document: Json) -> str | None:
    """Our bot's own user id, which every event names."""
    for authorization in members(document, "authorizations"):
        if authorization.get("is_bot") and words(authorization, "user_id"):
            return words(authorization, "user_id")
    return None


def _is_slacks(address: str) -> bool:
    """Whether an answer may be sent to this address."""
    try:
        parts = urlsplit(address)
        return parts.scheme == "https" and parts.netloc == RESPONSE_HOST and address.isascii()
    except ValueError:
        return False
