"""A whole library on real servers of this machine, small (embedded) and scaled out."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from api.accounts import add_account
from api.bus import EventBus, InProcessBus, RedisBus
from api.db import Database
from api.libraries import add_library
from api.models import Role
from api.staff import add_staff
from api.worker import Worker
from kb.files import load_file
from kb.library import import_entries
from tests.conftest import MONDAY, StandingClock, fresh_postgres
from tests.fakes.wechat import Credentials, Patron, Platform, over_http
from tests.pages.site import LIBRARIAN, MANAGER, PASSWORD, STARTER, WEEKDAYS, Site, serving, week
from tracker.calendars import save_calendar

KNOWN = {
    "opening-hours",
    "holiday-hours",
    "lost-card",
    "renew-books",
    "interlibrary-loan",
    "printing",
    "wifi",
    "food-drink",
    "contact-librarian",
}
OPEN_WINDOWS = ("wechat", "main")


@dataclass
class Town:
    """A library and everybody around it."""

    sites: list[Site]
    clock: StandingClock
    platform: Platform
    worker: Worker
    turn: Iterator[Site] = field(init=False)
    clients: list[httpx.Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turn = cycle(self.sites)

    @property
    def database(self) -> Database:
        return self.sites[0].database

    def client(self) -> httpx.Client:
        """A browser of its own, at whichever web process is next."""
        made = httpx.Client(base_url=next(self.turn).url, timeout=20)
        self.clients.append(made)
        return made

    def asks(self, sender: str, message: str) -> list[dict[str, Any]]:
        """A question over Rasa's REST channel, each time at another web process."""
        response = self.client().post(
            "/webhooks/rest/webhook", json={"sender": sender, "message": message}
        )
        assert response.status_code == 200, response.text
        return list(response.json())

    def visitor(self, language: str = "zh-Hans") -> "Visitor":
        return Visitor(self.client(), language)

    def reader(self, openid: str) -> Patron:
        path = "/channels/" + "/".join(OPEN_WINDOWS)
        return self.platform.patron(openid, over_http(self.client(), path))

    def staff(self, email: str = LIBRARIAN) -> "Staff":
        return Staff(self.client(), email)

    def close(self) -> None:
        for client in self.clients:
            client.close()


@dataclass
class Visitor:
    """A patron with the widget open."""

    client: httpx.Client
    language: str
    session: str = ""
    stream: str = ""
    seen: int = 0
    sent: int = 0

    def __post_init__(self) -> None:
        answer = self.client.post("/widget/demo/sessions", json={"language": self.language})
        self.session = answer.raise_for_status().json()["session"]

    def says(self, text: str) -> list[dict[str, Any]]:
        """The replies to a message."""
        self.sent += 1
        message = {"session": self.session, "id": f"m{self.sent}", "text": text}
        answer = self.client.post("/widget/demo/messages", json=message)
        assert answer.status_code == 200, answer.text
        return [each for each in self._seen(answer.json()) if each["role"] != "patron"]

    def returns(self) -> list[dict[str, Any]]:
        """What is new when the page is opened again."""
        params = {"session": self.session, "after": self.seen}
        answer = self.client.get("/widget/demo/messages", params=params)
        return self._seen(answer.raise_for_status().json())

    def _seen(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        messages = list(answer["messages"])
        self.seen = max([self.seen, *(message["seq"] for message in messages)])
        self.stream = answer.get("stream", self.stream)
        return messages


@dataclass
class Staff:
    """A member of staff, signed in with a browser."""

    client: httpx.Client
    email: str

    def __post_init__(self) -> None:
        form = {"email": self.email, "password": PASSWORD, "csrf": self._csrf("/sign-in")}
        answer = self.client.post("/sign-in", data=form, headers=self._origin)
        assert answer.status_code == 303, answer.text

    @property
    def _origin(self) -> dict[str, str]:
        return {"origin": str(self.client.base_url).rstrip("/")}

    def sees(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.text

    def does(self, path: str, *, page: str, **form: str) -> httpx.Response:
        data = {**form, "csrf": self._csrf(page)}
        return self.client.post(path, data=data, headers=self._origin)

    def _csrf(self, page: str) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.client.get(page).text)
        assert found, f"{page} has no form"
        return found[1]

    def answers(self, number: int, text: str) -> None:
        """Claim a consultation and answer it."""
        case = f"/desk/c/{number}"
        for action, form in (("claim", {}), ("reply", {"text": text, "mode": "answer"})):
            done = self.does(f"{case}/{action}", page=case, **form)
            assert done.status_code == 303, done.text[:500]


def found_library(database: Database, key: Any, platform_address: str) -> None:
    """The demo library with what the journeys need."""
    chosen = [entry for entry in load_file(STARTER) if entry.id in KNOWN]
    credentials = Credentials()
    with database.transaction() as session:
        library = add_library(
            session, "demo", name="云岭大学图书馆", timezone="Asia/Shanghai", now=MONDAY
        )
        import_entries(session, library.id, chosen, now=MONDAY, by="tests")
        desk = week("08:00", "17:30", days=WEEKDAYS[:5])
        save_calendar(session, library.id, "desk", desk, now=MONDAY, by="tests")
        building = week("07:30", "22:30")
        save_calendar(session, library.id, "building", building, now=MONDAY, by="tests")
        for email, role in ((LIBRARIAN, Role.LIBRARIAN), (MANAGER, Role.MANAGER)):
            add_staff(
                session,
                email,
                name=email,
                role=role,
                library_id=library.id,
                now=MONDAY,
                password=PASSWORD,
            )
        kind, name = OPEN_WINDOWS
        values = {
            "token": credentials.token,
            "app_id": credentials.app_id,
            "encoding_aes_key": credentials.encoding_aes_key,
            "app_secret": credentials.app_secret,
            "api_base": platform_address,
        }
        add_account(session, library, kind=kind, name=name, values=values, keyring=key, now=MONDAY)


def build(
    stack: ExitStack, folder: Path, databases: list[Database], buses: list[EventBus], **changes: Any
) -> Town:
    clock = StandingClock(MONDAY)
    platform = Platform(clock)
    platform_address = stack.enter_context(listening(platform))
    sites = []
    for database, bus in zip(databases, buses, strict=True):
        sites.append(stack.enter_context(serving(folder, clock, database, bus=bus, **changes)))
    state = sites[0].app.state.refdesk
    found_library(databases[0], state.keyring, platform_address)
    town = Town(sites, clock, platform, Worker(state))
    stack.callback(town.close)
    return town


@contextmanager
def listening(platform: Platform) -> Iterator[str]:
    """The platform's side at an address of this machine."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(platform, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(
    scope="module",
    params=[
        "embedded",
        pytest.param("scaled out", marks=[pytest.mark.postgres, pytest.mark.redis]),
    ],
)
def town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    """Each journey is made twice: in one process on SQLite, and with two web servers and a
    worker on PostgreSQL and Redis."""
    folder = tmp_path_factory.mktemp("town")
    with ExitStack() as stack:
        if request.param == "embedded":
            buses: list[EventBus] = [InProcessBus()]
            url, changes = f"sqlite:///{folder / 'refdesk.db'}", {}
        else:
            server = request.getfixturevalue("postgres_server")
            url = stack.enter_context(contextmanager(fresh_postgres)(server, "template0"))
            changes = {"redis_url": request.getfixturevalue("redis_url")}
            buses = [RedisBus(changes["redis_url"]) for _ in range(2)]
        databases = [Database(url, publish=bus.publish, durable=False) for bus in buses]
        databases[0].create_all()
        yield build(stack, folder, databases, buses, **changes)
