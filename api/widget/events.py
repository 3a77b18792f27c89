"""Events down: what is said from now on, and nothing that was missed is lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from api.bus import conversation_topic
from api.libraries import library_by_slug
from api.state import State, state_of
from api.widget.foreign import OPEN_TO_ALL, open_router
from api.widget.sessions import conversation_of, patron_of_stream
from api.widget.talk import spoken
from bot.models import Conversation

HEARTBEAT_SECONDS = 15

router = open_router()


@router.get("/widget/{slug}/events")
async def events(
    request: Request,
    slug: str,
    token: Annotated[str, Query(max_length=200)],
    after: Annotated[int, Query(ge=0)] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """What is said from now on, as server-sent events; none that was missed is lost.

    No database connection is held while nothing happens.
    """
    state = state_of(request)

    def find() -> int | None:
        with state.database.snapshot() as session:
            library = library_by_slug(session, slug)
            patron = patron_of_stream(state, library.id, token, state.clock())
            found = conversation_of(session, library.id, patron)
            return found.id if found is not None else None

    conversation_id = await run_in_threadpool(find)
    if conversation_id is None:
        return Response(status_code=204)  # tells a browser not to come back by itself
    if last_event_id is not None and last_event_id.isdigit():
        after = max(after, int(last_event_id))
    return EventSourceResponse(
        _events(state, conversation_id, after),
        ping=HEARTBEAT_SECONDS,
        headers={**OPEN_TO_ALL, "Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(state: State, conversation_id: int, after: int) -> AsyncIterator[dict[str, Any]]:
    def news(position: int) -> dict[str, Any]:
        with state.database.snapshot() as session:
            conversation = session.get_one(Conversation, conversation_id)
            return spoken(session, conversation, after=position, now=state.clock())

    async with await state.bus.subscribe([conversation_topic(conversation_id)]) as notices:
        known: bool | None = None
        while True:
            answer = await run_in_threadpool(news, after)
            if answer["messages"] or answer["waiting"] != known:
                known = answer["waiting"]
                after = max([after, *(message["seq"] for message in answer["messages"])])
                yield {"id": str(after), "data": json.dumps(answer, ensure_ascii=False)}
            async for notice in notices:
                if notice.data.get("type") == "typing":
                    yield {"event": "typing", "data": str(notice.data.get("name", ""))}
                    continue
                break
            else:
                return
            await asyncio.sleep(0.02)  # one turn makes several notices: look once
