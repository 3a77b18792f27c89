"""Signing in, roles, forms; the attacks of RELIABILITY.md 14-16 in small."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import pytest
from argon2 import PasswordHasher, Type
from fastapi import Depends, FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from api.auth import StaffMember, cookie_name, require, safe_next
from api.db import Database
from api.libraries import add_library
from api.models import Role, Staff, StaffSession
from api.staff import Trying, add_staff, disable, make_password_link, may_try, staff_by_email
from api.state import State
from tests.api.conftest import PASSWORD, Libraries, SignIn, csrf_of, post_form
from tests.conftest import StandingClock


@pytest.fixture(autouse=True)
def _try_out_routes(app: FastAPI) -> None:
    """One route per role, to be called by everybody."""
    for role in Role:

        def show(caller: Annotated[StaffMember, Depends(require(role))]) -> dict[str, object]:
            return {"email": caller.email, "library": caller.library_id}

        app.add_api_route(f"/try/{role}", show, methods=["GET", "POST"])


@pytest.mark.parametrize(
    ("email", "allowed"),
    [
        ("librarian@north", {Role.LIBRARIAN}),
        ("manager@north", {Role.LIBRARIAN, Role.MANAGER}),
        ("admin@north", {Role.LIBRARIAN, Role.MANAGER, Role.ADMIN}),
        ("root@everywhere", {Role.LIBRARIAN, Role.MANAGER, Role.ADMIN}),
    ],
)
def test_each_role_may_what_those_below_it_may(
    signed_in: SignIn, email: str, allowed: set[Role]
) -> None:
    browser = signed_in(email)

    answers = {role: browser.get(f"/try/{role}").status_code for role in Role}

    assert answers == {role: 200 if role in allowed else 403 for role in Role}


def test_strangers_are_sent_to_sign_in_and_back(client: TestClient, libraries: Libraries) -> None:
    page = client.get("/try/librarian?view=mine", headers={"accept": "text/html"})
    program = client.get("/try/librarian")

    assert page.status_code == 303
    assert page.headers["location"] == "/sign-in?next=/try/librarian%3Fview%3Dmine"
    assert program.status_code == 401


def test_everybody_looks_at_their_own_library(signed_in: SignIn, libraries: Libraries) -> None:
    seen = {
        email: signed_in(email).get("/try/manager").json()["library"]
        for email in ("manager@north", "manager@south", "root@everywhere")
    }

    assert seen == {
        "manager@north": libraries.north,
        "manager@south": libraries.south,
        "root@everywhere": libraries.north,  # the default library
    }


def test_signing_in_makes_a_new_session_and_ends_the_one_before(
    signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("librarian@north")
    before = browser.cookies["refdesk"]

    post_form(browser, "/sign-in", page="/desk", email="manager@north", password=PASSWORD)

    after = browser.cookies["refdesk"]
    assert after != before
    stolen = TestClient(browser.app, cookies={"refdesk": before})
    assert stolen.get("/try/librarian").status_code == 401
    with database.snapshot() as session:
        kept = session.scalars(select(StaffSession.token_hash)).all()
    assert len(kept) == 1
    assert after not in kept


def test_the_cookie_cannot_be_read_by_scripts_nor_sent_by_other_sites(
    app: FastAPI, libraries: Libraries
) -> None:
    client = TestClient(app, follow_redirects=False)

    answer = post_form(
        client, "/sign-in", page="/sign-in", email="librarian@north", password=PASSWORD
    )

    cookies = [c for c in answer.headers.get_list("set-cookie") if c.startswith("refdesk=")]
    assert len(cookies) == 1
    assert "HttpOnly" in cookies[0]
    assert "samesite=lax" in cookies[0].lower()


def test_a_session_ends_after_idle_time_and_for_good_after_two_weeks(
    signed_in: SignIn, clock: StandingClock
) -> None:
    browser = signed_in("librarian@north")

    clock.advance(hours=7)
    assert browser.get("/try/librarian").status_code == 200
    clock.advance(hours=7)  # idle since seven hours only
    assert browser.get("/try/librarian").status_code == 200
    clock.advance(hours=9)
    assert browser.get("/try/librarian").status_code == 401


def test_a_session_in_daily_use_still_ends_after_two_weeks(
    signed_in: SignIn, clock: StandingClock
) -> None:
    browser = signed_in("librarian@north")

    answers = []
    for _ in range(50):
        clock.advance(hours=7)
        answers.append(browser.get("/try/librarian").status_code)

    assert answers == [200] * 47 + [401] * 3  # 48 times 7 hours are 14 days


def test_a_disabled_account_is_out_at_once(signed_in: SignIn, database: Database) -> None:
    browser = signed_in("librarian@north")

    with database.transaction() as session:
        disable(session, staff_by_email(session, "librarian@north"), now=StandingClock().now)

    assert browser.get("/try/librarian").status_code == 401
    answer = post_form(
        browser, "/sign-in", page="/sign-in", email="librarian@north", password=PASSWORD
    )
    assert answer.status_code == 403


def test_signing_out_ends_the_session_not_only_the_cookie(signed_in: SignIn) -> None:
    browser = signed_in("librarian@north")
    token = browser.cookies["refdesk"]

    post_form(browser, "/sign-out", page="/desk")

    stolen = TestClient(browser.app, cookies={"refdesk": token})
    assert stolen.get("/try/librarian").status_code == 401


# --- forms -------------------------------------------------------------------------------


def test_a_form_without_the_page_s_token_changes_nothing(signed_in: SignIn) -> None:
    browser = signed_in("librarian@north")

    assert browser.post("/try/librarian").status_code == 403
    assert browser.post("/try/librarian", data={"csrf": "guess"}).status_code == 403
    assert browser.post("/try/librarian", headers={"x-csrf-token": b"\xfc"}).status_code == 403


def test_a_form_and_htmx_send_the_token_each_in_their_way(signed_in: SignIn) -> None:
    browser = signed_in("librarian@north")
    token = csrf_of(browser, "/desk")

    assert browser.post("/try/librarian", data={"csrf": token}).status_code == 200
    assert browser.post("/try/librarian", headers={"x-csrf-token": token}).status_code == 200


def test_another_session_s_token_does_not_fit(signed_in: SignIn) -> None:
    mine, theirs = signed_in("librarian@north"), signed_in("manager@north")

    token = csrf_of(theirs, "/desk")

    assert mine.post("/try/librarian", data={"csrf": token}).status_code == 403


def test_a_form_from_another_site_is_refused_even_with_the_token(signed_in: SignIn) -> None:
    browser = signed_in("librarian@north")
    token = csrf_of(browser, "/desk")
    headers = {"sec-fetch-site": "cross-site"}

    answer = browser.post("/try/librarian", data={"csrf": token}, headers=headers)

    assert answer.status_code == 403


def test_a_session_that_somebody_planted_is_not_the_one_that_signs_in(
    app: FastAPI, libraries: Libraries
) -> None:
    client = TestClient(app, follow_redirects=False)
    planted = {"cookie": "refdesk=a-token-that-I-know"}
    page = client.get("/sign-in", headers=planted).text
    token = page.partition('name="csrf" value="')[2].partition('"')[0]
    fields = {"csrf": token, "email": "librarian@north", "password": PASSWORD}

    answer = client.post("/sign-in", data=fields, headers=planted)

    assert answer.status_code == 303
    assert client.cookies["refdesk"] != "a-token-that-I-know"
    assert client.get("/try/librarian", headers=planted).status_code == 401


@pytest.mark.parametrize(
    ("asked", "goes_to"),
    [
        ("/manage?from=2026-01-01", "/manage?from=2026-01-01"),
        ("//evil.example", "/desk"),
        ("/\\evil.example", "/desk"),
        ("https://evil.example", "/desk"),
        ("/x\nSet-Cookie: a=b", "/desk"),
        ("/\t/evil.example", "/desk"),
        ("/\r/evil.example", "/desk"),
        ("/\x00/evil.example", "/desk"),
        ("/desk?q=续借", "/desk?q=续借"),
        ("", "/desk"),
        (None, "/desk"),
    ],
)
def test_after_signing_in_nobody_is_sent_elsewhere(asked: str | None, goes_to: str) -> None:
    assert safe_next(asked) == goes_to


# --- passwords ---------------------------------------------------------------------------


def guess(client: TestClient, email: str, password: str) -> int:
    answer = post_form(client, "/sign-in", page="/sign-in", email=email, password=password)
    return int(answer.status_code)


def from_address(app: FastAPI, address: str) -> TestClient:
    """A browser that has never been here before, somewhere on the internet."""
    return TestClient(app, client=(address, 1), follow_redirects=False)


def test_whoever_guesses_from_one_place_must_soon_wait(
    app: FastAPI, libraries: Libraries, clock: StandingClock
) -> None:
    stranger = from_address(app, "198.51.100.1")

    answers = [guess(stranger, "manager@north", f"wrong {n}") for n in range(10)]

    assert answers == [403] * 7 + [429] * 3
    assert guess(stranger, "manager@north", PASSWORD) == 429
    clock.advance(minutes=16)
    assert guess(stranger, "manager@north", PASSWORD) == 303


def test_hammering_does_not_prolong_the_wait(
    app: FastAPI, libraries: Libraries, clock: StandingClock
) -> None:
    stranger = from_address(app, "198.51.100.1")
    for minute in range(15):
        for number in range(4):
            guess(stranger, "manager@north", f"wrong {minute} {number}")
        clock.advance(minutes=1)

    clock.advance(minutes=1)

    assert guess(stranger, "manager@north", PASSWORD) == 303


def test_ten_guesses_in_fifteen_minutes_and_no_more_from_wherever(
    app: FastAPI, libraries: Libraries
) -> None:
    answers = [
        guess(from_address(app, f"198.51.100.{number}"), "Manager@North ", "wrong")
        for number in range(12)
    ]

    assert answers == [403] * 10 + [429] * 2


def test_guesses_sent_at_once_are_counted_one_after_the_other(
    each_database: Database, clock: StandingClock
) -> None:
    with each_database.transaction() as session:
        library = add_library(session, "west", name="W", timezone="Asia/Shanghai", now=clock())
        add_staff(
            session,
            "manager@west",
            name="M",
            role=Role.MANAGER,
            library_id=library.id,
            now=clock(),
        )

    def tries(number: int) -> bool:
        trying = Trying("account", f"network {number}", is_known=False)
        with each_database.transaction() as session:
            return may_try(session, "Manager@west", trying, now=clock())

    with ThreadPoolExecutor(16) as pool:
        allowed = list(pool.map(tries, range(48)))

    assert sum(allowed) == 10
    with each_database.transaction() as session:
        own = Trying("account", "browser", is_known=True)
        assert may_try(session, "manager@west", own, now=clock())


def test_a_customers_many_addresses_are_one_place(app: FastAPI, libraries: Libraries) -> None:
    answers = [
        guess(from_address(app, f"2001:db8:1:1::{number}"), "manager@north", "wrong")
        for number in range(1, 10)
    ]

    assert answers == [403] * 7 + [429] * 2


def test_an_attack_does_not_keep_the_owner_out_of_a_new_browser(
    app: FastAPI, libraries: Libraries
) -> None:
    for number in range(100):
        guess(from_address(app, "198.51.100.1"), "manager@north", f"wrong {number}")

    assert guess(from_address(app, "203.0.113.9"), "manager@north", "a typing mistake") == 403
    assert guess(from_address(app, "203.0.113.9"), "manager@north", PASSWORD) == 303


def test_after_an_attack_from_everywhere_a_link_lets_the_owner_in(
    app: FastAPI, libraries: Libraries, database: Database, clock: StandingClock
) -> None:
    for number in range(20):
        guess(from_address(app, f"198.51.100.{number}"), "manager@north", "wrong")
    owner = from_address(app, "203.0.113.9")
    assert guess(owner, "manager@north", PASSWORD) == 429
    with database.transaction() as session:
        person = staff_by_email(session, "manager@north")
        page = f"/set-password/{make_password_link(session, person, now=clock())}"

    post_form(owner, page, page=page, password="a new pass phrase")

    assert guess(owner, "manager@north", "a new pass phrase") == 303


def test_an_attack_does_not_lock_the_owner_out(
    app: FastAPI, libraries: Libraries, signed_in: SignIn
) -> None:
    owner = signed_in("manager@north")
    stranger = TestClient(app, follow_redirects=False)
    for number in range(12):
        guess(stranger, "manager@north", f"wrong {number}")

    assert owner.get("/try/manager").status_code == 200
    post_form(owner, "/sign-out", page="/desk")
    assert guess(owner, "manager@north", PASSWORD) == 303  # their own browser knows them


def test_an_unknown_address_is_refused_like_a_wrong_password(
    client: TestClient, libraries: Libraries
) -> None:
    unknown = post_form(client, "/sign-in", page="/sign-in", email="no@body", password="x")
    wrong = post_form(client, "/sign-in", page="/sign-in", email="manager@north", password="x")

    words = [re.sub(r"no@body|manager@north|[0-9a-f]{64}", "", a.text) for a in (unknown, wrong)]
    assert unknown.status_code == wrong.status_code == 403
    assert words[0] == words[1]


def test_a_link_sets_a_password_once_and_ends_all_sessions(
    signed_in: SignIn, app: FastAPI, database: Database, clock: StandingClock
) -> None:
    elsewhere = signed_in("librarian@north")
    with database.transaction() as session:
        person = staff_by_email(session, "librarian@north")
        token = make_password_link(session, person, now=clock())
    page = f"/set-password/{token}"
    client = TestClient(app, follow_redirects=False)
    fields = {"password": "a new pass phrase", "again": "a new pass phrase"}

    first = post_form(client, page, page=page, **fields)
    second = client.get(page)

    assert first.status_code == 303
    assert second.status_code == 404
    assert elsewhere.get("/try/librarian").status_code == 401
    assert guess(TestClient(app, follow_redirects=False), "librarian@north", PASSWORD) == 403


def test_a_link_is_worthless_after_a_day_and_after_a_newer_one(
    client: TestClient, libraries: Libraries, database: Database, clock: StandingClock
) -> None:
    with database.transaction() as session:
        person = staff_by_email(session, "librarian@north")
        older = make_password_link(session, person, now=clock())
        newer = make_password_link(session, person, now=clock())

    assert client.get(f"/set-password/{older}").status_code == 404
    assert client.get(f"/set-password/{newer}").status_code == 200
    clock.advance(hours=24)
    assert client.get(f"/set-password/{newer}").status_code == 404


def test_a_guess_costs_at_least_what_owasp_asks_for(shipped_hasher: PasswordHasher) -> None:
    assert shipped_hasher.type is Type.ID
    assert shipped_hasher.memory_cost >= 19 * 1024  # KiB
    assert shipped_hasher.time_cost >= 2


def test_passwords_are_kept_as_argon2id_only(libraries: Libraries, database: Database) -> None:
    with database.snapshot() as session:
        kept = session.scalars(select(Staff.password_hash)).all()

    assert kept
    assert all(each is not None and each.startswith("$argon2id$") for each in kept)


def test_over_tls_the_cookie_is_bound_to_this_host(state: State) -> None:
    secure = state.settings.model_copy(update={"base_url": "https://ask.example.org"})

    assert cookie_name(state) == "refdesk"
    assert cookie_name(State(**{**vars(state), "settings": secure})) == "__Host-refdesk"
