"""The public pages: in the reader's language, with nothing in them that the policy forbids."""

import re

import pytest
from starlette.testclient import TestClient

from api.db import Database
from api.i18n import LANGUAGES
from kb.entries import EntryData
from kb.library import import_entries
from tests.api.conftest import HOURS, PASSWORD, Libraries, csrf_of, post_form
from tests.conftest import MONDAY

PAGES = ["/", "/faq/north", "/faq/north?q=续借", "/faq/north?q=nothing+of+the+kind", "/sign-in"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
def test_every_page_follows_the_reader_and_the_policy(
    client: TestClient, libraries: Libraries, path: str, language: str
) -> None:
    answer = client.get(path, headers={"Accept-Language": language})

    assert answer.status_code == 200
    assert f'<html lang="{language}">' in answer.text
    assert answer.headers["content-language"] == language
    assert not re.search(r"\sstyle=|<style|\son\w+=|<script>", answer.text)
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_the_first_page_carries_the_widget(client: TestClient, libraries: Libraries) -> None:
    page = client.get("/").text

    assert '<script src="/widget.js" data-library="north"' in page


def test_an_unknown_library_has_no_questions(client: TestClient, libraries: Libraries) -> None:
    assert client.get("/faq/nowhere").status_code == 404


def test_answers_are_never_markup(
    client: TestClient, libraries: Libraries, database: Database
) -> None:
    hostile = EntryData(
        id="hostile",
        category="help",
        questions={"zh": ("<b>问</b>",)},
        answers={"zh": "<script>alert(1)</script>"},
    )
    with database.transaction() as session:
        import_entries(session, libraries.north, [hostile], now=MONDAY, by="tests")

    page = client.get("/faq/north").text

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_opening_hours_are_those_of_the_calendar(
    client: TestClient, libraries: Libraries, database: Database
) -> None:
    with database.transaction() as session:
        import_entries(session, libraries.north, [HOURS], now=MONDAY, by="tests")

    page = client.get("/faq/north", headers={"Accept-Language": "en"}).text
    of_sunday = client.get("/faq/north?q=周日几点开门", headers={"Accept-Language": "en"}).text

    assert "Today: the Main Library is open 8:30–17:30." in page
    assert "Sunday: the Main Library is closed." in of_sunday
    assert "typed text" not in page + of_sunday


def test_the_language_is_kept_once_chosen(client: TestClient, libraries: Libraries) -> None:
    answer = client.post("/language", data={"language": "vi", "next": "/faq/north"})

    assert answer.headers["location"] == "/faq/north"
    assert '<html lang="vi">' in client.get("/", headers={"Accept-Language": "en"}).text


@pytest.mark.parametrize("next_page", ["https://evil.example/", "//evil.example", "/\\evil", ""])
def test_choosing_a_language_leads_nowhere_else(
    client: TestClient, libraries: Libraries, next_page: str
) -> None:
    answer = client.post("/language", data={"language": "en", "next": next_page})

    assert answer.headers["location"] == "/"


def test_a_language_that_we_do_not_speak_is_refused(
    client: TestClient, libraries: Libraries
) -> None:
    assert client.post("/language", data={"language": "xx"}).status_code == 400


def test_a_wrong_password_is_told_without_saying_which_part(
    client: TestClient, libraries: Libraries
) -> None:
    pages = [
        post_form(client, "/sign-in", page="/sign-in", email=email, password="x")
        for email in ("librarian@north", "nobody@north")
    ]

    assert {page.status_code for page in pages} == {403}
    sentences = {re.search(r'role="alert"[^>]*>([^<]+)<', page.text)[1] for page in pages}
    assert len(sentences) == 1


def test_signing_in_leads_back_and_out_again(client: TestClient, libraries: Libraries) -> None:
    answer = post_form(
        client,
        "/sign-in",
        page="/sign-in?next=/desk?view=all",
        email="librarian@north",
        password=PASSWORD,
        next="/desk?view=all",
    )
    assert answer.headers["location"] == "/desk?view=all"
    assert client.get("/sign-in").status_code == 303

    out = client.post("/sign-out", data={"csrf": csrf_of(client, "/desk")})

    assert out.headers["location"] == "/"
    assert client.get("/desk").status_code == 401
