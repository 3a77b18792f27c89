"""Numbers, days and characters that no calendar and no database knows."""

import pytest
from starlette.testclient import TestClient

from kb.documents import BadDocument, entry_from_document
from tests.api.conftest import Libraries, SignIn

HUGE = 2**63
HALF = '"\\ud800"'  # half of a character, as JSON writes it


@pytest.mark.parametrize(
    "path",
    [
        f"/desk/c/{HUGE}",
        f"/api/v1/consultations?before={HUGE}",
        "/api/v1/stats?from=9999-12-31&to=9999-12-31",
        "/manage?period=custom&from=9999-12-31&to=9999-12-31",
    ],
)
def test_what_cannot_be_is_refused_and_breaks_nothing(signed_in: SignIn, path: str) -> None:
    assert 400 <= signed_in("manager@north").get(path).status_code < 500


@pytest.mark.parametrize("host", ["[::1", "[bad]", '"><script>'])
def test_a_host_that_is_none_is_not_ours(client: TestClient, host: str) -> None:
    assert client.get("/sign-in", headers={"host": host}).status_code == 421


def test_half_a_character_loses_no_message(client: TestClient, libraries: Libraries) -> None:
    body = f'{{"sender": "p", "message": "hi", "metadata": {{"message_id": {HALF}}}}}'

    answers = [client.post("/webhooks/rest/webhook", content=body) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json() != []


@pytest.mark.parametrize("path", ["messages", "read", "unlink", "answers"])
def test_a_session_of_half_characters_is_nobodys(
    client: TestClient, libraries: Libraries, path: str
) -> None:
    answer = client.post(f"/widget/north/{path}", content='{"session": "\\ud800.x"}')

    assert 400 <= answer.status_code < 500


def test_an_entry_with_half_a_character_is_refused() -> None:
    document = {
        "id": "piano",
        "category": "rooms",
        "questions": {"en": ["where is the piano", "piano"]},
        "answers": {"en": "Upstairs \ud800"},
    }

    with pytest.raises(BadDocument, match="half of a character"):
        entry_from_document(document)
