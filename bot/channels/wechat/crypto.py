"""WeChat's signature and envelope, as its message-push documentation describes them.

SHA-1, the IV taken from the key and a 32-byte padding block are the platform's choices, and
both sides must follow them. The IV does not repeat a ciphertext, because every message
starts with 16 random bytes.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PAD_BLOCK = 32  # not AES's 16: an ordinary PKCS7 decoder rejects pads of 17 to 32
CIPHER_BLOCK = 16
RANDOM_BYTES = 16
KEY_CHARACTERS = 43


class CannotDecrypt(Exception):
    """The envelope was not made with our key for our account."""


def signature(token: str, *parts: str) -> bytes:
    """The hexadecimal signature of the parts, which the platform sorts as bytes."""
    joined = b"".join(sorted(_raw(part) for part in (token, *parts)))
    # The flag says only that FIPS builds may compute it; the platform knows no other digest.
    return hashlib.sha1(joined, usedforsecurity=False).hexdigest().encode("ascii")


def matches(expected: bytes, given: str) -> bool:
    """Compare in constant time; as bytes, because comparing text fails on non-ASCII."""
    return hmac.compare_digest(expected, _raw(given))


def aes_key(encoding_aes_key: str) -> bytes:
    """The 32 bytes behind the 43 characters shown in the account's console.

    The last character may carry spare bits that are not zero: they are dropped, as the
    platform does.
    """
    return base64.b64decode(encoding_aes_key + "=")


class Envelope:
    """Encrypts and decrypts messages between one account and the platform."""

    def __init__(self, encoding_aes_key: str, app_id: str) -> None:
        key = aes_key(encoding_aes_key)
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(key[:CIPHER_BLOCK]))
        self._app_id = app_id.encode()

    def seal(self, message: bytes, *, random16: bytes | None = None) -> str:
        """The message as the text of an `Encrypt` element."""
        start = secrets.token_bytes(RANDOM_BYTES) if random16 is None else random16
        plain = start + struct.pack(">I", len(message)) + message + self._app_id
        pad = PAD_BLOCK - len(plain) % PAD_BLOCK
        encryptor = self._cipher.encryptor()
        sealed = encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()
        return base64.b64encode(sealed).decode("ascii")

    def open(self, encrypted: str) -> bytes:
        """The message in the text of an `Encrypt` element; raises CannotDecrypt."""
        plain = _without_padding(self._decrypted(encrypted))
        head = RANDOM_BYTES + 4
        if len(plain) < head:
            raise CannotDecrypt("the encrypted message is too short")
        (length,) = struct.unpack(">I", plain[RANDOM_BYTES:head])
        message, app_id = plain[head : head + length], plain[head + length :]
        if not hmac.compare_digest(app_id, self._app_id):
            raise CannotDecrypt("the encrypted message is for another account")
        return message

    def _decrypted(self, encrypted: str) -> bytes:
        try:
            sealed = base64.b64decode(encrypted, validate=True)
        except (binascii.Error, ValueError):  # ValueError: characters outside ASCII
            raise CannotDecrypt("the encrypted message is not base64") from None
        if not sealed or len(sealed) % CIPHER_BLOCK:
            raise CannotDecrypt("the encrypted message is cut short")
        decryptor = self._cipher.decryptor()
        return decryptor.update(sealed) + decryptor.finalize()


def _without_padding(plain: bytes) -> bytes:
    pad = plain[-1]
    if not 1 <= pad <= PAD_BLOCK or plain[-pad:] != bytes([pad]) * pad:
        raise CannotDecrypt("the encrypted message is padded wrongly")
    return plain[:-pad]


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "replace")
