"""Sending, against the platform's interface: tokens, windows, and every way it may fail."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest

from bot.channels.base import SendError, SendFailure
from bot.channels.wechat import WeChat
from bot.messages import Choice, Reply, ReplyKind
from tests.bot.channels.wechat.conftest import SETTINGS
from tests.fakes.wechat import SEND, TOKEN, Fault

READER = "oLibQ7m2xReaderA-demo0001"
ANSWER = Reply("馆员答复：1932 年县志在三楼地方文献室，请持证阅览。", ReplyKind.LIBRARIAN)


@pytest.fixture
def patron(platform, desk):
    patron = platform.patron(READER, desk)
    patron.says("请问县志 1932 年版在哪里可以查阅？")
    return patron


def failure(channel, reply=ANSWER, *, clock):
    with pytest.raises(SendError) as caught:
        channel.send(READER, reply, key="k1", now=clock())
    return caught.value


def test_an_answer_appears_on_the_patrons_screen(channel, clock, patron):
    channel.send(READER, ANSWER, key="k1", now=clock())

    assert patron.screen[-1].text == ANSWER.text


def test_the_request_is_the_documented_one(tokens, clock):
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if request.url.path == TOKEN:
            return httpx.Response(200, json={"access_token": "T", "expires_in": 7200})
        return httpx.Response(200, json={"errcode": 0, "errmsg": "ok", "msgid": 77})

    http = httpx.Client(transport=httpx.MockTransport(answer))
    channel = WeChat("main", SETTINGS, http=http, tokens=tokens)

    assert channel.send(READER, ANSWER, key="k1", now=clock()) == "77"
    token, message = sent
    assert str(token.url) == "https://api.weixin.qq.com/cgi-bin/stable_token"
    assert json.loads(token.content) == {
        "grant_type": "client_credential",
        "appid": SETTINGS["app_id"],
        "secret": SETTINGS["app_secret"],
        "force_refresh": False,
    }
    assert str(message.url) == f"https://api.weixin.qq.com{SEND}?access_token=T"
    assert (
        message.content
        == (
            '{"touser": "oLibQ7m2xReaderA-demo0001", "msgtype": "text", "text": {"content": '
            '"馆员答复：1932 年县志在三楼地方文献室，请持证阅览。"}}'
        ).encode()
    )


def test_a_menu_is_sent_and_its_tap_comes_back_as_the_choice(channel, clock, desk, patron):
    choices = (Choice("查馆藏", "/entry holdings"), Choice("找馆员", "/person"))
    channel.send(READER, Reply("您想？", ReplyKind.CHOICES, choices), key="k1", now=clock())

    patron.taps("找馆员")

    assert desk.heard[-1].payload == "/person"


def test_a_menu_that_the_account_may_not_send_goes_out_as_text(channel, clock, platform, patron):
    platform.fail_next(40200)
    choices = (Choice("查馆藏", "/entry holdings"),)

    channel.send(READER, Reply("您想？", ReplyKind.CHOICES, choices), key="k1", now=clock())

    assert patron.screen[-1].text == "您想？\n1. 查馆藏"


# --- windows ---------------------------------------------------------------------------


def test_after_48_hours_the_window_is_closed(channel, clock, patron):
    clock.advance(hours=48)

    assert failure(channel, clock=clock).failure is SendFailure.WINDOW_CLOSED


def test_the_sixth_message_finds_the_window_spent(channel, clock, patron):
    for number in range(5):
        channel.send(READER, ANSWER, key=f"k{number}", now=clock())

    error = failure(channel, clock=clock)

    assert (error.failure, error.code) == (SendFailure.WINDOW_CLOSED, "45047")


def test_a_click_opens_one_minute_for_three_messages(channel, clock, platform, desk):
    patron = platform.patron(READER, desk)
    patron.clicks("ASK_LIBRARIAN")
    for number in range(3):
        channel.send(READER, ANSWER, key=f"k{number}", now=clock())

    assert failure(channel, clock=clock).code == "45047"
    clock.advance(seconds=61)
    assert failure(channel, clock=clock).code == "45015"


def test_the_platforms_windows_are_the_declared_ones():
    declared = {
        window.opened_by: (window.seconds, window.max_messages)
        for window in WeChat.declaration.windows
    }

    assert declared == {
        "message": (172_800, 5),
        "CLICK": (60, 3),
        "follow": (60, 3),
        "SCAN": (60, 3),
        "subscribe_msg_popup_event": (None, 1),  # consent to one notice
    }


def test_an_account_that_may_not_push_asks_nobody(account, clock, platform):
    channel = account(passive_only="true")

    assert failure(channel, clock=clock).failure is SendFailure.WINDOW_CLOSED
    assert channel.check() == []
    assert platform.calls == []


def test_one_who_no_longer_follows_cannot_be_reached(channel, clock, patron):
    patron.unfollows()

    error = failure(channel, clock=clock)

    assert (error.failure, error.code) == (SendFailure.PERMANENT, "43004")


def test_a_long_answer_spends_as_many_messages_as_it_has_parts(channel, clock, patron):
    long = "长长的答复，分成两条。" * 100

    channel.send(READER, Reply(long, ReplyKind.LIBRARIAN), key="k1", now=clock())

    parts = [shown.text for shown in patron.screen]
    assert len(parts) == 2
    assert "".join(parts) == long


# --- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (-1, SendFailure.RETRY),
        (45009, SendFailure.RETRY),
        (45011, SendFailure.RETRY),
        (45015, SendFailure.WINDOW_CLOSED),
        (45047, SendFailure.WINDOW_CLOSED),
        (40003, SendFailure.PERMANENT),
        (43004, SendFailure.PERMANENT),
        (43019, SendFailure.PERMANENT),
        (45002, SendFailure.PERMANENT),
        (48001, SendFailure.PERMANENT),
        (48002, SendFailure.PERMANENT),
        (48004, SendFailure.PERMANENT),
        (50002, SendFailure.PERMANENT),
        (99999, SendFailure.PERMANENT),
    ],
)
def test_each_error_has_its_class(channel, platform, patron, code, expected):
    platform.fail_next(code)

    error = failure(channel, clock=platform.clock)

    assert (error.failure, error.code) == (expected, str(code))
    assert patron.screen == []


def test_a_spent_quota_is_not_asked_again_soon(channel, clock, platform, patron):
    platform.fail_next(45009)
    platform.fail_next(45011)

    pauses = [failure(channel, clock=clock).retry_after for _ in range(2)]

    assert pauses == [7200, 60]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (500, SendFailure.RETRY),
        (502, SendFailure.RETRY),
        (503, SendFailure.RETRY),
        (429, SendFailure.RETRY),
        (504, SendFailure.UNCERTAIN),
        (404, SendFailure.PERMANENT),
        (302, SendFailure.PERMANENT),
    ],
)
def test_each_status_has_its_class(channel, platform, patron, status, expected):
    platform.fail_next(status=status)

    assert failure(channel, clock=platform.clock).failure is expected


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.REFUSED, SendFailure.RETRY),
        (Fault.TIMEOUT, SendFailure.UNCERTAIN),
        (Fault.TIMEOUT_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.RESET_AFTER_ACCEPT, SendFailure.UNCERTAIN),
        (Fault.GARBAGE, SendFailure.UNCERTAIN),
    ],
)
def test_only_a_connection_that_never_stood_is_safe_to_repeat(
    channel, platform, patron, fault, expected
):
    platform.fail_next(fault)

    assert failure(channel, clock=platform.clock).failure is expected
    assert platform.calls.count(SEND) == 1


@pytest.mark.parametrize("answer", [b"[]", b"null", b"{}", b'{"errcode": "0"}', b"\xff", b"{"])
def test_an_answer_that_says_neither_yes_nor_no_is_uncertain(tokens, clock, answer):
    tokens.get = lambda *args, **kwargs: "T"
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=answer))
    channel = WeChat("main", SETTINGS, http=httpx.Client(transport=transport), tokens=tokens)

    assert failure(channel, clock=clock).failure is SendFailure.UNCERTAIN


def test_a_push_that_stops_midway_is_left_to_a_librarian(channel, clock, platform, patron):
    long = Reply("长长的答复，分成两条。" * 100, ReplyKind.LIBRARIAN)
    channel._service.token()
    real = platform._send

    def busy_after_the_first(*args):
        platform.fail_next(-1)
        return real(*args)

    platform._send = busy_after_the_first

    error = failure(channel, long, clock=clock)

    assert error.failure is SendFailure.UNCERTAIN
    assert str(error).startswith("1 of 2 parts were sent.")


@pytest.mark.parametrize("fault", list(Fault))
def test_while_no_token_can_be_had_nothing_is_uncertain(channel, clock, platform, patron, fault):
    platform.fail_next(fault, path=TOKEN)

    assert failure(channel, clock=clock).failure is SendFailure.RETRY
    assert SEND not in platform.calls


def test_no_error_shows_a_secret(channel, clock, platform, patron, tokens):
    faults = [*Fault, 40001, 40125, 99999]
    shown = []
    for path in (TOKEN, SEND):
        for fault in faults:
            tokens.cached.clear()
            platform.fail_next(fault, path=path, times=3)
            error = failure(channel, clock=clock)
            shown.append(f"{error} {error!r} {error.__cause__} {error.code}")
            platform._faults.clear()

    secrets = [SETTINGS["app_secret"], SETTINGS["token"], SETTINGS["encoding_aes_key"]]
    secrets += [token for token, _ in tokens.cached.values()]
    assert len(shown) == 16
    assert not [secret for secret in secrets for text in shown if secret in text]


def test_the_platforms_words_are_shown_without_our_secret(tokens, clock):
    def answer(request: httpx.Request) -> httpx.Response:
        words = f"bad {SETTINGS['app_secret']} thing"
        return httpx.Response(200, json={"errcode": 61, "errmsg": words})

    http = httpx.Client(transport=httpx.MockTransport(answer))
    channel = WeChat("main", SETTINGS, http=http, tokens=tokens)

    assert str(failure(channel, clock=clock)) == "WeChat refused: bad … thing (61)."


# --- the shared token ------------------------------------------------------------------


def test_messages_share_one_token(channel, clock, tokens, patron):
    for number in range(3):
        channel.send(READER, ANSWER, key=f"k{number}", now=clock())

    assert tokens.fetches == 1


def test_a_token_is_renewed_before_it_ends(channel, clock, tokens, patron):
    for number, seconds in enumerate((0, 6899, 1, 1)):
        clock.advance(seconds=seconds)
        channel.send(READER, ANSWER, key=f"k{number}", now=clock())

    assert tokens.fetches == 2
    assert len(patron.screen) == 4


def test_a_revoked_token_is_fetched_again_without_force(channel, clock, platform, patron):
    channel.send(READER, ANSWER, key="k1", now=clock())
    platform.revoke_token()

    channel.send(READER, ANSWER, key="k2", now=clock())

    assert len(patron.screen) == 2
    assert platform._forced == []


@pytest.mark.parametrize("code", [40001, 40014, 42001])
def test_force_is_used_only_when_the_refused_token_is_given_again(
    channel, clock, platform, patron, code
):
    channel.send(READER, ANSWER, key="k1", now=clock())
    platform.fail_next(code)

    channel.send(READER, ANSWER, key="k2", now=clock())

    assert len(patron.screen) == 2
    assert platform._forced == [clock()]
    assert platform.calls[2:] == [SEND, TOKEN, TOKEN, SEND]


def test_a_token_that_another_worker_renewed_is_taken_without_asking(
    account, clock, platform, tokens, patron
):
    mine, theirs = account(), account()
    old = mine._service.token()
    platform.revoke_token()
    theirs.send(READER, ANSWER, key="k1", now=clock())
    fetches = tokens.fetches

    assert mine._service.token(stale=old) != old
    mine.send(READER, ANSWER, key="k2", now=clock())
    assert tokens.fetches == fetches


def test_workers_that_find_a_token_revoked_at_once_renew_it_once(
    account, clock, platform, tokens, patron
):
    workers = [account() for _ in range(4)]
    workers[0]._service.token()
    platform.revoke_token()
    together = Barrier(len(workers))

    def send(worker: WeChat) -> None:
        together.wait(timeout=5)
        worker.send(READER, ANSWER, key="k", now=clock())

    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(send, workers))

    assert len(patron.screen) == 4
    assert (tokens.fetches, platform.calls.count(TOKEN)) == (2, 2)


def test_a_token_refused_twice_is_tried_later(channel, clock, platform, patron):
    platform.fail_next(40001, times=2)

    error = failure(channel, clock=clock)

    assert (error.failure, error.code) == (SendFailure.RETRY, "40001")
    assert platform.calls.count(SEND) == 2


def test_too_many_forced_renewals_are_tried_later(channel, clock, platform, patron):
    channel.send(READER, ANSWER, key="k1", now=clock())
    platform.fail_next(40001)
    channel.send(READER, ANSWER, key="k2", now=clock())
    platform.fail_next(40001)

    error = failure(channel, clock=clock)

    assert (error.failure, error.code) == (SendFailure.RETRY, "45011")


def test_an_account_with_another_secret_never_sees_the_cached_token(account, clock, platform):
    account()._service.token()

    error = failure(account(app_secret="a-guess"), clock=clock)

    assert (error.failure, error.code) == (SendFailure.PERMANENT, "40125")


# --- check -----------------------------------------------------------------------------


def test_a_good_account_has_no_trouble(channel):
    assert channel.check() == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"app_secret": "wrong"}, "WeChat refused: the app_secret is wrong (40125)."),
        ({"app_id": "wxwrong"}, "WeChat refused: the app_id is wrong (40013)."),
    ],
)
def test_trouble_is_told_in_a_sentence(account, change, sentence):
    assert account(**change).check() == [sentence]


def test_an_unlisted_address_and_a_dead_line_are_told(channel, platform):
    platform.fail_next(40164, path=TOKEN)
    platform.fail_next(Fault.REFUSED, path=TOKEN)

    assert channel.check() == [
        "WeChat refused: this server's address is not on the account's IP allow-list (40164)."
    ]
    assert channel.check() == ["WeChat could not be reached (ConnectError)."]
