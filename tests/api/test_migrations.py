import pytest

from api.db import Database
from api.migrations import HERE, current, differences, head, is_empty, upgrade


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    url = f"sqlite:///{tmp_path_factory.mktemp('empty') / 'refdesk.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("empty_postgres_url")
    database = Database(url, durable=False)
    yield database
    database.close()


def test_an_upgraded_empty_database_equals_the_models(empty_database: Database) -> None:
    assert is_empty(empty_database)

    upgrade(empty_database)

    with empty_database.engine.connect() as connection:
        assert differences(connection) == []


def test_a_missing_column_and_a_missing_index_are_seen(empty_database: Database) -> None:
    upgrade(empty_database)
    with empty_database.engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_outbox_due")
        connection.exec_driver_sql("ALTER TABLE staff DROP COLUMN name")

    with empty_database.engine.connect() as connection:
        found = " ".join(differences(connection))

    assert "ix_outbox_due" in found
    assert "staff" in found


def test_upgrading_again_changes_nothing(empty_database: Database) -> None:
    upgrade(empty_database)
    upgrade(empty_database)

    assert current(empty_database) == head()


def test_migrations_are_named_so_that_a_listing_reads_as_history() -> None:
    names = sorted(path.name for path in (HERE / "versions").glob("*.py"))

    assert names[-1] == "__init__.py"
    for name in names[:-1]:
        text = (HERE / "versions" / name).read_text(encoding="utf-8")
        stamp = name[:15].replace("-", "")
        assert f'revision = "{stamp}"' in text
