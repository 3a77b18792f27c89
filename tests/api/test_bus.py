import asyncio
import threading

from api.bus import RESYNC, EventBus, InProcessBus, Notice, conversation_topic, desk_topic

WAIT = 5  # seconds, before a test gives up


def test_a_notice_reaches_whoever_watches_its_topic_and_nobody_else(each_bus: EventBus) -> None:
    async def story() -> tuple[Notice, int]:
        async with (
            await each_bus.subscribe([desk_topic(1)]) as desk,
            await each_bus.subscribe([conversation_topic(9)]) as other,
        ):
            each_bus.publish(Notice(desk_topic(1), {"kind": "message"}))
            heard = await _next(desk)
            each_bus.publish(Notice(conversation_topic(9), {"kind": "end"}))
            assert (await _next(other)).data == {"kind": "end"}
            return heard, 0

    heard, _ = asyncio.run(story())

    assert heard == Notice("desk:1", {"kind": "message"})


def test_a_notice_may_come_from_any_thread(each_bus: EventBus) -> None:
    async def story() -> list[int]:
        async with await each_bus.subscribe(["desk:1"]) as notices:
            threads = [
                threading.Thread(target=each_bus.publish, args=(Notice("desk:1", {"n": n}),))
                for n in range(10)
            ]
            for thread in threads:
                thread.start()
            return sorted([(await _next(notices)).data["n"] for _ in range(10)])

    assert asyncio.run(story()) == list(range(10))


def test_notices_told_at_once_arrive_in_their_order(each_bus: EventBus) -> None:
    async def story() -> list[tuple[str, int]]:
        async with await each_bus.subscribe(["desk:1", "conversation:9"]) as notices:
            each_bus.publish(
                Notice("desk:1", {"n": 1}),
                Notice("conversation:9", {"n": 2}),
                Notice("desk:2", {"n": 3}),
                Notice("desk:1", {"n": 4}),
            )
            heard = [await _next(notices) for _ in range(3)]
            return [(notice.topic, notice.data["n"]) for notice in heard]

    assert asyncio.run(story()) == [("desk:1", 1), ("conversation:9", 2), ("desk:1", 4)]


def test_a_reader_who_falls_behind_is_told_to_read_everything_anew() -> None:
    bus = InProcessBus()

    async def story() -> str:
        async with await bus.subscribe(["desk:1"]) as notices:
            for n in range(300):
                bus.publish(Notice("desk:1", {"n": n}))
            return (await asyncio.wait_for(anext(notices), WAIT)).topic

    assert asyncio.run(story()) == RESYNC


def test_closing_lets_a_waiting_reader_go(each_bus: EventBus) -> None:
    async def story() -> list[Notice]:
        notices = await each_bus.subscribe(["desk:1"])
        reading = asyncio.create_task(_all(notices))
        await asyncio.sleep(0)
        await notices.aclose()
        return await asyncio.wait_for(reading, WAIT)

    assert [notice for notice in asyncio.run(story()) if notice.topic != RESYNC] == []


async def _next(notices: object) -> Notice:
    """The next notice that is no hint to read anew (Redis gives one when it connects)."""
    while True:
        notice = await asyncio.wait_for(anext(notices), WAIT)  # type: ignore[call-overload]
        if notice.topic != RESYNC:
            return notice


async def _all(notices: object) -> list[Notice]:
    return [notice async for notice in notices]  # type: ignore[attr-defined]
