"""What tools made for Rasa ask of its server, beside its chat channels."""

import json
import re
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from api.auth import public
from api.errors import NotFound
from api.libraries import default_library
from api.state import State, state_of
from api.webhooks import take_push
from bot.channels.rasa_callback import RasaCallback
from bot.messages import WebhookRequest, WebhookResponse
from bot.models import ChannelAccount
from kb.text import detect_language
from kb.verdict import Decision, Verdict

RASA = "3.6.21"  # whose shapes these are
FALLBACK = "nlu_fallback"  # Rasa's name for "none of these"
_TOKEN = re.compile(r"\w+")

router = APIRouter(include_in_schema=False, dependencies=[Depends(public)])


class NoCallback(NotFound):
    """The library has no rasa_callback account, or several: add one with “refdesk channel add”."""


# --- the model ---------------------------------------------------------------------------


@router.post("/model/parse")
async def parse(request: Request) -> Response:
    """Which entry a text asks for, as Rasa would say which intent; nothing is stored."""
    text = _text(await request.body())
    if text is None:
        return _failure("The body must be a JSON object with a “text”.")
    return _json(await run_in_threadpool(_parsed, state_of(request), text))


def _text(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    text = found.get("text") if isinstance(found, dict) else None
    return text if isinstance(text, str) else None


def _parsed(state: State, text: str) -> dict[str, Any]:
    with state.database.snapshot() as session:
        library = default_library(session, state.settings.default_library)
        knowledge = state.desks.of(session, library.id, now=state.clock()).knowledge
    ranking = _ranking(knowledge.ask(text, lang=detect_language(text)))
    return {
        "text": text,
        "intent": ranking[0],
        "entities": [],
        "text_tokens": [[found.start(), found.end()] for found in _TOKEN.finditer(text)],
        "intent_ranking": ranking,
    }


def _ranking(decision: Decision) -> list[dict[str, Any]]:
    """The entries with their probabilities, and that of none; the verdict decides who leads."""
    found = [(candidate.entry, candidate.probability) for candidate in decision.candidates]
    found.append((FALLBACK, decision.p_none))
    found.sort(key=lambda named: -named[1])
    leader = {Verdict.UNKNOWN: FALLBACK, Verdict.SURE: next(iter(decision.entries), FALLBACK)}
    first = leader.get(decision.verdict)
    found.sort(key=lambda named: named[0] != first)
    return [{"name": name, "confidence": probability} for name, probability in found]


def _failure(sentence: str) -> Response:
    """Rasa's shape of an error."""
    content: dict[str, Any] = {
        "version": RASA,
        "status": "failure",
        "message": sentence,
        "reason": "ParsingError",
        "details": {},
        "help": None,
        "code": 400,
    }
    return _json(content, status=400)


def _json(content: Any, *, status: int = 200) -> Response:
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status_code=status, media_type="application/json")


# --- the server --------------------------------------------------------------------------


@router.get("/version")
def version() -> dict[str, str]:
    """The Rasa whose protocol this is."""
    return {"version": RASA, "minimum_compatible_version": RASA}


@router.get("/status")
def status(request: Request) -> dict[str, Any]:
    """What answers: the default library's knowledge, and which version of it."""
    state = state_of(request)
    with state.database.snapshot() as session:
        library = default_library(session, state.settings.default_library)
        version = state.desks.of(session, library.id, now=state.clock()).knowledge.version
    return {
        "model_file": f"{library.slug}.yaml",
        "model_id": f"{library.slug}-{version}",
        "num_active_training_jobs": 0,
    }


# --- the callback channel ----------------------------------------------------------------


@router.get("/webhooks/callback/")
@router.get("/webhooks/callback")
def callback_health() -> dict[str, str]:
    """What Rasa's clients ask to see whether the channel is there."""
    return {"status": "ok"}


@router.post("/webhooks/callback/webhook")
async def callback(request: Request) -> Response:
    """{"sender", "message"} in, "success" out; the replies go to the account's address."""
    sent = WebhookRequest("POST", {}, dict(request.headers), await request.body())
    answer = await run_in_threadpool(_take_callback, state_of(request), sent)
    return Response(answer.body, status_code=answer.status, media_type=answer.content_type)


def _take_callback(state: State, sent: WebhookRequest) -> WebhookResponse:
    with state.database.snapshot() as session:
        library = default_library(session, state.settings.default_library)
        names = session.scalars(
            select(ChannelAccount.name).where(
                ChannelAccount.library_id == library.id, ChannelAccount.kind == RasaCallback.kind
            )
        ).all()
    if len(names) != 1:
        raise NoCallback
    return take_push(state, RasaCallback.kind, names[0], sent)
