"""refdesk stats --consortium, as people and scripts meet it."""

import json
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from tests.api.conftest import Run
from tracker.models import Library

# Answered within a day, of so many: the libraries of case RC24. Nobody asks the fifth.
ASKED = {
    "a": (90, 100),
    "b": (45, 50),
    "c": (3, 4),
    "d": (0, 12),
    "e": (0, 0),
    "f": (19, 20),
    "g": (10, 40),
}


@pytest.fixture
def run(run: Run, tmp_path: Path) -> Run:
    """The command line of an installation with the libraries."""
    history = tmp_path / "history.csv"
    lines = ["id,library,channel,received_at,feedback_at,closed_at,by"]
    for library, (met, asked) in ASKED.items():
        assert (
            run("library", "add", library, "--name", library, "--timezone", "Asia/Shanghai")[0] == 0
        )
        for number in range(asked):
            answered = "2026-03-02T10:00:00Z" if number < met else "2026-03-03T09:00:01Z"
            lines.append(
                f"{library}-{number},{library},wechat,2026-03-02T09:00:00Z,{answered},,lin"
            )
    history.write_text("\n".join(lines))
    assert run("consultations", "import", history)[0] == 0
    return run


def refuse(tmp_path: Path, slug: str) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'var' / 'refdesk.db'}")
    with Session(engine) as session, session.begin():
        library = session.scalars(select(Library).where(Library.slug == slug)).one()
        library.settings = {"consortium": False}
    engine.dispose()


def test_libraries_side_by_side_have_three_figures_by_channel(run: Run) -> None:
    code, output, errors = run("stats", "--consortium", "--at", "2026-03-09T00:00:00Z", "--json")

    assert code == 0, errors
    found = json.loads(output)
    assert {"qualifying", "mean", "pooled", "libraries"} <= found.keys()
    qualifying = found["qualifying"]["wechat"]
    assert (qualifying["numerator"], qualifying["denominator"]) == (3, 5)
    assert qualifying["too_few"] == 1
    assert found["mean"]["wechat"]["rate"] == 0.625
    pooled = found["pooled"]["wechat"]
    assert (pooled["numerator"], pooled["denominator"]) == (167, 226)
    by_library = {item["library"]: item for item in found["libraries"]}
    assert set(by_library) == {"a", "b", "c", "d", "f", "g"}  # the fifth has no such channel
    assert by_library["c"]["state"] == "too_few"
    assert (by_library["g"]["within"], by_library["g"]["matured"]) == (10, 40)


def test_a_period_and_an_instant_narrow_the_comparison(run: Run) -> None:
    early = ("--consortium", "--at", "2026-03-03T12:00:00Z", "--json")
    before = ("--consortium", "--from", "2026-01-01", "--to", "2026-03-01", "--json")

    young = json.loads(run("stats", *early)[1])
    none = json.loads(run("stats", *before)[1])

    assert young["pooled"]["wechat"]["denominator"] == 0  # two days are not over yet
    assert young["pooled"]["wechat"]["rate"] is None
    assert {item["state"] for item in none["libraries"]} == {"not_observed"}
    assert none["qualifying"]["wechat"]["not_observed"] == 6


def test_a_library_that_refused_is_not_compared(run: Run, tmp_path: Path) -> None:
    refuse(tmp_path, "a")

    code, output, _ = run("stats", "--consortium", "--at", "2026-03-09T00:00:00Z")
    found = json.loads(run("stats", "--consortium", "--at", "2026-03-09T00:00:00Z", "--json")[1])

    assert code == 0
    assert "a" not in {item["library"] for item in found["libraries"]}
    assert found["pooled"]["wechat"]["denominator"] == 126
    assert "2/4" in output
