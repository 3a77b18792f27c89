"""The vectors were made with wechatpy and computed anew with cryptography; wechatpy itself is
the independent judge in both directions."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wechatpy.crypto import PrpCrypto, WeChatCrypto
from wechatpy.exceptions import InvalidAppIdException
from wechatpy.utils import WeChatSigner

from bot.channels.wechat.crypto import CannotDecrypt, Envelope, aes_key, matches, signature
from tests.bot.channels.wechat.conftest import SETTINGS

KEY, APP_ID, TOKEN = SETTINGS["encoding_aes_key"], SETTINGS["app_id"], SETTINGS["token"]


@pytest.fixture
def envelope():
    return Envelope(KEY, APP_ID)


def test_a_key_with_spare_bits_is_read_as_the_platform_reads_it(vector):
    assert aes_key(vector["encoding_aes_key"]).hex() == vector["aes_key_hex"]


@pytest.mark.parametrize("name", ["inbound", "passive_reply"])
def test_the_vectors_are_reproduced(vector, envelope, name):
    case = vector[name]
    sealed = envelope.seal(case["plaintext"].encode(), random16=vector["random16"].encode())

    assert sealed == case["encrypt"]
    assert envelope.open(case["encrypt"]).decode() == case["plaintext"]
    signed = signature(TOKEN, vector["timestamp"], vector["nonce"], case["encrypt"])
    assert signed.decode() == case["msg_signature"]


@pytest.mark.parametrize("pad", ["1", "16", "17", "31", "32"])
def test_every_padding_of_the_32_byte_block_opens(vector, envelope, pad):
    case = vector["padding_edge_cases"][pad]

    assert envelope.open(case["encrypt"]).decode() == case["plaintext"]
    assert (
        envelope.seal(case["plaintext"].encode(), random16=vector["random16"].encode())
        == (case["encrypt"])
    )


def test_the_signature_of_the_platforms_printed_example_is_reproduced(vector):
    printed = vector["tencent_documented_vector"]

    signed = signature(printed["token"], printed["timestamp"], printed["nonce"])

    assert signed.decode() == printed["signature"]


def test_a_message_for_another_account_is_refused(vector, envelope):
    with pytest.raises(CannotDecrypt, match="another account"):
        envelope.open(vector["must_reject"]["other_appid"])


@pytest.mark.parametrize(
    "broken",
    ["", "=", "A", "====", "不是", "not base64!", base64.b64encode(b"x" * 15).decode()],
)
def test_what_is_no_ciphertext_is_refused(envelope, broken):
    with pytest.raises(CannotDecrypt):
        envelope.open(broken)


def test_every_truncation_of_a_ciphertext_is_refused(vector, envelope):
    whole = base64.b64decode(vector["inbound"]["encrypt"])

    for length in range(len(whole)):
        with pytest.raises(CannotDecrypt):
            envelope.open(base64.b64encode(whole[:length]).decode())


def _sealed_with(tail: bytes) -> str:
    """A ciphertext whose last plaintext bytes are as given, whatever they should be."""
    encryptor = Envelope(KEY, APP_ID)._cipher.encryptor()
    return base64.b64encode(encryptor.update(tail) + encryptor.finalize()).decode()


@pytest.mark.parametrize(
    "plain",
    [
        b"r" * 31 + b"\x00",  # padding of nothing
        b"r" * 31 + b"\x21",  # padding of 33
        b"r" * 30 + b"\x02\x03",  # padding that disagrees with itself
        b"\x20" * 32,  # padding only
        b"r" * 16 + b"\xff\xff\xff\xff" + APP_ID.encode() + b"\x0a" * 10,  # a length of 4 GB
    ],
)
def test_a_ciphertext_with_a_wrong_frame_is_refused(plain):
    assert len(plain) % 16 == 0

    with pytest.raises(CannotDecrypt):
        Envelope(KEY, APP_ID).open(_sealed_with(plain))


def test_the_same_message_is_never_sealed_alike(envelope):
    assert envelope.seal(b"<xml/>") != envelope.seal(b"<xml/>")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_wechatpy_opens_what_we_seal(message):
    sealed = Envelope(KEY, APP_ID).seal(message.encode())

    assert PrpCrypto(aes_key(KEY)).decrypt(sealed, APP_ID) == message


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_we_open_what_wechatpy_seals(message):
    sealed = PrpCrypto(aes_key(KEY)).encrypt(message, APP_ID).decode()

    assert Envelope(KEY, APP_ID).open(sealed).decode() == message


def test_wechatpy_refuses_what_we_seal_for_another_account():
    sealed = Envelope(KEY, "wxanotheraccount1").seal(b"<xml/>")

    with pytest.raises(InvalidAppIdException):
        WeChatCrypto(TOKEN, KEY, APP_ID).decrypt_message(
            {"Encrypt": sealed}, signature(TOKEN, "1", "2", sealed).decode(), "1", "2"
        )


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
def test_the_signature_is_wechatpys(parts):
    signer = WeChatSigner()
    signer.add_data(TOKEN, *parts)

    assert signature(TOKEN, *parts).decode() == signer.signature


@pytest.mark.parametrize("given_signature", ["", "é", "签名", "\udcff", "0" * 40])
def test_comparing_with_any_text_is_false_and_no_error(given_signature):
    assert not matches(signature(TOKEN, "1", "2"), given_signature)
