"""A captured signature carries no second body, whichever process it comes to."""

from datetime import timedelta

from sqlalchemy import func, select

from bot import replays
from bot.messages import OneBody
from bot.models import SeenSignature
from tests.bot.conftest import MONDAY_10, account_of


def test_a_repetition_passes_and_another_body_does_not(session, library):
    account, other = account_of(session, library, "weibo"), account_of(session, library, "wechat")

    def admits(digest, of=account):
        return replays.admits(session, of, OneBody("signature", digest), now=MONDAY_10)

    assert admits("first")
    assert admits("first")
    assert not admits("second")
    assert admits("second", of=other)


def test_it_is_forgotten_when_it_can_be_replayed_no_longer(session, library):
    account = account_of(session, library, "weibo")
    replays.admits(session, account, OneBody("s", "d"), now=MONDAY_10)

    replays.forget(session, now=MONDAY_10 + replays.KEPT_FOR)
    assert session.scalar(select(func.count()).select_from(SeenSignature)) == 1

    replays.forget(session, now=MONDAY_10 + replays.KEPT_FOR + timedelta(seconds=1))
    assert session.scalar(select(func.count()).select_from(SeenSignature)) == 0


def test_one_process_remembers_by_itself_while_the_database_is_away(session, library):
    account = account_of(session, library, "weibo")
    memory = replays.OwnMemory(kept=3)

    def admits(signature, digest, now=MONDAY_10):
        return memory.admits(account, OneBody(signature, digest), now=now)

    assert admits("s", "first")
    assert admits("s", "first")
    assert not admits("s", "second")
    assert admits("s", "second", MONDAY_10 + replays.KEPT_FOR + timedelta(seconds=1))
    for number in range(10):
        assert admits(f"s{number}", "body")
    assert len(memory._digests) == 3
