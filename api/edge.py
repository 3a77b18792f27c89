"""What happens to every request before and after its route: limits, headers, log, measures.

One plain ASGI layer, because this is on the path of every webhook.
"""

import ipaddress
import re
import time
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import FORM_SEED
from api.errors import RefdeskError, TooLarge, UnknownHost
from api.logs import log_problem
from api.measures import Measures
from api.settings import Settings
from api.uploads import LARGEST

log = structlog.get_logger("access")

BODY_LIMIT = 64 * 1024  # of anything a stranger or a platform sends
UPLOAD_LIMIT = 10 * 1024 * 1024  # of a signed-in browser's file
UPLOAD_PATHS = ("/desk", "/manage")
_TAKES_FILES = re.compile(r"/widget/[^/]+/files")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
HSTS = "max-age=31536000"
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class Edge:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, settings: Settings, measures: Measures) -> None:
        self.app = app
        self._measures = measures
        self._hosts = allowed_hosts(settings)
        self._any_local = settings.base_url is None
        headers = dict(HEADERS)
        if settings.is_https:
            headers["strict-transport-security"] = HSTS
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._secure = b"; Secure" if settings.is_https else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = uuid.uuid4().hex[:16]
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._with_headers(message, scope, request_id)
                self._measure(scope, status, time.perf_counter() - started)
            await send(message)

        try:
            self._check_host(scope)
            receive = await _within_limit(scope, receive)
        except RefdeskError as refusal:
            await _refuse(send_on, refusal)
        else:
            await self._answer(scope, receive, send_on)
        finally:
            self._write(scope, status, time.perf_counter() - started, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        except Exception as error:  # the last resort: whoever asked gets an answer
            log_problem("unexpected_error", error)
            if not started:
                answer = PlainTextResponse("Something went wrong here.\n", status_code=500)
                await answer(scope, receive, send_on)
            raise

    def _check_host(self, scope: Scope) -> None:
        if scope["path"] in PROBES:
            return
        host = _header(scope, b"host").decode("latin-1")
        name = _name_of(host)
        if name in self._hosts or (self._any_local and _is_local(name)):
            return
        raise UnknownHost

    def _with_headers(
        self, message: Message, scope: Scope, request_id: str
    ) -> list[tuple[bytes, bytes]]:
        given = list(message.get("headers", ()))
        names = {name.lower() for name, _ in given}
        given += [(name, value) for name, value in self._headers if name not in names]
        given.append((b"x-request-id", request_id.encode()))
        seed = scope.get(FORM_SEED)
        if seed:
            cookie = f"refdesk_form={seed}; Path=/; HttpOnly; SameSite=Lax".encode()
            given.append((b"set-cookie", cookie + self._secure))
        return given

    def _measure(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        self._measures.requests.labels(scope["method"], route, str(status)).inc()
        self._measures.seconds.labels(route).observe(seconds)

    def _write(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = _route(scope)
        if route in PROBES:
            return  # asked every few seconds; what they find is at /readyz
        level = log.error if status >= 500 else log.info
        level(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            request=request_id,
        )


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """The host names that we answer for."""
    public = urlsplit(settings.public_url).hostname or ""
    return frozenset({public, "localhost", "127.0.0.1", "::1", *settings.allowed_hosts})


def _is_local(name: str) -> bool:
    """Whether the name cannot be one that a foreign page's DNS points at us.

    Without a public address we answer to addresses and to bare names of this network only.
    """
    if "." not in name and ":" not in name:
        return bool(name)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name_of(host: str) -> str:
    """The name in a Host header without its port; empty if there is none that could be one."""
    if any(letter in host for letter in "/?#@\\ <>\"'"):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # half of an IPv6 address
        return ""


def _header(scope: Scope, name: bytes) -> bytes:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key == name), b"")


def _route(scope: Scope) -> str:
    """The pattern of the route, never the path: paths hold ids and tokens."""
    route = scope.get("route")
    path = getattr(route, "path", None)
    return path if isinstance(path, str) else "-"


async def _within_limit(scope: Scope, receive: Receive) -> Receive:
    """Refuse a body over the limit before anything reads it. Raises TooLarge."""
    if scope["method"] in {"GET", "HEAD", "OPTIONS"}:
        return receive
    limit = _limit(scope)
    length = _header(scope, b"content-length")
    if length:
        if not length.isdigit() or int(length) > limit:
            raise TooLarge
        return receive  # the server itself cuts the body at the announced length
    return _replayed(await _read(receive, limit), receive)


def _limit(scope: Scope) -> int:
    if _TAKES_FILES.fullmatch(scope["path"]):
        return LARGEST + 1  # the route itself refuses, where the widget can read why
    uploads = scope["path"].startswith(UPLOAD_PATHS)
    return UPLOAD_LIMIT if uploads and b"refdesk=" in _header(scope, b"cookie") else BODY_LIMIT


async def _read(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLarge
        if not message.get("more_body"):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return receive_again


async def _refuse(send: Send, refusal: RefdeskError) -> None:
    body = f"{refusal}\n".encode()
    headers: list[Any] = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
