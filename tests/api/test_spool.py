"""What waits while the database is away: on the disk, sealed, in its order, and taken once."""

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from api.crypto import Keyring
from api.spool import Record, Spool, SpoolFull
from bot.messages import (
    Arrived,
    Inbound,
    InboundKind,
    SendFailure,
    StaffMessage,
    Undelivered,
    Waiting,
)
from bot.models import ChannelAccount
from tests.conftest import MONDAY

ACCOUNT = ChannelAccount(id=7, library_id=1, kind="wechat", name="main", settings={})
EVERYTHING = (
    Inbound(
        "reader",
        "借书\n怎么借",
        "m1",
        InboundKind.CHOICE,
        payload="/none",
        sent_at=MONDAY,
        thread={"ts": "1"},
        aliases=("+86",),
        quiet=True,
    ),
    Waiting("desk", "hint"),
    StaffMessage("thread", "U1", "In the east branch.", "e1", is_note=True),
    Undelivered("key", SendFailure.WINDOW_CLOSED, "closed", "131047", "wamid.1"),
    Arrived(None, "wamid.1", MONDAY, seen=True),
)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", Keyring("a key for tests only, of decent length"))


def says(number: int, patron: str = "reader") -> Inbound:
    return Inbound(patron, f"text {number}", f"{patron} {number}")


def replayed(spool: Spool) -> list[Record]:
    taken: list[Record] = []
    spool.replay(lambda record: taken.append(record) is None)
    return taken


@pytest.mark.parametrize("what", EVERYTHING, ids=lambda what: type(what).__name__)
def test_what_is_kept_comes_back_as_it_was(spool: Spool, what: Inbound) -> None:
    spool.put(ACCOUNT, what, arrived_at=MONDAY)

    (record,) = replayed(spool)

    assert record == Record(7, "main", MONDAY, what)
    assert replayed(spool) == []


def test_a_conversation_is_replayed_in_its_order(spool: Spool) -> None:
    for number in range(20):
        for patron in ("a", "b"):
            spool.put(ACCOUNT, says(number, patron), arrived_at=MONDAY)

    taken = [record.what for record in replayed(spool)]

    for patron in ("a", "b"):
        own = [what.text for what in taken if isinstance(what, Inbound) and what.patron == patron]
        assert own == [f"text {number}" for number in range(20)]


def test_what_arrived_first_is_taken_first_though_it_was_kept_last(spool: Spool) -> None:
    spool.put(ACCOUNT, says(1), arrived_at=MONDAY + timedelta(seconds=1))
    spool.put(ACCOUNT, says(0), arrived_at=MONDAY)

    assert [record.what for record in replayed(spool)] == [says(0), says(1)]


def test_nothing_of_a_patron_lies_open(spool: Spool, tmp_path: Path) -> None:
    spool.put(ACCOUNT, Inbound("oReaderSecret", "a secret question", "m1"), arrived_at=MONDAY)

    (path,) = (tmp_path / "spool").iterdir()
    assert b"secret" not in path.read_bytes()
    assert "Secret" not in path.name
    assert path.stat().st_mode & 0o077 == 0


def test_when_taking_breaks_off_all_of_it_is_taken_again(spool: Spool) -> None:
    for number in range(3):
        spool.put(ACCOUNT, says(number), arrived_at=MONDAY)
    seen: list[str] = []

    def take(record: Record) -> bool:
        assert isinstance(record.what, Inbound)
        seen.append(record.what.text)
        if len(seen) == 2:
            raise ConnectionError
        return True

    with pytest.raises(ConnectionError):
        spool.replay(take)

    assert spool.holds(spool.lane(ACCOUNT, says(0)))
    assert len(replayed(spool)) == 3


def test_what_nobody_can_take_is_set_aside_and_holds_nothing_up(
    spool: Spool, tmp_path: Path
) -> None:
    for number in range(3):
        spool.put(ACCOUNT, says(number), arrived_at=MONDAY)

    assert spool.replay(lambda record: record.what != says(1)) == 2

    assert spool.waiting() == []
    assert len(list((tmp_path / "spool").glob("*.lost"))) == 1


def test_a_line_cut_off_by_a_crash_hides_no_other(spool: Spool) -> None:
    spool.put(ACCOUNT, says(0), arrived_at=MONDAY)
    (path,) = spool.waiting()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])

    assert len(replayed(Spool(path.parent, spool._keyring))) == 1

    path.write_bytes(whole + whole[:40])
    spool.put(ACCOUNT, says(1), arrived_at=MONDAY)
    assert [record.what for record in replayed(spool)] == [says(0), says(1)]


def test_a_full_disk_is_said_and_leaves_no_half_line(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.put(ACCOUNT, says(0), arrived_at=MONDAY)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(SpoolFull) as refusal:
            spool.put(ACCOUNT, says(1), arrived_at=MONDAY)

    assert refusal.value.status == 503
    assert [record.what for record in replayed(spool)] == [says(0)]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")

    with pytest.raises(SpoolFull):
        Spool(tmp_path / "spool", Keyring("k" * 32)).put(ACCOUNT, says(0), arrived_at=MONDAY)


def test_writers_and_a_replayer_at_once_lose_and_double_nothing(spool: Spool) -> None:
    taken: list[Record] = []
    writing = [threading.Thread(target=_write, args=(spool, name)) for name in "abcd"]
    for thread in writing:
        thread.start()
    while any(thread.is_alive() for thread in writing):
        spool.replay(lambda record: taken.append(record) is None)
    taken += replayed(spool)

    for name in "abcd":
        own = [r.what.text for r in taken if isinstance(r.what, Inbound) and r.what.patron == name]
        assert own == [f"text {number}" for number in range(25)]


def _write(spool: Spool, patron: str) -> None:
    for number in range(25):
        spool.put(ACCOUNT, says(number, patron), arrived_at=MONDAY + timedelta(seconds=number))


def test_a_webhook_never_waits_for_a_replay_and_comes_behind_it(spool: Spool) -> None:
    spool.put(ACCOUNT, says(0), arrived_at=MONDAY)
    lane = spool.lane(ACCOUNT, says(0))
    seen: list[str] = []

    def take(record: Record) -> bool:
        assert isinstance(record.what, Inbound)
        seen.append(record.what.text)
        if len(seen) == 1:  # while the first is being taken, a second one comes
            assert spool.holds(lane)
            spool.put(ACCOUNT, says(1), arrived_at=MONDAY)
            assert spool.holds(lane)
        return True

    spool.replay(take)
    assert spool.holds(lane)
    spool.replay(take)

    assert seen == ["text 0", "text 1"]
    assert not spool.holds(lane)


def test_what_broke_off_is_taken_before_what_came_since(spool: Spool) -> None:
    spool.put(ACCOUNT, says(0), arrived_at=MONDAY)

    def breaks(record: Record) -> bool:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        spool.replay(breaks)
    spool.put(ACCOUNT, says(1), arrived_at=MONDAY)

    taken = [record.what for record in (*replayed(spool), *replayed(spool))]
    assert taken == [says(0), says(1)]


def test_a_patron_who_is_erased_is_erased_here_too(spool: Spool) -> None:
    spool.put(ACCOUNT, says(0, "a"), arrived_at=MONDAY)
    spool.put(ACCOUNT, says(0, "b"), arrived_at=MONDAY)

    assert spool.erase(spool.lane_of(ACCOUNT.id, "a"))
    assert not spool.erase(spool.lane_of(ACCOUNT.id, "a"))
    assert [record.what for record in replayed(spool)] == [says(0, "b")]
