"""Patrons whom the library's own website has signed in."""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from api.db import Database
from api.identity import GENERATION, identity_key
from api.state import State
from bot.models import Conversation
from bot.models import Patron as PatronRow
from tests.api.conftest import Libraries, SignIn
from tests.api.widget.conftest import Patron
from tests.conftest import MONDAY, StandingClock
from tracker.models import Consultation, Library


def packed(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def token(key: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """What a website's server puts on its page, by the book (RFC 7519)."""
    signed = f"{packed(header or {'alg': 'HS256', 'typ': 'JWT'})}.{packed(claims)}"
    mac = hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def until(now: datetime = MONDAY, **length: float) -> int:
    return int((now + timedelta(**(length or {"hours": 1}))).timestamp())


@pytest.fixture
def key(state: State, libraries: Libraries, database: Database) -> str:
    with database.snapshot() as session:
        return identity_key(state.keyring, session.get_one(Library, libraries.north))


def signed_in_patron(client: TestClient, key: str, subject: str = "s-1", **more: Any) -> Patron:
    claims = {"sub": subject, "exp": until(), **more.pop("claims", {})}
    return Patron(client, identity=token(key, **claims), **more)


def refusal(client: TestClient, identity: object) -> int:
    sent = {"language": "en", "identity": identity}
    return client.post("/widget/north/sessions", json=sent).status_code


def test_the_same_person_finds_the_conversation_in_every_browser(
    client: TestClient, key: str, clock: StandingClock
) -> None:
    signed_in_patron(client, key).says("怎么续借图书")
    clock.advance(minutes=20)

    elsewhere = signed_in_patron(client, key, language="en")

    assert [m["role"] for m in elsewhere.reads()["messages"]] == ["patron", "bot"]


def test_another_person_finds_nothing(client: TestClient, key: str) -> None:
    signed_in_patron(client, key).says("怎么续借图书")

    assert signed_in_patron(client, key, "s-2").reads()["messages"] == []


def test_the_librarian_reads_who_it_is(
    client: TestClient, key: str, signed_in: SignIn, database: Database
) -> None:
    patron = signed_in_patron(client, key, claims={"name": "王 <b>芳", "email": "wang@example.org"})
    patron.says("人工")
    with database.snapshot() as session:
        number = session.scalars(select(Consultation.id)).one()

    page = signed_in("librarian@north").get(f"/desk/c/{number}").text

    assert "王 &lt;b&gt;芳" in page
    assert "wang@example.org" in page
    assert "已在图书馆网站登录" in page
    assert patron.reads()["email"]  # a late answer goes there without being asked for again


def test_what_was_said_before_signing_in_comes_along(
    client: TestClient, key: str, database: Database
) -> None:
    stranger = Patron(client)
    stranger.says("人工")
    patron = signed_in_patron(client, key, session=stranger.session)
    patron.says("还在吗")

    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(Consultation)) == 1
        assert len(set(session.scalars(select(Conversation.patron_id)))) == 1
    assert patron.reads()["elsewhere"]


def test_another_persons_session_in_this_browser_is_not_taken_over(
    client: TestClient, key: str
) -> None:
    first = signed_in_patron(client, key, "s-1")
    first.says("我的秘密问题，人工")

    second = signed_in_patron(client, key, "s-2", session=first.session)

    second.says("你好")
    assert "秘密" not in json.dumps(second.reads(), ensure_ascii=False)


def test_a_session_of_a_signed_in_patron_ends(
    client: TestClient, key: str, clock: StandingClock
) -> None:
    patron = signed_in_patron(client, key)
    patron.says("你好")
    clock.advance(hours=12)

    assert patron.posts("messages", id="x", text="还在吗").status_code == 403


def test_a_session_cannot_be_prolonged_by_its_holder(
    client: TestClient, key: str, clock: StandingClock
) -> None:
    patron = signed_in_patron(client, key)
    name, _, rest = patron.session.partition("-")
    patron.session = f"{name}-9{rest}"

    assert patron.posts("messages", id="x", text="hello").status_code == 403


def test_a_stranger_is_stored_only_when_they_speak(
    client: TestClient, key: str, database: Database
) -> None:
    Patron(client)

    with database.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(PatronRow)) == 0


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "s-1"},
        {"sub": "s-1", "exp": until(seconds=-1)},
        {"sub": "s-1", "exp": until(hours=25)},
        {"sub": "s-1", "exp": "tomorrow"},
        {"sub": "s-1", "exp": True},
        {"sub": "s-1", "exp": float("nan")},
        {"sub": "s-1", "exp": float("inf")},
        {"exp": until()},
        {"sub": "", "exp": until()},
        {"sub": ["s-1"], "exp": until()},
    ],
)
def test_a_claim_that_is_missing_or_wrong_is_refused(
    client: TestClient, key: str, claims: dict[str, Any]
) -> None:
    assert refusal(client, token(key, **claims)) == 403


def test_only_our_key_and_algorithm_count(client: TestClient, key: str) -> None:
    claims = {"sub": "s-1", "exp": until()}
    good = token(key, **claims)
    signed = good.rpartition(".")[0]
    forged = [
        token("another key", **claims),
        token(key, {"alg": "none"}, **claims),
        token(key, {"alg": "HS512"}, **claims),
        token(key, {"typ": "JWT"}, **claims),
        f"{signed}.",
        f"{packed({'alg': 'none'})}.{packed(claims)}.",
        good[:-2],
        good + "A",
        f"{signed}.é",
        "..",
        "a.b.c",
        "x" * 5_000,
        7,
        None,
        {},
        "\ud800.\ud800.\ud800",
    ]

    assert refusal(client, good) == 200
    for each in forged[:-1]:
        assert refusal(client, each) == 403, each
    surrogate = json.dumps({"identity": forged[-1]}).encode()
    assert client.post("/widget/north/sessions", content=surrogate).status_code == 403


def test_a_key_of_one_library_opens_no_other(
    client: TestClient, key: str, libraries: Libraries
) -> None:
    sent = {"identity": token(key, sub="s-1", exp=until())}

    assert client.post("/widget/south/sessions", json=sent).status_code == 403


def test_a_renewed_key_ends_the_old_one(
    client: TestClient, key: str, database: Database, libraries: Libraries, state: State
) -> None:
    with database.transaction() as session:
        library = session.get_one(Library, libraries.north)
        library.settings = {**library.settings, GENERATION: 1}
        renewed = identity_key(state.keyring, library)

    assert refusal(client, token(key, sub="s-1", exp=until())) == 403
    assert refusal(client, token(renewed, sub="s-1", exp=until())) == 200
