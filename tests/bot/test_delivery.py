"""Late answers: leased once, sent in order, retried by what went wrong."""

from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import select

from bot import delivery
from bot.channels import CHANNELS
from bot.channels.base import Declaration, QuickReplies, SendError, SendFailure, TextLimit, Window
from bot.intake import known_patron
from bot.messages import Arrived, InboundKind, Undelivered
from bot.models import Outbox, OutboxState
from tests.bot.conftest import account_of

HOUR = timedelta(hours=1)


def declared(**changes):
    facts = {
        "inbound": "push",
        "signature_covers_body": True,
        "ack_seconds": 5,
        "passive_reply": True,
        "pushes": True,
        "windows": (Window("message", 48 * 3600, 5),),
        "late_reply": ("in_window", "email", "idle_until_contact"),
        "text": TextLimit(2048, "bytes"),
        "quick_replies": QuickReplies(),
        "idempotent_send": False,
        "required_settings": (),
        "secret_settings": (),
    }
    return Declaration(**{**facts, **changes})


class Postbox:
    """A channel that keeps what it is given, or fails as it is told."""

    kind = "postbox"
    declaration = declared()

    def __init__(self):
        self.sent = []
        self.failing = None

    def send(self, to, reply, *, key, now):
        if self.failing is not None:
            raise self.failing
        self.sent.append((to, reply.text, reply.quote, key))
        return f"id-{len(self.sent)}"


class Parcel(Postbox):
    """The same, but it takes our key, so that sending twice shows once."""

    kind = "parcel"
    declaration = declared(idempotent_send=True)


@pytest.fixture
def channel(monkeypatch):
    monkeypatch.setitem(CHANNELS, "postbox", Postbox)
    monkeypatch.setitem(CHANNELS, "parcel", Parcel)
    return Postbox()


@pytest.fixture
def asker(patron, session, library, channel):
    """A patron on that channel whose question waits for a librarian."""
    patron.account = account_of(session, library, "postbox")
    patron.says("我的论文题目合适吗")
    return patron


def reply(asker, text="合适", **changes):
    return delivery.reply_as_librarian(
        asker.session,
        asker.desk.library,
        asker.consultation,
        by="li@example.edu",
        name="李老师",
        text=text,
        now=asker.now,
        **changes,
    )


class Scroll(Postbox):
    """A channel on which a reply takes a message for each of its words."""

    def parts(self, reply):
        return len(reply.text.split())


def work(asker, channel, worker="w1"):
    """One round of a worker: lease, send, settle."""
    settled = []
    for job in delivery.lease(asker.session, worker=worker, now=asker.now):
        result = delivery.send(job, channel, now=asker.now)
        settled.append(
            delivery.settle(
                asker.session, job, result, worker=worker, now=asker.now, random=Random(1)
            )
        )
    return settled


def test_feedback_counts_when_the_channel_accepted_it(asker, channel):
    asker.waits(hours=2)
    row = reply(asker)
    assert asker.consultation.feedback_at is None

    asker.waits(minutes=1)
    work(asker, channel)

    assert row.state == OutboxState.SENT
    assert row.provider_id == "id-1"
    assert asker.consultation.feedback_at == asker.now
    assert asker.consultation.answered_at == asker.now


def test_a_late_answer_quotes_its_question(asker, channel):
    asker.waits(hours=2)
    reply(asker)
    work(asker, channel)

    assert channel.sent[0][2] == "我的论文题目合适吗"


def test_a_quick_answer_quotes_nothing(asker, channel):
    asker.waits(minutes=2)
    reply(asker)
    work(asker, channel)

    assert channel.sent[0][2] is None


def test_a_holding_reply_is_a_first_response_and_no_answer(asker, channel):
    reply(asker, "收到，我查一下", substantive=False)
    work(asker, channel)

    assert asker.consultation.feedback_at is not None
    assert asker.consultation.answered_at is None


def test_replies_leave_one_by_one_in_their_order(asker, channel):
    reply(asker, "一")
    reply(asker, "二")

    assert len(delivery.lease(asker.session, worker="w1", now=asker.now)) == 1
    assert delivery.lease(asker.session, worker="w2", now=asker.now) == []


def test_a_conversation_that_fails_does_not_hold_up_another(asker, channel):
    reply(asker, "一")
    channel.failing = SendError("busy", failure=SendFailure.RETRY)
    work(asker, channel)
    asker.name = "patron-2"
    asker.says("第二个读者的问题")
    reply(asker, "二")
    channel.failing = None

    work(asker, channel)

    assert [sent[1] for sent in channel.sent] == ["二"]


def test_a_passing_failure_is_retried_with_the_same_key_and_growing_pauses(asker, channel):
    row = reply(asker)
    key = row.key
    channel.failing = SendError("busy", failure=SendFailure.RETRY)
    pauses = []
    for _ in range(4):
        work(asker, channel)
        pauses.append(row.next_attempt_at - asker.now)
        asker.account.paused_until = None
        asker.now = row.next_attempt_at
    channel.failing = None
    work(asker, channel)

    assert pauses == sorted(pauses)
    assert pauses[0] >= timedelta(seconds=2.5)
    assert channel.sent[0][3] == key


def test_the_channels_own_wish_for_a_pause_is_respected(asker, channel):
    row = reply(asker)
    channel.failing = SendError("slow down", failure=SendFailure.RETRY, retry_after=300)
    work(asker, channel)

    assert row.next_attempt_at >= asker.now + timedelta(seconds=300)


def test_it_is_given_up_at_last_and_a_librarian_sees_why(asker, channel):
    row = reply(asker)
    channel.failing = SendError("busy", failure=SendFailure.RETRY, code="-1")
    for _ in range(delivery.MAX_ATTEMPTS):
        work(asker, channel)
        asker.account.paused_until = None
        asker.now = row.next_attempt_at or asker.now

    assert row.state == OutboxState.DEAD
    assert row.attempt_log[-1]["code"] == "-1"
    assert list(delivery.needing_attention(asker.session, asker.desk.library.id)) == [row]
    assert asker.consultation.feedback_at is None


def test_one_click_sends_a_dead_reply_again(asker, channel):
    row = reply(asker)
    channel.failing = SendError("no", failure=SendFailure.PERMANENT)
    work(asker, channel)
    assert row.state == OutboxState.DEAD
    channel.failing = None

    delivery.retry(asker.session, row, now=asker.now)
    work(asker, channel)

    assert row.state == OutboxState.SENT


def test_an_account_that_keeps_failing_is_left_alone_for_a_while(asker, channel):
    reply(asker)
    channel.failing = SendError("busy", failure=SendFailure.RETRY)
    for _ in range(delivery.BREAKER_AFTER):
        work(asker, channel)
        row = asker.session.scalars(select(Outbox).where(Outbox.by != "bot")).one()
        if asker.account.paused_until is None:
            asker.now = row.next_attempt_at

    assert asker.account.paused_until == asker.now + delivery.BREAKER_PAUSE
    assert delivery.lease(asker.session, worker="w1", now=asker.now) == []


def test_after_the_window_the_answer_waits_for_the_next_contact(asker, channel, monkeypatch):
    asker.waits(hours=49)
    row = reply(asker)

    work(asker, channel)

    assert channel.sent == []
    assert (row.state, row.next_attempt_at) == (OutboxState.NEW, None)

    monkeypatch.setattr(Postbox, "declaration", declared(passive_reply=False))
    asker.says("谢谢")
    work(asker, channel)
    assert [sent[1] for sent in channel.sent] == ["合适"]


def test_what_waited_rides_in_the_passive_reply_and_counts_then(asker, channel):
    asker.waits(hours=49)
    row = reply(asker)
    work(asker, channel)

    turn = asker.says("有人吗")

    assert turn.replies[0].text == "合适"
    assert row.state == OutboxState.SENT
    assert asker.consultation.feedback_at == asker.now


def test_what_waited_and_fits_no_response_is_sent_whole_before_anything_newer(asker, channel):
    asker.waits(hours=49)
    long = "长" * 700  # 2100 bytes, and the response holds 2048
    rows = [reply(asker, text) for text in ("第一", long)]
    work(asker, channel)
    work(asker, channel)

    turn = asker.says("怎么续借")

    assert [each.text for each in turn.replies] == ["第一"]
    assert [row.state for row in rows] == [OutboxState.SENT, OutboxState.NEW]
    for _ in range(2):
        work(asker, channel)
    first, second = (text for _, text, *_ in channel.sent)
    assert first == long
    assert "续借" in second


@pytest.mark.parametrize("kind", [InboundKind.UNFOLLOW, InboundKind.EVENT])
def test_what_waited_goes_on_waiting_when_the_patron_leaves_or_says_nothing(asker, channel, kind):
    asker.waits(hours=49)
    row = reply(asker)
    work(asker, channel)

    turn = asker.says("", kind=kind)

    assert turn.replies == ()
    assert (row.state, row.next_attempt_at) == (OutboxState.NEW, None)
    assert asker.consultation.feedback_at is None


def test_all_that_waited_comes_with_one_contact(asker, channel):
    asker.waits(hours=49)
    for text in ("第一", "第二"):
        reply(asker, text)
    work(asker, channel)

    turn = asker.says("有人吗")

    assert [each.text for each in turn.replies][:2] == ["第一", "第二"]


def test_what_waited_and_a_new_answer_share_a_response_only_if_both_fit(asker, channel):
    asker.waits(hours=49)
    reply(asker, "长" * 600)
    work(asker, channel)

    turn = asker.says("长的")

    assert [each.text for each in turn.replies] == ["长" * 600]
    work(asker, channel)
    assert [text[:5] for _, text, *_ in channel.sent] == ["很长的一句"]


def test_after_the_window_a_patron_with_an_address_gets_mail(asker, channel):
    known_patron(asker.conversation, now=asker.now).email = "reader@example.edu"
    asker.waits(hours=49)
    row = reply(asker)
    delivery.lease(asker.session, worker="w1", now=asker.now)

    (job,) = delivery.lease(asker.session, worker="w1", now=asker.now)

    assert (job.via, job.to) == ("email", "reader@example.edu")
    assert row.attempt_log[0]["what"] == "email"


class Herald(Postbox):
    """A channel that may say, outside every window, that an answer waits."""

    declaration = declared(late_reply=("in_window", "template", "email", "idle_until_contact"))

    def announce(self, to, reply, *, key, now):
        if self.failing is not None:
            raise self.failing
        self.sent.append((to, "an answer waits", None, key))
        return "template-1"


def test_a_template_announces_and_the_answer_itself_waits(asker, monkeypatch):
    monkeypatch.setitem(CHANNELS, "postbox", Herald)
    herald = Herald()
    asker.waits(hours=49)
    row = reply(asker)
    work(asker, herald)
    work(asker, herald)

    assert [sent[1] for sent in herald.sent] == ["an answer waits"]
    assert (row.state, row.via, row.next_attempt_at) == (OutboxState.NEW, None, None)
    assert asker.consultation.feedback_at is None
    assert asker.says("谢谢").replies[0].text == "合适"


def test_without_an_approved_template_the_next_way_is_taken(asker, monkeypatch):
    monkeypatch.setitem(CHANNELS, "postbox", Herald)
    herald = Herald()
    herald.failing = SendError("no template", failure=SendFailure.PERMANENT)
    known_patron(asker.conversation, now=asker.now).email = "reader@example.edu"
    asker.waits(hours=49)
    row = reply(asker)
    work(asker, herald)
    work(asker, herald)

    assert (row.state, row.via) == (OutboxState.NEW, "email")


def test_five_messages_spend_the_window(asker, channel):
    for number in range(6):
        reply(asker, str(number))
        work(asker, channel)

    assert [sent[1] for sent in channel.sent] == ["0", "1", "2", "3", "4"]


def test_every_part_of_a_long_reply_spends_the_window(asker, channel):
    scroll = Scroll()
    reply(asker, "one two three")
    work(asker, scroll)

    assert asker.conversation.windows[0]["left"] == 2


def test_what_would_not_fit_is_not_begun(asker, channel):
    scroll = Scroll()
    reply(asker, "one two three")
    work(asker, scroll)
    row = reply(asker, "four five six")
    work(asker, scroll)

    assert len(scroll.sent) == 1
    assert (row.state, row.next_attempt_at) == (OutboxState.NEW, None)
    assert "takes 3 messages" in row.attempt_log[-1]["why"]


def test_what_would_never_fit_is_for_its_writer_to_shorten(asker, channel):
    row = reply(asker, "one two three four five six")
    work(asker, Scroll())

    assert row.state == OutboxState.DEAD
    assert "shorten it" in row.attempt_log[-1]["why"]


def test_the_parts_that_left_before_a_failure_are_spent(asker, channel):
    channel.failing = SendError("broke", failure=SendFailure.UNCERTAIN, parts_sent=2)
    row = reply(asker)
    work(asker, channel)

    assert row.state == OutboxState.UNCERTAIN
    assert asker.conversation.windows[0]["left"] == 3


# --- news of what was accepted ------------------------------------------------------------


def test_news_of_a_failure_sends_it_by_mail_instead(asker, channel):
    known_patron(asker.conversation, now=asker.now).email = "reader@example.edu"
    row = reply(asker)
    work(asker, channel)
    asker.waits(minutes=1)

    news = Undelivered(None, SendFailure.WINDOW_CLOSED, "window over", provider_id="id-1")
    delivery.undelivered(asker.session, asker.account, news, now=asker.now)

    assert (row.state, row.via) == (OutboxState.NEW, "email")
    assert [entry["what"] for entry in row.attempt_log] == ["undelivered", "email"]
    assert asker.kinds[-1] == "failed"
    assert asker.consultation.feedback_at is None  # feedback must reach the patron

    asker.waits(minutes=1)
    work(asker, channel)
    assert asker.consultation.feedback_at == asker.now


def test_news_that_is_faster_than_the_answer_to_our_call_is_not_lost(asker, channel):
    row = reply(asker)
    (job,) = delivery.lease(asker.session, worker="w1", now=asker.now)
    news = Undelivered(row.key, SendFailure.PERMANENT, "no such patron")
    delivery.undelivered(asker.session, asker.account, news, now=asker.now)
    assert row.state == OutboxState.SENDING

    delivery.settle(
        asker.session, job, delivery.Sent("id-9"), worker="w1", now=asker.now, random=Random(1)
    )

    assert row.state == OutboxState.DEAD
    assert asker.kinds[-2:] == ["feedback", "failed"]


def test_news_of_a_strangers_message_changes_nothing(asker, channel, session, library):
    row = reply(asker)
    work(asker, channel)
    other = account_of(session, library, "parcel")

    for account, key in ((other, row.key), (asker.account, "unknown"), (asker.account, None)):
        news = Undelivered(key, SendFailure.PERMANENT, "x")
        assert delivery.undelivered(session, account, news, now=asker.now) is None

    assert row.state == OutboxState.SENT


def test_an_arrival_is_noted_once_and_then_that_it_was_seen(asker, channel):
    row = reply(asker)
    work(asker, channel)
    for seen in (False, False, True, True, False):
        news = Arrived(row.key, at=asker.now, seen=seen)
        delivery.arrived(asker.session, asker.account, news, now=asker.now)

    assert [entry["what"] for entry in row.attempt_log] == ["arrived", "seen"]


def test_a_librarians_answer_that_the_channel_will_not_take_goes_by_mail(asker, channel):
    known_patron(asker.conversation, now=asker.now).email = "reader@example.edu"
    row = reply(asker)
    channel.failing = SendError("blocked", failure=SendFailure.PERMANENT)
    work(asker, channel)

    assert (row.state, row.via, row.next_attempt_at) == (OutboxState.NEW, "email", asker.now)


# --- one slow account, and the others --------------------------------------------------------


def several(asker, count):
    """So many patrons whose replies are due."""
    for number in range(count):
        asker.name = f"patron-{number}"
        asker.says("请问论文怎么选题")
        reply(asker, f"answer {number}")


def test_an_account_gets_so_many_places_and_no_more(asker, channel, session, library):
    several(asker, 10)
    asker.account = account_of(session, library, "parcel")
    asker.name = "elsewhere"
    asker.says("另一个问题")
    reply(asker, "elsewhere")

    jobs = delivery.lease(session, worker="w1", now=asker.now, limit=16)

    accounts = [job.account_id for job in jobs]
    assert accounts.count(asker.account.id) == 1
    assert len(jobs) == delivery.AT_ONCE + 1
    busy = {job.lane: accounts.count(job.lane) for job in jobs}
    assert delivery.lease(session, worker="w1", now=asker.now, limit=16, busy=busy) == []


def test_an_account_that_has_just_failed_is_tried_with_one_reply(asker, channel):
    several(asker, 4)
    asker.account.failures_in_row = 1

    assert len(delivery.lease(asker.session, worker="w1", now=asker.now, limit=16)) == 1


def test_silence_of_a_platform_opens_the_breaker_too(asker, channel):
    several(asker, delivery.BREAKER_AFTER)
    channel.failing = SendError("no answer", failure=SendFailure.UNCERTAIN)
    while work(asker, channel):
        pass

    assert asker.account.paused_until == asker.now + delivery.BREAKER_PAUSE


def test_mail_goes_out_while_the_channel_is_left_alone(asker, channel):
    known_patron(asker.conversation, now=asker.now).email = "reader@example.edu"
    reply(asker)
    channel.failing = SendError("closed", failure=SendFailure.WINDOW_CLOSED)
    work(asker, channel)
    asker.account.paused_until = asker.now + HOUR

    (job,) = delivery.lease(asker.session, worker="w1", now=asker.now)

    assert (job.via, job.lane) == ("email", delivery.EMAIL_LANE)
    failure = SendError("mail server away", failure=SendFailure.RETRY)
    delivery.settle(asker.session, job, failure, worker="w1", now=asker.now, random=Random(1))
    assert asker.account.failures_in_row == 0


# --- consent to be told ------------------------------------------------------------------------


class Consented(Postbox):
    """A channel on which a patron may agree to be told once that an answer waits."""

    declaration = declared(
        windows=(
            Window("message", 48 * 3600, 5),
            Window("agreed", None, 1, refills_on_message=False, announces=True),
        ),
        late_reply=("in_window", "template", "idle_until_contact"),
    )

    def announce(self, to, reply, *, key, now):
        self.sent.append((to, "an answer waits", None, key))
        return "template-1"


def test_who_agreed_is_told_once_who_did_not_is_not(asker, monkeypatch):
    monkeypatch.setitem(CHANNELS, "postbox", Consented)
    told = Consented()
    asker.waits(hours=49)
    row = reply(asker)
    work(asker, told)
    assert told.sent == []
    assert row.attempt_log[-1]["what"] == "held"

    asker.says("", kind=InboundKind.EVENT, event="agreed")
    asker.waits(hours=49)
    reply(asker, "another")
    for _ in range(4):
        work(asker, told)

    assert [sent[1] for sent in told.sent] == ["an answer waits"]


def test_an_ambiguous_failure_is_for_a_librarian_to_decide(asker, channel):
    row = reply(asker)
    channel.failing = SendError("time-out", failure=SendFailure.UNCERTAIN)
    work(asker, channel)
    assert row.state == OutboxState.UNCERTAIN

    delivery.confirm(asker.session, row, now=asker.now)

    assert row.state == OutboxState.SENT
    assert asker.consultation.feedback_at == asker.now


@pytest.mark.parametrize(
    ("kind", "state"), [("postbox", OutboxState.UNCERTAIN), ("parcel", OutboxState.NEW)]
)
def test_after_a_crash_while_sending_the_channel_decides_what_may_repeat(
    asker, channel, kind, state
):
    asker.account.kind = kind
    row = reply(asker)
    delivery.lease(asker.session, worker="w1", now=asker.now)
    asker.now += delivery.LEASE

    assert delivery.recover(asker.session, now=asker.now) == 1

    assert row.state == state


def test_a_worker_that_lost_its_lease_settles_nothing(asker, channel):
    reply(asker)
    (job,) = delivery.lease(asker.session, worker="w1", now=asker.now)
    asker.now += delivery.LEASE
    delivery.recover(asker.session, now=asker.now)

    settled = delivery.settle(
        asker.session,
        job,
        delivery.Sent("late"),
        worker="w1",
        now=asker.now,
        random=Random(1),
    )

    assert settled is None
    assert asker.consultation.feedback_at is None


def test_a_restored_backup_sends_nothing_by_itself(asker, channel):
    row = reply(asker)

    assert delivery.fence(asker.session) == 1
    asker.session.refresh(row)

    assert row.state == OutboxState.FENCED
    assert delivery.lease(asker.session, worker="w1", now=asker.now) == []


def test_on_our_own_widget_a_stored_answer_has_arrived(patron):
    patron.says("我的论文题目合适吗")
    patron.conversation.issued = True
    patron.waits(hours=1)

    row = reply(patron)

    assert row.state == OutboxState.SENT
    assert patron.consultation.feedback_at == patron.now


def test_a_late_answer_is_copied_to_the_address_a_widget_patron_left(patron):
    patron.says("我的论文题目合适吗")
    patron.conversation.issued = True
    known_patron(patron.conversation, now=patron.now).email = "reader@example.edu"

    reply(patron)

    mail = patron.session.scalars(select(Outbox).where(Outbox.via == "email")).one()
    assert "合适" in mail.reply["text"]
    assert patron.kinds.count("feedback") == 1


def test_a_session_that_we_did_not_issue_gets_no_late_answer(patron):
    patron.says("我的论文题目合适吗")

    row = reply(patron)

    assert row.state == OutboxState.DEAD
    assert patron.consultation.feedback_at is None


def test_an_answer_given_elsewhere_counts_now(asker):
    asker.consultation.conversation_id = None

    assert reply(asker) is None

    assert asker.consultation.feedback_at == asker.now
