"""How an answer is known to belong to a reply of ours: a signed Message-ID or plus-address.

Only somebody who has our mail knows either. A subject never proves anything.
"""

import base64
import hashlib
import hmac
import re

from bot.channels.base import same

SIGNATURE_CHARACTERS = 16  # base32: 80 bits
MAX_REFERENCES = 50  # newest first; longer chains are somebody's mistake
_KEY = re.compile(r"[0-9a-z]{1,64}")
_ID = re.compile(r"<case-([0-9a-z]{1,64})\.([a-z2-7]{16})@[^<>\s]{1,255}>")
_PLUS = re.compile(r"[^@]+\+([0-9a-z]{1,45})\.([a-z2-7]{16})@[^@]+")


def sign(signing_key: bytes, key: str) -> str:
    """The signature of a reply's key, in letters that survive lower-casing."""
    digest = hmac.digest(signing_key, key.encode(), hashlib.sha256)
    return base64.b32encode(digest).decode().lower()[:SIGNATURE_CHARACTERS]


def message_id(signing_key: bytes, key: str, domain: str) -> str:
    """Our Message-ID for a reply; the same for the same key."""
    safe = plain_key(key)
    return f"<case-{safe}.{sign(signing_key, safe)}@{domain}>"


def plus_address(signing_key: bytes, key: str, address: str) -> str:
    """The address under which an answer finds its conversation, whoever sends it."""
    local, _, domain = address.partition("@")
    safe = plain_key(key)[:45]
    return f"{local}+{safe}.{sign(signing_key, safe)}@{domain}"


def plain_key(key: str) -> str:
    """The key as it may stand in an address; the core's own keys are so already."""
    return key if _KEY.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()[:32]


def key_in_id(signing_key: bytes, text: str) -> str | None:
    """The key in the newest Message-ID of ours in a header; None when none is truly ours."""
    for key, signature in reversed(_ID.findall(text)[-MAX_REFERENCES:]):
        if same(sign(signing_key, key), signature):
            return str(key)
    return None


def key_in_address(signing_key: bytes, address: str) -> str | None:
    """The key in a signed plus-address; None for any other address."""
    found = _PLUS.fullmatch(address)
    if found is None or not same(sign(signing_key, found[1]), found[2]):
        return None
    return found[1]
