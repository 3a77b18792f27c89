from dataclasses import replace

import pytest

from kb.entries import hints
from kb.knowledge import KnowledgeBase


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("renew-books", "renew books"),
        ("ask_renew.online-2", "ask renew online"),
        ("续借", "续借"),
        ("17", ""),
        ("q-17", ""),
    ],
)
def test_a_key_tells_of_its_entry_by_its_words(renew, key, words):
    assert replace(renew, id=key).key_words == words


def test_what_keys_have_in_common_is_no_hint(renew, hours):
    known = [replace(renew, id="entry-1"), replace(hours, id="entry-2")]

    told = [hint.text for hint in hints(known)]

    assert "entry" not in told
    assert set(renew.answers.values()) <= set(told)


def test_an_entry_is_found_by_the_words_of_its_key(renew, hours):
    fees = replace(hours, id="overdue-fines", questions={"en": ("what if I am late",)}, answers={})
    numbered = replace(fees, id="7")

    named = KnowledgeBase([renew, hours, fees]).ask("how high are the fines")
    unnamed = KnowledgeBase([renew, hours, numbered]).ask("how high are the fines")

    assert named.candidates[0].entry == "overdue-fines"
    here = {one.entry: one.probability for one in named.candidates}
    there = {one.entry: one.probability for one in unnamed.candidates}
    assert here["overdue-fines"] > there.get("7", 0.0)
