"""WeCom's signature and envelope, as its callback documentation describes them.

SHA-1, the IV taken from the key and a 32-byte padding block are the platform's choices, and
both sides must follow them. We only open: WeCom wants no encrypted answer.
"""

import base64
import binascii
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PAD_BLOCK = 32  # not AES's 16: an ordinary PKCS7 decoder rejects pads of 17 to 32
CIPHER_BLOCK = 16
RANDOM_BYTES = 16
KEY_CHARACTERS = 43


class CannotDecrypt(Exception):
    """The envelope was not made with our key for our company."""


def signature(token: str, timestamp: str, nonce: str, encrypted: str) -> str:
    """The hexadecimal signature of a callback's parts, which WeCom sorts as bytes."""
    parts = (part.encode("utf-8", "replace") for part in (token, timestamp, nonce, encrypted))
    # The flag says only that FIPS builds may compute it; the platform knows no other digest.
    return hashlib.sha1(b"".join(sorted(parts)), usedforsecurity=False).hexdigest()


class Envelope:
    """Opens what WeCom encrypted for one company with one EncodingAESKey."""

    def __init__(self, encoding_aes_key: str, corp_id: str) -> None:
        # The key's last character may carry spare bits; the decoder drops them, as WeCom does.
        key = base64.b64decode(encoding_aes_key + "=")
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(key[:CIPHER_BLOCK]))
        self._corp_id = corp_id.encode()

    def open(self, encrypted: str) -> bytes:
        """What was encrypted; raises CannotDecrypt."""
        plain = _without_padding(self._decrypted(encrypted))
        head = RANDOM_BYTES + 4
        if len(plain) < head:
            raise CannotDecrypt("the encrypted message is too short")
        (length,) = struct.unpack(">I", plain[RANDOM_BYTES:head])
        message, corp_id = plain[head : head + length], plain[head + length :]
        if not hmac.compare_digest(corp_id, self._corp_id):
            raise CannotDecrypt("the encrypted message is for another company")
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
