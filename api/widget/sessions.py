"""Sessions of the widget: issued here, known again by our signature, stored nowhere.

There are two kinds. One is for whoever opens the widget: a random name. The other is for a
patron whom the library's own website has signed in (api.identity): its name follows
from who they are, so that they find their conversation in every browser, and it ends after
twelve hours, so that a shared computer does not keep it.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.accounts import built_in_account
from api.errors import BadRequest, NotAllowed, NotFound
from api.i18n import negotiate
from api.identity import Identity, identity_key, read_identity
from api.libraries import library_by_slug
from api.state import State, state_of
from api.widget.foreign import Body, open_router
from bot import linking
from bot.channels.web import session_patron
from bot.intake import known_patron, locked_conversation
from bot.models import ChannelAccount, Conversation

KIND = "web"
SUGGESTIONS = 3
STREAM_LIFE = timedelta(minutes=10)  # of the token in an event stream's address
IDENTIFIED_LIFE = timedelta(hours=12)
IDENTIFIED = "u"  # a session's name begins so where the website said who it is

router = open_router()


class UnknownSession(NotAllowed):
    """This session was not issued here, or is no longer valid."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever holds a session of a library."""

    session: str
    library_id: int
    language: str

    @property
    def patron(self) -> str:
        return session_patron(self.session)


def issue(state: State, library_id: int, language: str) -> str:
    """A new session: a random name, the page's language, and our signature over both."""
    return _signed(state, library_id, f"{secrets.token_hex(16)}.{language}")


def issue_for(
    state: State, library_id: int, language: str, identity: Identity, *, now: datetime
) -> str:
    """The session of a patron whom the website has signed in; the same person, the same name."""
    who = state.keyring.sign("widget identity name", f"{library_id}:{identity.subject}")[:32]
    until = int((now + IDENTIFIED_LIFE).timestamp())
    return _signed(state, library_id, f"{IDENTIFIED}{who}-{until}.{language}")


def visitor_of(state: State, library_id: int, session: object, *, now: datetime) -> Visitor:
    """Who holds this session. Raises BadRequest without one, UnknownSession for a foreign one."""
    if not isinstance(session, str) or not session:
        raise BadRequest("“session” is missing.")
    name, _, signature = session.rpartition(".")
    expected = _signature(state, library_id, name)
    if not secrets.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
        raise UnknownSession
    who, _, language = name.rpartition(".")
    if who.startswith(IDENTIFIED) and int(who.rpartition("-")[2]) <= now.timestamp():
        raise UnknownSession("This session is over.")
    return Visitor(session, library_id, language)


def _signed(state: State, library_id: int, name: str) -> str:
    return f"{name}.{_signature(state, library_id, name)}"


def _signature(state: State, library_id: int, name: str) -> str:
    return state.keyring.sign("widget session", f"{library_id}:{name}")[:40]


def stream_token(state: State, visitor: Visitor, now: datetime) -> str:
    """What may stand in an address: it opens one conversation's events, for ten minutes."""
    until = int((now + STREAM_LIFE).timestamp())
    name = f"{visitor.patron}.{until}"
    return f"{name}.{state.keyring.sign('widget stream', f'{visitor.library_id}:{name}')[:40]}"


def patron_of_stream(state: State, library_id: int, token: str, now: datetime) -> str:
    """Whose events a token opens. Raises UnknownSession."""
    name, _, signature = token.rpartition(".")
    expected = state.keyring.sign("widget stream", f"{library_id}:{name}")[:40]
    patron, _, until = name.rpartition(".")
    if not secrets.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
        raise UnknownSession
    if int(until) < now.timestamp():
        raise UnknownSession("This stream's token is over; ask for the messages to get another.")
    return patron


@router.post("/widget/{slug}/sessions")
def start_session(request: Request, slug: str, sent: Body) -> dict[str, Any]:
    """A session for a browser that has none; nothing is stored until it says something.

    With the website's word for who the patron is, that patron's own session; what this
    browser's `session` has said before belongs to them from now on.
    """
    state = state_of(request)
    now = state.clock()
    wanted = sent.get("language")
    language = negotiate(wanted if isinstance(wanted, str) else None)
    with state.database.snapshot() as session:
        library = library_by_slug(session, slug)
        entries = state.desks.of(session, library.id, now=now).knowledge.entries
        favourites = library.settings.get("suggestions") or []
        chosen = [entry for entry in entries if entry.id in favourites] or entries[:SUGGESTIONS]
        welcome = {
            "name": library.name,
            "suggestions": [entry.title(language) for entry in chosen[:SUGGESTIONS]],
        }
        key = identity_key(state.keyring, library)
    if "identity" not in sent:
        return {"session": issue(state, library.id, language), **welcome}
    identity = read_identity(sent["identity"], key, now=now)
    issued = issue_for(state, library.id, language, identity, now=now)
    visitor = Visitor(issued, library.id, language)
    _recognise(state, visitor, identity, sent.get("session"), now=now)
    return {"session": issued, **welcome}


def _recognise(
    state: State, visitor: Visitor, identity: Identity, before: object, *, now: datetime
) -> None:
    """Note what the website says of the patron; they bring along what they said before."""
    with state.database.transaction() as session:
        conversation = _made(state, session, visitor, now=now)
        patron = known_patron(conversation, now=now)
        patron.display_name = identity.name or patron.display_name
        patron.email = identity.email or patron.email
        conversation.state = {**conversation.state, linking.VOUCHED: True}
        said = _said_before(state, session, visitor.library_id, before, now=now)
        # only what nobody has been named for: another person may have used this browser
        if said is not None and said.id != conversation.id and not said.state.get(linking.VOUCHED):
            linking.join(session, conversation, said, now=now)


def _said_before(
    state: State, session: Session, library_id: int, before: object, *, now: datetime
) -> Conversation | None:
    """What this browser's last session said; nothing where that session is over."""
    try:
        earlier = visitor_of(state, library_id, before, now=now)
    except (BadRequest, UnknownSession):
        return None
    return conversation_of(session, library_id, earlier.patron)


def _made(state: State, session: Session, visitor: Visitor, *, now: datetime) -> Conversation:
    """The visitor's conversation, locked; made where it is their first."""
    desk = state.desks.of(session, visitor.library_id, now=now)
    account = built_in_account(session, desk.library, KIND, now=now)
    conversation = locked_conversation(session, desk, account, visitor.patron, now=now, issued=True)
    if conversation.position == 0:
        conversation.language = visitor.language
    return conversation


def conversation_of(
    session: Session, library_id: int, patron: str, *, lock: bool = False
) -> Conversation | None:
    """The conversation of a session's patron, once something was said in it."""
    found = (
        select(Conversation)
        .join(ChannelAccount, ChannelAccount.id == Conversation.account_id)
        .where(
            Conversation.library_id == library_id,
            ChannelAccount.kind == KIND,
            Conversation.external_id == patron,
        )
    )
    return session.scalar(found.with_for_update(of=Conversation) if lock else found)


@contextmanager
def own_conversation(
    request: Request, slug: str, sent: dict[str, Any], *, make: bool = False
) -> Iterator[tuple[Session, Conversation]]:
    """The visitor's conversation in a transaction, locked.

    Raises NotFound before the first message, unless it should be made.
    """
    state = state_of(request)
    now = state.clock()
    with state.database.snapshot() as reading:
        library_id = library_by_slug(reading, slug).id
    visitor = visitor_of(state, library_id, sent.get("session"), now=now)
    with state.database.transaction() as session:
        if make:
            yield session, _made(state, session, visitor, now=now)
            return
        conversation = conversation_of(session, library_id, visitor.patron, lock=True)
        if conversation is None:
            raise NotFound("Nothing has been said in this session yet.")
        yield session, conversation
