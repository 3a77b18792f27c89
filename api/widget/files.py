"""Files up: the raw bytes in a request's body, checked and kept (api.uploads)."""

from typing import Annotated, Any

from fastapi import Header, Query, Request
from starlette.concurrency import run_in_threadpool

from api import uploads
from api.accounts import built_in_account
from api.auth import limit_calls
from api.errors import BadRequest, TooLarge
from api.libraries import library_by_slug
from api.limits import FILES
from api.state import State, state_of
from api.widget.foreign import open_router
from api.widget.sessions import KIND, Visitor, visitor_of
from api.widget.talk import answer
from bot.channels.web import MAX_ID
from bot.intake import locked_conversation, receive
from bot.messages import Inbound

router = open_router()


@router.post("/widget/{slug}/files")
async def send_file(
    request: Request,
    slug: str,
    message_id: Annotated[str, Query(alias="id", min_length=1, max_length=MAX_ID)],
    name: Annotated[str, Query(min_length=1, max_length=500)],
    authorization: Annotated[str, Header(max_length=200)],
) -> dict[str, Any]:
    """Take one file as a message; the same id again stores nothing and answers the same.

    Who sends is known before a byte of the file is read.
    """
    limit_calls(request, "files", FILES)
    state = state_of(request)
    visitor = await run_in_threadpool(_sender, state, slug, authorization)
    data = await _read(request)
    return await run_in_threadpool(_keep, state, visitor, message_id, name, data)


def _sender(state: State, slug: str, authorization: str) -> Visitor:
    with state.database.snapshot() as session:
        library_id = library_by_slug(session, slug).id
    bearer = authorization.removeprefix("Bearer ")
    return visitor_of(state, library_id, bearer, now=state.clock())


async def _read(request: Request) -> bytes:
    """The body. Raises TooLarge as soon as it is."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > uploads.LARGEST:
            raise TooLarge
    return bytes(data)


def _keep(
    state: State, visitor: Visitor, message_id: str, name: str, data: bytes
) -> dict[str, Any]:
    kind = uploads.type_of(data, name).kind
    if not message_id.isprintable():
        raise BadRequest("“id” holds what no id holds.")
    now = state.clock()
    key = uploads.new_key()
    with state.database.transaction() as session:
        desk = state.desks.of(session, visitor.library_id, now=now)
        account = built_in_account(session, desk.library, KIND, now=now)
        conversation = locked_conversation(
            session, desk, account, visitor.patron, now=now, issued=True
        )
        if conversation.position == 0:
            conversation.language = visitor.language
        inbound = Inbound(
            visitor.patron,
            "",
            f"{visitor.patron}:{message_id}",
            kind,
            media=f"{uploads.MEDIA}{key}",
        )
        turn = receive(session, desk, account, inbound, now=now)
        if not turn.duplicate:
            uploads.check_share(session, conversation, now=now)
            uploads.keep(session, conversation, key=key, name=name, data=data, now=now)
        return answer(state, session, visitor, conversation, after=turn.position - 1, now=now)
