from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.edge import BODY_LIMIT, CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/sign-in", "/api/v1/me"])
def test_every_answer_carries_the_headers_that_keep_a_browser_safe(
    client: TestClient, path: str
) -> None:
    headers = client.get(path).headers

    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert len(headers["x-request-id"]) == 16


def test_the_content_policy_allows_no_inline_script_and_no_inline_style() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "script-src 'self'" in CONTENT_SECURITY_POLICY
    assert "style-src 'self'" in CONTENT_SECURITY_POLICY
    assert "frame-ancestors 'none'" in CONTENT_SECURITY_POLICY


def test_a_body_over_the_limit_is_refused_before_anything_reads_it(client: TestClient) -> None:
    answer = client.post("/webhooks/rest/webhook", content=b"x" * (BODY_LIMIT + 1))

    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


def test_a_body_without_a_length_is_cut_off_at_the_limit(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(BODY_LIMIT // 1024 + 1):
            yield b"x" * 1024

    assert client.post("/webhooks/rest/webhook", content=endless()).status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "abc"])
def test_a_length_that_is_no_number_is_refused(client: TestClient, length: str) -> None:
    answer = client.post(
        "/webhooks/rest/webhook", content=b"{}", headers={"content-length": length}
    )

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 404),
        ("localhost", 404),
        ("[::1]:8000", 404),
        ("desk", 404),
        ("192.168.1.20:8000", 404),
        ("evil.example.org", 421),
        ("evil.example.org@localhost", 421),
        ("", 421),
    ],
)
def test_without_a_public_address_only_local_names_are_answered(
    client: TestClient, host: str, status: int
) -> None:
    assert client.get("/nothing", headers={"host": host}).status_code == status


def test_probes_are_answered_under_any_name(client: TestClient) -> None:
    assert client.get("/healthz", headers={"host": "10.1.2.3.cluster.example"}).status_code == 200


def test_an_unexpected_error_tells_nothing_of_our_insides(app: FastAPI) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise LookupError("the patron said: help")

    client = TestClient(app, raise_server_exceptions=False)
    answer = client.get("/broken")

    assert answer.status_code == 500
    assert "patron" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_ready_says_which_part_is_not(client: TestClient) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": True, "bus": True, "index": False}


def test_measures_are_for_our_own_network_only(app: FastAPI) -> None:
    inside = TestClient(app, client=("127.0.0.1", 5000))
    outside = TestClient(app, client=("8.8.8.8", 5000))

    assert "refdesk_requests_total" in inside.get("/metrics").text
    assert outside.get("/metrics").status_code == 403


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_measures_are_not_passed_on_by_a_proxy(app: FastAPI, name: str) -> None:
    behind = TestClient(app, client=("172.18.0.5", 5000), headers={name: "10.0.0.1"})

    assert behind.get("/metrics").status_code == 403
    assert behind.get("/healthz").status_code == 200


def test_whom_a_trusted_proxy_speaks_for_is_no_neighbour(app: FastAPI) -> None:
    trusting = ProxyHeadersMiddleware(app, trusted_hosts=["127.0.0.1"])
    proxy = TestClient(trusting, client=("127.0.0.1", 5000))

    answers = [
        proxy.get("/metrics", headers={"X-Forwarded-For": address}).status_code
        for address in ("203.0.113.9", "10.0.0.1", "10.0.0.1, 203.0.113.9")
    ]

    assert answers == [403] * 3
