"""What attackers send to a webhook: none of it is heard, none of it breaks the server."""

import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from starlette.testclient import TestClient

from api.accounts import account_named, add_account
from api.state import State
from bot.channels.base import Refused
from bot.messages import Received, WebhookRequest
from bot.models import Inbox
from tests.api.conftest import Libraries
from tests.api.conftest import libraries as libraries  # noqa: PLC0414 - a fixture
from tests.conftest import StandingClock
from tests.fakes.stages import STAGES, ByHost, through
from tracker.models import Library

KINDS = sorted(set(STAGES) - {"email"})  # mail has no webhook
FORGERIES = 10_000  # a channel
NOISE = ("", "\xff\xe9", "é" * 40, "0" * 64, "sha256=", "a" * 5_000, "-1", "1e9", "\t")


def recorded(kind: str, clock: Any) -> tuple[Any, Any]:
    """A platform, and a genuine request of it that no library has seen yet."""
    stage = STAGES[kind]
    platform = stage.build(clock)
    calls: list[Any] = []
    patron = stage.seat(platform, lambda call: (calls.append(call), (200, b""))[1])
    patron.says("县志在哪里？")
    return platform, calls[0]


def headers_of(call: Any) -> dict[str, str]:
    return dict(getattr(call, "headers", {}))


def forgeries(call: Any, count: int, *, bodies: bool, seed: int = 1) -> Iterator[Any]:
    """Requests that differ from a genuine one in a byte, a header or a parameter.

    `bodies=False` for a platform that signs nothing and only shows a secret of ours: who has
    that secret is the platform.
    """
    source = random.Random(seed)
    for _ in range(count):
        body, query, headers = bytearray(call.body), dict(call.query), headers_of(call)
        for _ in range(source.choice((1, 1, 1, 2, 5))):
            places = [part for part in (query, headers) if part]
            if bodies and (not places or source.random() < 0.5):
                _spoil(body, source)
            elif places:
                _spoil_text(source.choice(places), source)
        yield (bytes(body), query, headers)


def _spoil(body: bytearray, source: random.Random) -> None:
    at = source.randrange(len(body) or 1)
    match source.randrange(3):
        case 0:
            body[at : at + 1] = bytes([source.randrange(256)])
        case 1:
            body[at:at] = source.randbytes(source.randrange(1, 5))
        case _:
            del body[at : at + source.randrange(1, 9)]


def _spoil_text(fields: dict[str, str], source: random.Random) -> None:
    name = source.choice(list(fields))
    value = fields[name]
    at = source.randrange(len(value) or 1)
    if source.random() < 0.1:
        del fields[name]
    else:
        changed = value[:at] + chr(source.randrange(33, 0x250)) + value[at + 1 :]
        fields[name] = source.choice((source.choice(NOISE), changed, value[:at]))


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_forgeries_change_nothing_that_is_heard(
    kind: str, state: State, libraries: Libraries, clock: StandingClock
) -> None:
    """A change that the signature rightly does not cover may pass: then the same is heard."""
    platform, call = recorded(kind, clock)
    channel = _channel(state, libraries, kind, platform)
    genuine = _heard(channel, (call.body, dict(call.query), headers_of(call)), clock)
    assert isinstance(genuine, Received)
    assert genuine.messages or genuine.waiting
    refused = 0

    bodies = genuine.one_body is not None or channel.declaration.signature_covers_body
    for forged in forgeries(call, FORGERIES, bodies=bodies):
        outcome = _heard(channel, forged, clock)
        if isinstance(outcome, Refused):
            assert outcome.status in {400, 403, 405, 413}
            refused += 1
        else:
            if outcome.one_body not in (None, genuine.one_body):
                refused += 1  # by the core: this signature came with another body
                continue
            assert outcome.messages in ((), genuine.messages)
            assert outcome.waiting in ((), genuine.waiting)
            assert outcome.from_staff == outcome.undelivered == outcome.arrived == ()
    assert refused > FORGERIES / 3


def _heard(channel: Any, sent: tuple[bytes, dict[str, str], dict[str, str]], clock: Any) -> Any:
    body, query, headers = sent
    try:
        return channel.receive(WebhookRequest("POST", query, headers, body), now=clock())
    except Refused as refusal:
        return refusal


def _channel(state: State, libraries: Libraries, kind: str, platform: Any) -> Any:
    with state.database.transaction() as session:
        add_account(
            session,
            session.get_one(Library, libraries.north),
            kind=kind,
            name="main",
            values=STAGES[kind].account(platform),
            keyring=state.keyring,
            now=state.clock(),
        )
    state.channels._http = httpx.Client(transport=ByHost({kind: platform}))
    with state.database.snapshot() as session:
        return state.channels.of(account_named(session, "main"))


TEXTS = st.text(st.characters(min_codepoint=1, max_codepoint=0x24F), max_size=60)


@pytest.mark.parametrize("kind", KINDS)
def test_over_http_no_forgery_is_heard_and_none_is_our_error(
    kind: str, client: TestClient, state: State, libraries: Libraries, clock: StandingClock
) -> None:
    platform, call = recorded(kind, clock)
    _channel(state, libraries, kind, platform)
    webhook = through(client, f"/channels/{kind}/main")
    assert webhook(call)[0] == 200
    heard = _count(state)
    made = list(forgeries(call, 400, bodies=kind != "telegram", seed=2))

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(
        st.sampled_from(made), st.dictionaries(st.sampled_from(sorted(call.query) or ["x"]), TEXTS)
    )
    def forged(sent: tuple[bytes, dict[str, str], dict[str, str]], more: dict[str, str]) -> None:
        body, query, headers = sent
        raw = {name: value.encode("utf-8") for name, value in headers.items() if _sendable(value)}
        answer = client.post(
            f"/channels/{kind}/main", params={**query, **more}, content=body, headers=raw
        )
        assert answer.status_code < 500
        assert answer.status_code != 422

    forged()

    assert webhook(call)[0] == 200
    assert _count(state) == heard <= 1  # a pulled message is heard later


def _sendable(value: str) -> bool:
    return not any(ord(sign) < 32 for sign in value)


def _count(state: State) -> int:
    with state.database.snapshot() as session:
        return session.scalar(select(func.count()).select_from(Inbox)) or 0
