"""One patron on several channels: linked by a code that one channel gives and another takes.

A code stands for a conversation for a quarter of an hour and is good for one use. Whoever can
write in both conversations is the patron of both: from then on librarians read both together,
a question that waits follows to where its patron last wrote, and so does the answer, unless
the patron chose one place for all answers.

What a conversation needs to know of it stands in its own state, so that a message of the many
that are not linked costs nothing more.
"""

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from bot.channels import CHANNELS
from bot.channels.base import Declaration
from bot.desk import Desk
from bot.hearing import fold
from bot.messages import Reply, ReplyKind
from bot.models import Conversation, Inbox, LinkCode, Patron
from bot.phrases import Phrasebook, listening
from bot.wording import within
from kb.text import fold_marks
from tracker.fold import GONE
from tracker.models import Consultation

CODE_LIFE = timedelta(minutes=15)
_MINUTES = int(CODE_LIFE.total_seconds() // 60)
TRIES_AN_HOUR = 5
LONGEST_WISH = 40  # characters
LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that is taken for another
LINKED = "linked"  # in a conversation's state: its patron has others
ANSWERS_HERE = "answers_here"  # in a conversation's state: all answers go here
VOUCHED = "vouched"  # in a conversation's state: the library's website says who it is
_TRIES = "link_tries"
_CODE = re.compile(rf"([{LETTERS}]{{4}})[-–]([{LETTERS}]{{4}})")


# --- codes -------------------------------------------------------------------------------


def make_code(session: Session, conversation: Conversation, *, now: datetime) -> str:
    """A code that links whoever uses it with this conversation; older ones stop working."""
    session.execute(delete(LinkCode).where(LinkCode.conversation_id == conversation.id))
    session.execute(delete(LinkCode).where(LinkCode.until <= now))
    code = "".join(secrets.choice(LETTERS) for _ in range(8))
    session.add(
        LinkCode(
            library_id=conversation.library_id,
            conversation_id=conversation.id,
            digest=_digest(conversation.library_id, code),
            until=now + CODE_LIFE,
        )
    )
    session.flush()
    return f"{code[:4]}-{code[4:]}"


def code_in(text: str) -> str | None:
    """The code that a message is, in any case and width; None for any other message.

    What follows on other lines is a mail's signature.
    """
    line = text.strip().partition("\n")[0]
    if len(line) > LONGEST_WISH:
        return None
    found = _CODE.fullmatch(unicodedata.normalize("NFKC", line).strip().upper())
    return found[1] + found[2] if found else None


def redeem(
    session: Session, conversation: Conversation, code: str, *, now: datetime
) -> Conversation | None:
    """Link this conversation with the code's; None for a code that is not, or no longer, good."""
    found = session.execute(
        delete(LinkCode)
        .where(
            LinkCode.library_id == conversation.library_id,
            LinkCode.digest == _digest(conversation.library_id, code),
        )
        .returning(LinkCode.conversation_id, LinkCode.until)
    ).first()
    if found is None or found.until <= now or found.conversation_id == conversation.id:
        return None
    other = session.scalars(
        select(Conversation)
        .where(Conversation.id == found.conversation_id)
        .with_for_update(of=Conversation)
    ).one()
    join(session, other, conversation, now=now)
    return other


def _digest(library_id: int, code: str) -> str:
    return hashlib.sha256(f"{library_id}:{code}".encode()).hexdigest()


def may_try(state: dict[str, Any], *, now: datetime) -> bool:
    """Whether a conversation may try one more code; counts the try."""
    hour = timedelta(hours=1)
    tries = [at for at in state.get(_TRIES, []) if within(at, now, hour)]
    state[_TRIES] = [*tries, now.isoformat()][-TRIES_AN_HOUR:]
    return len(tries) < TRIES_AN_HOUR


# --- one patron --------------------------------------------------------------------------


def join(session: Session, kept: Conversation, joining: Conversation, *, now: datetime) -> None:
    """Make one patron of two conversations' patrons, with what is known of either."""
    patron, other = kept.patron or joining.patron, joining.patron
    if patron is None:
        patron = Patron(library_id=kept.library_id, created_at=now)
        session.add(patron)
        session.flush()
    kept.patron = patron
    session.flush()
    if other is not None and other.id != patron.id:
        patron.display_name = patron.display_name or other.display_name
        patron.email = patron.email or other.email
        session.execute(
            update(Conversation)
            .where(Conversation.library_id == kept.library_id, Conversation.patron_id == other.id)
            .values(patron_id=patron.id)
        )
        session.flush()
        session.refresh(joining, ["patron_id", "patron"])
        session.delete(other)
    joining.patron = patron
    session.flush()
    for each in (kept, *others(session, kept, lock=True)):
        each.state = {**each.state, LINKED: True}
    session.flush()


def part(session: Session, conversation: Conversation, *, now: datetime) -> None:
    """Give a conversation a patron of its own again, of whom nothing is known."""
    rest = others(session, conversation, lock=True)
    _send_back(session, conversation, rest)
    conversation.patron = Patron(library_id=conversation.library_id, created_at=now)
    left_alone = [conversation, *(rest if len(rest) == 1 else ())]
    for each in left_alone:
        each.state = {
            key: value for key, value in each.state.items() if key not in (LINKED, ANSWERS_HERE)
        }
    session.flush()


def _send_back(session: Session, conversation: Conversation, rest: Sequence[Conversation]) -> None:
    """Let what waits here, and was asked elsewhere, wait where it was asked."""
    began = (
        select(Inbox.conversation_id)
        .where(
            Inbox.library_id == conversation.library_id, Inbox.consultation_id == Consultation.id
        )
        .order_by(Inbox.id)
        .limit(1)
        .correlate(Consultation)
        .scalar_subquery()
    )
    waiting = session.execute(
        select(Consultation, began).where(
            Consultation.library_id == conversation.library_id,
            Consultation.conversation_id == conversation.id,
            Consultation.status.not_in(GONE),
        )
    )
    elsewhere = {each.id for each in rest}
    for consultation, first in waiting.all():
        if first in elsewhere:
            consultation.conversation_id = first


def others(
    session: Session, conversation: Conversation, *, lock: bool = False
) -> Sequence[Conversation]:
    """The patron's conversations on other channels, the one written in last first.

    `lock`: keep them from others until the commit, because their state will be changed.
    """
    if conversation.patron_id is None:
        return []
    found = (
        select(Conversation)
        .where(
            Conversation.library_id == conversation.library_id,
            Conversation.patron_id == conversation.patron_id,
            Conversation.id != conversation.id,
        )
        .order_by(Conversation.last_patron_at.desc(), Conversation.id)
    )
    if lock:
        found = found.with_for_update(of=Conversation).execution_options(populate_existing=True)
    return session.scalars(found).all()


# --- where things go ---------------------------------------------------------------------


def bring_along(session: Session, conversation: Conversation) -> None:
    """Let what waits for an answer follow its patron here; call it when they write."""
    elsewhere = [each.id for each in others(session, conversation)]
    if not elsewhere:
        return
    waiting = session.scalars(
        select(Consultation)
        .where(
            Consultation.library_id == conversation.library_id,
            Consultation.conversation_id.in_(elsewhere),
            Consultation.status.not_in(GONE),
            Consultation.escalated_at.is_not(None) | Consultation.assigned_to.is_not(None),
        )
        .with_for_update()
    )
    for consultation in waiting:
        consultation.conversation_id = conversation.id
    session.flush()


def may_write_late(conversation: Conversation) -> bool:
    """Whether an answer can reach a conversation after its question was responded to."""
    declaration = CHANNELS[conversation.account.kind].declaration
    return declaration.pushes and (conversation.issued or not declaration.late_only_to_issued)


def place_of_answers(session: Session, conversation: Conversation) -> Conversation:
    """Where an answer goes: where the patron last wrote, or where they want all answers.

    What cannot reach them there goes to the latest of their conversations that it can reach.
    """
    if not conversation.state.get(LINKED) or conversation.state.get(ANSWERS_HERE):
        return conversation
    reachable = [
        each
        for each in others(session, conversation)
        if each.account.enabled and may_write_late(each)
    ]
    wanted = [each for each in reachable if each.state.get(ANSWERS_HERE)]
    if not wanted and may_write_late(conversation):
        return conversation
    chosen = next(iter(wanted or reachable), None)
    if chosen is None:
        return conversation
    return session.scalars(  # the answer takes the next place in its line
        select(Conversation)
        .where(Conversation.id == chosen.id)
        .with_for_update(of=Conversation)
        .execution_options(populate_existing=True)
    ).one()


def choose(session: Session, conversation: Conversation, place: Conversation | None) -> None:
    """Send all answers to one of the patron's conversations; None: to where they last wrote."""
    for each in (conversation, *others(session, conversation, lock=True)):
        state = {key: value for key, value in each.state.items() if key != ANSWERS_HERE}
        each.state = {**state, ANSWERS_HERE: True} if each is place else state
    session.flush()


# --- by message --------------------------------------------------------------------------


def respond(
    session: Session,
    desk: Desk,
    conversation: Conversation,
    text: str,
    *,
    say: Phrasebook,
    state: dict[str, Any],
    now: datetime,
) -> tuple[Reply, ...] | None:
    """What to say to a message about linking; None when it is about something else.

    `state` is the conversation's, as the present turn will keep it.
    """
    code = code_in(text)
    if code is not None:
        return _take_code(session, conversation, code, say=say, state=state, now=now)
    wish = _wish(text)
    if wish == "link":
        given = make_code(session, conversation, now=now)
        return _notice(say, "link_code", code=given, minutes=_MINUTES, link=_page(desk, given))
    if wish is None or not state.get(LINKED):
        return None
    if wish == "unlink":
        part(session, conversation, now=now)
        for key in (LINKED, ANSWERS_HERE):
            state.pop(key, None)
        return _notice(say, "unlinked")
    here = wish == "answer_here"
    choose(session, conversation, conversation if here else None)
    state.pop(ANSWERS_HERE, None)
    if here:
        state[ANSWERS_HERE] = True
    return _notice(say, "answers_here" if here else "answers_anywhere")


def way_to_the_answer(
    session: Session,
    desk: Desk,
    conversation: Conversation,
    declaration: Declaration,
    *,
    say: Phrasebook,
    now: datetime,
) -> str | None:
    """Where a patron finds the answer who cannot be written to here later; None if they can.

    Anybody may ask in the name of a session that we did not issue, so nothing is sent there.
    """
    if conversation.issued or not declaration.late_only_to_issued:
        return None
    if conversation.state.get(LINKED):
        return None
    if conversation.patron is not None and conversation.patron.email:
        return None
    code = make_code(session, conversation, now=now)
    return say.say("answer_elsewhere", minutes=_MINUTES, link=_page(desk, code))


def _page(desk: Desk, code: str) -> str:
    """The library's page, whose chat takes the code by itself."""
    return f"{desk.base_url.rstrip('/')}/faq/{quote(desk.library.slug)}#link={code}"


def _take_code(
    session: Session,
    conversation: Conversation,
    code: str,
    *,
    say: Phrasebook,
    state: dict[str, Any],
    now: datetime,
) -> tuple[Reply, ...]:
    if not may_try(state, now=now) or redeem(session, conversation, code, now=now) is None:
        return _notice(say, "link_failed")
    state[LINKED] = True
    return _notice(say, "linked")


def _notice(say: Phrasebook, phrase: str, **facts: object) -> tuple[Reply, ...]:
    return (Reply(say.say(phrase, **facts), ReplyKind.NOTICE),)


def _wish(text: str) -> str | None:
    """The wish about linking that a whole message is, if it is one."""
    return _wishes().get(fold(text)) if len(text) <= LONGEST_WISH else None


@cache
def _wishes() -> dict[str, str]:
    found: dict[str, str] = {}
    for wish in ("link", "unlink", "answer_here", "answer_anywhere"):
        for group in listening()[wish]["whole"]:
            for phrase in group:
                folded = fold(phrase)
                found |= {folded: wish, fold_marks(folded): wish}
    return found
