from dataclasses import replace
from datetime import date
from threading import Thread

from kb.knowledge import KnowledgeBase, KnowledgeBases
from kb.library import import_entries, retire_entry, save_entry
from kb.verdict import Verdict
from tests.kb.conftest import NOW

TODAY = date(2026, 9, 7)


def test_an_empty_knowledge_base_knows_nothing():
    decision = KnowledgeBase([]).ask("怎么续借")

    assert decision.verdict is Verdict.UNKNOWN
    assert decision.p_none == 1.0


def test_a_single_entry_is_found_and_not_forced_on_everything(renew):
    knowledge = KnowledgeBase([renew])

    assert knowledge.ask("How do I renew a book").candidates[0].entry == "renew-books"
    assert knowledge.ask("what is the capital of Peru").verdict is not Verdict.SURE


def test_the_same_library_is_fitted_once(session, renew, hours):
    import_entries(session, 1, [renew, hours], now=NOW, by="lin")
    bases = KnowledgeBases()

    assert bases.of(session, 1, today=TODAY) is bases.of(session, 1, today=TODAY)


def test_a_change_is_seen_by_the_next_question(session, renew, hours):
    import_entries(session, 1, [renew], now=NOW, by="lin")
    bases = KnowledgeBases()
    before = bases.of(session, 1, today=TODAY)

    save_entry(session, 1, hours, now=NOW, by="lin")
    after = bases.of(session, 1, today=TODAY)

    assert before.entry("opening-hours") is None
    assert after.entry("opening-hours") == hours
    assert after.version > before.version


def test_a_retired_entry_answers_no_more(session, renew, hours):
    import_entries(session, 1, [renew, hours], now=NOW, by="lin")
    bases = KnowledgeBases()
    bases.of(session, 1, today=TODAY)

    retire_entry(session, 1, "renew-books", now=NOW, by="lin")

    candidates = bases.of(session, 1, today=TODAY).ask("How do I renew a book").candidates
    assert "renew-books" not in [candidate.entry for candidate in candidates]


def test_entries_come_and_go_with_their_dates(session, renew, hours):
    summer = replace(hours, valid_from=date(2026, 9, 8), valid_until=date(2026, 9, 9))
    import_entries(session, 1, [renew, summer], now=NOW, by="lin")
    bases = KnowledgeBases()

    held = [
        bases.of(session, 1, today=date(2026, 9, day)).entry("opening-hours") is not None
        for day in (7, 8, 9, 10, 9)
    ]

    assert held == [False, True, True, False, True]


def test_only_so_many_libraries_are_held(session, renew, hours):
    import_entries(session, 1, [renew], now=NOW, by="lin")
    import_entries(session, 2, [hours], now=NOW, by="lin")
    bases = KnowledgeBases(capacity=1)

    first = bases.of(session, 1, today=TODAY)
    bases.of(session, 2, today=TODAY)

    assert bases.of(session, 1, today=TODAY) is not first


def test_a_repeated_question_is_decided_once_and_anew_after_a_change(renew, hours):
    knowledge = KnowledgeBase([renew, hours], version=1)

    first = knowledge.ask("how do I renew my books", lang="en")

    assert knowledge.ask("how do I renew my books", lang="en") is first
    assert knowledge.changed([hours], version=2).ask("how do I renew my books", lang="en") != first
    assert knowledge.leaning(0.1).ask("how do I renew my books", lang="en") is not first


def test_many_threads_may_ask_one_knowledge_base(starter):
    questions = ["怎么续借图书？", "can I renew online", "gia han sach the nao"] * 20
    expected = [starter.ask(question) for question in questions]
    found = {}

    def ask(thread):
        found[thread] = [starter.ask(question) for question in questions]

    threads = [Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(found[number] == expected for number in range(4))
