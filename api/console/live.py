"""What an open desk hears at once: the queue moved, a question waits, a colleague is typing."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from api.auth import Librarian
from api.bus import RESYNC, Notice, conversation_topic, desk_topic
from api.console.case import consultation_of
from api.state import State, state_of
from tracker.fold import Kind

HEARTBEAT_SECONDS = 15
STREAM_SECONDS = 600  # then the page connects anew, and whoever was signed out stays out

router = APIRouter(include_in_schema=False)


@router.get("/desk/events")
async def desk_events(request: Request, caller: Librarian) -> Response:
    """Server-sent events for the caller's library; no database connection is held."""
    return EventSourceResponse(
        _events(state_of(request), caller.library_id),
        ping=HEARTBEAT_SECONDS,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(state: State, library_id: int) -> AsyncIterator[dict[str, str]]:
    loop = asyncio.get_running_loop()
    ends = loop.time() + STREAM_SECONDS
    async with await state.bus.subscribe([desk_topic(library_id)]) as notices:
        # what happened between the page's own reading and now is fetched once
        yield {"event": "opened", "data": "{}"}
        while (left := ends - loop.time()) > 0:
            try:
                notice = await asyncio.wait_for(anext(notices), left)
            except (TimeoutError, StopAsyncIteration):
                return
            for event in heard(notice):
                yield event


def heard(notice: Notice) -> Iterator[dict[str, str]]:
    """What a page is told of a notice: names of pieces to fetch again, never a patron's words."""
    data: dict[str, Any] = notice.data
    if data.get("type") == "presence":
        yield {"event": "presence", "data": json.dumps(data)}
        return
    yield {"event": "queue", "data": "{}"}
    number = data.get("consultation")
    if notice.topic == RESYNC or number is None:
        return
    yield {"event": f"c{number}", "data": "{}"}
    if data.get("kind") == Kind.ESCALATED:
        yield {"event": "waiting", "data": json.dumps({"id": number})}


@router.post("/desk/c/{number}/presence")
async def presence(request: Request, caller: Librarian, number: int) -> Response:
    """Tell colleagues and the patron that somebody is writing."""
    state = state_of(request)

    def find() -> int | None:
        with state.database.snapshot() as session:
            return consultation_of(session, caller.library_id, number).conversation_id

    conversation_id = await run_in_threadpool(find)
    typing = {"name": caller.name, "by": caller.email, "consultation": number}
    state.bus.publish(Notice(desk_topic(caller.library_id), {"type": "presence", **typing}))
    if conversation_id is not None:
        told = {"type": "typing", "name": caller.name}
        state.bus.publish(Notice(conversation_topic(conversation_id), told))
        state.typing_signs.show(conversation_id)
    return Response(status_code=204)
