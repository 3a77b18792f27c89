from datetime import timedelta

from bot.channels.wechat import replays
from bot.channels.wechat.replays import SeenRequests
from tests.bot.channels.wechat.conftest import NOON


def test_a_repetition_passes_and_another_body_does_not():
    seen = SeenRequests()

    assert seen.admits(b"signature", b"body", now=NOON)
    assert seen.admits(b"signature", b"body", now=NOON)
    assert not seen.admits(b"signature", b"another", now=NOON)
    assert seen.admits(b"signature", b"body", now=NOON)


def test_a_signature_is_forgotten_only_when_its_timestamp_is_refused():
    seen = SeenRequests()
    seen.admits(b"signature", b"body", now=NOON)

    assert not seen.admits(b"signature", b"another", now=NOON + timedelta(minutes=20))
    assert seen.admits(b"signature", b"another", now=NOON + timedelta(minutes=22))


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(replays, "KEPT", 3)
    seen = SeenRequests()

    for number in range(10):
        seen.admits(str(number).encode(), b"body", now=NOON)

    assert len(seen._bodies) == 3
