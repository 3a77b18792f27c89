from dataclasses import replace

import pytest

from kb import knowledge as knowledge_module
from kb.knowledge import KnowledgeBase
from kb.large import LargeMatcher

KEPT = (
    *("renew-books", "opening-hours", "printing", "wifi", "lost-card", "lost-book", "return-books"),
    *("overdue-fines", "pay-fines", "seat-booking", "cnki-access", "interlibrary-loan"),
)


@pytest.fixture(scope="module")
def large(starter):
    """A library that counts as large from ten entries on."""
    few = [
        replace(entry, questions={lang: texts[:4] for lang, texts in entry.questions.items()})
        for entry in starter.entries
        if entry.id in KEPT
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knowledge_module, "TRAINED", 10)
        yield KnowledgeBase(few)


def test_a_large_library_is_indexed_and_not_trained(large):
    assert isinstance(large.matcher, LargeMatcher)


@pytest.mark.parametrize(
    "text", ["怎么续借图书", "How do I renew a book", "Làm sao để gia hạn sách"]
)
def test_it_finds_what_is_asked(large, text):
    assert large.ask(text).candidates[0].entry == "renew-books"


def test_it_does_not_answer_what_no_entry_answers(large):
    assert large.ask("who won the world cup in 2018").entries == ()


def test_one_entry_changes_without_touching_the_index(large, renew):
    before = large.ask("怎么续借图书")

    entries = [entry for entry in large.entries if entry.id != "wifi"]
    changed = large.changed(
        [*entries, renew.__class__("zebra", "c", {"en": ("ride a zebra",)}, {})], version=2
    )

    assert changed.matcher.segments_[0] is large.matcher.segments_[0]
    assert changed.ask("ride a zebra").candidates[0].entry == "zebra"
    assert "wifi" not in {c.entry for c in changed.ask("wifi password").candidates}
    assert large.ask("怎么续借图书") == before


def test_it_is_recalled_from_disk(large, tmp_path, monkeypatch):
    monkeypatch.setattr(knowledge_module, "TRAINED", 10)
    first = KnowledgeBase(large.entries, cache=tmp_path)

    second = KnowledgeBase(large.entries, cache=tmp_path)

    assert isinstance(second.matcher, LargeMatcher)
    assert second.ask("can I renew online") == first.ask("can I renew online")


def test_it_explains_itself(large):
    explanation = large.explain("怎么续借图书")

    assert explanation.nearest[0][0] == "renew-books"
    assert any("续借" in reason.feature for reason in explanation.reasons)
