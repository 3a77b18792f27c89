import pytest

from api.accounts import (
    AccountExists,
    Channels,
    UnknownAccount,
    account_named,
    add_account,
    addable_kinds,
    built_in_account,
)
from api.crypto import Keyring
from api.db import Database
from api.errors import BadRequest, UnreadableSecret
from api.libraries import add_library
from api.state import State
from tests.api.conftest import Libraries
from tests.conftest import MONDAY
from tracker.models import Library

KEYS = Keyring("a key for tests only, of decent length")
WECHAT = {
    "token": "readingRoom7",
    "app_id": "wx5d1f0c7e9a2b4c68",
    "encoding_aes_key": "Qm9va3NoZWxmV2luZG93TGFtcERlc2tRdWlldEhvdXb",
    "app_secret": "demo-secret-not-real",
}


def add(database: Database, libraries: Libraries, name: str = "main", **values: str) -> int:
    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        account = add_account(
            session,
            library,
            kind="wechat",
            name=name,
            values=values or WECHAT,
            keyring=KEYS,
            now=MONDAY,
        )
        return account.id


def test_an_account_opens_with_its_secrets(
    database: Database, libraries: Libraries, state: State
) -> None:
    add(database, libraries)

    with database.snapshot() as session:
        account = account_named(session, "main", kind="wechat")

    assert state.channels.of(account).kind == "wechat"
    assert state.channels.of(account) is state.channels.of(account)


def test_a_changed_setting_opens_the_account_anew(
    database: Database, libraries: Libraries, state: State
) -> None:
    add(database, libraries)
    with database.transaction() as session:
        account = account_named(session, "main")
        before = state.channels.of(account)
        account.settings = {**account.settings, "app_id": "wx0000000000000000"}

        assert state.channels.of(account) is not before


def test_another_key_opens_nothing(database: Database, libraries: Libraries, state: State) -> None:
    add(database, libraries)
    stranger = Channels(Keyring("another key, as long as it must be"), tokens=None)  # type: ignore[arg-type]

    with database.snapshot() as session, pytest.raises(UnreadableSecret):
        stranger.of(account_named(session, "main"))
    stranger.close()


def test_a_name_is_unique_in_the_installation(database: Database, libraries: Libraries) -> None:
    add(database, libraries)

    with pytest.raises(AccountExists):
        add(database, libraries)


@pytest.mark.parametrize("name", ["", "a b", "web:north", "../x", "-x", "x" * 64])
def test_a_name_fits_into_an_address(database: Database, libraries: Libraries, name: str) -> None:
    with pytest.raises(BadRequest, match="no account name"):
        add(database, libraries, name)


def test_what_is_missing_or_unknown_is_named(database: Database, libraries: Libraries) -> None:
    with pytest.raises(BadRequest, match="Settings missing: app_id"):
        add(database, libraries, token="t")
    with pytest.raises(BadRequest, match="Unknown settings: colour"):
        add(database, libraries, **WECHAT, colour="red")


@pytest.mark.parametrize("kind", ["web", "rasa", "pigeon"])
def test_only_channels_that_can_be_added_are(
    database: Database, libraries: Libraries, kind: str
) -> None:
    assert kind not in addable_kinds()
    with database.transaction() as session, pytest.raises(BadRequest, match="There is no channel"):
        add_account(
            session,
            session.get_one(Library, libraries.north),
            kind=kind,
            name="x",
            values={},
            keyring=KEYS,
            now=MONDAY,
        )


def test_a_built_in_account_is_made_once(each_database: Database) -> None:
    with each_database.transaction() as session:
        library = add_library(session, "north", name="North", timezone="Asia/Shanghai", now=MONDAY)
        ids = {built_in_account(session, library, "web", now=MONDAY).id for _ in range(2)}

    assert len(ids) == 1


def test_an_unknown_account_is_not_found(database: Database, libraries: Libraries) -> None:
    add(database, libraries)

    with database.snapshot() as session:
        for name, kind in (("other", None), ("main", "weibo")):
            with pytest.raises(UnknownAccount):
                account_named(session, name, kind=kind)
