"""Plain data that several tests share: an instant, and a desk's hours."""

from datetime import UTC, datetime
from typing import Any

NOW = datetime(2026, 3, 10, 1, 15, tzinfo=UTC)  # Tuesday, 09:15 in Shanghai


def week(start: str = "08:30", end: str = "17:00") -> dict[str, list[list[str]]]:
    working = {name: [[start, end]] for name in ("mon", "tue", "wed", "thu", "fri")}
    return {**working, "sat": [], "sun": []}


def desk_document(**changes: Any) -> dict[str, Any]:
    """Staffed 08:30 to 17:00 on weekdays in Shanghai."""
    document = {
        "tz": "Asia/Shanghai",
        "versions": [{"valid_from": "1990-01-01", "weekly": week()}],
        "exceptions": {},
    }
    return {**document, **changes}
