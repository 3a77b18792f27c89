import threading

import pytest

from api.crypto import Keyring
from api.db import Database
from api.tokens import DatabaseTokens
from bot.models import ChannelToken
from tests.conftest import StandingClock

KEYS = Keyring("a key for tests only, of decent length")


class Platform:
    """Gives tokens, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> tuple[str, float]:
        self.asked += 1
        return f"token-{self.asked}", 7200.0


@pytest.fixture
def tokens(each_database: Database, clock: StandingClock) -> DatabaseTokens:
    return DatabaseTokens(each_database, KEYS, clock)


def test_a_token_is_fetched_once_and_shared(
    tokens: DatabaseTokens, each_database: Database, clock: StandingClock
) -> None:
    platform = Platform()
    elsewhere = DatabaseTokens(each_database, KEYS, clock)

    found = {store.get("wechat:main", platform) for store in (tokens, elsewhere, tokens)}

    assert found == {"token-1"}
    assert platform.asked == 1


def test_a_token_is_renewed_five_minutes_before_it_ends(
    tokens: DatabaseTokens, clock: StandingClock
) -> None:
    platform = Platform()
    tokens.get("wechat:main", platform)

    clock.advance(seconds=7200 - 301)
    assert tokens.get("wechat:main", platform) == "token-1"
    clock.advance(seconds=2)
    assert tokens.get("wechat:main", platform) == "token-2"


def test_a_token_that_the_platform_refused_is_never_given_again(tokens: DatabaseTokens) -> None:
    platform = Platform()
    first = tokens.get("wechat:main", platform)

    assert tokens.get("wechat:main", platform, stale=first) == "token-2"
    assert tokens.get("wechat:main", platform, stale=first) == "token-2"


def test_ten_threads_fetch_once(tokens: DatabaseTokens) -> None:
    platform = Platform()
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(tokens.get("wechat:main", platform)))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == ["token-1"] * 10


def test_a_token_is_kept_encrypted(tokens: DatabaseTokens, each_database: Database) -> None:
    tokens.get("wechat:main", Platform())

    with each_database.snapshot() as session:
        row = session.get_one(ChannelToken, "wechat:main")

    assert row.secret is not None
    assert "token-1" not in row.secret


def test_a_platform_that_fails_leaves_no_half_token(tokens: DatabaseTokens) -> None:
    def broken() -> tuple[str, float]:
        raise ConnectionError("away")

    with pytest.raises(ConnectionError):
        tokens.get("wechat:main", broken)

    assert tokens.get("wechat:main", Platform()) == "token-1"
