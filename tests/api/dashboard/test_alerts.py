"""Where alerts go is the manager's to say; an address and a secret are never shown again."""

from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.audit import AuditEntry
from api.db import Database
from api.destinations import add_destination
from api.models import AlertDestination, Staff
from api.state import State
from tests.api.conftest import Libraries, SignIn, csrf_of, post_form
from tests.conftest import MONDAY
from tracker.models import Library

PAGE = "/manage/alerts"
ROBOT = {
    "kind": "dingtalk",
    "name": "值班群",
    "url": "https://oapi.dingtalk.com/robot/send?access_token=xyzzy-token",
    "secret": "SECxyzzy",
    "language": "zh-Hans",
}


@pytest.fixture
def manage(signed_in: SignIn) -> TestClient:
    client = signed_in("manager@north")
    client.headers["Accept-Language"] = "en"
    return client


def rows(database: Database) -> list[AlertDestination]:
    with database.snapshot() as session:
        return list(session.scalars(select(AlertDestination).order_by(AlertDestination.id)))


def test_a_robot_is_added_and_its_secrets_stay_hidden(
    manage: TestClient, database: Database
) -> None:
    answer = post_form(manage, f"{PAGE}/add", page=PAGE, **ROBOT)

    assert answer.status_code == 303
    page = manage.get(PAGE).text
    assert "值班群" in page
    assert "oapi.dingtalk.com" in page
    assert "xyzzy" not in page
    assert "xyzzy" not in rows(database)[0].sealed
    with database.snapshot() as session:
        logged = session.scalars(select(AuditEntry).where(AuditEntry.action == "alert.add")).one()
    assert "xyzzy" not in str(logged.data)


def test_a_webhooks_secret_is_made_here_and_shown_once(manage: TestClient) -> None:
    hook = {**ROBOT, "kind": "webhook", "url": "https://example.org/hook", "secret": ""}

    answer = post_form(manage, f"{PAGE}/add", page=PAGE, **hook)

    assert answer.status_code == 200
    assert "whsec_" in answer.text
    assert "whsec_" not in manage.get(PAGE).text


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://127.0.0.1/hook"},
        {"url": "http://oapi.dingtalk.com/robot"},
        {"kind": "pigeon"},
        {"language": "fr"},
        {"kind": "wecom", "secret": "x"},
    ],
)
def test_a_wrong_address_is_refused_and_what_was_typed_comes_back_without_the_secret(
    manage: TestClient, database: Database, change: dict[str, str]
) -> None:
    answer = post_form(manage, f"{PAGE}/add", page=PAGE, **{**ROBOT, **change})

    assert answer.status_code == 422
    assert "值班群" in answer.text
    assert "SECxyzzy" not in answer.text
    assert rows(database) == []


def added(database: Database, state: State, library_id: int, url: str) -> int:
    with database.transaction() as session:
        add_destination(
            session,
            session.get_one(Library, library_id),
            kind="webhook",
            name="tickets",
            url=url,
            secret=None,
            language="en",
            wants_digest=False,
            keyring=state.keyring,
            now=MONDAY,
        )
    return rows(database)[-1].id


def test_a_destination_that_cannot_be_reached_says_so_on_the_page(
    manage: TestClient, database: Database, state: State, libraries: Libraries
) -> None:
    number = added(database, state, libraries.north, "https://nowhere.invalid/hook")

    answer = post_form(manage, f"{PAGE}/{number}/test", page=PAGE)

    assert answer.status_code == 422
    assert "The test did not reach “tickets”" in answer.text


def test_a_destination_is_turned_off_and_on_and_removed(
    manage: TestClient, database: Database, state: State, libraries: Libraries
) -> None:
    number = added(database, state, libraries.north, "https://example.org/hook")

    post_form(manage, f"{PAGE}/{number}/switch", page=PAGE)
    assert rows(database)[0].disabled_at == MONDAY
    post_form(manage, f"{PAGE}/{number}/switch", page=PAGE)
    assert rows(database)[0].disabled_at is None
    post_form(manage, f"{PAGE}/{number}/remove", page=PAGE)
    assert rows(database) == []


@pytest.mark.parametrize("action", ["test", "switch", "remove"])
def test_another_librarys_destination_is_nobodys(
    manage: TestClient, database: Database, state: State, libraries: Libraries, action: str
) -> None:
    number = added(database, state, libraries.south, "https://example.org/hook")

    assert post_form(manage, f"{PAGE}/{number}/{action}", page=PAGE).status_code == 404
    assert rows(database)[0].disabled_at is None


def test_times_and_people_are_kept(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    times = {"alert_minutes": "30", "alert_soon_minutes": "120", "digest_hour": "7"}
    post_form(manage, f"{PAGE}/times", page=PAGE, **times)
    with database.snapshot() as session:
        people = {row.email: row.id for row in session.scalars(select(Staff))}
        kept = session.get_one(Library, libraries.north).settings
    assert kept == {
        "alert_minutes": 30,
        "alert_soon_minutes": 120,
        "digest_hour": 7,
        "digest": False,
    }

    chosen: Any = {"csrf": csrf_of(manage, PAGE), "alerts": [str(people["librarian@north"])]}
    manage.post(f"{PAGE}/people", data=chosen)

    with database.snapshot() as session:
        wants = {row.email: row.settings for row in session.scalars(select(Staff))}
    assert wants["librarian@north"] == {"alerts": True, "digest": False}
    assert wants["manager@north"] == {"alerts": False, "digest": False}
    assert wants["manager@south"] == {}


def test_an_impossible_hour_is_refused(manage: TestClient) -> None:
    times = {"alert_minutes": "30", "alert_soon_minutes": "120", "digest_hour": "24"}

    assert post_form(manage, f"{PAGE}/times", page=PAGE, **times).status_code == 422


@pytest.mark.parametrize("action", ["add", "times", "people", "1/test", "1/switch", "1/remove"])
def test_librarians_change_nothing(signed_in: SignIn, action: str) -> None:
    client = signed_in("librarian@north")

    assert client.get(PAGE).status_code == 403
    assert client.post(f"{PAGE}/{action}").status_code == 403
