import pytest

from api.crypto import Keyring, digest
from api.errors import UnreadableSecret

KEYS = Keyring("a key for tests only, of decent length")


def test_a_sealed_secret_opens_again_and_never_looks_the_same_twice() -> None:
    first, second = (KEYS.seal("app secret", about="account:main") for _ in range(2))

    assert first != second
    assert "app secret" not in first
    assert KEYS.open(first, about="account:main") == "app secret"


@pytest.mark.parametrize("sealed", ["", "v0.abc", "v1.", "v1.AAAA", "v1.not base64!"])
def test_what_we_did_not_seal_does_not_open(sealed: str) -> None:
    with pytest.raises(UnreadableSecret):
        KEYS.open(sealed, about="account:main")


def test_a_secret_moved_to_another_account_does_not_open() -> None:
    sealed = KEYS.seal("app secret", about="account:main")

    with pytest.raises(UnreadableSecret):
        KEYS.open(sealed, about="account:other")


def test_a_secret_sealed_under_another_key_does_not_open() -> None:
    sealed = Keyring("another key, as long as it must be").seal("x", about="account:main")

    with pytest.raises(UnreadableSecret):
        KEYS.open(sealed, about="account:main")


def test_a_signature_holds_for_one_purpose_and_one_text() -> None:
    signature = KEYS.sign("form", "seed")

    assert KEYS.is_signed("form", "seed", signature)
    assert not KEYS.is_signed("device", "seed", signature)
    assert not KEYS.is_signed("form", "other", signature)
    assert not KEYS.is_signed("form", "seed", "ü")


def test_a_digest_is_always_the_same_and_no_token() -> None:
    assert digest("token") == digest("token") != "token"
