"""One route for all channels, and the addresses that Rasa's widgets know.

Verify the raw bytes, then one transaction per message, and only after its commit the answer:
what we acknowledged is on the disk (RELIABILITY.md, promise 1).
"""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from api.auth import channel_signed, public
from api.errors import NotAllowed, NotFound
from api.logs import log_problem
from api.spool import Kept
from api.standby import DatabaseAway
from api.state import State, state_of
from api.taking import take_message, take_word
from bot import replays
from bot.channels import CHANNELS
from bot.channels.base import Forwarding, Refused, SendError
from bot.desk import Desk
from bot.intake import Turn
from bot.messages import (
    Inbound,
    OneBody,
    Received,
    Reply,
    ReplyKind,
    WebhookRequest,
    WebhookResponse,
)
from bot.models import ChannelAccount
from bot.phrases import phrasebook
from kb.text import detect_language

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
    """Take a verified request's messages; the adapter says what the platform gets back.

    While the database is away they wait on the disk, and the answers are sent later.
    """
    if kind not in CHANNELS or CHANNELS[kind].declaration.built_in:
        raise NotFound
    now = state.clock()
    opened = state.standby.tried(lambda: state.doors.push(kind, name, now=now))
    account = opened.result.account if opened else state.standby.account(kind, name)
    channel = state.channels.of(account)
    received = channel.receive(sent, now=now)
    if received.handshake is not None:
        return received.handshake
    if received.one_body is not None:
        _check_replay(state, account, received.one_body, now)
    _take_words(state, account, received)
    desk = opened.result.desk if opened else None
    turns = _take_messages(state, desk, account, received.messages)
    replies = [reply for turn in turns for reply in turn.replies]
    if isinstance(channel, Forwarding) and len(turns) == len(received.messages):
        passed_on = _passed_on(channel, received, replies)
        if passed_on is not None:
            return passed_on
    return channel.acknowledge(
        received, replies, at=min((turn.replied_at for turn in turns), default=now)
    )


def _passed_on(
    channel: Forwarding, received: Received, replies: Sequence[Reply]
) -> WebhookResponse | None:
    """What a second vendor answers, where the account has one; without it we answer."""
    try:
        return channel.forward(received, replies)
    except SendError as error:
        log_problem("not_passed_on", error)
        return None


def _take_words(state: State, account: ChannelAccount, received: Received) -> None:
    """What is no message of a patron; what must be fetched is only remembered here."""
    words: list[Kept] = [*received.waiting, *received.from_staff]
    words += [*received.undelivered, *received.arrived]
    for word in words:
        state.standby.take_or_keep(account, word, partial(take_word, state, account, word))


def _take_messages(
    state: State, desk: Desk | None, account: ChannelAccount, messages: Sequence[Inbound]
) -> list[Turn]:
    """Take each message, or keep it on the disk: then it has no turn yet."""
    turns = []
    for message in messages:
        if desk is None:
            state.standby.spool.put(account, message, arrived_at=state.clock())
        else:
            turn = state.standby.take_or_keep(
                account, message, partial(take_message, state, desk, account, message)
            )
            turns += [turn] if turn is not None else []
    return turns


def _check_replay(state: State, account: ChannelAccount, once: OneBody, now: datetime) -> None:
    """A captured signature that does not cover the body must not carry another one."""

    def ask() -> bool:
        with state.database.transaction() as session:
            return replays.admits(session, account, once, now=now)

    shared = state.standby.tried(ask)
    if shared is not None:
        admitted = shared.result
    else:  # while the database is away, what this process has seen counts
        admitted = state.standby.signatures.admits(account, once, now=now)
    if not admitted:
        raise Refused("this signature came with another message before")


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
    opened = state.standby.tried(lambda: state.doors.rasa(now=now))
    door = opened.result if opened else state.doors.last_rasa
    if door is None:
        raise DatabaseAway
    account, desk = door.account, door.desk
    _check_origin(origin, desk.library.settings.get("allowed_origins", ()))
    channel = state.channels.of(account)
    received = channel.receive(sent, now=now)
    turns = _take_messages(state, desk if opened else None, account, received.messages)
    replies = [each for turn in turns for each in turn.replies]
    if not turns:
        replies = [_kept(message) for message in received.messages]
    return channel.acknowledge(received, replies, at=now)


def _kept(message: Inbound) -> Reply:
    """What is said truthfully while the database is away."""
    say = phrasebook(detect_language(message.text))
    return Reply(say.say("kept_for_later"), ReplyKind.NOTICE)


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
