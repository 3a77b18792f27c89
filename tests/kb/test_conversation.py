import pytest

from kb.verdict import Candidate, Ranking, Thresholds, Verdict, decide


@pytest.mark.parametrize(
    ("before", "answer", "text", "entry"),
    [
        (
            "How much is black and white printing?",
            "0.10 yuan per A4 page.",
            "and colour?",
            "printing",
        ),
        ("检索证明要多久", "一般3个工作日，每篇15元。", "加急呢", "citation-report"),
        ("馆际互借要几天", "一般5–10个工作日到馆。", "邮费谁出", "interlibrary-loan"),
    ],
)
def test_an_elliptical_question_is_read_with_what_came_before(starter, before, answer, text, entry):
    context = [("patron", before), ("bot", answer)]

    assert starter.ask(text, context=context).candidates[0].entry == entry


def test_a_whole_new_question_is_not_pulled_back(starter):
    context = [("patron", "How do I book a study room?"), ("bot", "In the booking system.")]

    assert starter.ask("怎么续借图书", context=context).candidates[0].entry == "renew-books"


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("怎么续借图书？", "附近哪家火锅好吃"),
        ("How do I renew a book?", "what will the weather be like tomorrow"),
        ("How do I renew a book?", "do you know a good restaurant in town"),
    ],
)
def test_a_question_that_no_entry_answers_is_not_pulled_to_what_came_before(starter, before, text):
    renewing = starter.entry("renew-books")
    context = [("patron", before), ("bot", renewing.answer("en"))]

    assert starter.ask(text, context=context).verdict is Verdict.UNKNOWN


def test_two_questions_get_two_answers(starter):
    decision = starter.ask("How do I renew a book? And where can I print?")

    assert decision.verdict is Verdict.SURE
    assert set(decision.entries) == {"renew-books", "printing"}


def test_the_choices_differ(starter):
    entries = [candidate.entry for candidate in starter.ask("卡").candidates]

    assert len(set(entries)) == len(entries)


def ranking(*probabilities, none=0.1, parts=()):
    candidates = tuple(Candidate(f"e{at}", share) for at, share in enumerate(probabilities))
    return Ranking(candidates, none, parts)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (ranking(0.9, 0.05), Verdict.SURE),
        (ranking(0.5, 0.3), Verdict.UNSURE),
        (ranking(0.1, 0.05), Verdict.UNKNOWN),
        (Ranking((), 1.0), Verdict.UNKNOWN),
    ],
)
def test_the_verdict_follows_from_the_thresholds(given, verdict):
    decision = decide(given, Thresholds(sure=0.8, offer=0.3))

    assert decision.verdict is verdict
    assert (decision.entries != ()) == (verdict is Verdict.SURE)


def test_half_an_answer_to_two_questions_is_not_given():
    double = ranking(0.9, 0.2, parts=(ranking(0.9), ranking(0.4)))

    assert decide(double, Thresholds(sure=0.8)).entries == ()
