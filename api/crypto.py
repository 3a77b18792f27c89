"""Secrets at rest, and keys for signing: all derived from the one secret of the installation."""

import base64
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api.errors import UnreadableSecret

VERSION = "v1."
NONCE_BYTES = 12


class Keyring:
    """Seals and opens stored secrets, and signs what leaves us and must come back unchanged."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._sealing = AESGCM(self._derived("seal"))

    def seal(self, text: str, *, about: str) -> str:
        """Encrypt a secret for the database; it opens only for the same `about`.

        `about` names the row that it belongs to, so that nobody can move one account's secret
        to another account.
        """
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._sealing.encrypt(nonce, text.encode(), about.encode())
        return VERSION + base64.urlsafe_b64encode(sealed).decode()

    def open(self, sealed: str, *, about: str) -> str:
        """Decrypt what `seal` made. Raises UnreadableSecret."""
        if not sealed.startswith(VERSION):
            raise UnreadableSecret
        try:
            raw = base64.urlsafe_b64decode(sealed.removeprefix(VERSION))
            text = self._sealing.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], about.encode())
        except (InvalidTag, ValueError):  # ValueError: it is no base64, or too short
            raise UnreadableSecret from None
        return text.decode()

    def sign(self, purpose: str, text: str) -> str:
        """A keyed hash of the text, for one purpose only."""
        return hmac.new(self._derived(purpose), text.encode(), hashlib.sha256).hexdigest()

    def is_signed(self, purpose: str, text: str, signature: str) -> bool:
        return hmac.compare_digest(self.sign(purpose, text).encode(), signature.encode())

    def _derived(self, purpose: str) -> bytes:
        return hmac.new(self._secret, f"refdesk {purpose}".encode(), hashlib.sha256).digest()


def digest(token: str) -> str:
    """What we keep of a random token: enough to know it again, too little to use it."""
    return hashlib.sha256(token.encode()).hexdigest()
