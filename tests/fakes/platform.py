"""What the fake messaging platforms share: deliveries, failures on demand, screens.

A fake is written from its platform's protocol, not from our adapter: nothing here imports
ours. Its interface is reached in-process through `transport`, or over HTTP as an ASGI app.
"""

import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl

import httpx

Scope = MutableMapping[str, Any]


class Fault(StrEnum):
    """What may go wrong on the way to the platform's interface."""

    REFUSED = "refused"  # no connection: nothing was sent
    TIMEOUT = "timeout"  # no answer; the message was not taken
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"  # no answer, though the patron has it
    RESET_AFTER_ACCEPT = "reset_after_accept"
    GARBAGE = "garbage"  # a proxy's page instead of an answer


_AFTER_ACCEPT = {Fault.TIMEOUT_AFTER_ACCEPT, Fault.RESET_AFTER_ACCEPT}
_SILENT = {Fault.TIMEOUT, Fault.TIMEOUT_AFTER_ACCEPT}


class NoAnswer(Exception):
    """The webhook did not answer in time, or the connection broke."""


@dataclass(frozen=True)
class Call:
    """One request to the library's webhook; header names in lower case."""

    body: bytes = b""
    method: str = "POST"
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


Webhook = Callable[[Call], tuple[int, bytes]]
"""Takes a request to its answer (status, body); raises NoAnswer."""


@dataclass(frozen=True)
class Exchange:
    """What a delivery led to, after all repetitions."""

    statuses: tuple[int | None, ...]  # None: no answer in time
    body: bytes  # of the last answer

    @property
    def taken(self) -> bool:
        last = self.statuses[-1]
        return last is not None and 200 <= last < 300


@dataclass(frozen=True)
class Shown:
    """One thing on the patron's screen."""

    text: str
    at: datetime
    choices: tuple[tuple[str, str], ...] = ()  # (payload, label)
    template: str | None = None  # the name of an approved template


@dataclass(frozen=True)
class Asked:
    """A request to the platform's interface."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object in the body; raises ValueError for anything else."""
        found = json.loads(self.body)
        if not isinstance(found, dict):
            raise ValueError("not an object")
        return found

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    """The interface's answer."""

    content: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> bytes:
        if isinstance(self.content, bytes):
            return self.content
        return json.dumps(self.content, ensure_ascii=False).encode()


@dataclass
class Platform:
    """One messaging platform, for one account. Subclasses say how it speaks."""

    clock: Callable[[], datetime]
    wait: Callable[[float], None] = lambda seconds: None  # between repetitions
    answer_within: float = 5.0  # seconds that the webhook has
    repeats_after: Sequence[float] = (5.0, 5.0, 5.0)  # seconds before each repetition
    screens: defaultdict[str, list[Shown]] = field(default_factory=lambda: defaultdict(list))
    asked: list[Asked] = field(default_factory=list)  # what the library called, in order
    lose_answers: int = 0  # so many answers of the webhook get lost on the way

    def __post_init__(self) -> None:
        self._faults: deque[tuple[str, Fault | Answer]] = deque()
        self._sent_at: defaultdict[str, list[datetime]] = defaultdict(list)

    # --- the library's webhook ----------------------------------------------------------

    def deliver(self, call: Call, webhook: Webhook) -> Exchange:
        """Send a request, again after each pause until it is answered with a 2xx in time."""
        statuses: list[int | None] = []
        body = b""
        for pause in (0.0, *self.repeats_after):
            if statuses:
                self.wait(pause)
            answer = self._answer_in_time(webhook, call)
            statuses.append(answer[0] if answer else None)
            body = answer[1] if answer else b""
            if answer and 200 <= answer[0] < 300:
                break
        return Exchange(tuple(statuses), body)

    def _answer_in_time(self, webhook: Webhook, call: Call) -> tuple[int, bytes] | None:
        began = self.clock()
        try:
            answer = webhook(call)
        except NoAnswer:
            return None
        if self.lose_answers:
            self.lose_answers -= 1
            return None
        late = (self.clock() - began).total_seconds() > self.answer_within
        return None if late else answer

    # --- the interface that the library calls -------------------------------------------

    def fail_next(self, failure: Fault | Answer, *, path: str = "", times: int = 1) -> None:
        """Let the next calls whose path contains `path` fail, or answer as given."""
        self._faults.extend([(path, failure)] * times)

    def handle(self, asked: Asked) -> Answer:
        """The interface's answer, and what it does to the patron's screen."""
        raise NotImplementedError

    def respond(self, asked: Asked) -> Answer | Fault:
        """The interface's answer, or what happens on the way instead."""
        self.asked.append(asked)
        fault = self._next_fault(asked.path)
        if fault is Fault.GARBAGE:
            return Answer(b"<html>gateway</html>")
        if fault is None:
            return self.handle(asked)
        if isinstance(fault, Fault) and fault in _AFTER_ACCEPT:
            self.handle(asked)
        return fault

    def _next_fault(self, path: str) -> Fault | Answer | None:
        for index, (wanted, failure) in enumerate(self._faults):
            if wanted in path:
                del self._faults[index]
                return failure
        return None

    def show(self, patron: str, shown: Shown) -> None:
        self.screens[patron].append(shown)
        self._sent_at[patron].append(self.clock())

    def sent_within(self, patron: str, seconds: float) -> int:
        """How many messages went to the patron within the last seconds."""
        now = self.clock()
        return sum((now - at).total_seconds() < seconds for at in self._sent_at[patron])

    @property
    def transport(self) -> httpx.BaseTransport:
        """For `httpx.Client(transport=...)`: the interface without a network."""
        return _Transport(self)

    async def __call__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Scope]],
        send: Callable[[Scope], Awaitable[None]],
    ) -> None:
        """ASGI: the same interface over HTTP."""
        if scope["type"] != "http":
            return
        answer = self.respond(await _asked(scope, receive))
        if isinstance(answer, Fault):
            await _break(answer, receive, send)
            return
        headers = {"content-type": "application/json; charset=utf-8", **answer.headers}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await send({"type": "http.response.body", "body": answer.bytes})


def over_http(client: httpx.Client, address: str, *, within: float = 5.0) -> Webhook:
    """The library's webhook at an address, reached with this client."""

    def webhook(call: Call) -> tuple[int, bytes]:
        try:
            response = client.request(
                call.method,
                address,
                params=call.query,
                content=call.body,
                headers=call.headers,
                timeout=within,
            )
        except httpx.TransportError as error:
            raise NoAnswer(type(error).__name__) from error
        return response.status_code, response.content

    return webhook


class _Transport(httpx.BaseTransport):
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._platform.respond(
            Asked(
                request.method,
                request.url.path,
                dict(parse_qsl(request.url.query.decode(), keep_blank_values=True)),
                {name.lower(): value for name, value in request.headers.items()},
                request.read(),
            )
        )
        if not isinstance(answer, Fault):
            return httpx.Response(
                answer.status, headers=answer.headers, content=answer.bytes, request=request
            )
        if answer is Fault.REFUSED:
            raise httpx.ConnectError("connection refused", request=request)
        if answer in _SILENT:
            raise httpx.ReadTimeout("timed out", request=request)
        raise httpx.ReadError("connection reset", request=request)


async def _asked(scope: Scope, receive: Callable[[], Awaitable[Scope]]) -> Asked:
    body, more = b"", True
    while more:
        part = await receive()
        body += part.get("body", b"")
        more = part.get("more_body", False)
    return Asked(
        scope["method"],
        scope["path"],
        dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True)),
        {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body,
    )


async def _break(
    fault: Fault,
    receive: Callable[[], Awaitable[Scope]],
    send: Callable[[Scope], Awaitable[None]],
) -> None:
    """Over real HTTP: keep silent until the caller hangs up, or hang up mid-answer."""
    if fault in _SILENT:
        while (await receive())["type"] != "http.disconnect":
            continue
        return
    headers = [(b"content-length", b"64")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{"})


def utf16(text: str) -> int:
    """The length that JavaScript and several platforms count."""
    return len(text.encode("utf-16-le")) // 2
