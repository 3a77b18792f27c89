"""Reply windows: what the channel still allows."""

from datetime import UTC, datetime, timedelta

from bot.channels.base import Declaration, QuickReplies, TextLimit, Window
from bot.messages import Inbound, InboundKind
from bot.windows import can_send, closes_at, open_window, spend

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def declared(*windows: Window) -> Declaration:
    return Declaration(
        inbound="push",
        signature_covers_body=True,
        ack_seconds=5,
        passive_reply=True,
        pushes=True,
        windows=windows,
        late_reply=("in_window",),
        text=TextLimit(2048, "bytes"),
        quick_replies=QuickReplies(),
        idempotent_send=False,
        required_settings=(),
        secret_settings=(),
    )


WECHAT_LIKE = declared(Window("message", 48 * 3600, 5), Window("CLICK", 60, 3))
TEXT = Inbound("p", "hello", "1")
CLICK = Inbound("p", "", "2", InboundKind.EVENT, event="CLICK")


def test_nothing_may_be_sent_before_the_patron_wrote():
    assert not can_send([], now=NOON)


def test_a_message_opens_its_window_for_its_time_and_count():
    ledger = open_window([], WECHAT_LIKE, TEXT, at=NOON)

    assert can_send(ledger, now=NOON + 47 * HOUR, count=5)
    assert not can_send(ledger, now=NOON + 47 * HOUR, count=6)
    assert not can_send(ledger, now=NOON + 48 * HOUR)
    assert closes_at(ledger, now=NOON) == NOON + 48 * HOUR


def test_a_new_message_refills_its_window():
    ledger = open_window([], WECHAT_LIKE, TEXT, at=NOON)
    for _ in range(5):
        ledger = spend(ledger, now=NOON)
    assert not can_send(ledger, now=NOON)

    ledger = open_window(ledger, WECHAT_LIKE, TEXT, at=NOON + HOUR)

    assert can_send(ledger, now=NOON + HOUR, count=5)


def test_a_menu_click_opens_one_minute_only():
    ledger = open_window([], WECHAT_LIKE, CLICK, at=NOON)

    assert can_send(ledger, now=NOON + timedelta(seconds=59), count=3)
    assert not can_send(ledger, now=NOON + timedelta(seconds=60))


def test_the_window_that_ends_first_pays_first():
    ledger = open_window([], WECHAT_LIKE, TEXT, at=NOON)
    ledger = open_window(ledger, WECHAT_LIKE, CLICK, at=NOON)

    ledger = spend(ledger, now=NOON)

    assert {row["opened_by"]: row["left"] for row in ledger} == {"message": 5, "CLICK": 2}


def test_an_unlimited_window_never_runs_out():
    ledger = open_window([], declared(Window("message", None, None)), TEXT, at=NOON)

    ledger = spend(ledger, now=NOON)

    assert can_send(ledger, now=NOON + 10_000 * HOUR, count=1000)
    assert closes_at(ledger, now=NOON) is None


def test_who_stops_following_may_not_be_written_to():
    ledger = open_window([], WECHAT_LIKE, TEXT, at=NOON)

    left = open_window(ledger, WECHAT_LIKE, Inbound("p", "", "3", InboundKind.UNFOLLOW), at=NOON)

    assert not can_send(left, now=NOON)
