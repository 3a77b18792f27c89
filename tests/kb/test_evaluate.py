import json

import pytest

from kb.errors import BadFile
from kb.evaluate import evaluate, query_from_document, read_queries, write_predictions
from kb.scores import auroc, calibration_error, wilson

QUERIES = [
    {"text": "怎么续借图书？", "lang": "zh", "topic": "renew-books", "kind": "colloquial"},
    {"text": "When does the library open?", "lang": "en", "topic": "opening-hours"},
    {"text": "what is 15% of 240", "lang": "en", "topic": None, "kind": "oos-general"},
]


def test_one_prediction_is_written_per_query_in_order(starter, tmp_path):
    result = evaluate([query_from_document(query) for query in QUERIES], starter)

    write_predictions(tmp_path / "out.jsonl", result.predictions)

    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == [query["text"] for query in QUERIES]
    for line in lines:
        assert line["verdict"] in ("sure", "unsure", "unknown")
        assert len(line["candidates"]) >= 3
        assert (line["entry"] is not None) == (line["verdict"] == "sure")
        assert 0 <= line["p_none"] <= 1


def test_scores_are_given_whole_by_language_and_by_kind(starter):
    scores = evaluate([query_from_document(query) for query in QUERIES], starter).scores

    assert scores["accuracy_at_1"] == 1.0
    assert scores["by_language"]["en"]["queries"] == 2
    assert set(scores["by_kind"]) == {"colloquial", "oos-general"}
    assert scores["milliseconds"]["p50"] > 0
    json.dumps(scores)


def test_the_labels_do_not_change_the_predictions(starter):
    right = evaluate([query_from_document(query) for query in QUERIES], starter)
    swapped = [{**query, "topic": "wifi"} for query in QUERIES]

    wrong = evaluate([query_from_document(query) for query in swapped], starter)

    without_label = [{**p, "topic": None} for p in right.predictions]
    assert without_label == [{**p, "topic": None} for p in wrong.predictions]
    assert wrong.scores["accuracy_at_1"] == 0.0


def test_every_bad_line_is_named(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"text": "a"}\n{"topic": "b"}\nnot json\n')

    with pytest.raises(BadFile) as caught:
        read_queries(path)

    assert [row.split(":")[0] for row in caught.value.rows] == ["line 2", "line 3"]


def test_unknown_keys_are_ignored_and_further_right_topics_count():
    query = query_from_document({"text": "a", "topic": "x", "also": ["y"], "colour": "red"})

    assert query.right == {"x", "y"}


def test_auroc_counts_pairs():
    assert auroc([0.9, 0.8], [0.1, 0.2]) == 1.0
    assert auroc([0.5], [0.5]) == 0.5
    assert auroc([0.1, 0.9], [0.5]) == 0.5
    assert auroc([], [0.5]) is None


def test_wilsons_interval_is_that_of_the_books():
    low, high = wilson(10, 100)

    assert (round(low, 4), round(high, 4)) == (0.0552, 0.1744)
    assert wilson(0, 0) is None


def test_calibration_error_is_the_gap_between_claim_and_truth():
    assert calibration_error([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0.0)
    assert calibration_error([0.9] * 10, [False] * 10) == pytest.approx(0.9)
