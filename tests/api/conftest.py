"""A small library with staff, as the web side sees it."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import staff
from api.cli import main
from api.db import Database
from api.libraries import add_library
from api.models import Role
from api.staff import add_staff
from kb.entries import EntryData
from kb.library import import_entries
from tests.conftest import MONDAY
from tracker.calendars import save_calendar

PASSWORD = "correct horse battery"
WEEK = {
    "tz": "Asia/Shanghai",
    "versions": [
        {
            "valid_from": "2020-01-01",
            "weekly": {day: [["08:30", "17:30"]] for day in ("mon", "tue", "wed", "thu", "fri")},
        }
    ],
    "exceptions": {},
}
ENTRIES = [
    EntryData(
        id="renew-books",
        category="circulation",
        questions={
            "zh": ("怎么续借图书", "书快到期了能再借几天吗", "图书可以续借几次"),
            "en": ("How do I renew a book", "Can I keep my book longer", "renew online"),
            "vi": ("Làm sao để gia hạn sách", "Sách sắp hết hạn, mượn thêm được không"),
        },
        answers={"zh": "登录后点“续借”。", "en": "Sign in and press Renew.", "vi": "Bấm Gia hạn."},
    ),
    EntryData(
        id="lost-card",
        category="account",
        questions={
            "zh": ("校园卡丢了怎么办", "借书证遗失了如何补办"),
            "en": ("I lost my library card", "How do I replace a lost card"),
            "vi": ("Mất thẻ thư viện thì làm sao", "Làm lại thẻ thư viện"),
        },
        answers={"zh": "请到总台补办。", "en": "Come to the desk.", "vi": "Đến quầy."},
    ),
]

HOURS = EntryData(
    id="opening-hours",
    category="hours",
    questions={"zh": ("几点开门",), "en": ("When are you open",)},
    answers={"zh": "typed text", "en": "typed text"},
    tags=("live:hours",),
)


@dataclass(frozen=True)
class Libraries:
    """Two libraries that must never see each other."""

    north: int
    south: int


@pytest.fixture(scope="session", autouse=True)
def shipped_hasher() -> Iterator[PasswordHasher]:
    """What hashes passwords outside of tests; here a quicker one does."""
    shipped = staff._hasher
    with pytest.MonkeyPatch.context() as patch:
        quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(staff, "_hasher", quick)
        yield shipped


@pytest.fixture
def libraries(database: Database) -> Libraries:
    """North has knowledge, hours and staff of every role; south has a manager."""
    with database.transaction() as session:
        ids = [
            add_library(session, slug, name=slug, timezone="Asia/Shanghai", now=MONDAY).id
            for slug in ("north", "south")
        ]
        found = Libraries(*ids)
        import_entries(session, found.north, ENTRIES, now=MONDAY, by="tests")
        save_calendar(session, found.north, "desk", WEEK, now=MONDAY, by="tests")
        for email, role, library_id in (
            ("librarian@north", Role.LIBRARIAN, found.north),
            ("manager@north", Role.MANAGER, found.north),
            ("admin@north", Role.ADMIN, found.north),
            ("manager@south", Role.MANAGER, found.south),
            ("root@everywhere", Role.ADMIN, None),
        ):
            add_staff(
                session,
                email,
                name=email.partition("@")[0],
                role=role,
                library_id=library_id,
                password=PASSWORD,
                now=MONDAY,
            )
    return found


@pytest.fixture
def settings(settings, database):  # type: ignore[no-untyped-def]
    """North is the default library."""
    return settings.model_copy(update={"default_library": "north"})


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an installation of its own: exit code, output, errors."""
    monkeypatch.setenv("REFDESK_DATABASE_URL", f"sqlite:///{tmp_path / 'var' / 'refdesk.db'}")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["refdesk", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        code = left.value.code
        return (code if isinstance(code, int) else int(code is not None)), *captured

    return call


SignIn = Callable[..., TestClient]


@pytest.fixture
def signed_in(app: FastAPI, libraries: Libraries) -> SignIn:
    """A browser in which somebody has signed in: `signed_in("manager@north")`."""

    def sign_in(email: str, password: str = PASSWORD) -> TestClient:
        client = TestClient(app, follow_redirects=False)
        answer = post_form(client, "/sign-in", page="/sign-in", email=email, password=password)
        assert answer.status_code == 303, answer.text
        return client

    return sign_in


def csrf_of(client: TestClient, page: str) -> str:
    """The token that a page's form carries."""
    text = client.get(page).text
    return text.partition('name="csrf" value="')[2].partition('"')[0]


def post_form(client: TestClient, path: str, *, page: str, **fields: str):  # type: ignore[no-untyped-def]
    """Send a form as the page would."""
    return client.post(path, data={"csrf": csrf_of(client, page), **fields})
