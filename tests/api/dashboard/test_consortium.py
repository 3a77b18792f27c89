"""Libraries side by side: only those that chose to, and no count that gives anybody away."""

import re
from datetime import timedelta
from typing import Any

import pytest

from api.db import Database
from api.i18n import LANGUAGES
from api.models import Role
from api.staff import add_staff
from tests.api.conftest import PASSWORD, Libraries, SignIn, post_form
from tests.conftest import MONDAY
from tests.tracker.test_consortium import forty_two
from tracker.history import import_rows

PAGE = "/manage/consortium"


def rows(library: str, *, within: int, late: int) -> list[dict[str, Any]]:
    received = MONDAY - timedelta(days=6)
    return [
        {
            "id": f"{library}{number}",
            "library": library,
            "channel": "wechat",
            "received_at": received.isoformat(),
            "events": [
                {"at": received.isoformat(), "kind": "escalated", "by": "bot"},
                {
                    "at": (received + timedelta(hours=1 if number < within else 30)).isoformat(),
                    "kind": "feedback",
                    "by": "lin",
                    "substantive": True,
                },
            ],
        }
        for number in range(within + late)
    ]


@pytest.fixture
def asked(database: Database, libraries: Libraries) -> None:
    """North: 38 of 40 within 24 hours; south: 15 of 30."""
    with database.transaction() as session:
        history = rows("north", within=38, late=2) + rows("south", within=15, late=15)
        import_rows(session, enumerate(history, start=1), now=MONDAY)


def test_a_library_is_compared_only_after_it_chose_to(asked: None, signed_in: SignIn) -> None:
    north, south = signed_in("manager@north"), signed_in("manager@south")
    assert "50.0%" not in north.get(PAGE).text

    assert post_form(south, f"{PAGE}/join", page=PAGE).status_code == 303
    assert "50.0%" not in north.get(PAGE).text
    assert "95.0%" not in south.get(PAGE).text
    assert post_form(north, f"{PAGE}/join", page=PAGE).status_code == 303

    for client in (north, south):
        text = client.get(PAGE).text
        assert "95.0%" in text  # north
        assert "50.0%" in text  # south, and one library of two qualifies
        assert "72.5%" in text  # the mean of both
        assert "75.7%" in text  # 53 of 70

    post_form(south, f"{PAGE}/leave", page=PAGE)
    assert "50.0%" not in north.get(PAGE).text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_study_stands_on_this_page_in_every_language(
    libraries: Libraries, signed_in: SignIn, language: str
) -> None:
    client = signed_in("manager@north")
    client.cookies.set("refdesk_language", language)
    post_form(client, f"{PAGE}/join", page=PAGE)

    text = client.get(PAGE).text

    assert "17" in text
    assert "42" in text


def test_a_librarian_may_not_decide_it(libraries: Libraries, signed_in: SignIn) -> None:
    client = signed_in("librarian@north")

    assert client.get(PAGE).status_code == 403
    assert client.post(f"{PAGE}/join").status_code == 403


def test_a_member_has_a_page_for_members_only(asked: None, signed_in: SignIn) -> None:
    north, south = signed_in("manager@north"), signed_in("manager@south")
    post_form(south, f"{PAGE}/join", page=PAGE)
    assert north.get(f"{PAGE}/south").status_code == 404

    post_form(north, f"{PAGE}/join", page=PAGE)

    assert "50.0%" in north.get(f"{PAGE}/south").text
    assert north.get(f"{PAGE}/nowhere").status_code == 404


def test_the_line_to_qualify_is_in_the_address(asked: None, signed_in: SignIn) -> None:
    north, south = signed_in("manager@north"), signed_in("manager@south")
    for client in (north, south):
        post_form(client, f"{PAGE}/join", page=PAGE)

    assert "1/2" in north.get(f"{PAGE}?qualify=90").text
    assert "2/2" in north.get(f"{PAGE}?qualify=50").text
    assert north.get(f"{PAGE}?qualify=0").status_code == 422


def test_of_two_libraries_no_sum_tells_the_others_hidden_count(
    database: Database, libraries: Libraries, signed_in: SignIn
) -> None:
    with database.transaction() as session:
        few = rows("north", within=38, late=2) + rows("south", within=2, late=2)
        import_rows(session, enumerate(few, start=1), now=MONDAY)
    north, south = signed_in("manager@north"), signed_in("manager@south")
    for client in (north, south):
        post_form(client, f"{PAGE}/join", page=PAGE)

    page = north.get(PAGE).text

    assert "90.9" not in page  # 40 of 44
    assert "40/44" not in page


def test_the_page_shows_the_studys_table(
    database: Database, libraries: Libraries, signed_in: SignIn
) -> None:
    """42 libraries, and the manager of one of them looks at the others."""
    with database.transaction() as session:
        study = forty_two(session)
        add_staff(
            session,
            "manager@study",
            name="m",
            role=Role.MANAGER,
            library_id=study[41].id,
            password=PASSWORD,
            now=MONDAY,
        )
    client = signed_in("manager@study")
    client.headers["Accept-Language"] = "en"

    page = client.get(f"{PAGE}?from=2026-03-02&to=2026-03-29").text

    cells = re.findall(r"<strong>([\d.]+%)</strong><br><span[^>]*>(\d+ of \d+) ", page)
    for expected in (
        ("83.3%", "35 of 42"),  # have a microblog
        ("97.6%", "41 of 42"),  # have WeChat
        ("17.1%", "6 of 35"),  # probes answered within a day on the microblog: 17.14 %
        ("17.1%", "7 of 41"),  # and on WeChat: 17.07 %
        ("68.3%", "28 of 41"),  # push weekly
        ("9.5%", "4 of 42"),  # have video
        ("20.0%", "7 of 35"),  # a following worth the name
        ("28.6%", "10 of 35"),  # more than 1,000 posts
    ):
        assert expected in cells
