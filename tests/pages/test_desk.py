"""The desk in a real browser: a question appears, is claimed, answered, put aside."""

import json
import re
import uuid
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page, expect

from tests.pages.site import COLLEAGUE, LIBRARIAN, Site

pytestmark = pytest.mark.browser


def post(site: Site, path: str, **sent: Any) -> dict[str, Any]:
    request = Request(site.url + path, data=json.dumps(sent).encode())  # noqa: S310
    with urlopen(request) as answer:  # noqa: S310 - our own server
        found: dict[str, Any] = json.load(answer)
        return found


def patron_asks(site: Site, text: str) -> None:
    """A question from somebody's widget, and the wish for a person."""
    session = post(site, "/widget/demo/sessions", language="zh-Hans")["session"]
    for words in (text, "人工"):
        post(site, "/widget/demo/messages", session=session, id=uuid.uuid4().hex, text=words)


def test_a_new_question_appears_without_reloading(
    site: Site, signed_in: Callable[..., Page]
) -> None:
    desk = signed_in(LIBRARIAN)
    desk.evaluate("window.stayed = true")

    patron_asks(site, "二楼东侧的望远镜还能借用吗，听说是天文社捐的？")

    expect(desk.get_by_role("link", name=re.compile("望远镜"))).to_be_visible()
    assert desk.evaluate("window.stayed")


def test_a_librarian_claims_and_answers(site: Site, signed_in: Callable[..., Page]) -> None:
    patron_asks(site, "哪里可以看到建馆时的奠基石照片？")
    desk = signed_in(LIBRARIAN)
    desk.get_by_role("link", name=re.compile("奠基石")).click()
    expect(desk.locator("#thread .patron .said").first).to_contain_text("奠基石")
    expect(desk.locator(".suggestion")).to_have_count(3)

    desk.get_by_role("button", name="认领").click()
    expect(desk.get_by_text("已由您认领")).to_be_visible()
    desk.fill("#reply-text", "在一层大厅北墙。")
    desk.keyboard.press("Control+Enter")

    expect(desk.locator("#thread .librarian .said")).to_have_text("在一层大厅北墙。")
    expect(desk.locator("#reply-text")).to_have_value("")


def test_a_reply_box_made_smaller_is_no_offence_to_the_policy(
    site: Site, signed_in: Callable[..., Page]
) -> None:
    patron_asks(site, "钟楼的钟每天敲几下，谁来上发条？")
    desk = signed_in(LIBRARIAN)
    desk.get_by_role("link", name=re.compile("钟楼")).click()
    box = desk.locator("#reply-text").bounding_box()
    assert box is not None
    corner = (box["x"] + box["width"] - 4, box["y"] + box["height"] - 4)
    desk.mouse.move(*corner)
    desk.mouse.down()
    desk.mouse.move(corner[0], corner[1] - 40)
    desk.mouse.up()
    assert desk.locator("#reply-text").get_attribute("style")  # the browser's, allowed

    desk.get_by_role("button", name="认领").click()

    expect(desk.get_by_text("已由您认领")).to_be_visible()  # and `watched` heard no complaint


def test_on_a_telephone_a_case_opens_at_its_top(site: Site, signed_in: Callable[..., Page]) -> None:
    for floor in ("一", "二", "三", "四"):
        patron_asks(site, f"{floor}楼的老式座钟还走吗？")
    desk = signed_in(LIBRARIAN, width=360)
    desk.set_viewport_size({"width": 360, "height": 400})
    last = desk.get_by_role("link", name=re.compile("座钟")).last
    last.scroll_into_view_if_needed()
    assert desk.evaluate("scrollY") > 0

    last.click()

    expect(desk.locator("#case-title")).to_be_in_viewport()


def test_the_keys_alone_are_enough(site: Site, signed_in: Callable[..., Page]) -> None:
    patron_asks(site, "图书馆的猫叫什么名字，可以喂吗？")
    desk = signed_in(LIBRARIAN)
    desk.goto("/desk?view=all&q=猫叫什么")

    desk.keyboard.press("j")
    desk.keyboard.press("Enter")
    expect(desk.locator("#case-title")).to_contain_text("猫")
    desk.keyboard.press("c")
    expect(desk.get_by_text("已由您认领")).to_be_visible()
    desk.keyboard.press("1")
    expect(desk.locator("#reply-text")).not_to_have_value("")
    desk.keyboard.press("Escape")
    desk.keyboard.press("?")

    expect(desk.get_by_role("dialog", name="快捷键")).to_be_visible()


def test_a_draft_survives_a_reload_and_goes_with_the_reply(
    site: Site, signed_in: Callable[..., Page]
) -> None:
    patron_asks(site, "旧校友会会刊的合订本收到哪一年？")
    desk = signed_in(LIBRARIAN)
    desk.get_by_role("link", name=re.compile("会刊")).click()
    desk.fill("#reply-text", "收到1999年")

    desk.reload()
    expect(desk.locator("#reply-text")).to_have_value("收到1999年")
    desk.get_by_role("button", name="发送", exact=True).click()
    expect(desk.locator("#thread .librarian .said")).to_have_text("收到1999年")
    desk.reload()

    expect(desk.locator("#reply-text")).to_have_value("")


def test_two_who_claim_at_once_learn_who_was_quicker(
    site: Site, signed_in: Callable[..., Page]
) -> None:
    patron_asks(site, "请问地下书库的老式电梯是哪年造的？")
    first, second = signed_in(LIBRARIAN), signed_in(COLLEAGUE)
    for desk in (first, second):
        desk.goto("/desk?view=all&q=老式电梯")
        desk.get_by_role("link", name=re.compile("老式电梯")).click()
        expect(desk.locator("#reply-text")).to_be_visible()
    second.fill("#reply-text", "这一句不能丢")

    first.get_by_role("button", name="认领").click()
    expect(first.get_by_text("已由您认领")).to_be_visible()
    second.get_by_role("button", name="发送", exact=True).click()

    expect(second.get_by_text("林馆员已先认领")).to_be_visible()
    expect(second.locator("#reply-text")).to_have_value("这一句不能丢")


def test_a_colleague_is_seen_writing(site: Site, signed_in: Callable[..., Page]) -> None:
    patron_asks(site, "校史馆的老校徽在哪里可以买到复刻的？")
    first, second = signed_in(LIBRARIAN), signed_in(COLLEAGUE)
    for desk in (first, second):
        desk.goto("/desk?view=all&q=老校徽")
        desk.get_by_role("link", name=re.compile("老校徽")).click()
        expect(desk.locator("#reply-text")).to_be_visible()
    second.wait_for_timeout(300)

    first.locator("#reply-text").press_sequentially("在")

    expect(second.locator(".presence")).to_have_text("林馆员正在答复")


def test_putting_aside_closing_and_noting(site: Site, signed_in: Callable[..., Page]) -> None:
    patron_asks(site, "有没有人捡到一把蓝色的长柄伞？")
    desk = signed_in(LIBRARIAN)
    desk.get_by_role("link", name=re.compile("长柄伞")).click()
    desk.fill("#reply-text", "失物招领处问过了，没有。")
    desk.get_by_role("button", name="存为备注").click()
    expect(desk.locator("#thread .note .said")).to_contain_text("失物招领处")

    desk.get_by_text("更多").click()
    desk.get_by_role("button", name="稍后", exact=True).click()
    expect(desk.get_by_text("已设为稍后处理")).to_be_visible()
    desk.goto("/desk?view=snoozed")
    desk.get_by_role("link", name=re.compile("长柄伞")).click()
    desk.get_by_role("button", name="结束", exact=True).click()

    expect(desk.get_by_text("已结束。", exact=True)).to_be_visible()
    expect(desk.locator(".case-head .tag").filter(has_text="已结束")).to_be_visible()


def test_it_works_without_scripts(site: Site, browser: Any, signed_in: Callable[..., Page]) -> None:
    patron_asks(site, "想给图书馆写一封感谢信，寄到哪里？")
    state = signed_in(LIBRARIAN).context.storage_state()
    context = browser.new_context(
        base_url=site.url, java_script_enabled=False, storage_state=state, locale="zh-CN"
    )
    desk = context.new_page()

    desk.goto("/desk?view=all&q=感谢信")
    desk.get_by_role("link", name=re.compile("感谢信")).click()
    desk.fill("#reply-text", "寄到总服务台就可以。")
    desk.get_by_role("button", name="发送", exact=True).click()

    expect(desk.locator("#thread .librarian .said")).to_have_text("寄到总服务台就可以。")
    context.close()
