from datetime import timedelta

import pytest

from kb.evaluate import evaluate, query_from_document
from kb.knowledge import KnowledgeBase, KnowledgeBases
from kb.library import import_entries
from kb.review import (
    KEPT,
    Verdicted,
    keep_review,
    latest_reviews,
    learned_lean,
    reviewed_questions,
    save_lean,
)
from kb.verdict import Thresholds, leaning
from tests.kb.conftest import NOW

CONFIRMED = [
    query_from_document({"text": text, "lang": "en", "topic": topic})
    for text, topic in (
        ("How do I renew a book", "renew-books"),
        ("Are you open on weekends", "opening-hours"),
        ("When does the library open", "renew-books"),  # so that one is taken for another
        ("who won the match last night", None),
    )
]


@pytest.fixture
def knowledge(renew, hours):
    return KnowledgeBase([renew, hours], version=3)


def night(session, knowledge, number=0, confirmed=CONFIRMED):
    return keep_review(
        session,
        1,
        confirmed,
        evaluate(confirmed, knowledge),
        version=knowledge.version,
        now=NOW + timedelta(days=number),
    )


def test_a_review_says_what_is_taken_for_what(session, knowledge):
    made = night(session, knowledge)

    [confusion] = made.confusions
    assert (confusion["right"], confusion["taken_for"]) == ("renew-books", "opening-hours")
    assert list(confusion["examples"]) == ["When does the library open"]
    assert made.scores["queries"] == 4
    assert made.knowledge_version == 3


def test_the_next_night_shows_only_what_changed(session, knowledge, renew, hours):
    night(session, knowledge)
    same = night(session, knowledge, 1)
    other = KnowledgeBase([renew], version=4)
    changed = night(session, other, 2)

    assert same.changes == []
    assert "Are you open on weekends" in [change["text"] for change in changed.changes]


def test_patrons_words_stay_in_the_two_newest_reviews_only(session, knowledge):
    for number in range(4):
        night(session, knowledge, number)

    newest, before, *older = latest_reviews(session, 1)
    assert newest.predictions
    assert before.predictions
    assert [review.predictions + review.confusions for review in older] == [[], []]
    assert all(review.scores["queries"] == 4 for review in older)


def test_a_library_keeps_a_month_of_reviews(session, knowledge):
    for number in range(KEPT + 3):
        night(session, knowledge, number, CONFIRMED[:1])

    assert len(latest_reviews(session, 1)) == KEPT


def test_a_review_can_be_drawn_again(session, knowledge):
    queries, predictions = reviewed_questions(night(session, knowledge))

    assert [query.right for query in queries] == [query.right for query in CONFIRMED]
    assert predictions[0]["candidates"]


def test_rejected_answers_raise_the_threshold_and_accepted_ones_lower_it():
    usual = Thresholds(sure=0.8, offer=0.2)
    rejected = [Verdicted(0.9, was_right=at % 2 == 0) for at in range(40)]
    accepted = [Verdicted(0.9, was_right=True) for _ in range(200)]

    assert leaning(usual, learned_lean(rejected)).sure > 0.85
    assert leaning(usual, learned_lean(accepted)).sure < 0.75


def test_a_handful_of_answers_moves_little_and_none_moves_nothing():
    usual = Thresholds(sure=0.8, offer=0.2)

    assert leaning(usual, learned_lean([])) == usual
    assert leaning(usual, learned_lean([Verdicted(0.9, was_right=False)])).sure < 0.84


def test_answers_as_right_as_they_claim_move_nothing():
    honest = [Verdicted(0.9, was_right=at % 10 != 0) for at in range(100)]

    assert abs(learned_lean(honest)) < 0.01


def test_what_a_library_learned_holds_from_the_next_question_on(session, renew, hours):
    import_entries(session, 1, [renew, hours], now=NOW, by="lin")
    bases = KnowledgeBases()
    before = bases.of(session, 1, today=NOW.date())

    save_lean(session, 1, [Verdicted(0.97, was_right=False)] * 30)
    after = bases.of(session, 1, today=NOW.date())

    assert after.thresholds.sure > before.thresholds.sure
    assert after.matcher is before.matcher
    assert bases.of(session, 1, today=NOW.date()) is after


def test_a_library_without_knowledge_has_nothing_to_learn(session):
    assert save_lean(session, 9, [Verdicted(0.9, was_right=False)] * 30) == 0.0
