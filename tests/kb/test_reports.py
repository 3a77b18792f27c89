import json

import pytest
from defusedxml import ElementTree

from kb.errors import BadFile
from kb.evaluate import query_from_document, write_predictions
from kb.reports import (
    compare,
    confusions,
    read_predictions,
    reliability_svg,
    risk_coverage,
    risk_coverage_svg,
    write_report,
)

QUERIES = [
    query_from_document({"text": text, "topic": topic})
    for text, topic in (("a", "x"), ("b", "x"), ("c", "y"), ("d", None))
]


def prediction(entry, probability, *, sure=False):
    return {
        "verdict": "sure" if sure else "unsure",
        "entry": entry if sure else None,
        "candidates": [{"entry": entry, "probability": probability}],
        "p_none": 1 - probability,
    }


RUN = [
    prediction("x", 0.9, sure=True),
    prediction("y", 0.6),
    prediction("y", 0.8, sure=True),
    prediction("x", 0.2),
]


def test_confusions_name_what_is_taken_for_what_with_examples():
    [confusion] = confusions(QUERIES, RUN)

    assert (confusion.right, confusion.taken_for, confusion.count) == ("x", "y", 1)
    assert confusion.examples == ("b",)


def test_only_questions_that_changed_are_compared():
    better = [RUN[0], prediction("x", 0.7, sure=True), *RUN[2:]]

    [change] = compare(QUERIES, RUN, better)

    assert (change.text, change.before, change.after) == ("b", "(unsure)", "x")
    assert (change.was_right, change.is_right) == (False, True)


def test_risk_grows_as_less_sure_questions_are_answered():
    assert risk_coverage(QUERIES, RUN) == [(0.25, 0.0), (0.5, 0.0), (0.75, 1 / 3), (1.0, 0.5)]


def test_the_pictures_are_svg_without_styles_or_scripts():
    for picture in (reliability_svg(QUERIES, RUN), risk_coverage_svg(QUERIES, RUN)):
        names = {
            element.tag.rsplit("}", 1)[-1] for element in ElementTree.fromstring(picture).iter()
        }
        assert "polyline" in names
        assert not names & {"style", "script"}


def test_a_report_is_a_folder_of_confusions_curves_and_changes(tmp_path):
    run = [{"text": query.text, **line} for query, line in zip(QUERIES, RUN, strict=True)]
    write_predictions(tmp_path / "before.jsonl", run)
    before = read_predictions(tmp_path / "before.jsonl", QUERIES)
    after = [*run[:1], {**run[1], "candidates": [{"entry": "x", "probability": 0.7}]}, *run[2:]]

    written = write_report(tmp_path / "report", QUERIES, after, before)

    assert [path.name for path in written] == [
        "confusions.json",
        "reliability.svg",
        "risk-coverage.svg",
        "changes.json",
    ]
    [change] = json.loads(written[-1].read_text(encoding="utf-8"))
    assert (change["text"], change["was_right"], change["is_right"]) == ("b", False, True)


@pytest.mark.parametrize("text", ["nonsense", '{"no": "text"}', '{"text": "another question"}'])
def test_predictions_of_other_questions_are_refused(tmp_path, text):
    path = tmp_path / "before.jsonl"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(BadFile):
        read_predictions(path, QUERIES)
