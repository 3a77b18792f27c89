from datetime import UTC, datetime

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import audit, bearer
from api.db import Database
from api.models import ApiToken, Role
from api.staff import disable, staff_by_email
from tests.api.conftest import Libraries, SignIn, post_form
from tests.conftest import MONDAY, StandingClock
from tracker.consultations import escalate, open_consultation
from tracker.models import Library

KEY = "consultation-1"


@pytest.fixture
def consultation(libraries: Libraries, database: Database) -> str:
    """A question that waits in the north."""
    with database.transaction() as session:
        opened = open_consultation(
            session,
            session.get_one(Library, libraries.north),
            channel="email",
            conversation_id=None,
            at=MONDAY,
            now=MONDAY,
            text="民国县志可以拍照吗",
            language="zh-Hans",
            key=KEY,
        )
        escalate(session, opened, at=MONDAY, now=MONDAY, reason="unknown")
    return KEY


def program(app: FastAPI, database: Database, library_id: int, role: Role) -> TestClient:
    """A program with a token of a library."""
    with database.transaction() as session:
        token, _ = bearer.make(session, library_id, name=f"{role} program", role=role, now=MONDAY)
    return TestClient(app, headers={"authorization": f"Bearer {token}"})


@pytest.fixture
def north(app: FastAPI, database: Database, libraries: Libraries) -> TestClient:
    return program(app, database, libraries.north, Role.MANAGER)


@pytest.fixture
def south(app: FastAPI, database: Database, libraries: Libraries) -> TestClient:
    return program(app, database, libraries.south, Role.MANAGER)


def test_a_token_says_whose_it_is(north: TestClient) -> None:
    assert north.get("/api/v1/me").json() == {
        "email": "token:manager program",
        "name": "manager program",
        "role": "manager",
        "library": "north",
    }


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic dXNlcg==", "bearer ü"])
def test_without_a_valid_token_nothing_is_said(
    client: TestClient, consultation: str, header: str
) -> None:
    headers = {"authorization": header.encode()}

    assert client.get("/api/v1/consultations", headers=headers).status_code == 401


def test_figures_are_those_of_the_library(
    north: TestClient, south: TestClient, consultation: str
) -> None:
    ours, theirs = (c.get("/api/v1/stats").json() for c in (north, south))

    assert ours["library"] == "north"
    assert ours["total"]["received"] == ours["channels"]["email"]["handed_over"] == 1
    assert theirs["total"]["received"] == 0


@pytest.mark.parametrize("query", ["at=yesterday", "at=2026-11-23T02:00:00", "from=soon"])
def test_a_moment_that_cannot_be_read_is_refused(north: TestClient, query: str) -> None:
    assert north.get(f"/api/v1/stats?{query}").status_code in {400, 422}


def test_a_consultation_is_found_with_its_history(north: TestClient, consultation: str) -> None:
    listed = north.get("/api/v1/consultations?status=waiting").json()
    shown = north.get(f"/api/v1/consultations/{consultation}").json()

    assert [row["id"] for row in listed["consultations"]] == [consultation]
    assert listed["next"] is None
    assert [event["kind"] for event in shown["events"]] == ["message", "escalated"]
    assert shown["title"] == "民国县志可以拍照吗"


def test_no_request_crosses_into_another_library(
    north: TestClient, south: TestClient, consultation: str
) -> None:
    theirs = north.get("/api/v1/tokens").json()[0]["id"]
    path = f"/api/v1/consultations/{consultation}"

    statuses = {
        south.get(path).status_code,
        south.post(f"{path}/replies", json={"text": "hello"}).status_code,
        south.post(f"{path}/claim").status_code,
        south.post(f"{path}/close", json={}).status_code,
        south.get("/api/v1/entries/renew-books").status_code,
        south.delete("/api/v1/entries/renew-books").status_code,
        south.delete(f"/api/v1/tokens/{theirs}").status_code,
    }

    assert statuses == {404}
    assert south.get("/api/v1/consultations").json()["consultations"] == []
    assert south.get("/api/v1/entries").json() == []


def test_older_consultations_come_page_by_page(
    north: TestClient, libraries: Libraries, database: Database
) -> None:
    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        for number in range(5):
            open_consultation(
                session,
                library,
                channel="email",
                conversation_id=None,
                at=MONDAY,
                now=MONDAY,
                text=f"question {number}",
                language="en",
                key=f"q{number}",
            )

    seen: list[str] = []
    before = ""
    while before is not None:
        query = f"limit=2&before={before}" if before else "limit=2"
        page = north.get(f"/api/v1/consultations?{query}").json()
        seen += [row["id"] for row in page["consultations"]]
        before = page["next"]

    assert seen == ["q4", "q3", "q2", "q1", "q0"]


def test_a_reply_stops_the_clock_and_is_in_the_audit_log(
    north: TestClient, consultation: str, database: Database, clock: StandingClock
) -> None:
    clock.advance(hours=2)

    claimed = north.post(f"/api/v1/consultations/{consultation}/claim").json()
    replied = north.post(
        f"/api/v1/consultations/{consultation}/replies", json={"text": "可以，请登记。"}
    )
    closed = north.post(f"/api/v1/consultations/{consultation}/close", json={"reason": "answered"})

    assert claimed["assigned_to"] == "token:manager program"
    assert replied.status_code == 201
    answered = datetime.fromisoformat(closed.json()["answered_at"])
    assert answered.astimezone(UTC) == clock.now
    with database.snapshot() as session:
        assert audit.verify(session).is_intact
        assert audit.head(session).number == 3


def test_a_colleague_s_consultation_cannot_be_taken(
    app: FastAPI, north: TestClient, consultation: str, database: Database, libraries: Libraries
) -> None:
    other = program(app, database, libraries.north, Role.LIBRARIAN)
    north.post(f"/api/v1/consultations/{consultation}/claim")

    answer = other.post(f"/api/v1/consultations/{consultation}/claim")

    assert answer.status_code == 409
    assert "colleague" in answer.json()["error"]


@pytest.mark.parametrize("text", ["", "x" * 4001])
def test_a_reply_has_words_and_an_end(north: TestClient, consultation: str, text: str) -> None:
    answer = north.post(f"/api/v1/consultations/{consultation}/replies", json={"text": text})

    assert answer.status_code == 422
    assert "xxxx" not in answer.text


def test_an_entry_is_published_at_once_and_can_be_retired(north: TestClient) -> None:
    document = {
        "category": "rooms",
        "questions": {"en": ["Is there a piano"]},
        "answers": {"en": "Yes, in room 12."},
    }

    saved = north.put("/api/v1/entries/piano", json=document)
    found = north.get("/api/v1/entries/piano").json()
    removed = north.delete("/api/v1/entries/piano").status_code

    assert saved.status_code == 200
    assert found["answers"] == {"en": "Yes, in room 12."}
    assert removed == 204
    assert north.get("/api/v1/entries/piano").status_code == 404


def test_publishing_is_a_managers_by_token_as_on_the_pages(
    app: FastAPI,
    database: Database,
    libraries: Libraries,
    signed_in: SignIn,
) -> None:
    token = program(app, database, libraries.north, Role.LIBRARIAN)
    librarian = signed_in("librarian@north")

    refused = [
        token.put("/api/v1/entries/renew-books", json={"category": "rooms"}),
        token.delete("/api/v1/entries/renew-books"),
        librarian.get("/manage/kb/renew-books"),
        post_form(librarian, "/manage/kb/renew-books/retire", page="/desk"),
    ]

    assert [answer.status_code for answer in refused] == [403] * 4
    assert token.get("/api/v1/entries/renew-books").status_code == 200


def test_an_entry_that_lacks_something_is_refused_with_the_reason(north: TestClient) -> None:
    answer = north.put("/api/v1/entries/piano", json={"category": "rooms"})

    assert answer.status_code == 422
    assert "question" in answer.json()["error"]
    assert north.put("/api/v1/entries/piano", json={"id": "organ"}).status_code == 400


def test_what_the_bot_would_say_is_asked_without_leaving_a_trace(north: TestClient) -> None:
    found = north.get("/api/v1/ask", params={"text": "怎么续借图书"}).json()

    assert found["candidates"][0]["entry"] == "renew-books"
    assert north.get("/api/v1/consultations").json()["consultations"] == []


def test_a_token_of_a_manager_makes_no_admin(north: TestClient) -> None:
    made = north.post("/api/v1/tokens", json={"name": "dashboard", "role": "librarian"})
    more = north.post("/api/v1/tokens", json={"name": "dashboard", "role": "admin"})

    assert made.status_code == 201
    assert more.status_code == 403


def test_a_token_is_kept_as_a_hash_and_ends_when_revoked(
    app: FastAPI, north: TestClient, database: Database
) -> None:
    made = north.post("/api/v1/tokens", json={"name": "dashboard"}).json()
    dashboard = TestClient(app, headers={"authorization": f"Bearer {made['token']}"})
    with database.snapshot() as session:
        kept = session.get_one(ApiToken, made["id"])
        assert made["token"] not in f"{vars(kept)}"
    assert dashboard.get("/api/v1/me").status_code == 200

    north.delete(f"/api/v1/tokens/{made['id']}")

    assert dashboard.get("/api/v1/me").status_code == 401
    assert "token" not in north.get("/api/v1/tokens").json()[0]


def test_a_librarian_s_token_cannot_manage(
    app: FastAPI, database: Database, libraries: Libraries
) -> None:
    librarian = program(app, database, libraries.north, Role.LIBRARIAN)

    assert librarian.get("/api/v1/me").status_code == 200
    assert librarian.get("/api/v1/tokens").status_code == 403


def test_a_token_never_outlives_nor_outranks_its_owner(
    app: FastAPI, database: Database, libraries: Libraries
) -> None:
    with database.transaction() as session:
        owner = staff_by_email(session, "librarian@north")
        token, _ = bearer.make(
            session, libraries.north, name="mine", role=Role.ADMIN, staff=owner, now=MONDAY
        )
    mine = TestClient(app, headers={"authorization": f"Bearer {token}"})
    assert mine.get("/api/v1/me").json()["role"] == "librarian"

    with database.transaction() as session:
        disable(session, staff_by_email(session, "librarian@north"), now=MONDAY)

    assert mine.get("/api/v1/me").status_code == 401


def test_a_signed_in_browser_reads_but_changes_nothing_without_the_page_s_token(
    signed_in: SignIn, consultation: str
) -> None:
    browser = signed_in("manager@north")

    assert browser.get("/api/v1/stats").status_code == 200
    assert browser.post(f"/api/v1/consultations/{consultation}/claim").status_code == 403


def test_the_description_needs_no_script_and_names_every_operation(client: TestClient) -> None:
    page = client.get("/api/docs")
    document = client.get("/api/openapi.json").json()

    assert "<script" not in page.text
    assert "`" not in page.text
    assert "<code>next</code> of the page before." in page.text
    assert set(document["paths"]) >= {"/api/v1/stats", "/api/v1/consultations/{key}/replies"}
    assert all(path in page.text for path in document["paths"])
    assert not any(path.startswith(("/desk", "/manage", "/channels")) for path in document["paths"])
