"""The managers' first page: every figure leads to cases that are as many as it says."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from api.db import Database
from tests.api.conftest import Libraries, SignIn
from tests.conftest import MONDAY
from tracker.history import import_rows
from tracker.models import Library
from tracker.rollups import refresh

MANAGER = "manager@north"
PERIOD = "from=2026-11-01&to=2026-11-23"


def row(number: int, *, days: float, hours: float | None, **more: Any) -> dict[str, Any]:
    received = MONDAY - timedelta(days=days, minutes=number)
    events: list[dict[str, Any]] = [
        {"at": received.isoformat(), "kind": "message", "by": "patron", "text": f"问题{number}"},
        {"at": received.isoformat(), "kind": "escalated", "by": "bot"},
    ]
    if hours is not None:
        at = (received + timedelta(hours=hours)).isoformat()
        by = more.get("by", "librarian@north")
        events.append({"at": at, "kind": "feedback", "by": by, "text": "答", "substantive": True})
    return {
        "id": f"c{number}",
        "library": "north",
        "channel": more.get("channel", "wechat"),
        "received_at": received.isoformat(),
        "events": [*events, *more.get("events", [])],
    }


@pytest.fixture
def history(database: Database, libraries: Libraries) -> None:
    """Thirty answered, five late, two fresh, one very old and waiting, one withdrawn."""
    rows = [row(n, days=6, hours=2) for n in range(30)]
    rows += [row(n, days=7, hours=30, by="manager@north") for n in range(30, 35)]
    rows += [row(n, days=0.1, hours=None, channel="web") for n in range(35, 37)]
    rows.append(row(37, days=200, hours=None))
    gone = {"at": (MONDAY - timedelta(days=5)).isoformat(), "kind": "withdrawn", "by": "patron"}
    rows.append(row(38, days=5.1, hours=None, events=[gone]))
    with database.transaction() as session:
        import_rows(session, enumerate(rows, start=1), now=MONDAY)


@pytest.fixture
def manage(signed_in: SignIn, history: None) -> TestClient:
    client = signed_in(MANAGER)
    client.headers["Accept-Language"] = "en"
    return client


def counted(client: TestClient, address: str) -> int:
    """How many consultations a list says it has; it lists as many."""
    page = client.get(address).text
    said = int(re.search(r"· ([\d,]+) questions?</p>", page)[1].replace(",", ""))  # type: ignore[index]
    assert page.count('<a href="/desk/c/') == min(said, 100)
    return said


def links(page: str) -> dict[str, str]:
    """Addresses of cases on a page, with the number that leads there."""
    found = re.findall(r'href="(/manage/cases[^"]*)"[^>]*>\s*([\d,]+)\s*</a>', page)
    return {unescape(address): number.replace(",", "") for address, number in found}


def test_every_number_leads_to_as_many_cases(manage: TestClient) -> None:
    found = links(manage.get(f"/manage?{PERIOD}").text)

    assert len(found) > 10  # received, waiting, ages, arrivals, topics, librarians
    for address, number in found.items():
        assert counted(manage, address) == int(number), address


def test_the_same_numbers_come_from_rollups(manage: TestClient, database: Database) -> None:
    before = links(manage.get(f"/manage?{PERIOD}").text)
    with database.transaction() as session:
        refresh(session, now=MONDAY, limit=1_000)

    assert links(manage.get(f"/manage?{PERIOD}").text) == before


def test_what_was_closed_without_a_reply_still_waits_and_the_desk_shows_it(
    manage: TestClient, database: Database
) -> None:
    closed = {"at": MONDAY.isoformat(), "kind": "closed", "by": "librarian@north"}
    rows = [row(n, days=3, hours=None, events=[closed]) for n in range(60, 62)]
    with database.transaction() as session:
        import_rows(session, enumerate(rows, start=1), now=MONDAY)

    page = manage.get(f"/manage?{PERIOD}").text
    desk = manage.get("/desk?view=closed_unanswered").text

    assert links(page)[f"/manage/cases?{PERIOD}&figure=backlog"] == "5"
    assert "Of these, 2 were closed without a reply" in page
    assert counted(manage, f"/manage/cases?{PERIOD}&figure=closed_unanswered") == 2
    assert 'Closed without a reply <span class="number">2</span>' in desk
    assert desk.count('data-row="') == 2
    assert 'All open <span class="number">3</span>' in desk


def test_who_waits_is_shown_whatever_the_period(manage: TestClient) -> None:
    page = manage.get("/manage?from=2020-01-01&to=2020-01-31").text

    assert links(page)["/manage/cases?from=2020-01-01&to=2020-01-31&figure=backlog"] == "3"
    assert counted(manage, "/manage/cases?figure=backlog&outcome=overdue") == 1
    assert counted(manage, "/manage/cases?figure=backlog&age=four_hours") == 2


def test_a_large_library_works_out_on_demand_what_must_read_everything(
    manage: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.dashboard.waiting.MOST_READ", 10)

    page = manage.get(f"/manage?{PERIOD}").text

    assert "whole=true" in page
    assert ">librarian<" not in page
    assert "3</a>" in page  # who waits is always there
    assert ">librarian<" in manage.get(f"/manage?{PERIOD}&whole=true").text


def test_what_is_not_counted_yet_says_when_it_will_be(manage: TestClient) -> None:
    page = manage.get(f"/manage?{PERIOD}").text

    assert "Preliminary: 2 cases younger than 24 h, final on 25 Nov 00:00" in page
    assert counted(manage, f"/manage/cases?{PERIOD}&figure=answered_within_24h&outcome=pending")


@pytest.mark.parametrize(
    ("language", "whole", "answered", "next_day"),
    [
        ("zh-Hans", "未满48小时，暂不计", "未满24小时，暂不计", "未过下一值班日，暂不计"),
        ("zh-Hant", "未滿48小時，暫不計", "未滿24小時，暫不計", "未過下一值班日，暫不計"),
        (
            "en",
            "younger than 48 h, not yet counted",
            "younger than 24 h",
            "next staffed day is not",
        ),
        ("vi", "chưa đủ 48 giờ, chưa tính", "chưa đủ 24 giờ", "chưa hết ngày trực kế tiếp"),
    ],
)
def test_each_rate_says_for_how_long_its_cases_must_be_observed(
    manage: TestClient, language: str, whole: str, answered: str, next_day: str
) -> None:
    page = manage.get(f"/manage?{PERIOD}", headers={"Accept-Language": language}).text

    said = dict(re.findall(r'<a class="tag soon" href="[^"]*?figure=(\w+)[^"]*">([^<]*)</a>', page))
    assert whole in said["bot_inclusive_within_24h"]
    assert answered in said["answered_within_24h"]
    assert answered in said["feedback_within_24h"]
    assert next_day in said["feedback_next_opening_day"]


def test_what_was_withdrawn_stands_apart_and_in_the_rate(manage: TestClient) -> None:
    page = manage.get(f"/manage?{PERIOD}").text

    assert "1 withdrawn by the patron" in page
    assert counted(manage, f"/manage/cases?{PERIOD}&figure=withdrawn") == 1
    assert "30 of 36, 24 h elapsed" in page


def test_the_target_is_the_librarys_own(
    manage: TestClient, database: Database, libraries: Libraries
) -> None:
    assert "target 90%" in manage.get("/manage").text
    with database.transaction() as session:
        wanted = update(Library).where(Library.id == libraries.north)
        session.execute(wanted.values(settings={"target_percent": 75}))

    assert "target 75%" in manage.get("/manage").text


def test_a_list_says_which_filters_made_it_and_each_can_go(manage: TestClient) -> None:
    address = f"/manage/cases?{PERIOD}&channel=wechat&figure=received&weekday=2&hour=9"
    page = manage.get(address).text

    assert "Hour of arrival: <strong>9:00–10:00</strong>" in page
    assert "Weekday: <strong>Tue</strong>" in page
    assert "Channel: <strong>WeChat</strong>" in page
    without_hour = f"/manage/cases?{PERIOD}&channel=wechat&figure=received&weekday=2"
    assert f'href="{without_hour.replace("&", "&amp;")}"' in page


@pytest.mark.parametrize("wrong", ["age=never", "weekday=8", "hour=24"])
def test_a_filter_that_cannot_be_is_refused(manage: TestClient, wrong: str) -> None:
    assert manage.get(f"/manage/cases?figure=backlog&{wrong}").status_code in {400, 422}


# --- librarians ----------------------------------------------------------------------------


def test_managers_see_each_librarian_by_name_and_never_a_rank(manage: TestClient) -> None:
    page = manage.get(f"/manage?{PERIOD}").text
    table = page.partition('id="people-title"')[2].partition("</table>")[0]

    assert table.index(">librarian<") < table.index(">manager<")
    assert "100.0%" in table  # 30 of 30
    assert "too few to judge" in table  # 0 of 5


def test_a_librarian_sees_their_own_figures_and_nobody_elses(
    signed_in: SignIn, history: None
) -> None:
    page = signed_in("librarian@north").get(f"/desk/mine?{PERIOD}")

    assert page.status_code == 200
    assert "30/30" in page.text
    assert "问题31" not in page.text
    assert page.text.count('<a href="/desk/c/') == 30
    assert "/manage/cases" not in page.text


def test_strangers_see_nobodys(client: TestClient, libraries: Libraries) -> None:
    assert client.get("/desk/mine").status_code == 401
