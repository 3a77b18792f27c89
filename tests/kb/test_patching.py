from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from kb.knowledge import KnowledgeBases
from kb.library import import_entries, save_entry
from tests.kb.conftest import NOW

TODAY = date(2026, 9, 7)
QUESTIONS = ["怎么续借图书", "Where can I print", "mat the thu vien", "知网怎么进", "周日开门吗"]


def tops(knowledge):
    return [knowledge.ask(text).candidates[0].entry for text in QUESTIONS]


def test_a_new_phrasing_is_found_at_once(starter):
    wifi = starter.entry("wifi")
    questions = {**wifi.questions, "en": (*wifi.questions["en"], "my eduroam keeps dropping")}
    edited = replace(wifi, questions=questions)

    changed = starter.changed(
        [edited if entry.id == "wifi" else entry for entry in starter.entries], version=2
    )

    assert changed.ask("my eduroam keeps dropping").candidates[0].entry == "wifi"
    assert changed.entry("wifi") == edited
    assert changed.version == 2


def test_an_edited_entry_is_found_by_its_own_questions_at_once(starter):
    lost = []
    for edited in starter.entries[::9]:
        answered = replace(edited, answers={"en": "Edited."})
        changed = starter.changed(
            [answered if entry is edited else entry for entry in starter.entries], version=2
        )
        titles = [questions[0] for questions in edited.questions.values()]
        lost += [
            title
            for title in titles
            if starter.ask(title).entries == (edited.id,) != changed.ask(title).entries
        ]

    assert lost == []


def test_the_old_knowledge_base_stays_as_it_was(starter, renew):
    before = [starter.ask(text) for text in QUESTIONS]

    starter.changed([replace(renew, id="brand-new"), *starter.entries[5:]], version=2)

    assert [starter.ask(text) for text in QUESTIONS] == before


def test_a_removed_entry_is_never_offered(starter):
    rest = [entry for entry in starter.entries if entry.id != "renew-books"]

    changed = starter.changed(rest, version=2)

    offered = {candidate.entry for candidate in changed.ask("怎么续借图书").candidates}
    assert "renew-books" not in offered
    assert len(changed.matcher.entries_) == len(starter.matcher.entries_) - 1


def test_other_questions_keep_their_answers(starter, renew):
    added = replace(renew, id="zebra-rides", questions={"en": ("can I ride the zebra",)})

    changed = starter.changed([*starter.entries, added], version=2)

    assert tops(changed) == tops(starter)
    assert changed.ask("can I ride the zebra").candidates[0].entry == "zebra-rides"


def test_adding_an_entry_changes_no_text_of_anothers_explanation(starter, renew):
    added = replace(renew, id="zebra-rides", questions={"en": ("can I ride the zebra",)})
    before = starter.explain("怎么续借图书")

    after = starter.changed([*starter.entries, added], version=2).explain("怎么续借图书")

    assert {reason.feature for reason in after.reasons} == {r.feature for r in before.reasons}
    assert after.nearest[0][:2] == before.nearest[0][:2]


def test_what_comes_back_is_nearly_what_learning_anew_gives(starter):
    without = starter.changed(starter.entries[:-3], version=2)

    again = without.changed(starter.entries, version=3)

    here = [starter.ask(text).candidates[0].probability for text in QUESTIONS]
    there = [again.ask(text).candidates[0].probability for text in QUESTIONS]
    assert tops(again) == tops(starter)
    assert np.abs(np.array(here) - np.array(there)).max() < 0.15


def test_a_great_change_is_learned_anew(starter):
    assert starter.changed(starter.entries[:30], version=2) is None


@pytest.mark.filterwarnings("error")
def test_what_was_patched_is_learned_anew_behind_the_scenes(session, renew, hours):
    import_entries(session, 1, [renew, hours], now=NOW, by="lin")
    bases = KnowledgeBases()
    bases.of(session, 1, today=TODAY)
    save_entry(session, 1, replace(hours, id="night-hours"), now=NOW, by="lin")
    quick = bases.of(session, 1, today=TODAY)

    bases.settle()

    better = bases.of(session, 1, today=TODAY)
    assert better is not quick
    assert better.entries == quick.entries
    assert better.version == quick.version
