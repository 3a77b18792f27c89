"""The widget beyond one question: files, a letter, other channels, signed-in patrons."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import select

from api.identity import identity_key
from bot.models import Outbox
from tests.pages.conftest import MovingClock
from tests.pages.site import LIBRARIAN, Site
from tests.pages.test_accessibility import axe, violations
from tests.pages.test_desk import post
from tests.pages.test_widget import Open, Watched, say, widget
from tracker.models import Library

pytestmark = pytest.mark.browser
__all__ = ["axe"]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def inside(page: Page, selector: str) -> Any:
    return page.locator(f"refdesk-widget {selector}")


def file(name: str, data: bytes = PNG, kind: str = "image/png") -> dict[str, Any]:
    return {"name": name, "mimeType": kind, "buffer": data}


def menu(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^(更多|More)$")).click()


# --- files -----------------------------------------------------------------------------------


def test_a_file_is_sent_and_a_librarian_sees_it(
    open_browser: Open, watched: Watched, signed_in: Callable[..., Page], axe: str
) -> None:
    page = widget(watched(open_browser().new_page()))
    say(page, "这张老照片是哪座楼？")
    expect(inside(page, "li.bot")).to_have_count(1)

    inside(page, "input[type=file]").set_input_files(file("老照片<b>.png"))

    expect(inside(page, "li.patron .file").last).to_contain_text("老照片")
    expect(inside(page, "li.bot .bubble").last).to_contain_text("馆员")
    page.reload()
    expect(inside(page, "li.patron .file")).to_have_count(1)

    desk = signed_in(LIBRARIAN)
    desk.goto("/desk?view=all&q=老照片")
    desk.locator(".row-link").first.click()
    picture = desk.locator("#thread .file img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 1
    with desk.expect_download() as download:
        desk.locator("#thread .file a").click()
    assert download.value.suggested_filename.endswith(".png")
    desk.fill("#reply-text", "是老图书馆。")
    desk.get_by_role("button", name="发送", exact=True).click()
    expect(desk.locator("#thread .receipt")).to_contain_text(re.compile("已发送|读者已看到"))
    assert violations(desk, axe) == []


def test_what_cannot_be_sent_says_why(open_browser: Open) -> None:
    page = widget(open_browser(language="en-GB").new_page())
    page.wait_for_load_state("networkidle")

    inside(page, "input[type=file]").set_input_files(
        [
            file("drawing.svg", b"<svg/>", "image/svg+xml"),
            file("big.pdf", b"%PDF-" + b"x" * 5_300_000),
        ]
    )

    expect(inside(page, ".failed").first).to_contain_text("Pictures, PDF, texts")
    expect(inside(page, ".failed").last).to_contain_text("up to 5 MB")
    inside(page, ".failed button").first.click()
    expect(inside(page, ".failed")).to_have_count(1)


def test_a_file_waits_for_the_network(open_browser: Open) -> None:
    context = open_browser()
    page = widget(context.new_page())
    say(page, "怎么续借图书？")
    expect(inside(page, "li.bot")).to_have_count(1)
    context.set_offline(offline=True)
    inside(page, "input[type=file]").set_input_files(file("scan.png"))
    expect(inside(page, "li.pending .file")).to_have_count(1)

    context.set_offline(offline=False)

    expect(inside(page, "li.patron:not(.pending) .file")).to_have_count(1)


# --- a letter --------------------------------------------------------------------------------


def test_the_conversation_comes_by_email(open_browser: Open, watched: Watched, site: Site) -> None:
    page = widget(watched(open_browser(language="en-GB").new_page()))
    say(page, "can I renew online")
    expect(inside(page, "li.bot")).to_have_count(1)
    menu(page)
    inside(page, ".errand input[type=email]").fill("letter@example.org")
    inside(page, ".errand").first.get_by_role("button").click()

    expect(inside(page, ".errand .status").first).to_contain_text("on its way")
    with site.database.snapshot() as session:
        letters = session.scalars(select(Outbox).where(Outbox.via == "email"))
        assert any("can I renew online" in letter.reply["text"] for letter in letters)
    page.get_by_role("button", name="Back to the chat").click()
    expect(inside(page, "li.bot").first).to_be_visible()


# --- other channels ----------------------------------------------------------------------------


def over_rasa(site: Site, text: str, sender: str) -> str:
    body = json.dumps({"sender": sender, "message": text}).encode()
    request = Request(f"{site.url}/webhooks/rest/webhook", data=body)  # noqa: S310
    with urlopen(request) as answer:  # noqa: S310 - our own server
        return "\n".join(each["text"] for each in json.load(answer))


def test_a_code_shown_here_links_another_channel_and_its_history(
    open_browser: Open, watched: Watched, site: Site
) -> None:
    over_rasa(site, "怎么续借图书", "linked-1")
    page = widget(watched(open_browser().new_page()))
    say(page, "在哪里还书？")
    expect(inside(page, "li.bot")).to_have_count(1)
    menu(page)
    page.get_by_role("button", name="获取验证码").click()
    code = inside(page, ".code").inner_text()

    assert "已关联" in over_rasa(site, code, "linked-1")

    page.reload()
    expect(inside(page, "li.patron .bubble").first).to_have_text("怎么续借图书")
    expect(inside(page, "li.patron .foot").first).to_contain_text("Rasa")
    menu(page)
    inside(page, ".errand select").select_option(label="网页咨询")
    page.reload()
    menu(page)
    assert inside(page, ".errand select").evaluate("s => s.selectedOptions[0].label") == "网页咨询"
    page.get_by_role("button", name="解除关联").click()
    expect(inside(page, ".errand select")).to_have_count(0)
    page.get_by_role("button", name="返回对话").click()
    expect(inside(page, "li.patron .bubble")).to_have_text(["在哪里还书？"])


def test_a_code_from_another_channel_is_entered_here(
    open_browser: Open, watched: Watched, site: Site
) -> None:
    code = re.search("[A-Z2-9]{4}-[A-Z2-9]{4}", over_rasa(site, "link this chat", "linked-2"))
    assert code is not None
    page = widget(watched(open_browser(language="en-GB").new_page()))
    menu(page)
    box = inside(page, ".errand input:not([type])")
    box.fill("AAAA-2222")
    page.get_by_role("button", name="Link", exact=True).click()
    expect(inside(page, ".errand .status").last).to_contain_text("not valid")

    box.fill(code[0].lower())
    page.get_by_role("button", name="Link", exact=True).click()

    expect(inside(page, ".errand h3").last).to_contain_text("Rasa")


def test_a_link_from_another_channel_opens_the_form_and_waits_for_a_yes(
    open_browser: Open, watched: Watched, site: Site
) -> None:
    given = re.search("/faq/demo#link=[A-Z2-9-]{9}", over_rasa(site, "link this chat", "linked-3"))
    assert given is not None
    page = watched(open_browser(language="en-GB").new_page())
    page.goto(given[0])
    expect(inside(page, ".errand input:not([type])")).to_have_value(given[0][-9:])
    expect(inside(page, ".errand h3").last).not_to_contain_text("Rasa")

    page.get_by_role("button", name="Link", exact=True).click()

    expect(inside(page, ".errand h3").last).to_contain_text("Rasa")


# --- signed-in patrons ---------------------------------------------------------------------------


def packed(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def identity(site: Site, clock: MovingClock, subject: str) -> str:
    state = site.app.state.refdesk
    with site.database.snapshot() as session:
        key = identity_key(state.keyring, session.scalars(select(Library)).first())
    claims = {"sub": subject, "name": "Wang Fang", "exp": int(clock().timestamp()) + 3600}
    signed = f"{packed({'alg': 'HS256'})}.{packed(claims)}"
    mac = hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def campus(context: BrowserContext, site: Site, token: str | None) -> Page:
    """A page of the library's own website, on another origin, with somebody signed in or nobody."""
    page = context.new_page()
    said = f' data-identity="{token}"' if token else ""
    html = (
        "<!doctype html><html lang='en'><title>Campus</title><main><h1>Campus</h1></main>"
        f"<script src='{site.url}/widget.js' data-library='demo'{said} defer></script></html>"
    )
    policy = f"default-src 'none'; script-src {site.url}; connect-src {site.url}"
    headers = {"Content-Type": "text/html", "Content-Security-Policy": policy}
    address = site.url.replace("127.0.0.1", "localhost") + "/campus"
    page.route(address, lambda route: route.fulfill(body=html, headers=headers))
    page.goto(address)
    return page


def test_a_signed_in_patron_finds_the_conversation_in_another_browser(
    open_browser: Open, watched: Watched, site: Site, site_clock: MovingClock
) -> None:
    token = identity(site, site_clock, "student-7")
    first = watched(campus(open_browser(language="en-GB"), site, token))
    inside(first, ".launcher").click()
    say(first, "can I renew online")
    expect(inside(first, "li.bot")).to_have_count(1)

    second = watched(campus(open_browser(language="en-GB"), site, token))

    inside(second, ".launcher").click()
    expect(inside(second, "li.bot")).to_have_count(1)


def test_whoever_signs_out_leaves_nothing_in_a_shared_browser(
    open_browser: Open, watched: Watched, site: Site, site_clock: MovingClock
) -> None:
    shared = open_browser(language="en-GB")
    page = watched(campus(shared, site, identity(site, site_clock, "student-8")))
    inside(page, ".launcher").click()
    say(page, "my secret question, librarian please")
    expect(inside(page, "li.bot")).to_have_count(1)
    inside(page, "textarea").fill("half a thought")
    page.close()

    later = watched(campus(shared, site, None))
    inside(later, ".launcher").click()
    expect(inside(later, ".quick button").first).to_be_visible()

    assert inside(later, "li").count() == 0
    assert inside(later, "textarea").input_value() == ""
    assert "secret" not in later.evaluate("JSON.stringify(localStorage)")
    other = watched(campus(shared, site, identity(site, site_clock, "student-9")))
    inside(other, "textarea").wait_for()
    assert inside(other, "li").count() == 0


def test_what_was_asked_before_signing_in_is_still_there(
    open_browser: Open, watched: Watched, site: Site, site_clock: MovingClock
) -> None:
    context = open_browser(language="en-GB")
    page = watched(campus(context, site, None))
    inside(page, ".launcher").click()
    say(page, "can I renew online")
    expect(inside(page, "li.bot")).to_have_count(1)
    page.close()

    signed = watched(campus(context, site, identity(site, site_clock, "student-10")))

    expect(inside(signed, "li.patron .bubble").first).to_have_text("can I renew online")


def test_a_page_whose_word_is_not_valid_still_has_a_chat(open_browser: Open, site: Site) -> None:
    forged = f"{packed({'alg': 'HS256'})}.{packed({'sub': 'x', 'exp': 4_000_000_000})}.AAAA"
    page = campus(open_browser(language="en-GB"), site, forged)
    inside(page, ".launcher").click()

    say(page, "can I renew online")

    expect(inside(page, "li.bot")).to_have_count(1)


# --- the stream ----------------------------------------------------------------------------------


def test_a_stream_goes_on_after_the_last_event_that_was_heard(site: Site) -> None:
    session = post(site, "/widget/demo/sessions", language="en")["session"]
    for text in ("can I renew online", "librarian"):
        token = post(site, "/widget/demo/messages", session=session, id=text, text=text)["stream"]
    request = Request(  # noqa: S310 - our own server
        f"{site.url}/widget/demo/events?token={token}&after=0", headers={"Last-Event-ID": "2"}
    )

    with urlopen(request, timeout=10) as stream:  # noqa: S310
        lines = [stream.readline().decode().strip() for _ in range(2)]

    number, data = (line.partition(": ")[2] for line in lines)
    assert [message["seq"] for message in json.loads(data)["messages"]] == [3, 4]
    assert number == "4"


# --- for everybody -----------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_in_the_menu_nor_around_files(
    open_browser: Open, watched: Watched, axe: str, dark: bool
) -> None:
    page = widget(watched(open_browser(language="en-GB", width=360, dark=dark).new_page()))
    say(page, "librarian")
    expect(inside(page, ".email")).to_be_visible()
    inside(page, "input[type=file]").set_input_files(file("scan.png"))
    expect(inside(page, "li.patron:not(.pending) .file")).to_have_count(1)
    said = violations(page, axe)
    menu(page)
    page.get_by_role("button", name="Show a code").click()
    expect(inside(page, ".code")).to_be_visible()
    said += violations(page, axe)

    assert not said, "\n".join(said)


def test_the_menu_needs_no_mouse(open_browser: Open, watched: Watched) -> None:
    page = widget(watched(open_browser(language="en-GB").new_page()))
    say(page, "can I renew online")
    expect(inside(page, "li.bot")).to_have_count(1)
    page.get_by_role("button", name="More", exact=True).focus()
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Back to the chat")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="More", exact=True)).to_be_focused()
