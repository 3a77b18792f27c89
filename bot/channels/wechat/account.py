"""A library's official account: its settings, checked when they are read."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.channels.wechat.crypto import KEY_CHARACTERS

REQUIRED = ("token", "app_id", "encoding_aes_key", "app_secret")
SECRET = (
    "token",
    "encoding_aes_key",
    "previous_encoding_aes_key",
    "app_secret",
    "forward_token",
    "forward_encoding_aes_key",
)
OPTIONAL = (
    "previous_encoding_aes_key",
    "plaintext",
    "passive_only",
    "forward_url",
    "forward_token",
    "forward_encoding_aes_key",
    "forward_events",
    "subscribe_template",
    "subscribe_field",
    "subscribe_page",
    "consent_text",
    "api_base",
)
UNANSWERED = "unanswered"
API_BASE = "https://api.weixin.qq.com"
_KEY = re.compile(rf"[A-Za-z0-9+/]{{{KEY_CHARACTERS}}}")
_FIELD = re.compile(r"[a-z_]{1,30}[0-9]{1,3}")
_PLAIN = re.compile(r"[!-~]*")  # printable ASCII
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The second callback, as the other vendor's console shows it, and what goes there."""

    url: str
    token: str
    encoding_aes_key: str | None  # None: in plain text
    events: frozenset[str]  # kinds of message and names of events; UNANSWERED: what we leave

    def __repr__(self) -> str:
        return f"Forwarding({self.url!r})"


@dataclass(frozen=True, slots=True)
class Notice:
    """The approved one-time subscription notice that says that an answer is ready."""

    template: str
    field: str  # of the template, holds the question
    page: str | None


@dataclass(frozen=True, slots=True)
class Account:
    """What the console of the official account shows, and how we may use it."""

    token: str
    app_id: str
    app_secret: str
    encoding_aes_keys: tuple[str, ...]  # the present one first
    plaintext: bool  # accept messages whose signature does not cover what they say
    passive_only: bool  # no right to the customer-service interface
    api_base: str
    forwarding: Forwarding | None = None
    notice: Notice | None = None
    consent_text: str | None = None  # where a patron agrees to the notice

    def __repr__(self) -> str:
        return f"Account({self.app_id!r})"

    @classmethod
    def read(cls, settings: Mapping[str, str]) -> "Account":
        """Raises ValueError with a sentence for every setting that is wrong."""
        given = {name: value.strip() for name, value in settings.items()}
        trouble = [*_missing(given), *_wrong(given)]
        if trouble:
            raise ValueError(" ".join(trouble))
        keys = (given["encoding_aes_key"], given.get("previous_encoding_aes_key", ""))
        return cls(
            token=given["token"],
            app_id=given["app_id"],
            app_secret=given["app_secret"],
            encoding_aes_keys=tuple(key for key in keys if key),
            plaintext=_is_true(given, "plaintext"),
            passive_only=_is_true(given, "passive_only"),
            api_base=(given.get("api_base") or API_BASE).rstrip("/"),
            forwarding=_forwarding(given),
            notice=_notice(given),
            consent_text=given.get("consent_text") or None,
        )


def _forwarding(given: Mapping[str, str]) -> Forwarding | None:
    if not given.get("forward_url"):
        return None
    names = (given.get("forward_events") or UNANSWERED).split(",")
    return Forwarding(
        given["forward_url"],
        given["forward_token"],
        given.get("forward_encoding_aes_key") or None,
        frozenset(name.strip() for name in names if name.strip()),
    )


def _notice(given: Mapping[str, str]) -> Notice | None:
    if not given.get("subscribe_template"):
        return None
    field = given.get("subscribe_field") or "thing1"
    return Notice(given["subscribe_template"], field, given.get("subscribe_page") or None)


def _missing(given: Mapping[str, str]) -> list[str]:
    return [f"The setting {name} is missing." for name in REQUIRED if not given.get(name)]


def _wrong(given: Mapping[str, str]) -> Iterator[str]:
    for name in ("encoding_aes_key", "previous_encoding_aes_key", "forward_encoding_aes_key"):
        if given.get(name) and not _KEY.fullmatch(given[name]):
            yield (
                f"The setting {name} must be the {KEY_CHARACTERS} letters and digits of the"
                f" console's EncodingAESKey; it has {len(given[name])} characters."
            )
    for name in ("token", "app_id", "app_secret", "forward_token", "subscribe_template"):
        if not _PLAIN.fullmatch(given.get(name, "")):
            yield f"The setting {name} must be letters and digits without spaces."
    if given.get("app_id", "").startswith("gh_"):
        yield "The setting app_id must be the AppID (wx…), not the original ID (gh_…)."
    for name in ("plaintext", "passive_only"):
        if given.get(name, "false").lower() not in {"true", "false"}:
            yield f"The setting {name} must be true or false."
    if not _is_safe_address(given.get("api_base") or API_BASE):
        yield "The setting api_base must be an https:// address."
    if given.get("forward_url") and not _is_safe_address(given["forward_url"]):
        yield "The setting forward_url must be an https:// address without a query."
    if bool(given.get("forward_url")) != bool(given.get("forward_token")):
        yield "Give forward_url and forward_token together."
    if not _FIELD.fullmatch(given.get("subscribe_field") or "thing1"):
        yield "The setting subscribe_field must be a field of the template, such as thing1."


def _is_true(given: Mapping[str, str], name: str) -> bool:
    return given.get(name, "false").lower() == "true"


def _is_safe_address(address: str) -> bool:
    """The app_secret travels there: encrypted, or to a stand-in on this very machine."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    if not host or parts.query or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _THIS_MACHINE)
