"""Files from patrons: what is taken, how it is kept, and who can fetch it."""

import io
import zipfile
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

import api.widget.files
from api import uploads
from api.db import Database
from api.limits import Limit, create_limiter
from api.models import Upload
from api.privacy import erase_patron
from api.state import State
from api.uploads import LARGEST, plain_name, type_of
from bot.models import Inbox
from tests.api.conftest import Libraries, SignIn
from tests.api.widget.conftest import Patron
from tests.conftest import StandingClock
from tracker.models import Consultation, Library

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 64
PDF = b"%PDF-1.7\n..."


def office(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return packed.getvalue()


TAKEN = {
    "scan.png": PNG,
    "photo.jpg": b"\xff\xd8\xff\xe0" + b"x" * 32,
    "a.gif": b"GIF89a" + b"x" * 32,
    "a.webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "phone.heic": b"\x00\x00\x00\x18ftypheic" + b"x" * 16,
    "论文.pdf": PDF,
    "a.docx": office("[Content_Types].xml", "word/document.xml"),
    "a.xlsx": office("[Content_Types].xml", "xl/workbook.xml"),
    "a.pptx": office("[Content_Types].xml", "ppt/presentation.xml"),
    "notes.txt": "书目：一、二、三\r\n".encode(),
    "list.bib": b"@book{a, title={b}}",
}
REFUSED = {
    "page.html": b"<!doctype html><script>alert(1)</script>",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "page.xml": b"<?xml version='1.0'?><a/>",
    "program.exe": b"MZ\x90\x00" + b"\x00" * 64,
    "script.js": b"alert(1)",
    "archive.zip": office("a.txt"),
    "macro.docx": office("word/document.xml", "word/vbaProject.bin"),
    "broken.docx": b"PK\x03\x04" + b"\x00" * 64,
    "binary.txt": b"\x00\x01\x02",
    "latin.txt": b"\xe9t\xe9 \xff",
    "no-ending": b"just words",
}


def stored(database: Database) -> int:
    with database.snapshot() as session:
        return session.scalar(select(func.count()).select_from(Upload)) or 0


@pytest.mark.parametrize("name", TAKEN)
def test_what_people_send_is_taken(patron: Patron, database: Database, name: str) -> None:
    answer = patron.sends(name, TAKEN[name])

    assert answer.status_code == 200, answer.text
    shown = answer.json()["messages"][0]
    assert shown["file"] == {"name": name, "size": len(TAKEN[name])}
    assert stored(database) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_browser_might_run_is_refused(patron: Patron, database: Database, name: str) -> None:
    answer = patron.sends(name, REFUSED[name])

    assert answer.status_code == 415
    assert answer.headers["access-control-allow-origin"] == "*"
    assert stored(database) == 0
    assert patron.reads()["messages"] == []


@pytest.mark.parametrize("name", ["picture.html", "a.svg", "a"])
def test_a_name_does_not_make_a_picture_something_else(
    patron: Patron, database: Database, name: str
) -> None:
    patron.sends(name, PNG)

    with database.snapshot() as session:
        upload = session.scalars(select(Upload)).one()
    assert upload.content_type == "image/png"
    assert upload.name.endswith(".png")


def test_a_file_has_at_most_five_megabytes(patron: Patron, database: Database) -> None:
    assert patron.sends("a.png", PNG + b"\x00" * (LARGEST - len(PNG))).status_code == 200
    assert patron.sends("a.png", PNG + b"\x00" * LARGEST).status_code == 413
    assert patron.sends("a.png", b"").status_code == 400
    assert stored(database) == 1


def test_other_requests_stay_small(patron: Patron) -> None:
    body = b"x" * 70_000

    assert patron.client.post("/widget/north/messages", content=body).status_code == 413
    assert patron.client.post("/widget/north/files/x", content=body).status_code == 413


def test_the_same_id_is_one_file(patron: Patron, database: Database) -> None:
    first = patron.sends("a.png", PNG, id="once").json()
    second = patron.sends("a.png", PNG, id="once").json()

    assert first["messages"] == second["messages"]
    assert stored(database) == 1


def test_a_conversation_has_its_share_of_files_a_day(
    patron: Patron, clock: StandingClock, database: Database
) -> None:
    answers = [patron.sends("a.png", PNG).status_code for _ in range(21)]

    assert answers == [200] * 20 + [429]
    assert stored(database) == 20
    clock.advance(hours=25)
    assert patron.sends("a.png", PNG).status_code == 200


def test_a_library_has_its_share_of_bytes_a_day(
    patron: Patron, client: TestClient, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setattr(uploads, "LIBRARY_A_DAY", 100)

    answers = [Patron(client).sends("a.png", PNG).status_code for _ in range(3)]

    assert answers == [200, 200, 429]
    assert stored(database) == 2


def test_one_address_sends_so_many_files_an_hour(
    patron: Patron, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.widget.files, "FILES", Limit(2, 3_600))
    limiter = create_limiter(enabled=True, redis_url=None)
    monkeypatch.setitem(state.__dict__, "limiter", limiter)

    answers = [patron.sends("a.png", PNG).status_code for _ in range(3)]

    assert answers == [200, 200, 429]


@pytest.mark.parametrize("bearer", ["", "Bearer ", "Bearer made-up", "Bearer a.b.c"])
def test_a_file_needs_a_session_that_was_issued(
    patron: Patron, database: Database, bearer: str
) -> None:
    answer = patron.client.post(
        "/widget/north/files?id=1&name=a.png", content=PNG, headers={"Authorization": bearer}
    )

    assert answer.status_code in {400, 403}
    assert stored(database) == 0


def test_a_file_goes_to_a_librarian(patron: Patron, database: Database) -> None:
    answer = patron.sends("a.png", PNG).json()

    assert answer["waiting"]
    with database.snapshot() as session:
        assert session.scalars(select(Inbox.kind)).all() == ["image"]
        assert session.scalars(select(Consultation.status)).all() == ["waiting"]


# --- on the desk -----------------------------------------------------------------------------


def key_of(database: Database) -> tuple[int, str]:
    with database.snapshot() as session:
        number = session.scalars(select(Consultation.id)).one()
        return number, session.scalars(select(Upload.key)).one()


def test_a_librarian_sees_a_picture_and_saves_a_file(
    patron: Patron, signed_in: SignIn, database: Database
) -> None:
    patron.sends("论文 <b>.pdf", PDF)
    number, key = key_of(database)
    desk = signed_in("librarian@north")

    page = desk.get(f"/desk/c/{number}").text
    saved = desk.get(f"/desk/c/{number}/files/{key}")

    assert f'href="/desk/c/{number}/files/{key}" download' in page
    assert "论文 b.pdf" in page
    assert saved.content == PDF
    assert saved.headers["content-type"] == "application/pdf"
    assert saved.headers["content-disposition"].startswith("attachment;")
    assert saved.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in saved.headers["content-security-policy"]


def test_a_text_is_served_as_text_whatever_it_says(
    patron: Patron, signed_in: SignIn, database: Database
) -> None:
    patron.sends("a.txt", b"<script>alert(1)</script>")
    number, key = key_of(database)

    saved = signed_in("librarian@north").get(f"/desk/c/{number}/files/{key}")

    assert saved.headers["content-type"].startswith("text/plain")
    assert saved.headers["content-disposition"].startswith("attachment;")


def test_nobody_else_can_fetch_it(
    patron: Patron, client: TestClient, signed_in: SignIn, database: Database
) -> None:
    patron.sends("a.png", PNG)
    number, key = key_of(database)
    Patron(client).says("人工")
    with database.snapshot() as session:
        other = session.scalars(select(Consultation.id).order_by(Consultation.id.desc())).first()

    path = f"/desk/c/{number}/files/{key}"
    assert client.get(path).status_code in {303, 401}
    assert signed_in("manager@south").get(path).status_code == 404
    librarian = signed_in("librarian@north")
    assert librarian.get(f"/desk/c/{other}/files/{key}").status_code == 404
    assert librarian.get(f"/desk/c/{number}/files/{key[:-1]}").status_code == 404
    assert client.get(f"/widget/north/files/{key}").status_code in {404, 405}


def test_erasing_a_patron_erases_their_files(
    patron: Patron, database: Database, state: State, libraries: Libraries
) -> None:
    patron.sends("a.png", PNG)
    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        erased = erase_patron(
            session,
            library,
            channel="web",
            patron=patron.session,
            keyring=state.keyring,
            now=state.clock(),
        )

    assert erased == 1
    assert stored(database) == 0


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("scan.png", "scan.png"),
        ("../../etc/passwd", "passwd.png"),
        ("C:\\Users\\x\\scan.PNG", "scan.PNG"),
        ("a\u202egnp.exe", "agnp.exe.png"),
        ("\x00\r\n", "file.png"),
        ("...", "file.png"),
        ('<img src="x">.png', "img src=x.png"),
        ("x" * 300, "x" * 120 + ".png"),
    ],
)
def test_a_name_is_only_a_name(given: str, kept: str) -> None:
    assert plain_name(given, type_of(PNG, given)) == kept


def test_what_is_said_of_files_stays_with_the_conversation(
    patron: Patron, client: TestClient
) -> None:
    patron.sends("secret.png", PNG)

    def names(answer: dict[str, Any]) -> list[str]:
        return [each["file"]["name"] for each in answer["messages"] if "file" in each]

    assert names(patron.reads()) == ["secret.png"]
    assert names(Patron(client).reads()) == []
