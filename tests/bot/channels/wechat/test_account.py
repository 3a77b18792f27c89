import pytest

from bot.channels.wechat.account import Account

GOOD = {
    "token": "readingRoom7",
    "app_id": "wx5d1f0c7e9a2b4c68",
    "encoding_aes_key": "Qm9va3NoZWxmV2luZG93TGFtcERlc2tRdWlldEhvdXb",
    "app_secret": "demo-secret-not-real",
}


def test_good_settings_are_read_with_safe_defaults():
    account = Account.read(GOOD)

    assert account.encoding_aes_keys == (GOOD["encoding_aes_key"],)
    assert (account.plaintext, account.passive_only) == (False, False)
    assert account.api_base == "https://api.weixin.qq.com"


@pytest.mark.parametrize("name", list(GOOD))
def test_a_missing_setting_is_named(name):
    with pytest.raises(ValueError, match=f"The setting {name} is missing"):
        Account.read({**GOOD, name: " "})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoding_aes_key": "short"}, "must be the 43 letters and digits .* it has 5 characters"),
        ({"previous_encoding_aes_key": "x" * 44}, "previous_encoding_aes_key must be the 43"),
        ({"encoding_aes_key": "字" * 43}, "encoding_aes_key must be the 43"),
        ({"token": "阅览室"}, "token must be letters and digits"),
        ({"app_secret": "two words"}, "app_secret must be letters and digits"),
        ({"app_id": "gh_4b7riverbend"}, r"must be the AppID \(wx…\), not the original ID"),
        ({"plaintext": "yes please"}, "plaintext must be true or false"),
        ({"passive_only": "1"}, "passive_only must be true or false"),
        ({"api_base": "http://api.weixin.qq.com"}, "api_base must be an https:// address"),
        ({"api_base": "https://"}, "api_base must be an https:// address"),
        ({"api_base": "https://[x"}, "api_base must be an https:// address"),
    ],
)
def test_a_wrong_setting_is_explained(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Account.read({**GOOD, **change})


def test_a_wrong_setting_is_explained_without_showing_secrets():
    with pytest.raises(ValueError, match="characters") as caught:
        Account.read({**GOOD, "encoding_aes_key": "sesame", "app_secret": "open sesame"})

    assert "sesame" not in str(caught.value)


def test_an_account_can_be_logged_without_showing_secrets():
    shown = repr(Account.read(GOOD))

    assert shown == "Account('wx5d1f0c7e9a2b4c68')"


def test_a_stand_in_on_this_machine_may_be_reached_without_tls():
    assert Account.read({**GOOD, "api_base": "http://127.0.0.1:9000/"}).api_base == (
        "http://127.0.0.1:9000"
    )
