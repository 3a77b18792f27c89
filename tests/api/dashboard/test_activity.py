"""Channel activity by hand, by file and by API; what was answered on a platform is counted."""

from datetime import date
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.db import Database
from tests.api.conftest import Libraries, SignIn, csrf_of, post_form
from tests.conftest import StandingClock
from tracker.activity import indicators
from tracker.consortium import channels_of
from tracker.models import Library
from tracker.stats import stats

PAGE = "/manage/activity"
WEEKS = b"\xef\xbb\xbfchannel,week,pushes,followers,reads,likes\n" + b"".join(
    f"wechat,2026-11-{day:02},1,{900 + day},100,{day}\n".encode() for day in (2, 9, 16)
)
COMMENTS = (
    "channel,received_at,question,answered_at,answer,by\n"
    "weibo,2026-11-16 09:00,周日开门吗,2026-11-16 11:30,开,lin@north\n"
    "weibo,2026-11-16T22:00:00+08:00,能带水吗,,,\n"
).encode()


@pytest.fixture
def manage(signed_in: SignIn) -> TestClient:
    client = signed_in("manager@north")
    client.headers["Accept-Language"] = "en"
    return client


def known(database: Database, libraries: Libraries) -> dict[str, Any]:
    with database.snapshot() as session:
        library = session.get_one(Library, libraries.north)
        return indicators(session, library, start=date(2026, 11, 1), end=date(2026, 11, 22))


def upload(client: TestClient, what: str, content: bytes) -> Any:
    return client.post(
        f"{PAGE}/{what}", data={"csrf": csrf_of(client, PAGE)}, files={"file": ("x.csv", content)}
    )


def test_a_week_is_entered_by_hand(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    fields = {"channel": "wechat", "week": "2026-11-18", "pushes": "2", "followers": "12000"}

    answer = post_form(manage, f"{PAGE}/week", page=PAGE, **fields)

    assert answer.status_code == 303
    found = known(database, libraries)["wechat"]
    assert (found["pushes"], found["followers"], found["posts"]) == (2, 12_000, 0)
    assert "12,000" in manage.get(f"{PAGE}?from=2026-11-01&to=2026-11-22").text


def test_weeks_come_from_a_file_and_make_the_indicators(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    assert upload(manage, "weeks", WEEKS).status_code == 303

    found = known(database, libraries)["wechat"]
    assert (found["growth"], found["engagement"], found["pushes_weekly"]) == (14, 0.09, True)
    page = manage.get(f"{PAGE}?from=2026-11-01&to=2026-11-22").text
    assert "+14" in page
    assert "9.0%" in page
    assert "3 of 3 weeks" in page


def test_a_bad_file_enters_nothing_and_names_every_bad_row(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    answer = upload(manage, "weeks", WEEKS + b"wechat,soon,1,1,1,1\nwechat,2026-11-02,x,1,1,1\n")

    assert answer.status_code == 422
    assert "Row 5" in answer.text
    assert "Row 6" in answer.text
    assert "wechat" not in known(database, libraries)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'channel,week\n"open', b""])
def test_what_is_no_csv_breaks_nothing(manage: TestClient, content: bytes) -> None:
    assert upload(manage, "weeks", content).status_code in {303, 422}


def test_comments_answered_on_the_platform_are_consultations_of_that_channel(
    manage: TestClient, database: Database, libraries: Libraries, clock: StandingClock
) -> None:
    assert upload(manage, "comments", COMMENTS).status_code == 303

    with database.snapshot() as session:
        library = session.get_one(Library, libraries.north)
        share = stats(session, library, at=clock())["channels"]["weibo"]["answered_within_24h"]
    assert (share["within"], share["matured"]) == (1, 2)
    assert "能带水吗" in manage.get("/manage/cases?figure=answered_within_24h&channel=weibo").text


def test_one_comment_is_entered_by_hand_on_the_librarys_clock(
    manage: TestClient, database: Database, libraries: Libraries, clock: StandingClock
) -> None:
    fields = {"channel": "douyin", "question": "直播有回放吗", "received_at": "2026-11-20T23:50"}

    answer = post_form(manage, f"{PAGE}/comment", page=PAGE, **fields)

    assert answer.status_code == 303
    cases = manage.get("/manage/cases?channel=douyin").text
    assert "直播有回放吗" in cases
    assert "20 Nov 2026 23:50" in cases


def test_a_comment_that_cannot_be_read_comes_back_as_it_was_typed(manage: TestClient) -> None:
    fields = {"channel": "weibo", "question": "一个很长的问题", "received_at": "yesterday"}

    answer = post_form(manage, f"{PAGE}/comment", page=PAGE, **fields)

    assert answer.status_code == 422
    assert "一个很长的问题</textarea>" in answer.text


def test_a_channel_that_nobody_asked_on_yet_is_the_librarys_too(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    post_form(manage, f"{PAGE}/presence", page=PAGE, channel="weibo", opened_on="2019-05-01")

    with database.snapshot() as session:
        assert "weibo" in channels_of(session, session.get_one(Library, libraries.north))


def test_programs_enter_and_read_the_same(
    signed_in: SignIn, manage: TestClient, database: Database, libraries: Libraries
) -> None:
    made = manage.post(
        "/api/v1/tokens",
        json={"name": "statistics", "role": "manager"},
        headers={"x-csrf-token": csrf_of(manage, PAGE)},
    ).json()
    bearer = {"authorization": f"Bearer {made['token']}"}
    week = {"channel": "weibo", "week": "2026-11-09", "posts": 7, "followers": 300}

    entered = manage.post("/api/v1/activity", json={"weeks": [week]}, headers=bearer)

    assert (entered.status_code, entered.json()) == (201, {"weeks": 1})
    shown = manage.get("/api/v1/activity?from=2026-11-01&to=2026-11-22", headers=bearer).json()
    assert shown == known(database, libraries)
    assert shown["weibo"]["posts"] == 7
    negative = {"weeks": [{**week, "posts": -1}]}
    assert manage.post("/api/v1/activity", json=negative, headers=bearer).status_code == 422


def test_an_empty_sheet_has_the_headings_that_are_read(manage: TestClient) -> None:
    for name, first in (("weeks", "channel,week,posts"), ("comments", "channel,received_at")):
        text = manage.get(f"{PAGE}/sheet.csv?of={name}").text
        assert text.lstrip("\ufeff").startswith(first)


@pytest.mark.parametrize("action", ["week", "weeks", "comment", "comments", "presence"])
def test_librarians_enter_nothing(signed_in: SignIn, action: str) -> None:
    assert signed_in("librarian@north").post(f"{PAGE}/{action}").status_code == 403
