"""The fold: what each event means, whatever the order, however often it comes."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracker.histories import random_history
from tracker.fold import DAY, EventData, Facts, Stream, after, comes_after, fold, ordered
from tracker.history import read_consultation
from tracker.streams import family

RECEIVED = datetime(2026, 3, 10, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def at(hours: float) -> datetime:
    return RECEIVED + hours * HOUR


def folded(*events: tuple[str, float] | tuple[str, float, dict[str, Any]]) -> Facts:
    """The facts of events given as (kind, hours after receipt, data)."""
    told = [
        EventData(event[0], at(event[1]), "lin", None, event[2] if len(event) > 2 else None)
        for event in events
    ]
    return fold([Stream("c1", RECEIVED, "wechat", told)])


# --- handed over, or the bot's -----------------------------------------------------------


def test_a_question_without_any_answer_is_handed_over() -> None:
    facts = folded(("message", 0))

    assert facts.handed_over
    assert facts.waiting_since == RECEIVED
    assert facts.status == "open"


def test_a_standing_bot_answer_is_the_bots() -> None:
    facts = folded(("message", 0), ("bot_answer", 0.01))

    assert not facts.handed_over
    assert facts.bot_at == at(0.01)
    assert facts.status == "answered"
    assert facts.idle_close_at == at(24.01)


@pytest.mark.parametrize("kind", ["escalated", "feedback"])
def test_escalating_or_writing_hands_over_although_the_bot_answered(kind: str) -> None:
    facts = folded(("bot_answer", 1), (kind, 2))

    assert facts.handed_over
    assert facts.bot_at == at(1)
    assert facts.idle_close_at is None


@pytest.mark.parametrize("kind", ["acknowledged", "assigned", "bot_accepted", "failed", "closed"])
def test_nothing_else_hands_over(kind: str) -> None:
    assert not folded(("bot_answer", 1), (kind, 2)).handed_over


@pytest.mark.parametrize(
    ("rejected_after", "stands"),
    [
        (timedelta(0), False),
        (SECOND, False),
        (DAY, False),
        (DAY + SECOND, True),
        (-SECOND, True),
    ],
)
def test_only_a_no_within_24_hours_takes_a_bot_answer_back(
    rejected_after: timedelta, stands: bool
) -> None:
    facts = folded(("bot_answer", 1), ("bot_rejected", 1 + rejected_after / HOUR))

    assert (facts.bot_at is not None) is stands
    assert facts.handed_over is not stands


def test_a_no_takes_back_all_answers_of_the_last_24_hours() -> None:
    facts = folded(("bot_answer", 1), ("bot_answer", 2), ("bot_rejected", 3))

    assert facts.bot_at is None
    assert facts.bot_rejected_at == at(3)


def test_a_better_answer_after_a_no_stands() -> None:
    facts = folded(("bot_answer", 1), ("bot_rejected", 2), ("bot_answer", 3), ("bot_accepted", 4))

    assert facts.bot_at == at(3)
    assert not facts.handed_over
    assert facts.bot_accepted


def test_a_yes_to_an_answer_that_was_taken_back_confirms_nothing() -> None:
    facts = folded(("bot_answer", 1), ("bot_accepted", 2), ("bot_rejected", 3), ("bot_answer", 4))

    assert facts.bot_at == at(4)
    assert not facts.bot_accepted


# --- feedback ----------------------------------------------------------------------------


def test_a_holding_reply_is_a_first_response_and_no_answer() -> None:
    facts = folded(("escalated", 0), ("feedback", 2, {"substantive": False}), ("feedback", 5))

    assert facts.feedback_at == at(2)
    assert facts.answered_at == at(5)
    assert facts.feedback_micros == 2 * 3600 * 1_000_000
    assert facts.answered_micros == 5 * 3600 * 1_000_000


def test_after_a_holding_reply_the_patron_still_waits() -> None:
    facts = folded(("escalated", 0), ("feedback", 2, {"substantive": False}))

    assert facts.waiting_since == RECEIVED
    assert facts.status == "waiting"


@pytest.mark.parametrize("kind", ["acknowledged", "assigned", "failed", "closed", "paused"])
def test_nothing_but_feedback_stops_the_clock(kind: str) -> None:
    facts = folded(("escalated", 0), (kind, 1))

    assert facts.feedback_at is facts.answered_at is None
    assert facts.waiting_since == RECEIVED


@pytest.mark.parametrize("kind", ["feedback", "bot_answer", "withdrawn"])
def test_nothing_before_the_receipt_answers_it(kind: str) -> None:
    facts = folded((kind, -0.001))

    assert facts.handed_over
    assert facts.feedback_at is facts.bot_at is facts.withdrawn_at is None


def test_further_messages_do_not_restart_the_clock() -> None:
    facts = folded(("message", 0), ("message", 5, {}), ("escalated", 5))

    assert facts.received_at == RECEIVED
    assert facts.waiting_since == RECEIVED


def test_a_question_after_the_answer_waits_since_it_was_asked() -> None:
    events = [
        EventData("message", RECEIVED, "patron"),
        EventData("feedback", at(1), "lin"),
        EventData("message", at(2), "patron", "thanks", {"courtesy": True}),
        EventData("message", at(3), "patron", "and on Sunday?"),
        EventData("message", at(4), "patron", "hello?"),
    ]

    facts = fold([Stream("c1", RECEIVED, "web", events)])

    assert facts.waiting_since == at(3)
    assert facts.status == "waiting"
    assert fold([Stream("c1", RECEIVED, "web", events[:3])]).status == "answered"


def test_a_correction_can_call_a_reply_a_holding_reply() -> None:
    correction = {"feedback_at": at(2).isoformat(), "substantive": False}

    facts = folded(("escalated", 0), ("feedback", 2), ("corrected", 30, correction))

    assert facts.feedback_at == at(2)
    assert facts.answered_at is None


def test_calling_a_reply_an_answer_after_the_miss_is_remembered() -> None:
    holding = {"substantive": False}
    correction = {"feedback_at": at(2).isoformat(), "substantive": True}

    late = folded(("feedback", 2, holding), ("corrected", 25, correction))
    early = folded(("feedback", 2, holding), ("corrected", 24, correction))

    assert late.answered_at == early.answered_at == at(2)
    assert (late.reclassified_late, early.reclassified_late) == (True, False)
    assert not folded(("feedback", 2), ("corrected", 25, correction)).reclassified_late


# --- course ------------------------------------------------------------------------------


def test_closing_without_a_reply_answers_nobody() -> None:
    facts = folded(("escalated", 0), ("closed", 1))

    assert facts.status == "closed"
    assert facts.handed_over
    assert facts.answered_at is None


def test_reopening_measures_from_the_receipt_and_forgets_no_close() -> None:
    facts = folded(("feedback", 1), ("closed", 2), ("reopened", 30), ("closed", 40))

    assert facts.received_at == RECEIVED
    assert (facts.first_closed_at, facts.closed_at) == (at(2), at(40))
    assert (facts.reopened_at, facts.reopen_count) == (at(30), 1)
    assert folded(("closed", 2), ("reopened", 30)).closed_at is None


def test_a_question_taken_back_after_the_answer_was_not_withdrawn() -> None:
    assert folded(("feedback", 1), ("withdrawn", 2)).withdrawn_at is None
    assert folded(("feedback", 2), ("withdrawn", 2)).withdrawn_at is None
    assert folded(("feedback", 3), ("withdrawn", 2)).withdrawn_at == at(2)
    assert folded(("withdrawn", 2)).status == "withdrawn"


def test_waiting_for_the_patron_begins_only_after_a_reply() -> None:
    assert folded(("escalated", 0), ("paused", 1)).status == "waiting"
    assert folded(("feedback", 1), ("paused", 2)).status == "paused"
    assert folded(("feedback", 1), ("paused", 2), ("resumed", 3)).status == "answered"


def test_the_patrons_message_ends_the_waiting_for_it() -> None:
    events = [
        EventData("feedback", at(1), "lin"),
        EventData("paused", at(2), "lin"),
        EventData("message", at(3), "patron", "here it is"),
    ]

    assert fold([Stream("c1", RECEIVED, "web", events)]).status == "waiting"


def test_excluding_after_a_miss_is_remembered() -> None:
    late = folded(("excluded", 25, {"reason": "spam"}))
    early = folded(("excluded", 24, {"reason": "spam"}))
    answered = folded(("feedback", 1), ("excluded", 99, {"reason": "test"}))

    assert late.excluded_late
    assert not early.excluded_late
    assert not answered.excluded_late
    assert (answered.status, answered.excluded_reason) == ("excluded", "test")


def test_an_exclusion_can_be_undone_and_done_again() -> None:
    undo = {"excluded": False}

    assert folded(("excluded", 1, {"reason": "spam"}), ("corrected", 2, undo)).excluded_at is None
    again = folded(
        ("excluded", 1, {"reason": "spam"}),
        ("corrected", 2, undo),
        ("excluded", 3, {"reason": "test"}),
    )
    assert (again.excluded_at, again.excluded_reason) == (at(3), "test")


def test_assigning_gives_the_librarian_and_null_the_queue() -> None:
    facts = folded(("assigned", 1, {"to": "tran"}), ("assigned", 2, {"to": None}))

    assert facts.assigned_to is None
    assert facts.first_assigned_at == at(1)
    assert folded(("assigned", 1)).assigned_to == "lin"


def test_topic_title_and_language_come_from_the_conversation() -> None:
    events = [
        EventData("message", RECEIVED, "patron", "x" * 500, {"language": "vi"}),
        EventData("bot_answer", at(1), "bot", "...", {"entry": "renew-book"}),
        EventData("corrected", at(2), "lin", None, {"topic": "fines", "directional": True}),
    ]

    facts = fold([Stream("c1", RECEIVED, "web", events)])

    assert facts.title == "x" * 200
    assert (facts.language, facts.topic, facts.directional) == ("vi", "fines", True)


# --- merging -----------------------------------------------------------------------------


def test_a_case_is_called_by_the_question_that_was_handed_over() -> None:
    def said(hours: float, text: str) -> EventData:
        return EventData("message", at(hours), "patron", text)

    told = [said(0, "renewal"), EventData("bot_answer", at(0)), said(1, "a rare map")]
    own = Stream("c1", RECEIVED, "wechat", told)
    unknown = EventData("escalated", at(1), "bot", None, {"reason": "unknown"})
    handed = own._replace(events=[*told, unknown, said(2, "please")])

    assert fold([own]).title == "renewal"
    assert fold([handed]).title == "a rare map"


def stream(key: str, opened: float, channel: str, *events: EventData) -> Stream:
    return Stream(key, at(opened), channel, list(events))


def merged(into: str, hours: float) -> EventData:
    return EventData("merged", at(hours), "lin", None, {"into": into})


def test_a_merge_is_the_union_with_the_earliest_receipt_and_its_channel() -> None:
    early = stream("a", 0, "wechat", EventData("escalated", at(1), "bot"), merged("b", 5))
    late = stream("b", 2, "web", EventData("feedback", at(3), "lin"))
    streams = {"a": early, "b": late}

    survivor, gone = fold(family("b", streams)), fold(family("a", streams))

    assert (survivor.received_at, survivor.channel) == (at(0), "wechat")
    assert survivor.feedback_at == at(3)
    assert survivor.excluded_at is None
    assert (gone.status, gone.excluded_reason, gone.merged_into) == ("merged", "merged", "b")
    assert (gone.received_at, gone.channel) == (at(0), "wechat")


def test_merges_are_followed_to_the_end() -> None:
    streams = {
        "a": stream("a", 0, "x", merged("b", 9)),
        "b": stream("b", 1, "y", merged("c", 9)),
        "c": stream("c", 2, "z"),
    }

    assert fold(family("c", streams)).received_at == at(0)


def test_a_circle_of_merges_leaves_one_in_the_denominator() -> None:
    streams = {
        "a": stream("a", 1, "x", merged("b", 9)),
        "b": stream("b", 0, "y", merged("a", 9)),
    }

    facts = {key: fold(family(key, streams)) for key in streams}

    assert facts["b"].excluded_at is None
    assert facts["a"].excluded_at is not None


def test_what_was_excluded_stays_so_by_its_own_judgement_only() -> None:
    streams = {
        "a": stream("a", 0, "x", EventData("excluded", at(1), "lin"), merged("b", 2)),
        "b": stream("b", 1, "x"),
    }

    assert fold(family("b", streams)).excluded_at is None


# --- order and repetition ----------------------------------------------------------------

HISTORIES = [
    {item.stream.key: item.stream for item in map(read_consultation, random_history(s, count=12))}
    for s in ("fold-1", "fold-2", "fold-3", "fold-4")
]


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(HISTORIES), st.randoms(use_true_random=False))
def test_any_order_and_repetition_gives_the_same_facts(
    streams: dict[str, Stream], dice: random.Random
) -> None:
    shuffled = {}
    for key, item in streams.items():
        events = [event for event in item.events for _ in range(dice.choice((1, 1, 2, 3)))]
        dice.shuffle(events)
        shuffled[key] = item._replace(events=events)
    keys = list(streams)
    dice.shuffle(keys)

    again = {key: fold(family(key, {k: shuffled[k] for k in keys})) for key in keys}

    assert again == {key: fold(family(key, streams)) for key in streams}


LONG = [
    read_consultation(item)
    for seed in ("after-1", "after-2", "after-3")
    for item in random_history(seed, count=400)
]


def test_one_more_event_at_the_end_gives_what_the_whole_log_gives() -> None:
    told = 0
    for item in LONG:
        events = ordered(item.stream.events)
        for end, event in enumerate(events):
            before = item.stream._replace(events=events[:end])
            last = events[end - 1] if end else EventData("message", before.opened_at)
            if not comes_after(event, last.at, last.kind):
                continue
            facts = after(fold([before]), event)
            if facts is not None:
                assert facts == fold([before._replace(events=events[: end + 1])])
                told += 1

    assert told > 300


@pytest.mark.parametrize("kind", ["split", "corrected", "excluded", "merged"])
def test_what_rewrites_the_log_needs_the_whole_of_it_ever_after(kind: str) -> None:
    assert after(folded(("message", 0), (kind, 1)), EventData("message", at(2))) is None


def test_events_of_one_instant_are_read_in_the_order_of_cause_and_effect() -> None:
    facts = folded(("bot_rejected", 1), ("bot_answer", 1), ("reopened", 2), ("closed", 2))

    assert facts.bot_at is None
    assert facts.closed_at is None
