"""Our quick replies as Rasa's intents, and back."""

import pytest

from bot.channels.rasa_server.payloads import from_rasa, to_rasa


@pytest.mark.parametrize("payload", ["/entry renew-books", "/helped yes", "/none", "/person"])
def test_a_button_comes_back_as_what_it_was(payload):
    assert from_rasa({"text": to_rasa(payload)}) == payload


def test_entities_that_rasa_parsed_count():
    entities = [{"entity": "entry", "value": "holds"}]

    assert from_rasa({"text": "/refdesk_choose_entry", "entities": entities}) == "/entry holds"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "How do I renew?",
        "/greet",
        "/refdesk_choose_entry",
        "/refdesk_choose_entry{}",
        '/refdesk_choose_entry{"entry": ',
        "/refdesk_choose_entry[1]",
        "/refdesk_unheard_of",
    ],
)
def test_anything_else_is_words(text):
    assert from_rasa({"text": text}) is None


def test_what_no_database_keeps_is_replaced():
    text = '/refdesk_choose_entry{"entry": "a\\u0000b\\ud800"}'

    assert from_rasa({"text": text}) == "/entry a\ufffdb\ufffd"


def test_what_is_no_quick_reply_of_ours_passes_unchanged():
    assert to_rasa("https://example.org") == "https://example.org"
