"""A running library and a real browser, shared by all journeys; each has its own patron."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from api.bus import InProcessBus
from api.db import Database
from kb.knowledge import KnowledgeBases
from tests.conftest import cannot
from tests.pages.site import PASSWORD, Site, fill, serving

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=LocalNetworkAccessChecks",  # all origins here are on this machine
]
MONDAY_MORNING = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)  # 10:00 in Shanghai, the desk is open


class MovingClock:
    """Runs from a Monday morning on, and can be set forward."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return MONDAY_MORNING + (datetime.now(UTC) - self._started) + self.ahead


@pytest.fixture(scope="session")
def site_clock() -> MovingClock:
    return MovingClock()


@pytest.fixture(scope="session")
def site(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, site_clock: MovingClock
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    shutil.copy(sqlite_template, folder / "refdesk.db")
    bus = InProcessBus()
    url = f"sqlite:///{folder / 'refdesk.db'}"
    database = Database(url, publish=bus.publish, durable=False)
    fill(database, site_clock() - timedelta(days=30))
    knowledge = KnowledgeBases(cache=shared / "knowledge")
    with (shared / "learning").open("w") as turn:  # seconds, once for all worker processes
        fcntl.flock(turn, fcntl.LOCK_EX)
        with serving(folder, site_clock, database, bus=bus, knowledge=knowledge) as running:
            with database.snapshot() as session:
                running.app.state.refdesk.desks.of(session, 1, now=site_clock())
            fcntl.flock(turn, fcntl.LOCK_UN)
            yield running
    database.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists() and shutil.which("chromium") is None:
        cannot("no Chromium: apt-get install chromium")
    path = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def open_browser(browser: Browser, site: Site) -> Iterator[Callable[..., BrowserContext]]:
    """Somebody's own browser: its storage and its cookies are nobody else's."""
    opened: list[BrowserContext] = []

    def open_one(
        *, language: str = "zh-CN", width: int = 1280, dark: bool = False
    ) -> BrowserContext:
        context = browser.new_context(
            base_url=site.url,
            locale=language,
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
        )
        context.set_default_timeout(15_000)
        opened.append(context)
        return context

    yield open_one
    for context in opened:
        context.close()


@pytest.fixture
def problems() -> list[str]:
    """What browsers complained about: script errors and refusals of the security policy."""
    return []


@pytest.fixture
def watched(problems: list[str]) -> Iterator[Callable[[Page], Page]]:
    """A page whose complaints fail the test."""

    def hear(kind: str, text: str) -> None:
        refused = any(f"status of {status}" in text for status in (400, 409, 422))
        if kind == "error" and not refused:  # a page that refuses says so itself
            problems.append(text)

    def watch(page: Page) -> Page:
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: hear(said.type, said.text))
        return page

    yield watch
    assert problems == []


@pytest.fixture
def signed_in(
    open_browser: Callable[..., BrowserContext], watched: Callable[[Page], Page]
) -> Callable[..., Page]:
    """A librarian's or manager's page after signing in through the form."""

    def sign_in(email: str, **kind: object) -> Page:
        page = watched(open_browser(**kind).new_page())
        page.goto("/sign-in")
        page.fill("#email", email)
        page.fill("#password", PASSWORD)
        page.click("main button.primary")
        page.wait_for_url("**/desk*")
        return page

    return sign_in
