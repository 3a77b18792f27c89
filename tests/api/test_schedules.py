import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from api.schedules import UnreadableCalendar, read_calendar, weekly_calendar
from tracker.clock import Calendar
from tracker.errors import BadCalendar

HOURS = [["09:00", "17:00"]]
WEEK = weekly_calendar("Asia/Shanghai", dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), HOURS))


def closed(document: dict[str, Any]) -> dict[str, Any]:
    exceptions: dict[str, Any] = document["exceptions"]
    return exceptions


@pytest.mark.parametrize("name", ["desk.yaml", "desk.json"])
def test_a_calendar_is_read_from_either_form(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("json"):
        path.write_text(json.dumps({**WEEK, "exceptions": {"2026-10-01": []}}))
    else:
        path.write_text(
            "versions:\n  - valid_from: 2026-01-01\n    weekly: {mon: [[09:00, 13:30]]}\n"
            "exceptions: {2026-10-01: []}\n"
        )

    document = read_calendar(path, timezone="Asia/Shanghai")

    assert closed(document) == {"2026-10-01": []}
    assert document["versions"][0]["weekly"]["mon"][0][0] == "09:00"
    assert Calendar.from_document(document).spans_on(date(2026, 11, 23))


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b\n", "a: [", "just words"])
def test_a_file_that_is_no_calendar_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "desk.yaml"
    path.write_text(text)

    with pytest.raises((UnreadableCalendar, BadCalendar)):
        read_calendar(path, timezone="Asia/Shanghai")


def test_two_open_years_are_no_hours(tmp_path: Path) -> None:
    path = tmp_path / "desk.yaml"
    path.write_text(
        "versions: [{valid_from: 2026-01-01, weekly: {mon: [[09:00, 13:30]]}}]\n"
        "unconfirmed_years: [2027, 2028]\n"
    )

    document = read_calendar(path, timezone="Asia/Shanghai")

    assert Calendar.from_document(document).unconfirmed_years == {2027, 2028}
