import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from api.accounts import account_named, add_account
from api.bus import Notice
from api.db import Database
from api.doors import KEPT_SECONDS, Doors
from api.errors import NotFound, RefdeskError
from api.notices import SETTINGS
from api.state import State
from bot.models import ChannelAccount
from kb.library import save_entry
from tests.api.conftest import ENTRIES, WEEK, Libraries
from tests.conftest import MONDAY
from tests.fakes.wechat import Credentials
from tracker.calendars import save_calendar
from tracker.models import Library


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def doors(state: State, database: Database, libraries: Libraries, ticks: Ticks) -> Doors:
    known = Credentials()
    with database.transaction() as session:
        add_account(
            session,
            session.get_one(Library, libraries.north),
            kind="wechat",
            name="main",
            values={
                "token": known.token,
                "app_id": known.app_id,
                "encoding_aes_key": known.encoding_aes_key,
                "app_secret": known.app_secret,
            },
            keyring=state.keyring,
            now=MONDAY,
        )
    return Doors(database, state.desks, default="north", ticks=ticks)


def test_a_door_is_kept_for_a_moment(doors: Doors, ticks: Ticks) -> None:
    first = doors.rasa(now=MONDAY)

    assert doors.rasa(now=MONDAY) is first
    ticks.now += KEPT_SECONDS
    assert doors.rasa(now=MONDAY) is not first


@pytest.mark.parametrize("what", ["library", "calendar", "entry", "account"])
def test_what_is_changed_here_is_seen_at_once(
    doors: Doors, database: Database, libraries: Libraries, what: str
) -> None:
    before = doors.rasa(now=MONDAY)

    with database.transaction() as session:
        if what == "library":
            session.get_one(Library, libraries.north).settings = {"allowed_origins": ["x"]}
        elif what == "calendar":
            document = {**WEEK, "exceptions": {"2026-12-24": []}}
            save_calendar(session, libraries.north, "desk", document, now=MONDAY, by="tests")
        elif what == "entry":
            changed = replace(ENTRIES[0], answers={"en": "Ask at the desk."})
            save_entry(session, libraries.north, changed, now=MONDAY, by="tests")
        else:
            session.scalars(select(ChannelAccount)).first().paused_until = MONDAY  # type: ignore[union-attr]

    assert doors.rasa(now=MONDAY) is not before


def test_what_is_set_to_what_it_was_shuts_no_door(doors: Doors, database: Database) -> None:
    before = doors.rasa(now=MONDAY)

    with database.transaction() as session:
        for account in session.scalars(select(ChannelAccount)):
            account.failures_in_row, account.paused_until = 0, None

    assert doors.rasa(now=MONDAY) is before


def test_those_who_wait_for_a_door_hear_together_that_the_database_is_away(
    doors: Doors, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def in_vain(*_: object) -> None:
        asked.append("the database")
        while (
            len(asked) == 1
            and sum(thread.name.startswith("waits") for thread in threading.enumerate()) < 5
        ):
            time.sleep(0.01)
        time.sleep(0.2)  # until the others stand before the door
        ticks.now += 5
        raise OperationalError("select", {}, Exception("away"))

    def knock() -> None:
        with pytest.raises((OperationalError, NoConnection)):
            doors.push("wechat", "main", now=MONDAY)

    monkeypatch.setattr(doors, "_open_push", in_vain)
    threads = [threading.Thread(target=knock, name=f"waits {number}") for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert asked == ["the database"]


def test_a_disabled_account_is_shut_at_once(doors: Doors, database: Database) -> None:
    assert doors.push("wechat", "main", now=MONDAY).account.name == "main"

    with database.transaction() as session:
        account_named(session, "main").enabled = False

    with pytest.raises(NotFound):
        doors.push("wechat", "main", now=MONDAY)


@pytest.mark.parametrize(("kind", "name"), [("wechat", "other"), ("weibo", "main")])
def test_a_door_that_is_not_there_is_not_found(doors: Doors, kind: str, name: str) -> None:
    with pytest.raises(RefdeskError):
        doors.push(kind, name, now=MONDAY)


def test_what_was_read_before_a_change_is_not_kept_after_it(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = doors._open_rasa

    def while_somebody_edits(now):  # type: ignore[no-untyped-def]
        door = opened(now)
        doors.hear(Notice(SETTINGS, {}))
        return door

    monkeypatch.setattr(doors, "_open_rasa", while_somebody_edits)
    first = doors.rasa(now=MONDAY)

    assert doors.rasa(now=MONDAY) is not first
