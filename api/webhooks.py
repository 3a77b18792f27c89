"""One route for all channels, and the addresses that Rasa's widgets know.

Verify the raw bytes, then one transaction per message, and only after its commit the answer:
what we acknowledged is on the disk (RELIABILITY.md, promise 1).
"""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from api import staff_threads
from api.auth import channel_signed, public
from api.errors import NotAllowed, NotFound
from api.state import State, state_of
from bot import pulling
from bot.channels import CHANNELS
from bot.desk import Desk
from bot.intake import Turn, receive
from bot.messages import Inbound, WebhookRequest, WebhookResponse
from bot.models import ChannelAccount

router = APIRouter(include_in_schema=False)
CORS_METHODS = "GET, POST, OPTIONS"
CORS_SECONDS = "86400"


async def _as_sent(request: Request) -> WebhookRequest:
    """The request in the form that channels read: raw bytes, nothing interpreted."""
    return WebhookRequest(
        request.method,
        dict(request.query_params),
        dict(request.headers),
        await request.body(),
    )


def _answer(response: WebhookResponse, headers: dict[str, str] | None = None) -> Response:
    return Response(
        response.body,
        status_code=response.status,
        headers={"content-type": response.content_type, **(headers or {})},
    )


# --- push channels -----------------------------------------------------------------------


@router.api_route(
    "/channels/{kind}/{name}", methods=["GET", "POST"], dependencies=[Depends(channel_signed)]
)
async def channel_webhook(request: Request, kind: str, name: str) -> Response:
    """Every push channel's webhook: its adapter verifies, we store, its adapter answers."""
    sent = await _as_sent(request)
    answer = await run_in_threadpool(take_push, state_of(request), kind, name, sent)
    return _answer(answer)


def take_push(state: State, kind: str, name: str, sent: WebhookRequest) -> WebhookResponse:
    """Take a verified request's messages; the adapter says what the platform gets back."""
    if kind not in CHANNELS or CHANNELS[kind].declaration.built_in:
        raise NotFound
    now = state.clock()
    door = state.doors.push(kind, name, now=now)
    account, desk = door.account, door.desk
    channel = state.channels.of(account)
    received = channel.receive(sent, now=now)
    if received.handshake is not None:
        return received.handshake
    if received.waiting:  # remembered before it is acknowledged, fetched after
        with state.database.transaction() as session:
            pulling.told(session, account, received.waiting, now=now)
    if received.from_staff:
        with state.database.transaction() as session:
            staff_threads.keep(session, account, received.from_staff, now=now)
    turns = [take_message(state, desk, account, message) for message in received.messages]
    replies = [reply for turn in turns for reply in turn.replies]
    return channel.acknowledge(
        received, replies, at=min((turn.replied_at for turn in turns), default=now)
    )


def take_message(state: State, desk: Desk, account: ChannelAccount, message: Inbound) -> Turn:
    """Store one message and take its turn, in one transaction. Call it from a thread.

    The desk is gathered before (api.doors): a knowledge base that has just been edited is
    learned anew then, and nobody who writes should wait for that.
    """
    now = state.clock()
    with state.database.transaction() as session:
        turn = receive(session, desk, account, message, now=now)
    if not turn.duplicate:
        state.measures.messages.labels(account.kind).inc()
    return turn


# --- Rasa's REST channel -----------------------------------------------------------------


@router.get("/webhooks/rest/", dependencies=[Depends(public)])
@router.get("/webhooks/rest", dependencies=[Depends(public)])
async def rasa_health(request: Request) -> Response:
    """What Rasa's clients ask to see whether the channel is there."""
    return _answer(_json_response({"status": "ok"}), _cors(request))


@router.options("/webhooks/rest/webhook", dependencies=[Depends(public)])
async def rasa_preflight(request: Request) -> Response:
    """Lets a widget on another host post JSON."""
    return Response(status_code=204, headers=_cors(request))


@router.post("/webhooks/rest/webhook", dependencies=[Depends(public)])
async def rasa_webhook(request: Request) -> Response:
    """{"sender", "message"} in, a list of replies out; with ?stream=true one line for each.

    Read from the raw body, because Rasa's own widget says text/plain and sends JSON.
    """
    sent = await _as_sent(request)
    origin = request.headers.get("origin")
    answer = await run_in_threadpool(_take_rasa, state_of(request), sent, origin)
    if sent.query.get("stream") == "true":
        answer = _as_lines(answer)
    return _answer(answer, _cors(request))


def _take_rasa(state: State, sent: WebhookRequest, origin: str | None) -> WebhookResponse:
    now = state.clock()
    door = state.doors.rasa(now=now)
    account, desk = door.account, door.desk
    _check_origin(origin, desk.library.settings.get("allowed_origins", ()))
    channel = state.channels.of(account)
    received = channel.receive(sent, now=now)
    turns = [take_message(state, desk, account, message) for message in received.messages]
    return channel.acknowledge(received, [each for turn in turns for each in turn.replies], at=now)


def _check_origin(origin: str | None, allowed: Sequence[str]) -> None:
    """A library may name the pages that may ask; without Origin it is no page that asks."""
    if origin is not None and allowed and origin not in allowed:
        raise NotAllowed("This page may not ask here.")


def _cors(request: Request) -> dict[str, str]:
    """Any page may read the answers: no cookie is looked at, so none can be abused."""
    if "origin" not in request.headers:
        return {}
    return {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": CORS_METHODS,
        "access-control-allow-headers": "content-type",
        "access-control-max-age": CORS_SECONDS,
        "cross-origin-resource-policy": "cross-origin",
    }


def _json_response(content: Any) -> WebhookResponse:
    return WebhookResponse(json.dumps(content).encode(), "application/json")


def _as_lines(answer: WebhookResponse) -> WebhookResponse:
    """Newline-delimited JSON under the label that Rasa gives it."""
    lines = [json.dumps(item, ensure_ascii=False) + "\n" for item in json.loads(answer.body)]
    return WebhookResponse("".join(lines).encode(), "text/event-stream")
