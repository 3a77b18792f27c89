import stat
from pathlib import Path

import pytest

from api.errors import WrongSetting
from api.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("REFDESK_PORT", "99999", "less than or equal to 65535"),
        ("REFDESK_PORT", "http", "valid integer"),
        ("REFDESK_DATABASE_URL", "mysql://x", "must start with sqlite:/// or postgresql://"),
        ("REFDESK_REDIS_URL", "http://x", "must start with redis://"),
        ("REFDESK_BASE_URL", "ask.example.org", "must be an http:// or https:// address"),
        ("REFDESK_SECRET_KEY", "short", "must have at least 32 characters"),
        ("REFDESK_RATE_LIMITS", "maybe", "valid boolean"),
        ("REFDESK_SMTP_HOST", "mail.example.org", "must be set together with smtp_host"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(WrongSetting) as caught:
        Settings.load()

    sentence = str(caught.value)
    assert reason in sentence
    assert sentence.startswith("REFDESK_")
    assert "\n" not in sentence


def test_a_wrong_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFDESK_SECRET_KEY", "hunter2")

    with pytest.raises(WrongSetting) as caught:
        Settings.load()

    assert "hunter2" not in str(caught.value)


def test_without_settings_it_runs_embedded() -> None:
    settings = Settings.load()

    assert settings.is_sqlite
    assert settings.runs_worker
    assert settings.rate_limits
    assert settings.public_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("given", ["postgres://u@h/d", "postgresql://u@h/d"])
def test_postgresql_is_reached_through_psycopg_3_whatever_it_is_called(given: str) -> None:
    assert Settings.load(database_url=given).database_url == "postgresql+psycopg://u@h/d"


def test_with_redis_a_key_must_be_given_since_processes_cannot_make_one_each() -> None:
    with pytest.raises(WrongSetting, match="REFDESK_SECRET_KEY"):
        Settings.load(redis_url="redis://localhost")


def test_rate_limits_are_switched_off_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFDESK_RATE_LIMITS", "off")

    assert not Settings.load().rate_limits


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFDESK_TRUSTED_PROXIES", "10.0.0.1, 10.0.0.2")

    assert Settings.load().trusted_proxies == ("10.0.0.1", "10.0.0.2")


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    settings = Settings.load(database_url=f"sqlite:///{tmp_path / 'var' / 'refdesk.db'}")

    made = settings.key()

    file = tmp_path / "var" / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert settings.key() == made == file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["secret.key"]


def test_a_damaged_key_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("")
    settings = Settings.load(database_url=f"sqlite:///{tmp_path / 'refdesk.db'}")

    with pytest.raises(WrongSetting, match=r"secret\.key holds no usable key"):
        settings.key()
