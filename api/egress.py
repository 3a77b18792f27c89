"""Calls to addresses that somebody typed in: they may not lead into our own network.

The name is resolved once, every address that it stands for is looked at, and the connection
goes to the very address that was looked at, so that a name cannot change its meaning between
the look and the call. No redirect is followed, and slow or endless answers are cut off.
"""

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore

from api.errors import BadRequest
from bot.channels.base import SendError, SendFailure

SECONDS = 10.0  # for the whole call
LARGEST_ANSWER = 64 * 1024  # bytes that are read of it
LONGEST_ADDRESS = 2_000
# A name's last part begins with a letter: what looks like one but is made of digits (127.1,
# 0x7f000001, 2130706433) is an address in disguise.
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*(?=[a-z]){_LABEL}")
_LOCAL = (".localhost", ".local", ".internal")  # nobody's on the internet
NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[..., Iterable[Any]]  # as socket.getaddrinfo


class UnsafeAddress(BadRequest):
    """This address leads into a private network."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; a longer body is cut."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


def check(url: str, *, allow_private: bool = False) -> None:
    """Refuse an address by how it is written. Raises BadRequest, UnsafeAddress."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadRequest("This is no web address.") from None
    schemes = {"https", "http"} if allow_private else {"https"}
    is_plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if parts.scheme not in schemes or not host or not is_plain or len(url) > LONGEST_ADDRESS:
        raise BadRequest("The address must begin with https:// and hold no spaces.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadRequest("The address may hold no user name and no fragment.")
    if port == 0:
        raise BadRequest("The address has an impossible port.")
    written = _written_address(host)
    if written is None and ("[" in parts.netloc or not _NAME.fullmatch(host)):
        raise BadRequest("The address names no machine that can exist.")
    if allow_private:
        return
    is_local = "." not in host or host.endswith(_LOCAL)
    if is_local if written is None else not is_public(written):
        raise UnsafeAddress


def _written_address(host: str) -> Address | None:
    """The host if it is an address itself; names are looked at when they are called."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether anybody on the internet would reach the same machine by this address.

    An IPv6 address that carries an IPv4 address is as public as that one.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        carried = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if any(inner is not None and not is_public(inner) for inner in carried):
            return False
        if address.scope_id is not None or address.is_site_local:
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allow_private: bool = False,
    resolve: Resolve = socket.getaddrinfo,
    seconds: float = SECONDS,
    trust: ssl.SSLContext | None = None,
) -> Answer:
    """Send a body and read the answer. Raises SendError: what was never sent may be repeated.

    `allow_private` is for installations whose robots live in their own network. `trust`
    replaces the usual certificate authorities.
    """
    try:
        check(url, allow_private=allow_private)
        return _post(url, body, headers, _Guard(resolve, allow_private, seconds), trust)
    except BadRequest as error:
        raise SendError(str(error), failure=SendFailure.PERMANENT) from error
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        raise SendError(type(error).__name__, failure=SendFailure.RETRY) from error
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise SendError(type(error).__name__, failure=SendFailure.UNCERTAIN) from error


def _post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    guard: "_Guard",
    trust: ssl.SSLContext | None,
) -> Answer:
    given = [*headers.items(), ("host", urlsplit(url).netloc), ("accept-encoding", "identity")]
    context = trust or ssl.create_default_context()
    with (
        httpcore.ConnectionPool(ssl_context=context, network_backend=guard, retries=0) as pool,
        pool.stream("POST", url, headers=given, content=body) as response,
    ):
        found = bytearray()
        for part in response.iter_stream():
            found += part
            if len(found) >= LARGEST_ANSWER:
                break
        names = {key.decode("latin-1").lower(): value for key, value in response.headers}
        told = {key: value.decode("latin-1") for key, value in names.items()}
        return Answer(response.status, told, bytes(found[:LARGEST_ANSWER]))


class _Guard(httpcore.NetworkBackend):
    """Connects only to addresses that it has looked at, and only until the time is up."""

    def __init__(self, resolve: Resolve, allow_private: bool, seconds: float) -> None:
        self._resolve = resolve
        self._allow_private = allow_private
        self._until = time.monotonic() + seconds
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        problem: Exception = httpcore.ConnectError("the name has no address")
        for address in self._looked_at(host, port):
            try:
                stream = self._network.connect_tcp(
                    str(address), port, timeout=_left(self._until, httpcore.ConnectTimeout)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
            else:
                return _Hurried(stream, self._until)
        raise problem

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        raise UnsafeAddress

    def sleep(self, seconds: float) -> None:
        """Never called: a call is not repeated here."""

    def _looked_at(self, host: str, port: int) -> list[Address]:
        """All addresses of a name. One that is private makes all of them unsafe."""
        try:
            rows = list(self._resolve(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        found = list(dict.fromkeys(ipaddress.ip_address(row[4][0]) for row in rows))
        if not self._allow_private and not all(is_public(address) for address in found):
            raise UnsafeAddress
        return found


class _Hurried(httpcore.NetworkStream):
    """A connection whose every step must be done before one common end."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream = stream
        self._until = until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = _left(self._until, httpcore.ReadTimeout)
        return self._stream.read(max_bytes, timeout=left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout=_left(self._until, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._until, httpcore.ConnectTimeout)
        return _Hurried(
            self._stream.start_tls(ssl_context, server_hostname, timeout=left), self._until
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(until: float, late: type[Exception]) -> float:
    """Seconds until the end. Raises `late` when there are none."""
    left = until - time.monotonic()
    if left <= 0:
        raise late("the time is up")
    return left
