"""Reading requests, shaping text and naming failures, for every channel."""

from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels.base import (
    Refused,
    SendError,
    SendFailure,
    TextLimit,
    answered,
    call,
    identifier,
    instant,
    json_object,
    measure,
    member,
    members,
    place,
    said,
    said_with_choices,
    same,
    seconds_of,
    send_in_order,
    shorten,
    split,
    status_error,
)
from bot.channels.base import (
    trouble as trouble_of,
)
from bot.messages import Choice, Reply, ReplyKind

UNITS = st.sampled_from(["chars", "bytes", "utf16"])


@given(st.text(), st.integers(16, 60), UNITS)
def test_parts_fit_and_lose_only_white_space(text, limit, unit):
    parts = split(text, TextLimit(limit, unit))

    assert all(measure(part, unit) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_a_short_text_stays_one_message():
    assert split("One.\n\nTwo.", TextLimit(20)) == ["One.\n\nTwo."]
    assert split("x" * 9000, TextLimit(None)) == ["x" * 9000]


def test_a_split_keeps_an_emoji_and_its_accent_whole():
    family = "👩\u200d👧"

    assert split("ab" + family, TextLimit(3)) == ["ab", family]
    assert split("aae\u0301", TextLimit(3)) == ["aa", "e\u0301"]


@given(st.text(), st.integers(8, 30), UNITS)
def test_a_shortened_label_fits(text, limit, unit):
    assert measure(shorten(text, limit, unit), unit) <= limit


@pytest.mark.parametrize(
    ("quote", "first"), [("几点开门？", "「几点开门？」"), ("When?", "“When?”")]
)
def test_a_quote_wears_the_marks_of_its_language(quote, first):
    assert said(Reply("A.", ReplyKind.LIBRARIAN, quote=quote)) == f"{first}\nA."


def test_a_link_is_said_once():
    assert said(Reply("See x.org", ReplyKind.ANSWER, link="x.org")) == "See x.org"


def test_choices_are_numbered_as_they_will_be_understood():
    choices = (Choice("Yes", "/helped yes"), Choice("Holds", "/entry holds"))
    reply = Reply("Well?", ReplyKind.CHOICES, choices=choices)

    assert said_with_choices(reply) == "Well?\n\n2. Holds\n\n[Yes]"


@pytest.mark.parametrize("body", [b"", b"1", b"[1]", b"\xef\xbb\xbf{}", b"{]", b"[" * 10**6])
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(Refused) as refusal:
        json_object(body)

    assert refusal.value.status == 400


def test_a_huge_body_is_refused_unread():
    with pytest.raises(Refused) as refusal:
        json_object(b"{" * 11, limit=10)

    assert refusal.value.status == 413


@pytest.mark.parametrize("value", [None, True, 1.5, "", "a" * 256, "a\nb", "a\x00", "\ud800", {}])
def test_what_is_no_id_is_refused(value):
    with pytest.raises(Refused):
        identifier({"id": value}, "id")


def test_an_id_may_be_a_number_of_any_length():
    assert identifier({"id": 5900100200300400500}, "id") == "5900100200300400500"


@pytest.mark.parametrize(
    ("value", "per_second", "time"),
    [
        (1795305600, 1, datetime(2026, 11, 22, tzinfo=UTC)),
        ("1795305600500", 1000, datetime(2026, 11, 22, 0, 0, 0, 500_000, tzinfo=UTC)),
        (-1, 1, None),
        (10**30, 1, None),
        (True, 1, None),
        ("1e9", 1, None),
        ("１７９５３０５６００", 1, None),
        (None, 1, None),
    ],
)
def test_a_platforms_time(value, per_second, time):
    assert instant(value, per_second=per_second) == time


def test_members_skip_what_has_another_shape():
    assert member({"a": {"b": {"c": 1}}}, "a", "b") == {"c": 1}
    assert member({"a": []}, "a", "b") == {}
    assert members({"a": [1, {"b": 2}]}, "a") == [{"b": 2}]
    assert members({"a": "x"}, "a") == []


@pytest.mark.parametrize(
    ("latitude", "longitude", "found"),
    [(10.77, "106.7", "geo:10.77,106.7"), (None, 1, None), (91, 0, None), ("nan", 0, None)],
)
def test_a_place(latitude, longitude, found):
    assert place({"latitude": latitude, "longitude": longitude}) == found


@pytest.mark.parametrize("given", ["", "secre", "secret ", "sécret", "\udc80", "字"])
def test_secrets_are_compared_whatever_they_hold(given):
    assert same("secret", "secret")
    assert not same("secret", given)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), (0, 0.0), ("1e9", 86400.0), ("nan", None), (-1, None), ("soon", None), ([], None)],
)
def test_a_wished_pause(value, seconds):
    assert seconds_of(value) == seconds


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, SendFailure.PERMANENT),
        (302, SendFailure.PERMANENT),
        (429, SendFailure.RETRY),
        (500, SendFailure.RETRY),
        (503, SendFailure.RETRY),
        (504, SendFailure.UNCERTAIN),
    ],
)
def test_a_status_has_its_class(status, failure):
    response = httpx.Response(status, headers={"retry-after": "9"})

    assert status_error(response, "X").failure is failure
    assert status_error(response, "X").retry_after == 9.0


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"\xff", b"[" * 10**5])
def test_an_answer_of_another_form_is_empty(content):
    assert answered(httpx.Response(200, content=content)) == {}


def test_a_question_whose_answer_is_lost_may_be_asked_again():
    def lose(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset", request=request)

    with httpx.Client(transport=httpx.MockTransport(lose)) as http, pytest.raises(SendError) as got:
        call(http, "GET", "https://x.example", platform="X", when_lost=SendFailure.RETRY)

    assert got.value.failure is SendFailure.RETRY


@pytest.mark.parametrize("failure", list(SendFailure))
def test_only_a_first_part_is_simply_retried(failure):
    def sender(fails_at):
        def send(number):
            if number == fails_at:
                raise SendError("no", failure=failure)
            return str(number)

        return send

    with pytest.raises(SendError) as first:
        send_in_order([0, 1], sender(0))
    with pytest.raises(SendError) as second:
        send_in_order([0, 1], sender(1))

    assert first.value.failure is failure
    expected = SendFailure.UNCERTAIN if failure is SendFailure.RETRY else failure
    assert second.value.failure is expected
    assert send_in_order([0, 1], sender(None)) == "1"


def test_trouble_is_a_sentence():
    def fail():
        raise SendError("The token is wrong.", failure=SendFailure.PERMANENT)

    assert trouble_of(fail) == ["The token is wrong."]
    assert trouble_of(lambda: None) == []
