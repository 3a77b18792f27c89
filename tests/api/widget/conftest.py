"""Somebody with the widget open on a page of the library."""

import json
import uuid
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.api.conftest import Libraries


class Patron:
    """Somebody with the widget open."""

    def __init__(self, client: TestClient, language: str = "zh-Hans", **sent: Any) -> None:
        self.client = client
        started = client.post("/widget/north/sessions", json={"language": language, **sent})
        assert started.status_code == 200, started.text
        self.session: str = started.json()["session"]

    def says(self, text: str, **more: Any) -> dict[str, Any]:
        sent = {"session": self.session, "id": uuid.uuid4().hex, "text": text, **more}
        answer = self.client.post("/widget/north/messages", content=json.dumps(sent))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def reads(self, after: int = 0) -> dict[str, Any]:
        answer = self.client.get(
            f"/widget/north/messages?after={after}",
            headers={"Authorization": f"Bearer {self.session}"},
        )
        found: dict[str, Any] = answer.json()
        return found

    def posts(self, path: str, **sent: Any) -> Any:
        """Anything else that the widget sends."""
        body = {"session": self.session, **sent}
        return self.client.post(f"/widget/north/{path}", json=body)

    def sends(self, name: str, data: bytes, id: str | None = None) -> Any:  # noqa: A002
        """A file."""
        return self.client.post(
            "/widget/north/files",
            params={"id": id or uuid.uuid4().hex, "name": name},
            content=data,
            headers={"Authorization": f"Bearer {self.session}"},
        )


@pytest.fixture
def patron(client: TestClient, libraries: Libraries) -> Patron:
    return Patron(client)
