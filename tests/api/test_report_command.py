"""refdesk report and refdesk alert, as people and scripts meet them."""

import csv
import json
from pathlib import Path

import pytest

from tests.api.conftest import Run


@pytest.fixture
def north(run: Run, tmp_path: Path) -> Run:
    """A library with 40 questions in March 2026, 33 of them answered at once."""
    code, _, errors = run("library", "add", "north", "--name", "North", "--timezone", "UTC")
    assert code == 0, errors
    history = tmp_path / "history.csv"
    with history.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("id", "library", "channel", "received_at", "feedback_at", "closed_at", "by")
        )
        for number in range(40):
            at = f"2026-03-10T{number // 4:02}:00:00+00:00"
            writer.writerow((number, "north", "wechat", at, at if number < 33 else "", "", "lin"))
    code, _, errors = run("consultations", "import", history)
    assert code == 0, errors
    return run


@pytest.mark.parametrize("form", ["html", "pdf", "docx", "xlsx", "csv"])
def test_every_format_is_written(north: Run, tmp_path: Path, form: str) -> None:
    out = tmp_path / f"march.{form}"

    code, said, errors = north("report", "--month", "2026-03", "--format", form, "--out", out)

    assert (code, errors) == (0, "")
    assert "(sealed)" in said
    assert out.stat().st_size > 500


def test_the_report_counts_as_the_statistics_do(north: Run, tmp_path: Path) -> None:
    out = tmp_path / "march.csv"
    period = ("--from", "2026-03-01", "--to", "2026-03-31")
    code, said, _ = north("stats", *period, "--json")
    assert code == 0
    share = json.loads(said)["total"]["answered_within_24h"]

    assert north("report", *period, "--out", out, "--language", "en")[0] == 0

    rows = list(csv.DictReader(out.read_text(encoding="utf-8-sig").splitlines()))
    total = next(
        each for each in rows
        if each["scope"] == "total" and each["figure"] == "answered_within_24h"
    )  # fmt: skip
    assert (int(total["within"]), int(total["matured"])) == (33, 40)
    assert (share["within"], share["matured"]) == (33, 40)
    assert float(total["rate"]) == share["rate"]


def test_a_year_can_be_reported_on(north: Run, tmp_path: Path) -> None:
    assert north("report", "--year", "2025", "--out", tmp_path / "y.html")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--month", "2026-13"), 1),
        (("--month", "2026-3"), 1),
        (("--term", "none"), 1),
        (("--month", "2026-03", "--year", "2026"), 2),
        ((), 2),
        (("--from", "2026-03-01"), 2),
        (("--month", "2026-03", "--language", "fr"), 2),
        (("--month", "2026-03", "--format", "exe"), 2),
        (("--month", "2026-03", "--restate", "wrong"), 1),
        (("--month", "2026-03", "--library", "south"), 1),
    ],
)
def test_a_wrong_call_writes_nothing(
    north: Run, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    out = tmp_path / "never.pdf"

    found, _, errors = north("report", *arguments, "--out", out)

    assert (found, out.exists()) == (code, False)
    assert errors.strip()


def test_a_sealed_report_is_restated_with_a_reason(north: Run, tmp_path: Path) -> None:
    out = tmp_path / "march.html"
    assert north("report", "--month", "2026-03", "--out", out)[0] == 0

    code, _, errors = north(
        "report",
        "--month",
        "2026-03",
        "--out",
        out,
        "--restate",
        "a late import",
        "--language",
        "en",
    )

    assert (code, errors) == (0, "")
    assert "a late import" in out.read_text()


def test_an_alert_destination_is_added_listed_and_removed(north: Run) -> None:
    code, said, errors = north(
        "alert", "add", "webhook", "hook", "--url", "https://a.example/h?k=1"
    )
    assert (code, errors) == (0, "")
    assert said.splitlines()[-1].startswith("whsec_")

    code, said, _ = north("alert", "list", "--json")
    assert code == 0
    [found] = json.loads(said)
    assert (found["name"], found["kind"], found["host"]) == ("hook", "webhook", "a.example")
    assert "k=1" not in said

    assert north("alert", "remove", "hook", "--yes")[0] == 0
    assert json.loads(north("alert", "list", "--json")[1]) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("wecom", "a", "--url", "http://qyapi.weixin.qq.com/x"),
        ("wecom", "a", "--url", "https://127.0.0.1/x"),
        ("wecom", "a", "--url", "https://a.example/x", "--secret", "S"),
        ("slack", "a", "--url", "https://a.example/x"),
        ("feishu", "a", "--url", "https://a.example/x", "--language", "fr"),
    ],
)
def test_a_destination_that_cannot_be_is_refused(north: Run, arguments: tuple[str, ...]) -> None:
    code, _, errors = north("alert", "add", *arguments)

    assert code == 1
    assert errors.strip()


def test_a_destination_that_is_not_reached_fails_the_test(
    north: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFDESK_PRIVATE_WEBHOOKS", "on")
    assert north("alert", "add", "wecom", "a", "--url", "http://127.0.0.1:9/x")[0] == 0

    code, _, errors = north("alert", "test", "a")

    assert code == 1
    assert "Not delivered" in errors
