"""Managers' pages in a real browser: the rates, and the cases behind them."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.pages.conftest import MovingClock
from tests.pages.site import LIBRARIAN, MANAGER, Site
from tracker.history import import_rows

pytestmark = pytest.mark.browser
SignIn = Callable[..., Page]
DAYS_AGO = 10


def history(clock: MovingClock) -> Iterator[dict[str, Any]]:
    """WeChat: 40 handed over, 32 answered within a day. Weibo: 3, one of them answered."""
    began = clock() - timedelta(days=DAYS_AGO)
    for channel, count, answered in (("wechat", 40, 32), ("weibo", 3, 1)):
        for number in range(count):
            received = began + timedelta(minutes=number)
            events = [
                {
                    "at": received.isoformat(),
                    "kind": "message",
                    "by": "patron",
                    "text": f"{channel}问题{number}",
                },
                {"at": received.isoformat(), "kind": "escalated", "by": "bot"},
            ]
            if number < answered:
                answer = (received + timedelta(hours=3)).isoformat()
                said = {"text": "答复", "substantive": True}
                events.append({"at": answer, "kind": "feedback", "by": LIBRARIAN, **said})
            yield {
                "id": f"{channel}-{number}",
                "library": "demo",
                "channel": channel,
                "received_at": received.isoformat(),
                "events": events,
            }


@pytest.fixture(scope="module", autouse=True)
def imported(site: Site, site_clock: MovingClock) -> None:
    with site.database.transaction() as session:
        import_rows(session, enumerate(history(site_clock), start=1), now=site_clock())


def test_the_rates_stand_with_their_interval_and_counts(signed_in: SignIn) -> None:
    page = signed_in(MANAGER)

    page.goto("/manage")

    row = page.locator("#headline tr[data-channel=wechat]")
    expect(row).to_contain_text("80.0%")
    expect(row).to_contain_text("32/40（已满24小时）")
    expect(row).to_contain_text("65.2–89.5")
    head = page.locator("#headline thead")
    expect(head).to_contain_text("24小时内已获答复的问题（机器人或馆员，未被读者否定）")
    expect(head).to_contain_text("转人工问题24小时实质答复率")


def test_on_a_telephone_both_rates_are_in_view(signed_in: SignIn) -> None:
    page = signed_in(MANAGER, width=360)

    page.goto("/manage")

    row = page.locator("#headline tr[data-channel=wechat]")
    expect(row.locator("a.rate")).to_have_count(2)
    for rate in row.locator("a.rate").all():
        box = rate.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360


def test_too_few_are_not_judged(signed_in: SignIn) -> None:
    page = signed_in(MANAGER, language="en-GB")

    page.goto("/manage")

    row = page.locator("#headline tr[data-channel=weibo]")
    expect(row).to_contain_text("too few to judge")
    expect(row).to_contain_text("1 of 3")
    expect(row).not_to_contain_text("%:")


def test_a_figure_leads_to_its_cases_misses_first(signed_in: SignIn) -> None:
    page = signed_in(MANAGER, language="en-GB")
    page.goto("/manage")

    page.locator("#headline tr[data-channel=wechat] td:nth-child(3) a.rate").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Handed over: substantive answer within 24 h"
    )
    outcomes = page.locator("#cases tbody td:last-child").all_inner_texts()
    assert outcomes == ["Not within the time"] * 8 + ["Within the time"] * 32
    page.get_by_role("link", name="Not within the time 8").click()
    expect(page.locator("#cases tbody tr")).to_have_count(8)


def test_the_period_is_in_the_address_and_nothing_is_no_rate(signed_in: SignIn) -> None:
    page = signed_in(MANAGER)

    page.goto("/manage?from=2020-01-01&to=2020-01-31")

    expect(page.locator("#headline tbody tr")).to_have_count(1)
    expect(page.locator("#headline .big").first).to_have_text("–")
    expect(page.locator("#headline")).not_to_contain_text("0.0%")


def test_an_entry_is_edited_and_the_bot_follows_at_once(signed_in: SignIn) -> None:
    page = signed_in(MANAGER)
    page.goto("/manage/kb/renew-books")
    old = page.locator("#answer-zh").input_value()

    page.fill("#answer-zh", "续借改到新系统。")
    page.get_by_role("button", name="发布").click()
    expect(page.get_by_text("条目已发布")).to_be_visible()

    page.goto("/manage/kb/try?q=怎么续借图书")
    expect(page.locator(".verdict")).to_have_text("机器人会直接回答。")
    expect(page.locator("main .notice")).to_contain_text("续借改到新系统")
    page.goto("/manage/kb/renew-books")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.fill("#answer-zh", old)
    page.get_by_role("button", name="发布").click()


def test_what_somebody_else_published_meanwhile_is_not_overwritten(signed_in: SignIn) -> None:
    first, second = signed_in(MANAGER), signed_in(MANAGER)
    for page in (first, second):
        page.goto("/manage/kb/ebooks")
    first.fill("#url", "https://ebooks.example.org/")
    first.get_by_role("button", name="发布").click()
    expect(first.get_by_text("条目已发布")).to_be_visible()

    second.fill("#answer-zh", "我写了很久的答案。")
    second.get_by_role("button", name="发布").click()

    expect(second.get_by_text("有人改了这个条目")).to_be_visible()
    expect(second.locator("#answer-zh")).to_have_value("我写了很久的答案。")


def test_a_librarian_may_not_see_the_figures(signed_in: SignIn) -> None:
    page = signed_in(LIBRARIAN)

    answer = page.request.get("/manage", headers={"Accept": "text/html"})

    assert answer.status == 403
    page.goto("/desk")
    expect(page.get_by_role("link", name="管理")).to_have_count(0)
