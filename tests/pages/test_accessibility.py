"""axe finds nothing on any page, by day and by night, on a desk and on a telephone."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.conftest import cannot
from tests.pages.site import LIBRARIAN, MANAGER, Site
from tests.pages.test_desk import patron_asks

pytestmark = pytest.mark.browser
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
LOOKS = {
    "wide-light-zh": {"width": 1280, "dark": False, "language": "zh-CN"},
    "narrow-dark-en": {"width": 360, "dark": True, "language": "en-GB"},
}
# lists that people read on a telephone fit its width; a chart or a month may be pushed aside
CUT_OFF = """
[...document.querySelectorAll(".scroll:has(> .pairs)")]
  .filter((box) => box.scrollWidth > box.clientWidth)
  .map((box) => box.querySelector("thead").textContent.trim())
"""
STAFF_PAGES = [
    "/desk?view=all",
    "/desk/undelivered",
    "/manage",
    "/manage/cases?figure=received",
    "/manage/kb",
    "/manage/kb/renew-books",
    "/manage/kb/new",
    "/manage/kb/review",
    "/manage/kb/try?q=怎么续借",
    "/manage/kb/unanswered",
    "/manage/cases?figure=backlog&age=more",
    "/manage/report",
    "/manage/calendar?day=2026-11-25",
    "/manage/calendar?name=building&timetable=2020-01-01",
    "/manage/handling",
    "/manage/alerts",
    "/manage/activity",
    "/manage/audits",
    "/manage/consortium",
    "/desk/mine",
    "/desk/audits",
    "/manage/channels",
    "/manage/staff",
    "/manage/audit",
    "/manage/settings",
]


@pytest.fixture(scope="session")
def axe() -> str:
    if not AXE.exists():
        cannot("no axe-core: run npm ci")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    return LOOKS[request.param]


def violations(page: Page, axe: str) -> list[str]:
    """What axe objects to, in one line each; and a page may not be wider than its window."""
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    said = [
        f"{page.url}: {item['id']} ({item['impact']}): {json.dumps(item['nodes'][0]['target'])}"
        for item in found["violations"]
    ]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        said.append(f"{page.url}: wider than its window")
    said += [f"{page.url}: a list is cut off: {heads}" for heads in page.evaluate(CUT_OFF)]
    return said


def test_public_pages(
    open_browser: Callable[..., BrowserContext],
    watched: Callable[[Page], Page],
    axe: str,
    look: dict[str, Any],
) -> None:
    page = watched(open_browser(**look).new_page())
    said: list[str] = []
    for path in ("/", "/faq/demo", "/faq/demo?q=zzzz", "/sign-in", "/api/docs"):
        page.goto(path)
        said += violations(page, axe)

    page.goto("/")
    page.locator("refdesk-widget .launcher").click()
    box = page.locator("refdesk-widget textarea")
    for words in ("怎么续借图书？", "人工"):
        box.fill(words)
        box.press("Enter")
    expect(page.locator("refdesk-widget .email")).to_be_visible()
    said += violations(page, axe)

    assert not said, "\n".join(said)


def test_staff_pages(signed_in: Callable[..., Page], axe: str, look: dict[str, Any]) -> None:
    page = signed_in(MANAGER, **look)
    said: list[str] = []
    for path in STAFF_PAGES:
        page.goto(path)
        said += violations(page, axe)

    assert not said, "\n".join(said)


def test_a_consultation_on_the_desk(
    site: Site, signed_in: Callable[..., Page], axe: str, look: dict[str, Any]
) -> None:
    patron_asks(site, f"想查{look['width']}年前的县志目录")
    page = signed_in(LIBRARIAN, **look)
    page.goto("/desk?view=all")
    page.get_by_role("link", name=re.compile(f"{look['width']}年前")).click()
    expect(page.locator("#reply-text")).to_be_visible()
    said = violations(page, axe)
    page.locator(".case-menu summary").click()
    said += violations(page, axe)
    page.keyboard.press("?")
    said += violations(page, axe)

    assert not said, "\n".join(said)
