"""Calls to addresses that somebody typed in stay out of our own network."""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from api.egress import LARGEST_ANSWER, UnsafeAddress, check, is_public, post
from api.errors import BadRequest
from bot.channels.base import SendError, SendFailure

PRIVATE = (
    "127.0.0.1", "127.1.2.3", "0.0.0.0",  # noqa: S104 - an address to refuse
    "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "fec0::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:7f00:1::",
    "2002:a9fe:a9fe::", "2001:0:7f00:1::", "2001:db8::1", "fe80::1%1",
)  # fmt: skip
PUBLIC = ("1.1.1.1", "8.8.8.8", "101.226.0.1", "2606:4700::1111", "64:ff9b::808:808")


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_of_our_own_network_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "ftp://example.org/", "https://", "https:///x", "//example.org",
        "https://user:pass@example.org/", "https://example.org/#x", "https://exa mple.org/",
        "https://example.org\\@127.0.0.1/", "https://例え.jp/", "https://example.org:0/",
        "https://example.org:99999/", "file:///etc/passwd", "https://[::1/", "",
        "https://example.org/\r\nHost: x", "https://example.org/" + "a" * 2_000,
    ],
)  # fmt: skip
def test_an_address_that_is_not_plain_https_is_refused(url: str) -> None:
    with pytest.raises(BadRequest):
        check(url)


@pytest.mark.parametrize(
    "host",
    [
        "a..b", ".example.org", "example.org.", "-a.example.org", "a-.example.org", "*.example.org",
        "%31.example.org", "ex'ample.org", "a,b.example.org", "127.1", "0x7f.0.0.1", "2130706433",
        "0177.0.0.1", "127.0.0.1.", "[v1.fe80]", "x" * 64 + ".example.org", "a." * 130 + "org",
    ],
)  # fmt: skip
@pytest.mark.parametrize("allow_private", [False, True])
def test_a_host_that_cannot_be_is_refused(host: str, *, allow_private: bool) -> None:
    with pytest.raises(BadRequest):
        check(f"https://{host}/", allow_private=allow_private)


@pytest.mark.parametrize(
    "host",
    [
        "oapi.dingtalk.com", "qyapi.weixin.qq.com:8443", "1.1.1.1", "[2606:4700::1111]",
        "OPEN.feishu.cn", "xn--fsq.example.org", "3.example.org", "my_robot.example.org",
    ],
)  # fmt: skip
def test_a_host_of_the_internet_is_taken(host: str) -> None:
    check(f"https://{host}/robot")


def test_a_name_of_our_own_network_is_taken_where_the_setting_allows_it() -> None:
    check("http://chat-server:8080/hook", allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://10.0.0.1/",
        "https://intranet/", "https://a.localhost/", "https://robot.internal/",
    ],
)  # fmt: skip
def test_a_private_address_is_refused_when_it_is_entered(url: str) -> None:
    with pytest.raises(UnsafeAddress):
        check(url)


def test_a_private_address_is_taken_where_the_setting_allows_it() -> None:
    check("http://127.0.0.1:8080/robot", allow_private=True)


def names(*addresses: str) -> Callable[..., list[Any]]:
    """A name server that answers with these addresses, the first time the first and so on."""
    asked = iter([*addresses, *[addresses[-1]] * 9])

    def resolve(_host: str, port: int, **_: Any) -> list[Any]:
        address = next(asked)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    return resolve


@pytest.mark.parametrize("address", PRIVATE[:-1])
def test_a_name_that_stands_for_a_private_address_is_never_called(address: str) -> None:
    with pytest.raises(SendError, match="private network") as caught:
        post("https://robot.example/", b"{}", {}, resolve=names(address), seconds=1)

    assert caught.value.failure is SendFailure.PERMANENT


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    def resolve(_host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("93.184.216.34", "127.0.0.1")
        ]

    with pytest.raises(SendError, match="private network"):
        post("https://robot.example/", b"{}", {}, resolve=resolve, seconds=1)


# --- against a real socket -----------------------------------------------------------------


@contextmanager
def answering(serve: Callable[[socket.socket, bytes], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server for one request; `serve` gets the connection and what it read."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)

        def run() -> None:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # nobody called, as some tests demand
            with connection:
                received.append(request_of(connection))
                try:
                    serve(connection, received[0])
                except OSError:
                    return  # the caller hung up, which is what the test is about

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://robot.example:{listening.getsockname()[1]}/send?key=1", received
        thread.join(timeout=6)


def request_of(connection: socket.socket) -> bytes:
    """The head and the seven bytes of body that these tests send."""
    read = b""
    while not read.endswith(b'{"a":1}'):
        part = connection.recv(65_536)
        if not part:
            break
        read += part
    return read


def whole(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def call(url: str, **options: Any) -> Any:
    return post(
        url, b'{"a":1}', {"x-y": "z"}, allow_private=True, resolve=names("127.0.0.1"), **options
    )


def test_the_call_goes_to_the_address_that_was_looked_at_under_the_name_that_was_given() -> None:
    with answering(lambda to, _: to.sendall(whole("200 OK", b"fine"))) as (url, received):
        answer = post(
            url,
            b'{"a":1}',
            {"x-y": "z"},
            allow_private=True,
            resolve=names("127.0.0.1", "10.255.255.1"),
        )

    assert (answer.status, answer.body) == (200, b"fine")
    text = received[0].decode().lower()
    assert text.startswith("post /send?key=1 http/1.1")
    assert "host: robot.example:" in text
    assert "x-y: z" in text
    assert text.endswith('{"a":1}')


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    moved = whole("302 Found", b"", "location: http://169.254.169.254/latest")
    with answering(lambda to, _: to.sendall(moved)) as (url, _):
        assert call(url).status == 302


def test_an_endless_answer_is_cut() -> None:
    def flood(to: socket.socket, _: bytes) -> None:
        to.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _number in range(1_000):
            to.sendall(b"x" * 10_000)

    with answering(flood) as (url, _):
        assert len(call(url).body) == LARGEST_ANSWER


def test_an_answer_that_drips_is_given_up_when_the_time_is_over() -> None:
    def drip(to: socket.socket, _: bytes) -> None:
        for letter in b"HTTP/1.1 200 OK\r\n" * 20:
            to.sendall(bytes([letter]))
            threading.Event().wait(0.05)

    started = time.monotonic()
    with answering(drip) as (url, _), pytest.raises(SendError) as caught:
        call(url, seconds=0.4)

    assert caught.value.failure is SendFailure.UNCERTAIN
    assert time.monotonic() - started < 10


def test_what_never_left_may_be_sent_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(SendError) as caught:
        call(f"http://robot.example:{port}/", seconds=2)

    assert caught.value.failure is SendFailure.RETRY


def test_a_connection_that_breaks_after_the_request_is_uncertain() -> None:
    with answering(lambda to, _: to.close()) as (url, _), pytest.raises(SendError) as caught:
        call(url)

    assert caught.value.failure is SendFailure.UNCERTAIN
