"""`refdesk demo --channel`: a patron in the terminal, a platform that plays along."""

import io

import pytest

from api.db import Database
from api.demo import stage
from api.libraries import add_library
from api.settings import Settings
from kb.library import import_entries
from tests.api.conftest import ENTRIES
from tests.conftest import MONDAY, StandingClock
from tests.fakes.stages import STAGES


@pytest.fixture
def demo(settings: Settings, database: Database) -> Settings:
    """An installation with a small demo library, and a worker in its web process."""
    with database.transaction() as session:
        library = add_library(session, "demo", name="demo", timezone="Asia/Shanghai", now=MONDAY)
        import_entries(session, library.id, ENTRIES, now=MONDAY, by="tests")
    return settings.model_copy(update={"with_worker": True, "default_library": "demo"})


@pytest.mark.parametrize("kind", sorted(STAGES))
def test_a_patron_writes_in_the_terminal_and_reads_the_answer(
    demo: Settings, database: Database, kind: str
) -> None:
    from api.app import present_time  # noqa: PLC0415 - the server of the play goes by it

    told: list[str] = []
    with stage.staged(kind, demo, database, clock=present_time, tell=told.append) as play:
        play.run(io.StringIO("怎么续借图书\n\n"))

    assert "续借" in "\n".join(told)


def test_a_second_play_replaces_the_first_ones_account(demo: Settings, database: Database) -> None:
    for _ in range(2):
        with stage.staged("viber", demo, database, clock=StandingClock()):
            continue


def test_a_channel_without_a_stand_in_is_named(demo: Settings, database: Database) -> None:
    with (
        pytest.raises(stage.NoStage, match="choose douyin, email"),
        stage.staged("fax", demo, database, clock=StandingClock()),
    ):
        pass
