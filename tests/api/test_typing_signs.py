"""That a librarian writes is shown on the patron's telephone: seldom, and as a courtesy."""

from typing import Any

import httpx
import pytest

from api.accounts import account_named, add_account
from api.state import State
from api.typing_signs import AGAIN_SECONDS, TypingSigns
from bot.intake import locked_conversation
from tests.api.conftest import Libraries
from tests.conftest import StandingClock
from tests.fakes.platform import Fault
from tests.fakes.telegram import Telegram
from tracker.models import Library


@pytest.fixture
def telegram(clock: StandingClock) -> Telegram:
    return Telegram(clock)


@pytest.fixture
def chat(state: State, libraries: Libraries, telegram: Telegram) -> int:
    """A patron's conversation on Telegram."""
    state.channels._http = httpx.Client(transport=telegram.transport)
    values = {"bot_token": telegram.bot_token, "webhook_secret": telegram.secret}
    now = state.clock()
    with state.database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        account = add_account(
            session,
            library,
            kind="telegram",
            name="main",
            values=values,
            keyring=state.keyring,
            now=now,
        )
        desk: Any = state.desks.of(session, library.id, now=now)
        return locked_conversation(session, desk, account, "550660770", now=now).id


def shown(signs: TypingSigns, conversation: int) -> bool:
    thread = signs.show(conversation)
    if thread is not None:
        thread.join()
    return thread is not None


def test_it_is_shown_once_and_again_when_it_has_faded(
    state: State, chat: int, telegram: Telegram
) -> None:
    ticks = [0.0]
    signs = TypingSigns(state.database, state.channels, ticks=lambda: ticks[0])

    assert shown(signs, chat)
    assert not shown(signs, chat)
    ticks[0] += AGAIN_SECONDS
    assert shown(signs, chat)

    assert telegram.typing == ["550660770", "550660770"]


def test_a_platform_that_is_away_costs_nobody_anything(
    state: State, chat: int, telegram: Telegram
) -> None:
    telegram.fail_next(Fault.TIMEOUT)

    assert shown(state.typing_signs, chat)
    assert telegram.typing == []


def test_an_account_that_fails_is_left_alone(state: State, chat: int, telegram: Telegram) -> None:
    with state.database.transaction() as session:
        account_named(session, "main").failures_in_row = 1

    shown(state.typing_signs, chat)

    assert telegram.asked == []
