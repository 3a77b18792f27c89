"""The widget in a real browser: asking, choosing, waiting, coming back."""

import gzip
import json
import re
from collections.abc import Callable
from urllib.request import urlopen

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.pages.site import LIBRARIAN, Site

pytestmark = pytest.mark.browser

Open = Callable[..., BrowserContext]
Watched = Callable[[Page], Page]


def widget(page: Page) -> Page:
    """The library's page with the widget opened."""
    page.goto("/")
    page.get_by_role(
        "button", name=re.compile("咨询图书馆|諮詢圖書館|Ask the library|Hỏi thư viện")
    ).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    return page


def say(page: Page, text: str) -> None:
    box = page.locator("refdesk-widget textarea")
    box.fill(text)
    box.press("Enter")


def bubbles(page: Page, role: str = "bot") -> list[str]:
    return page.locator(f"refdesk-widget li.{role} .bubble").all_inner_texts()


@pytest.mark.parametrize(
    ("language", "question", "words"),
    [
        ("zh-CN", "怎么续借图书？", "我的图书馆"),
        ("en-GB", "can I renew online", "renew"),
        ("vi-VN", "gia han sach the nao", "gia hạn"),
    ],
)
def test_a_question_is_answered_in_its_language(
    open_browser: Open, watched: Watched, language: str, question: str, words: str
) -> None:
    page = widget(watched(open_browser(language=language).new_page()))

    say(page, question)

    answer = page.locator("refdesk-widget li.bot .bubble").last
    expect(answer).to_contain_text(re.compile(words, re.IGNORECASE))


def test_opening_hours_come_from_the_calendar(open_browser: Open, watched: Watched) -> None:
    page = widget(watched(open_browser().new_page()))

    say(page, "周日开门吗")

    expect(page.locator("refdesk-widget li.bot .bubble").last).to_contain_text("7:30–22:30")


def test_a_rating_is_offered_after_an_answer_and_taken(
    open_browser: Open, watched: Watched
) -> None:
    page = widget(watched(open_browser().new_page()))
    say(page, "怎么续借图书？")

    page.get_by_role("button", name="解决了", exact=True).click()

    expect(page.locator("refdesk-widget li.bot .bubble")).to_have_count(2)
    expect(page.get_by_role("button", name="没解决")).to_have_count(0)


def test_choices_are_buttons_and_a_tap_answers(open_browser: Open, watched: Watched) -> None:
    page = widget(watched(open_browser(language="en-GB").new_page()))
    say(page, "podcast recording")
    choices = page.locator("refdesk-widget .quick > button")
    expect(choices.first).to_be_visible()

    choices.first.click()

    expect(page.locator("refdesk-widget li.bot")).to_have_count(2)
    expect(page.locator("refdesk-widget li.patron")).to_have_count(2)


def test_a_late_answer_arrives_live_and_waits_with_a_badge(
    open_browser: Open, watched: Watched, signed_in: Callable[..., Page]
) -> None:
    patron = open_browser()
    page = widget(watched(patron.new_page()))
    say(page, "馆里有没有1938年的云岭县志手抄本？")
    expect(page.locator("refdesk-widget li.bot")).to_have_count(1)
    say(page, "人工")
    expect(page.locator("refdesk-widget li.bot .bubble").last).to_contain_text("馆员")

    desk = signed_in(LIBRARIAN)
    desk.get_by_role("link", name=re.compile("县志手抄本")).click()
    desk.fill("#reply-text", "特藏室有一部，周三下午可以来看。")
    desk.get_by_role("button", name="发送", exact=True).click()
    expect(desk.locator("#thread .librarian .said")).to_contain_text("特藏室")

    answer = page.locator("refdesk-widget li.librarian .bubble")
    expect(answer).to_contain_text("特藏室有一部")
    expect(page.locator("refdesk-widget li.librarian .from")).to_have_text("林馆员")

    page.get_by_role("button", name="关闭咨询窗口").click()
    page.goto("/faq/demo")  # the patron is elsewhere when the second answer comes
    page.close()
    desk.fill("#reply-text", "另外，扫描件已经放到数字特藏里了。")
    desk.get_by_role("button", name="发送", exact=True).click()
    expect(desk.locator("#thread .librarian .said")).to_have_count(2)

    later = watched(patron.new_page())
    later.goto("/")
    expect(later.locator("refdesk-widget .badge")).to_have_text("1")
    later.get_by_role("button", name=re.compile("1条新消息")).click()
    expect(later.locator("refdesk-widget li.librarian .bubble").last).to_contain_text("扫描件")
    later.reload()
    expect(later.locator("refdesk-widget li.librarian .bubble")).to_have_count(2)
    expect(later.locator("refdesk-widget .badge")).to_be_hidden()


def test_a_message_typed_offline_is_sent_once_the_network_is_back(
    open_browser: Open, problems: list[str]
) -> None:
    context = open_browser()
    page = widget(context.new_page())
    say(page, "怎么续借图书？")
    expect(page.locator("refdesk-widget li.bot")).to_have_count(1)

    context.set_offline(offline=True)
    say(page, "在哪里还书？")
    expect(page.locator("refdesk-widget li.pending")).to_have_count(1)
    page.close()
    context.set_offline(offline=False)
    again = context.new_page()
    again.goto("/")

    expect(again.locator("refdesk-widget li.bot")).to_have_count(2)
    expect(again.locator("refdesk-widget li.patron")).to_have_count(2)
    assert problems == []


def test_two_tabs_show_one_conversation(open_browser: Open, watched: Watched) -> None:
    context = open_browser()
    first = widget(watched(context.new_page()))
    say(first, "怎么续借图书？")
    expect(first.locator("refdesk-widget li.bot")).to_have_count(1)
    second = watched(context.new_page())
    second.goto("/")
    expect(second.locator("refdesk-widget li.bot")).to_have_count(1)

    say(second, "在哪里还书？")

    expect(second.locator("refdesk-widget li.bot")).to_have_count(2)
    expect(first.locator("refdesk-widget li.bot")).to_have_count(2)


def test_an_address_is_taken_for_a_late_answer(open_browser: Open, watched: Watched) -> None:
    page = widget(watched(open_browser().new_page()))
    say(page, "人工")
    address = page.locator("refdesk-widget .email input")
    address.fill("patron@example.org")

    page.locator("refdesk-widget .email button").click()

    expect(page.locator("refdesk-widget .email")).to_contain_text("也会发到您的邮箱")


def test_what_is_typed_survives_a_reload(open_browser: Open, watched: Watched) -> None:
    page = widget(watched(open_browser().new_page()))
    page.locator("refdesk-widget textarea").fill("我想问的是")

    page.reload()

    expect(page.locator("refdesk-widget textarea")).to_have_value("我想问的是")


HOSTILE = (
    """<img src=x onerror="document.title='owned'"> javascript:alert(1) https://example.org/a"b"""
)


def test_a_patrons_words_are_never_markup(
    open_browser: Open, watched: Watched, signed_in: Callable[..., Page]
) -> None:
    page = widget(watched(open_browser().new_page()))
    say(page, HOSTILE)
    expect(page.locator("refdesk-widget li.bot").last).to_be_visible()

    assert page.locator("refdesk-widget li.patron img").count() == 0
    links = page.locator("refdesk-widget li.patron a")
    assert links.evaluate_all("all => all.map((a) => a.href)") == ["https://example.org/a"]
    desk = signed_in(LIBRARIAN)
    desk.goto("/desk?view=all&q=onerror")
    desk.locator(".row-link").first.click()
    expect(desk.locator("#thread .patron .said")).to_contain_text("<img src=x")
    assert desk.locator("#thread img").count() == 0
    assert "owned" not in desk.title() + page.title()


def test_it_works_on_a_foreign_page_under_a_strict_policy(
    open_browser: Open, site: Site, watched: Watched
) -> None:
    """Another origin, whose policy allows our scripts and our address and no inline style."""
    page = watched(open_browser().new_page())
    policy = f"default-src 'none'; script-src {site.url}; connect-src {site.url}"
    foreign = (
        "<!doctype html><html lang='en'><title>Elsewhere</title>"
        f"<script src='{site.url}/widget.js' data-library='demo' defer></script></html>"
    )
    elsewhere = site.url.replace("127.0.0.1", "localhost") + "/elsewhere"
    page.route(
        elsewhere,
        lambda route: route.fulfill(
            body=foreign,
            headers={"Content-Type": "text/html", "Content-Security-Policy": policy},
        ),
    )
    page.goto(elsewhere)

    page.get_by_role("button", name="Ask the library").click()
    say(page, "can I renew online")

    expect(page.locator("refdesk-widget li.bot")).to_have_count(1)
    colour = page.locator("refdesk-widget .panel").evaluate(
        "panel => getComputedStyle(panel).display"
    )
    assert colour == "flex"
    page.reload()
    expect(page.locator("refdesk-widget li.bot")).to_have_count(1)


def test_it_opens_in_less_than_a_tenth_of_a_second(open_browser: Open, watched: Watched) -> None:
    page = watched(open_browser().new_page())
    page.goto("/")

    milliseconds = page.evaluate(
        """() => {
            const inside = document.querySelector('refdesk-widget').shadowRoot;
            const before = performance.now();
            inside.querySelector('.launcher').click();
            inside.querySelector('.panel').offsetHeight;
            return performance.now() - before;
        }"""
    )

    assert milliseconds < 100


def test_nothing_is_asked_of_the_network_before_it_is_opened(
    open_browser: Open, watched: Watched
) -> None:
    page = watched(open_browser().new_page())
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.goto("/")
    page.wait_for_load_state("networkidle")

    assert not [url for url in asked if "/widget/" in url]


def test_the_keyboard_is_enough(open_browser: Open, watched: Watched) -> None:
    page = watched(open_browser(language="en-GB").new_page())
    page.goto("/")
    page.locator("refdesk-widget .launcher").focus()

    page.keyboard.press("Enter")
    page.keyboard.type("can I renew online")
    page.keyboard.press("Enter")
    expect(page.locator("refdesk-widget li.bot")).to_have_count(1)
    page.keyboard.press("Escape")

    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("refdesk-widget .launcher")).to_be_focused()


def test_its_script_is_at_most_15_kilobytes(site: Site) -> None:
    request = urlopen(f"{site.url}/widget.js")  # noqa: S310 - our own server
    body = request.read()

    assert len(gzip.compress(body, 9)) <= 15_000
    assert json.loads(re.search(r"const TEXTS = (\{.*?\});\n", body.decode()).group(1))
