"""What an open desk hears."""

import asyncio
import json
from collections.abc import AsyncIterator

from api.bus import RESYNC, EventBus, Notice, desk_topic
from api.console.live import _events, heard
from api.state import State

DESK = desk_topic(1)


def names(notice: Notice) -> list[str]:
    return [event["event"] for event in heard(notice)]


def test_a_notice_names_the_pieces_to_fetch_again() -> None:
    assert names(Notice(DESK, {"type": "event", "kind": "message", "consultation": 7})) == [
        "queue",
        "c7",
    ]


def test_a_handed_over_question_rings() -> None:
    notice = Notice(DESK, {"type": "event", "kind": "escalated", "consultation": 7})

    assert names(notice) == ["queue", "c7", "waiting"]


def test_after_a_gap_the_queue_is_read_anew() -> None:
    assert names(Notice(RESYNC, {})) == ["queue"]


def test_somebody_writing_is_passed_on_and_moves_no_queue() -> None:
    data = {"type": "presence", "consultation": 7, "name": "Lin", "by": "lin@example.org"}

    (event,) = heard(Notice(DESK, data))

    assert event["event"] == "presence"
    assert json.loads(event["data"])["name"] == "Lin"


async def taken(events: AsyncIterator[dict[str, str]], count: int) -> list[str]:
    return [(await asyncio.wait_for(anext(events), 5))["event"] for _ in range(count)]


def test_a_stream_begins_by_saying_that_it_is_open(state: State, bus: EventBus) -> None:
    async def listen() -> list[str]:
        events = _events(state, 1)
        first = await taken(events, 1)
        bus.publish(Notice(DESK, {"type": "reply", "consultation": 3}))
        bus.publish(Notice(desk_topic(2), {"type": "reply", "consultation": 4}))
        bus.publish(Notice(DESK, {"type": "reply", "consultation": 5}))
        then = await taken(events, 4)
        await events.aclose()
        return [*first, *then]

    assert asyncio.run(listen()) == ["opened", "queue", "c3", "queue", "c5"]
