"""One patron on several channels, from the widget's side (bot.linking)."""

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from sqlalchemy.orm import Session

from api.errors import BadRequest, TooManyAttempts
from api.i18n import catalogue
from api.state import state_of
from api.widget.foreign import Body, open_router
from api.widget.sessions import own_conversation
from bot import linking
from bot.models import Conversation

router = open_router()


class WrongCode(BadRequest):
    """This code is not valid, or no longer."""


@router.post("/widget/{slug}/link/code")
def give_code(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """A code to be sent to the library on another channel."""
    now = state_of(request).clock()
    with own_conversation(request, slug, sent, make=True) as (session, conversation):
        code = linking.make_code(session, conversation, now=now)
    return {"code": code, "minutes": int(linking.CODE_LIFE.total_seconds() // 60)}


@router.post("/widget/{slug}/link")
def take_code(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """Link this conversation with the one on whose channel the code was given.

    Raises WrongCode, and TooManyAttempts after a few wrong ones.
    """
    given = sent.get("code")
    code = linking.code_in(given) if isinstance(given, str) else None
    if code is None:
        raise WrongCode
    now = state_of(request).clock()
    with own_conversation(request, slug, sent, make=True) as (session, conversation):
        state = dict(conversation.state)
        may_try = linking.may_try(state, now=now)
        conversation.state = state
        other = linking.redeem(session, conversation, code, now=now) if may_try else None
        places = described(session, conversation)
    if not may_try:
        raise TooManyAttempts("That was tried too often. Try again in an hour.")
    if other is None:
        raise WrongCode
    return places


@router.post("/widget/{slug}/answers")
def choose_place(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """Send all answers to one of the patron's conversations; `to` null: to the last used."""
    wanted = sent.get("to")
    with own_conversation(request, slug, sent) as (session, conversation):
        own = {each.id: each for each in (conversation, *linking.others(session, conversation))}
        if wanted is not None and (type(wanted) is not int or wanted not in own):
            raise BadRequest("“to” must be one of the linked conversations.")
        linking.choose(session, conversation, own.get(wanted) if wanted is not None else None)
        return described(session, conversation)


@router.post("/widget/{slug}/unlink")
def unlink(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """Let this conversation stand on its own again."""
    now = state_of(request).clock()
    with own_conversation(request, slug, sent) as (session, conversation):
        linking.part(session, conversation, now=now)
        return described(session, conversation)


def described(session: Session, conversation: Conversation) -> dict[str, Any]:
    """Which channels this conversation is linked with, and where answers go."""
    if not conversation.state.get(linking.LINKED):
        return {"linked": [], "answers": None}
    every: Sequence[Conversation] = (conversation, *linking.others(session, conversation))
    names = catalogue(conversation.language)
    places = [
        {
            "id": each.id,
            "name": names.get(f"channel.{each.account.kind}", each.account.kind),
            "here": each.id == conversation.id,
        }
        for each in every
    ]
    chosen = [each.id for each in every if each.state.get(linking.ANSWERS_HERE)]
    return {"linked": places, "answers": chosen[0] if chosen else None}
