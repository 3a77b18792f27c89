"""Who a patron is, as the library's own website says: a short-lived token that it signed.

The website puts a JSON Web Token (RFC 7519) on the page, signed with HMAC SHA-256 and the
library's identity key. No other algorithm is accepted, whatever the token's header names.
"""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from api.crypto import Keyring
from api.errors import NotAllowed
from tracker.models import Library

LONGEST = 4_000  # characters of a token
LONGEST_LIFE = timedelta(hours=24)
GENERATION = "identity_key"  # in a library's settings: counts how often the key was renewed


class UnknownIdentity(NotAllowed):
    """This page's word for who you are is not valid, or no longer."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A patron whom the library's website has signed in."""

    subject: str
    name: str | None
    email: str | None


def identity_key(keyring: Keyring, library: Library) -> str:
    """The key with which a library's website signs; nothing of it is stored."""
    generation = int(library.settings.get(GENERATION, 0))
    return keyring.sign("widget identity", f"{library.id}:{generation}")


def read_identity(token: object, key: str, *, now: datetime) -> Identity:
    """Who the token speaks of. Raises UnknownIdentity.

    `sub` and `exp` are needed, `name` and `email` are taken where they are there; `exp` lies
    at most 24 hours ahead.
    """
    if not isinstance(token, str) or len(token) > LONGEST or token.count(".") != 2:
        raise UnknownIdentity
    signed, _, signature = token.rpartition(".")
    expected = hmac.new(key.encode(), signed.encode("utf-8", "replace"), hashlib.sha256).digest()
    if not hmac.compare_digest(_decoded(signature), expected):
        raise UnknownIdentity
    header, claims = (_object(part) for part in signed.split("."))
    if header.get("alg") != "HS256":
        raise UnknownIdentity
    _check_time(claims.get("exp"), now)
    subject = _claim(claims, "sub")
    if subject is None:
        raise UnknownIdentity
    return Identity(subject, _claim(claims, "name"), _claim(claims, "email"))


def _check_time(until: object, now: datetime) -> None:
    if not isinstance(until, int | float) or isinstance(until, bool):
        raise UnknownIdentity
    left = until - now.timestamp()
    if not 0 < left <= LONGEST_LIFE.total_seconds():  # false for NaN, too
        raise UnknownIdentity


def _claim(claims: dict[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    text = " ".join(value.replace("\x00", "").encode("utf-8", "replace").decode().split())
    return text[:254] or None


def _object(part: str) -> dict[str, Any]:
    try:
        found = json.loads(_decoded(part))
    except (ValueError, RecursionError):
        raise UnknownIdentity from None
    if not isinstance(found, dict):
        raise UnknownIdentity
    return found


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise UnknownIdentity from None
