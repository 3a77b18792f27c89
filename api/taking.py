"""What becomes of a verified webhook's contents: now, or later from the spool."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api import staff_threads, stumbles
from api.accounts import account_named
from api.errors import NotFound
from api.logs import log_problem
from api.spool import Kept, Record
from api.standby import is_away
from api.state import State
from bot import aliases, delivery, intake, outbox, pulling
from bot.assistants import ask_librarian
from bot.channels import CHANNELS
from bot.desk import Desk
from bot.messages import Arrived, Inbound, StaffMessage, Undelivered, Waiting
from bot.models import ChannelAccount, Conversation


def take_message(
    state: State, desk: Desk, account: ChannelAccount, message: Inbound
) -> intake.Turn:
    """Store one message and take its turn, in one transaction. Call it from a thread.

    The desk is gathered before (api.doors): a knowledge base that has just been edited is
    learned anew then, and nobody who writes should wait for that.
    """
    now = state.clock()

    def taken(how: Callable[..., intake.Turn]) -> intake.Turn:
        with state.database.transaction() as session:
            aliases.adopt(session, account, message)
            return how(session, desk, account, message, now=now)

    turn = stumbles.or_else(lambda: taken(intake.receive), lambda: taken(ask_librarian))
    if not turn.duplicate:
        state.measures.messages.labels(account.kind).inc()
    return turn


def take_word(state: State, account: ChannelAccount, what: Kept) -> None:
    """Store what is no patron's message: that messages wait, a librarian's words, news."""
    now = state.clock()
    with state.database.transaction() as session:
        match what:
            case Waiting():
                pulling.told(session, account, [what], now=now)
            case StaffMessage():
                staff_threads.keep(session, account, [what], now=now)
            case Undelivered():
                delivery.undelivered(session, account, what, now=now)
            case Arrived():
                delivery.arrived(session, account, what, now=now)


def replay(state: State, record: Record) -> bool:
    """Take what waited in the spool; False for what nobody can take any more.

    Raises what the database raises when it is away again.
    """
    try:
        with state.database.snapshot() as session:
            account = account_named(session, record.account)
    except NotFound:  # removed meanwhile
        return False
    if not isinstance(record.what, Inbound):
        return _taken(lambda: take_word(state, account, record.what))
    message = replace(record.what, sent_at=record.what.sent_at or record.at)
    with state.database.snapshot() as session:
        desk = state.desks.of(session, account.library_id, now=state.clock())
    if _taken(lambda: _take_late(state, desk, account, message)):
        return True
    return _taken(lambda: _hand_over(state, desk, account, message))


def _taken(take: Callable[[], None]) -> bool:
    try:
        take()
    except Exception as error:  # whatever it was, the spool must not stop at this message
        if isinstance(error, SQLAlchemyError) and is_away(error):
            raise
        log_problem("message_not_taken", error)
        return False
    return True


def _take_late(state: State, desk: Desk, account: ChannelAccount, message: Inbound) -> None:
    """The response has long gone: what would have travelled in it is pushed instead."""
    now = state.clock()
    in_response = CHANNELS[account.kind].declaration.passive_reply
    with state.database.transaction() as session:
        aliases.adopt(session, account, message)
        if in_response:
            _release_held(session, account, message, now=now)
        turn = intake.receive(session, desk, account, message, now=now)
        if in_response and not turn.duplicate:
            delivery.push_instead(session, turn.conversation_id, after=turn.position, now=now)
    if not turn.duplicate:
        state.measures.messages.labels(account.kind).inc()


def _release_held(
    session: Session, account: ChannelAccount, message: Inbound, *, now: datetime
) -> None:
    conversation = session.scalar(
        select(Conversation).where(
            Conversation.library_id == account.library_id,
            Conversation.account_id == account.id,
            Conversation.external_id == message.patron,
        )
    )
    for row in outbox.held(session, conversation) if conversation is not None else ():
        row.next_attempt_at = now


def _hand_over(state: State, desk: Desk, account: ChannelAccount, message: Inbound) -> None:
    now = state.clock()
    with state.database.transaction() as session:
        intake.receive_for_librarian(session, desk, account, message, now=now)
