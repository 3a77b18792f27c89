from dataclasses import replace
from datetime import date, timedelta

import pytest

from kb.entries import Concept
from kb.errors import BadEntry, UnknownEntry
from kb.library import (
    entries_since,
    entry_versions,
    export_concepts,
    export_entries,
    import_entries,
    knowledge_version,
    restore_version,
    retire_entry,
    save_concepts,
    save_entry,
)
from tests.kb.conftest import NOW


def test_what_was_imported_is_exported_unchanged(session, renew, hours):
    dated = replace(
        hours,
        valid_from=date(2026, 9, 1),
        review_by=date(2027, 1, 1),
        tags=("term", "desk"),
        url="https://library.example/hours",
        owner="desk@library.example",
    )

    report = import_entries(session, 1, [renew, dated], now=NOW, by="lin")

    assert report.added == ("renew-books", "opening-hours")
    assert export_entries(session, 1) == [renew, dated]


def test_importing_the_same_again_changes_nothing(session, renew, hours):
    import_entries(session, 1, [renew, hours], now=NOW, by="lin")
    version = knowledge_version(session, 1)

    report = import_entries(session, 1, [renew, hours], now=NOW, by="lin")

    assert report.unchanged == ("renew-books", "opening-hours")
    assert knowledge_version(session, 1) == version


def test_an_update_keeps_the_order_and_the_history(session, renew, hours):
    import_entries(session, 1, [renew, hours], now=NOW, by="lin")
    changed = replace(renew, answers={"en": "At the desk."})

    report = import_entries(session, 1, [changed], now=NOW + timedelta(days=1), by="mai")

    assert report.updated == ("renew-books",)
    assert [entry.id for entry in export_entries(session, 1)] == ["renew-books", "opening-hours"]
    versions = entry_versions(session, 1, "renew-books")
    assert [(v.number, v.by, v.entry) for v in versions] == [(2, "mai", changed), (1, "lin", renew)]


def test_libraries_do_not_see_each_other(session, renew, hours):
    import_entries(session, 1, [renew], now=NOW, by="lin")
    import_entries(session, 2, [hours], now=NOW, by="mai")

    assert export_entries(session, 1) == [renew]
    assert export_entries(session, 2) == [hours]
    with pytest.raises(UnknownEntry):
        retire_entry(session, 2, "renew-books", now=NOW, by="mai")


def test_a_retired_entry_is_gone_but_its_history_stays(session, renew, hours):
    import_entries(session, 1, [renew, hours], now=NOW, by="lin")

    retire_entry(session, 1, "renew-books", now=NOW, by="lin")

    assert export_entries(session, 1) == [hours]
    assert [v.retired for v in entry_versions(session, 1, "renew-books")] == [True, False]


def test_a_retired_entry_can_be_restored(session, renew):
    save_entry(session, 1, renew, now=NOW, by="lin")
    retire_entry(session, 1, "renew-books", now=NOW, by="lin")

    restore_version(session, 1, "renew-books", 1, now=NOW, by="lin")

    assert export_entries(session, 1) == [renew]


def test_every_change_moves_the_version(session, renew, hours):
    numbers = [knowledge_version(session, 1)]
    save_entry(session, 1, renew, now=NOW, by="lin")
    numbers.append(knowledge_version(session, 1))
    save_entry(session, 1, hours, now=NOW, by="lin")
    numbers.append(knowledge_version(session, 1))
    retire_entry(session, 1, "renew-books", now=NOW, by="lin")
    numbers.append(knowledge_version(session, 1))
    save_concepts(session, 1, [Concept("east-hall", {"en": ("the east hall",)})], now=NOW)
    numbers.append(knowledge_version(session, 1))

    assert numbers == [0, 1, 2, 3, 4]


def test_a_wording_that_two_entries_claim_is_reported(session, renew, hours):
    questions = {**hours.questions, "en": ("how do I RENEW a book",)}

    report = import_entries(
        session, 1, [renew, replace(hours, questions=questions)], now=NOW, by="lin"
    )

    assert [conflict.entries for conflict in report.conflicts] == [("renew-books", "opening-hours")]


def test_only_what_changed_is_read_again(session, renew, hours):
    import_entries(session, 1, [renew, hours], now=NOW, by="lin")
    before = entries_since(session, 1, {})
    edited = replace(renew, answers={"en": "Edited."})
    save_entry(session, 1, edited, now=NOW, by="lin")

    after = entries_since(session, 1, before)

    assert [entry for _, entry in after.values()] == [edited, hours]
    assert after[hours.id] is before[hours.id]


def test_a_retired_entry_is_read_no_more(session, renew, hours):
    import_entries(session, 1, [renew, hours], now=NOW, by="lin")
    before = entries_since(session, 1, {})
    retire_entry(session, 1, renew.id, now=NOW, by="lin")

    assert list(entries_since(session, 1, before)) == [hours.id]


def test_an_entry_that_is_saved_stands_behind_the_others(session, renew, hours):
    import_entries(session, 1, [renew], now=NOW, by="lin")
    save_entry(session, 1, hours, now=NOW, by="lin")
    save_entry(session, 1, replace(renew, id="a-third"), now=NOW, by="lin")

    assert [entry.id for entry in export_entries(session, 1)] == [renew.id, hours.id, "a-third"]


def test_an_entry_without_a_question_is_refused(session, renew):
    with pytest.raises(BadEntry, match="no question"):
        save_entry(session, 1, replace(renew, questions={}), now=NOW, by="lin")


def test_a_librarys_own_concepts_are_kept(session):
    concept = Concept("east-hall", {"zh": ("东馆",), "en": ("east hall",), "vi": ()}, "a building")

    save_concepts(session, 1, [concept], now=NOW)

    assert export_concepts(session, 1) == [concept]
