"""What a channel is: its declaration, and the four things that it can do.

Below that: what several channels need to read a request, to shape text and to call a platform.
"""

import hmac
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar, runtime_checkable
from urllib.parse import urlsplit

import httpx

from bot.messages import Choice, Inbound, Received, Reply, WebhookRequest, WebhookResponse
from bot.messages import SendFailure as SendFailure  # noqa: PLC0414 - channels find it here
from bot.messages import Undelivered as Undelivered  # noqa: PLC0414


class Refused(Exception):
    """The request cannot be verified or read; nothing of it is kept."""

    def __init__(self, message: str, *, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


class SendError(Exception):
    """A message was not, or not certainly, accepted by the channel."""

    def __init__(
        self,
        message: str,
        *,
        failure: SendFailure,
        code: str | None = None,
        retry_after: float | None = None,
        parts_sent: int = 0,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.code = code
        self.retry_after = retry_after  # seconds, where the channel says
        self.parts_sent = parts_sent  # of this reply, before it failed: they spent the window


@dataclass(frozen=True, slots=True)
class Window:
    """How long, and how often, we may write after something the patron did."""

    opened_by: str  # an InboundKind's value, or the channel's own event name
    seconds: int | None  # None: for ever
    max_messages: int | None  # None: unlimited
    refills_on_message: bool = True
    announces: bool = False  # the patron agreed to be told that an answer waits, not to more


@dataclass(frozen=True, slots=True)
class TextLimit:
    """The longest text that one message may hold, in the channel's own unit."""

    limit: int | None
    unit: str = "chars"  # chars | bytes | utf16


@dataclass(frozen=True, slots=True)
class QuickReplies:
    """Tappable choices: how many and how long; max 0 means that we number them in the text."""

    max: int = 0
    label_limit: int = 0
    opens_window: bool = True


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the core must know of a channel (CHANNELS.md section 15)."""

    inbound: str  # push | push_then_pull | poll | socket | actions
    signature_covers_body: bool
    ack_seconds: float
    passive_reply: bool  # the answer may travel in the webhook's response
    pushes: bool  # a late answer can be sent
    windows: tuple[Window, ...]
    late_reply: tuple[str, ...]  # in_window | template | idle_until_contact | email | web_link
    text: TextLimit
    quick_replies: QuickReplies
    idempotent_send: bool
    required_settings: tuple[str, ...]
    secret_settings: tuple[str, ...]
    optional_settings: tuple[str, ...] = ()
    typing: bool = False
    staffroom: bool = False  # librarians can work in it: see Staffroom
    automatic_an_hour: int | None = None  # replies to one patron that no person wrote
    stored: bool = False  # our own log is the channel: what is stored has been accepted
    late_only_to_issued: bool = False  # late answers go only to patron ids that we made
    always_replies: bool = False  # its clients take silence for a breakdown
    built_in: bool = False  # exists in every library without being added
    # the id that we keep for the one that a person knows; None: they are the same
    kept_id: Callable[[str], str] | None = None
    availability: str = "open"  # open | verified_account | paid | closed_to_new
    unverified: tuple[str, ...] = ()  # facts to confirm on a live account

    @property
    def has_webhook(self) -> bool:
        """Whether a platform must be given an address of ours."""
        return self.inbound.startswith("push") and not self.built_in


class TokenStore(Protocol):
    """Access tokens that all workers share; `fetch` runs under one lock per key."""

    def get(
        self, key: str, fetch: Callable[[], tuple[str, float]], *, stale: str | None = None
    ) -> str:
        """The cached token, or what `fetch` returns (token, life in seconds).

        `stale`: a token that the platform just refused; it is never returned again.
        """
        ...


class Channel(Protocol):
    """One account on one messaging channel. It translates; it decides nothing."""

    kind: ClassVar[str]
    declaration: ClassVar[Declaration]

    def receive(self, request: WebhookRequest, *, now: datetime) -> Received:
        """Verify over the raw bytes, then translate. An event we do not handle is no message.

        Raises Refused when it cannot be verified or read.
        """
        ...

    def acknowledge(
        self, received: Received, replies: Sequence[Reply], *, at: datetime
    ) -> WebhookResponse:
        """The response that stops the platform's retries, with the passive reply where it can.

        `at` is when the first reply was made: a retry gets the same bytes' worth of meaning.
        """
        ...

    def send(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Send one message; returns the channel's message id. Raises SendError.

        `key` is stable over retries, for channels that take a client's id.
        """
        ...

    def check(self) -> list[str]:
        """Ask the platform whether the settings work: sentences of trouble, empty when well."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A channel with a window that admits so many messages: it says how many a reply takes."""

    def parts(self, reply: Reply) -> int:
        """How many messages `send` would make of a reply."""
        ...


@runtime_checkable
class Typing(Protocol):
    """A channel that can show a patron that somebody writes (`declaration.typing`)."""

    def show_typing(self, to: str, *, thread: Mapping[str, str]) -> None:
        """Show it for the channel's few seconds; `thread` as in Reply. Raises SendError."""
        ...


@runtime_checkable
class Forwarding(Protocol):
    """A channel whose account also serves a second vendor: it may pass on what came."""

    def forward(self, received: Received, replies: Sequence[Reply]) -> WebhookResponse | None:
        """The second vendor's response to what came, None to answer ourselves.

        `replies` are ours, which its response stands in for. Raises SendError.
        """
        ...


@runtime_checkable
class Menued(Protocol):
    """A channel with a menu under the conversation, in the platform's own form."""

    def menu(self) -> "Json":
        """The menu that patrons see now, in the form that `set_menu` takes; {} for none.

        Raises SendError.
        """
        ...

    def set_menu(self, menu: "Json") -> None:
        """Show this menu. Raises ValueError with every mistake in it, SendError."""
        ...

    def remove_menu(self) -> None:
        """Show none. Raises SendError."""
        ...


@dataclass(frozen=True, slots=True)
class KeywordReply:
    """One automatic reply that a library had set up on the platform itself."""

    name: str
    keywords: tuple[str, ...]
    text: str  # empty: nothing of it can be said in words
    left_out: tuple[str, ...] = ()  # what of it cannot be taken over, in the platform's words


@runtime_checkable
class KeywordReplying(Protocol):
    """A channel whose platform has automatic replies of its own, which we can take over."""

    def keyword_replies(self, export: "Json | None" = None) -> list[KeywordReply]:
        """Those of the platform, or of a document that it gave. Raises SendError."""
        ...


class Announcing(Protocol):
    """A channel whose late replies may go by "template": it can say that an answer waits.

    The answer itself stays held until the patron's next contact opens a window. Where a window
    of the declaration `announces`, only a patron who agreed is told.
    """

    def announce(self, to: str, reply: Reply, *, key: str, now: datetime) -> str | None:
        """Tell a patron outside every window that their answer is ready. Raises SendError.

        WINDOW_CLOSED when the account has no approved template: use the next way.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one look into a source brought."""

    messages: tuple[Inbound, ...] = ()
    cursor: str | None = None  # where the next look begins; None: where this one began
    more: bool = False  # look again at once
    undelivered: tuple[Undelivered, ...] = ()


class Pulling(Protocol):
    """A channel that does not bring its messages (`inbound` is push_then_pull or poll).

    We fetch them from its sources, each with a cursor that the core keeps in the transaction
    that stores the messages. What was fetched and not stored is fetched again.
    """

    poll_seconds: float  # how often to look without having been told
    sources: tuple[str, ...]  # to look into without having been told

    def pull(self, source: str, cursor: str | None, *, hint: str | None, now: datetime) -> Pulled:
        """Fetch what came after the cursor; None is the first look. Raises SendError.

        `hint` is what the webhook gave with its word (Received.waiting), if there was one.
        """
        ...


class Staffroom(Protocol):
    """A channel in which librarians can work (`declaration.staffroom`).

    A case is posted there; what librarians write in its thread comes back as
    Received.from_staff. Who they are is the core's to decide, from their e-mail address.
    """

    room: str | None  # where cases go; None: this account has no such place

    def post(self, text: str, *, thread: str | None) -> str:
        """Post for librarians, in a thread or as the start of one; returns the thread.

        Raises SendError.
        """
        ...

    def email_of(self, author: str) -> str | None:
        """The e-mail address that the platform has confirmed for an author. Raises SendError."""
        ...


ChannelFactory = Callable[..., Channel]
"""Called as factory(name, settings, http=httpx.Client, tokens=TokenStore)."""

Settings = Mapping[str, str]
Json = dict[str, Any]
Http = httpx.Client


# --- settings ----------------------------------------------------------------------------

_PRINTABLE = re.compile(r"[!-~]+")
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}


def read_settings(
    declaration: Declaration, settings: Mapping[str, str], *, free_text: Collection[str] = ()
) -> dict[str, str]:
    """The settings that are filled in, trimmed.

    Raises ValueError with a sentence for each that is missing or wrong. All but `free_text`
    must be printable ASCII, because they travel in headers and addresses.
    """
    given = {name: value.strip() for name, value in settings.items() if value.strip()}
    trouble = [
        f"The setting {name} is missing."
        for name in declaration.required_settings
        if name not in given
    ]
    trouble += [
        f"The setting {name} must be letters, digits and signs without spaces."
        for name, value in given.items()
        if name not in free_text and not _PRINTABLE.fullmatch(value)
    ]
    if not _is_safe_address(given.get("api_base", "https://localhost")):
        trouble.append("The setting api_base must be an https:// address.")
    if trouble:
        raise ValueError(" ".join(trouble))
    return given


def _is_safe_address(address: str) -> bool:
    """Secrets travel there: encrypted, or to a stand-in on this very machine."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    if not host or parts.query or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _THIS_MACHINE)


# --- reading a request -------------------------------------------------------------------

MAX_JSON = 1024 * 1024  # bytes; a batch of messages stays far under it
MAX_IDENTIFIER = 255  # characters
EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)  # no platform here is older
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL takes neither
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
# The first words of Rasa's widgets (initPayload), some with an object behind them.
_OPENED = re.compile(
    r"/(?:get_started|session_start|start|greet|hello|hi|welcome)\s*(?:\{.*\})?", re.DOTALL
)


def same(expected: str, given: str) -> bool:
    """Compare secrets in constant time; as bytes, because comparing text fails on non-ASCII."""
    return hmac.compare_digest(
        expected.encode("utf-8", "surrogatepass"), given.encode("utf-8", "surrogatepass")
    )


def json_object(body: bytes, *, limit: int = MAX_JSON) -> Json:
    """The JSON object in a request's body. Raises Refused, whatever is wrong with it."""
    if len(body) > limit:
        raise Refused("the message is too large", status=413)
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):  # ValueError: bad UTF-8 and endless digits, too
        raise Refused("the message is not JSON", status=400) from None
    if not isinstance(found, dict):
        raise Refused("the message is not a JSON object", status=400)
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def member(fields: Json, *path: str) -> Json:
    """The object at the end of the path, empty where there is none."""
    for name in path:
        found = fields.get(name)
        if not isinstance(found, dict):
            return {}
        fields = found
    return fields


def members(fields: Json, name: str) -> list[Json]:
    """The objects in a list, without whatever else is in it."""
    found = fields.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def words(fields: Json, name: str) -> str:
    """A text as it can be stored and shown; empty where there is none."""
    found = fields.get(name)
    return storable(found) if isinstance(found, str) else ""


def storable(text: str) -> str:
    """Text without what a database refuses: NUL, and halves of a character."""
    return _UNSTORABLE.sub("\ufffd", text)


def identifier(fields: Json, name: str) -> str:
    """An id that must be there, as text. Raises Refused with status 400."""
    found = fields.get(name)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str) or not 1 <= len(found) <= MAX_IDENTIFIER:
        raise Refused(f"{name} is missing or no id", status=400)
    if _CONTROL.search(found):
        raise Refused(f"{name} holds control characters", status=400)
    return found


def opens_chat(text: str) -> bool:
    """Whether a chat widget says by itself that somebody opened it: no patron wrote that."""
    return _OPENED.fullmatch(text.strip()) is not None


def instant(value: object, *, per_second: int = 1) -> datetime | None:
    """The platform's time, from a number or its digits; None where it cannot be one."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    if not EARLIEST.timestamp() <= value / per_second <= LATEST.timestamp():
        return None
    return datetime.fromtimestamp(value / per_second, UTC)


def place(fields: Json, latitude: str = "latitude", longitude: str = "longitude") -> str | None:
    """A location as a geo: address; None where the numbers are missing."""
    found = [fields.get(latitude), fields.get(longitude)]
    try:
        north, east = (float(value) for value in found if isinstance(value, int | float | str))
    except (ValueError, OverflowError):  # not two numbers
        return None
    if not (-90 <= north <= 90 and -180 <= east <= 180):
        return None
    return f"geo:{north:g},{east:g}"


# --- shaping text ------------------------------------------------------------------------

ELLIPSIS = "…"
_GOOD_BREAKS = ("\n", "。", "！", "？", ". ", "! ", "? ", "，", ", ", " ")
_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_HAN = re.compile("[\u3400-\u9fff]")


def measure(text: str, unit: str) -> int:
    """How long a text is in a channel's unit: chars, bytes or utf16."""
    if unit == "bytes":
        return len(text.encode("utf-8", "replace"))
    if unit == "utf16":
        return len(text.encode("utf-16-le", "replace")) // 2
    return len(text)


def said(reply: Reply) -> str:
    """What a reply says, after the question that a late answer belongs to, with its link."""
    text = storable(reply.text).strip()
    if reply.quote:
        quote = one_line(reply.quote)
        text = (f"「{quote}」" if _HAN.search(quote) else f"“{quote}”") + f"\n{text}"
    if reply.link and reply.link not in text:
        text = f"{text}\n{storable(reply.link)}"
    return text


def said_with_choices(reply: Reply) -> str:
    """What a reply says, with its choices written out to be answered by number or words.

    A number counts all choices in their order, as the typed answer will be understood. A
    rating is answered by its words, so that an answer does not end in a questionnaire.
    """
    numbered = [
        f"{number}. {one_line(choice.label)}"
        for number, choice in enumerate(reply.choices, start=1)
        if not _is_rating(choice)
    ]
    rating = " / ".join(one_line(choice.label) for choice in reply.choices if _is_rating(choice))
    blocks = [said(reply), "\n".join(numbered), f"[{rating}]" if rating else ""]
    return "\n\n".join(block for block in blocks if block)


def split(text: str, limit: TextLimit) -> list[str]:
    """The text in as few parts as fit, cut where a reader would pause."""
    if limit.limit is None:
        return [text]
    parts = []
    while measure(text, limit.unit) > limit.limit:
        head = _good_break(_head(text, limit.limit, limit.unit))
        parts.append(head.rstrip())
        text = text[len(head) :].lstrip()
    return [part for part in (*parts, text) if part] or [text]


def shorten(text: str, limit: int, unit: str = "chars") -> str:
    """The text on one line, ended by an ellipsis where it had to be cut."""
    text = one_line(text)
    if measure(text, unit) <= limit:
        return text
    return _head(text, limit - measure(ELLIPSIS, unit), unit).rstrip() + ELLIPSIS


def one_line(text: str) -> str:
    """The text without line breaks and doubled spaces."""
    return " ".join(storable(text).split())


def _is_rating(choice: Choice) -> bool:
    return choice.payload.split(" ", 1)[0] == "/helped"


def _head(text: str, limit: int, unit: str) -> str:
    """As much of the text as fits, never ending inside what reads as one character."""
    cut = 0
    used = 0
    for character in text:
        used += measure(character, unit)
        if used > limit:
            break
        cut += 1
    whole = cut
    while 0 < whole < len(text) and _continues(text, whole):
        whole -= 1
    return text[: whole or max(cut, 1)]


def _continues(text: str, cut: int) -> bool:
    """Whether the character at `cut` belongs to the one before it: an accent, an emoji's part."""
    following = text[cut]
    return (
        unicodedata.category(following).startswith("M")
        or _JOINER in (following, text[cut - 1])
        or ord(following) in _SKIN_TONES
    )


def _good_break(head: str) -> str:
    """The head up to its last pause, if that keeps at least half of it."""
    for mark in _GOOD_BREAKS:
        end = head.rfind(mark)
        if end >= len(head) // 2:
            return head[: end + len(mark)]
    return head


# --- calling a platform ------------------------------------------------------------------

CALL_TIMEOUT = httpx.Timeout(8.0, connect=4.0, pool=4.0)  # seconds; a lease lasts 60
MAX_PAUSE = 24 * 3600.0  # seconds; no platform's wish is followed for longer
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_Message = TypeVar("_Message")


def call(
    http: httpx.Client,
    method: str,
    address: str,
    *,
    platform: str,
    when_lost: SendFailure = SendFailure.UNCERTAIN,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    body: Json | None = None,
    form: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Call a platform, with a JSON body or a form. Raises SendError when no answer comes.

    `when_lost` is what a broken connection means: RETRY for questions that change nothing.
    """
    content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
    sent = dict(headers or {})
    if content is not None:
        sent["content-type"] = "application/json; charset=utf-8"
    try:
        return http.request(
            method,
            address,
            params=query,
            content=content,
            data=form,
            headers=sent,
            timeout=CALL_TIMEOUT,
            follow_redirects=False,
        )
    except httpx.HTTPError as error:
        # Without the cause: it holds the request, and that holds our token.
        name = type(error).__name__
        if isinstance(error, _NOT_SENT):
            message = f"{platform} could not be reached ({name})."
            raise SendError(message, failure=SendFailure.RETRY) from None
        message = f"The connection to {platform} broke before an answer came ({name})."
        raise SendError(message, failure=when_lost) from None


def answered(response: httpx.Response) -> Json:
    """The JSON object of a platform's answer, empty where it is something else."""
    try:
        found = json.loads(response.content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def status_error(response: httpx.Response, platform: str) -> SendError:
    """What an HTTP status that is no success means.

    Of these only a gateway's time-out leaves open whether the message went through.
    """
    status = response.status_code
    if status == httpx.codes.GATEWAY_TIMEOUT:
        failure = SendFailure.UNCERTAIN
    elif status >= 500 or status == httpx.codes.TOO_MANY_REQUESTS:
        failure = SendFailure.RETRY
    else:
        failure = SendFailure.PERMANENT
    return SendError(
        f"{platform} answered with HTTP status {status}.",
        failure=failure,
        code=f"http {status}",
        retry_after=seconds_of(response.headers.get("retry-after")),
    )


def unclear(platform: str) -> SendError:
    """A success by its status that does not say whether the message was taken."""
    message = f"{platform}'s answer does not say whether it accepted the message."
    return SendError(message, failure=SendFailure.UNCERTAIN)


def seconds_of(value: object, *, at_most: float = MAX_PAUSE) -> float | None:
    """How long a platform asks us to wait; None where it does not say so in seconds."""
    try:
        seconds = float(value) if isinstance(value, int | float | str) else -1.0
    except (ValueError, OverflowError):
        return None
    return min(seconds, at_most) if seconds >= 0 else None


def send_in_order(
    messages: Sequence[_Message], send: Callable[[_Message], str | None]
) -> str | None:
    """Send the parts of one reply; returns the last one's id. Raises SendError.

    What the patron has seen in part is not simply repeated: then a librarian decides.
    """
    last = None
    for number, message in enumerate(messages):
        try:
            last = send(message)
        except SendError as error:
            if number and error.failure is SendFailure.RETRY:
                text = f"{number} of {len(messages)} parts were sent. {error}"
                raise SendError(
                    text, failure=SendFailure.UNCERTAIN, code=error.code, parts_sent=number
                ) from None
            error.parts_sent = number
            raise
    return last


def trouble(check: Callable[[], object]) -> list[str]:
    """What a health check's question to the platform ran into, as sentences."""
    try:
        check()
    except SendError as error:
        return [str(error)]
    return []
