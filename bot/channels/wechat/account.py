"""A library's official account: its settings, checked when they are read."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.channels.wechat.crypto import KEY_CHARACTERS

REQUIRED = ("token", "app_id", "encoding_aes_key", "app_secret")
SECRET = ("token", "encoding_aes_key", "previous_encoding_aes_key", "app_secret")
OPTIONAL = ("previous_encoding_aes_key", "plaintext", "passive_only", "api_base")
API_BASE = "https://api.weixin.qq.com"
_KEY = re.compile(rf"[A-Za-z0-9+/]{{{KEY_CHARACTERS}}}")
_PLAIN = re.compile(r"[!-~]*")  # printable ASCII
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}


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
        )


def _missing(given: Mapping[str, str]) -> list[str]:
    return [f"The setting {name} is missing." for name in REQUIRED if not given.get(name)]


def _wrong(given: Mapping[str, str]) -> Iterator[str]:
    for name in ("encoding_aes_key", "previous_encoding_aes_key"):
        if given.get(name) and not _KEY.fullmatch(given[name]):
            yield (
                f"The setting {name} must be the {KEY_CHARACTERS} letters and digits of the"
                f" console's EncodingAESKey; it has {len(given[name])} characters."
            )
    for name in ("token", "app_id", "app_secret"):
        if not _PLAIN.fullmatch(given.get(name, "")):
            yield f"The setting {name} must be letters and digits without spaces."
    if given.get("app_id", "").startswith("gh_"):
        yield "The setting app_id must be the AppID (wx…), not the original ID (gh_…)."
    for name in ("plaintext", "passive_only"):
        if given.get(name, "false").lower() not in {"true", "false"}:
            yield f"The setting {name} must be true or false."
    if not _is_safe_address(given.get("api_base") or API_BASE):
        yield "The setting api_base must be an https:// address."


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
