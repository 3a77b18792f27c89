"""The figures of DESIGN 4.4, worked out the slow and obvious way from the history itself.

Shares no code with tracker: it reads JSON rows, walks lists, and uses plain sums.
"""

from datetime import date, datetime, timedelta
from math import ceil, exp, log, sqrt
from typing import Any
from zoneinfo import ZoneInfo

DAY = timedelta(hours=24)
Z = 1.959963984540054
FIGURES = (
    "bot_inclusive_within_24h",
    "answered_within_24h",
    "feedback_within_24h",
    "feedback_next_opening_day",
)


def read(text: str) -> datetime:
    return datetime.fromisoformat(text)


def expected_stats(
    rows: list[dict[str, Any]],
    *,
    library: str,
    tz: str,
    at: datetime,
    start: date | None = None,
    end: date | None = None,
    channel: str | None = None,
    calendar: Any = None,
) -> dict[str, Any]:
    """`channels` and `total` of the stats, for rows with distinct ids."""
    seen = as_seen([row for row in rows if row["library"] == library], at)
    chosen = []
    for item in seen:
        day = item["received"].astimezone(ZoneInfo(tz)).date()
        if (start and day < start) or (end and day > end):
            continue
        if channel in (None, item["channel"]):
            chosen.append(item)
    names = sorted({item["channel"] for item in chosen})
    return {
        "channels": {
            name: block([i for i in chosen if i["channel"] == name], at, calendar) for name in names
        },
        "total": block(chosen, at, calendar),
    }


def as_seen(rows: list[dict[str, Any]], at: datetime) -> list[dict[str, Any]]:
    """Each consultation with what was known of it at an instant, merges carried out."""
    items = {}
    for row in rows:
        if read(row["received_at"]) > at:
            continue
        events = [event for event in row["events"] if read(event["at"]) <= at]
        items[row["id"]] = {
            "id": row["id"],
            "received": read(row["received_at"]),
            "channel": row["channel"],
            "events": list(events),
            "own": list(events),
            "opened": read(row["received_at"]),
            "opened_channel": row["channel"],
        }
    for item in items.values():
        merges = sorted(
            (read(event["at"]), event["into"]) for event in item["own"] if event["kind"] == "merged"
        )
        item["into"] = merges[0][1] if merges else None
    for item in items.values():
        target = item["id"]
        while items.get(target) and items[target]["into"] is not None:
            target = items[target]["into"]
            if target in items:
                survivor = items[target]
                survivor["events"] += item["own"]
                first = (survivor["received"], survivor.get("first_id", survivor["id"]))
                if (item["opened"], item["id"]) < first:
                    survivor["received"], survivor["channel"] = (
                        item["opened"],
                        item["opened_channel"],
                    )
                    survivor["first_id"] = item["id"]
    return list(items.values())


def instants(item: dict[str, Any], kind: str, **wanted: Any) -> list[datetime]:
    return sorted(
        read(event["at"])
        for event in item["events"]
        if event["kind"] == kind
        and all(event.get(name, True) == value for name, value in wanted.items())
    )


def first_after_receipt(item: dict[str, Any], moments: list[datetime]) -> datetime | None:
    later = [moment for moment in moments if moment >= item["received"]]
    return later[0] if later else None


def feedback_at(item: dict[str, Any]) -> datetime | None:
    return first_after_receipt(item, instants(item, "feedback"))


def answered_at(item: dict[str, Any]) -> datetime | None:
    return first_after_receipt(item, instants(item, "feedback", substantive=True))


def standing(item: dict[str, Any]) -> list[datetime]:
    rejections = instants(item, "bot_rejected")
    return [
        answer
        for answer in instants(item, "bot_answer")
        if answer >= item["received"]
        and not any(timedelta(0) <= no - answer <= DAY for no in rejections)
    ]


def bot_at(item: dict[str, Any]) -> datetime | None:
    return first_after_receipt(item, standing(item))


def is_excluded(item: dict[str, Any]) -> bool:
    return any(event["kind"] in ("excluded", "merged") for event in item["own"])


def is_handed_over(item: dict[str, Any]) -> bool:
    if any(event["kind"] in ("escalated", "feedback") for event in item["events"]):
        return True
    return bot_at(item) is None


def withdrawn_at(item: dict[str, Any]) -> datetime | None:
    taken_back = first_after_receipt(item, instants(item, "withdrawn"))
    answer = answered_at(item)
    return None if taken_back and answer and answer <= taken_back else taken_back


def block(items: list[dict[str, Any]], at: datetime, calendar: Any) -> dict[str, Any]:
    counted = [item for item in items if not is_excluded(item)]
    handed = [item for item in counted if is_handed_over(item)]
    result: dict[str, Any] = {
        "received": len(items),
        "excluded": len(items) - len(counted),
        "handed_over": len(handed),
        "bot_only": len(counted) - len(handed),
    }
    for figure in FIGURES:
        population = counted if figure == "bot_inclusive_within_24h" else handed
        result[figure] = rate(figure, population, at, calendar)
    result["live_estimate"] = live(handed, at)
    result["seconds_to_feedback"] = percentiles(handed, at)
    waiting = [i for i in handed if feedback_at(i) is None and withdrawn_at(i) is None]
    ages = [(at - item["received"]).total_seconds() for item in waiting]
    result["backlog"] = {
        "waiting": len(ages),
        "overdue": len([age for age in ages if age > 86_400]),
        "oldest_seconds": max(ages) if ages else None,
    }
    result["deflection"] = deflection(counted, at)
    return result


def rate(figure: str, items: list[dict[str, Any]], at: datetime, calendar: Any) -> dict[str, Any]:
    within = matured = pending = in_time_pending = open_pending = 0
    for item in items:
        answer, due, ripe = answer_and_due(figure, item, at, calendar)
        if due is None:
            continue
        met = answer is not None and item["received"] <= answer <= due
        if ripe:
            matured += 1
            within += met
        else:
            pending += 1
            in_time_pending += met
            open_pending += answer is None
    low, high = wilson(within, matured)
    total = matured + pending
    return {
        "within": within,
        "matured": matured,
        "pending": pending,
        "rate": within / matured if matured else None,
        "low": low,
        "high": high,
        "worst": (within + in_time_pending) / total if total else None,
        "best": (within + in_time_pending + open_pending) / total if total else None,
    }


def answer_and_due(
    figure: str, item: dict[str, Any], at: datetime, calendar: Any
) -> tuple[datetime | None, datetime | None, bool]:
    received = item["received"]
    if figure == "feedback_next_opening_day":
        due = calendar.next_opening_day_due(received) if calendar else None
        return feedback_at(item), due, due is not None and at > due
    if figure == "bot_inclusive_within_24h":
        answers = [moment for moment in (feedback_at(item), bot_at(item)) if moment]
        return min(answers, default=None), received + DAY, at - received >= 2 * DAY
    answer = answered_at(item) if figure == "answered_within_24h" else feedback_at(item)
    return answer, received + DAY, at - received >= DAY


def wilson(k: int, n: int) -> tuple[float | None, float | None]:
    if n == 0:
        return None, None
    p = k / n
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def live(items: list[dict[str, Any]], at: datetime) -> dict[str, float | None] | None:
    if not any(at - item["received"] >= DAY for item in items):
        return None
    seen = []
    for item in items:
        gone, answer = withdrawn_at(item), answered_at(item)
        end = gone or answer or at
        kind = "withdrawn" if gone else "answered" if answer else "waiting"
        seen.append(((end - item["received"]).total_seconds(), kind))
    return {**aalen_johansen(seen)}


def aalen_johansen(seen: list[tuple[float, str]]) -> dict[str, float | None]:
    times = sorted({t for t, kind in seen if kind != "waiting" and t <= 86_400})
    survival, share = 1.0, 0.0
    trail = []
    for t in times:
        n = len([1 for other, _ in seen if other >= t])
        answers = len([1 for other, kind in seen if other == t and kind == "answered"])
        events = len([1 for other, kind in seen if other == t and kind != "waiting"])
        share += survival * answers / n
        trail.append((n, answers, events, survival, share))
        survival *= 1 - events / n
    if share < 1e-12 or share > 1 - 1e-12:
        return {"rate": round(share), "low": None, "high": None}
    variance = 0.0
    for n, answers, events, before, so_far in trail:
        left = share - so_far
        if n > events:
            variance += left**2 * events / (n * (n - events))
        variance += before**2 * answers * (n - answers) / n**3
        variance -= 2 * left * before * answers / n**2
    s = 1 - share
    middle, half = log(-log(s)), Z * sqrt(max(variance, 0)) / (s * abs(log(s)))
    return {
        "rate": share,
        "low": 1 - exp(-exp(middle - half)),
        "high": 1 - exp(-exp(middle + half)),
    }


def percentiles(items: list[dict[str, Any]], at: datetime) -> dict[str, float | None]:
    waits = []
    for item in items:
        if at - item["received"] >= DAY:
            answer = feedback_at(item)
            waits.append((answer - item["received"]).total_seconds() if answer else float("inf"))
    waits.sort()
    result: dict[str, float | None] = {}
    for percent in (50, 90, 95):
        value = waits[ceil(percent * len(waits) / 100) - 1] if waits else float("inf")
        result[f"p{percent}"] = None if value == float("inf") else value
    return result


def deflection(items: list[dict[str, Any]], at: datetime) -> dict[str, int]:
    result = {"confirmed": 0, "presumed": 0, "abandoned": 0, "matured": 0}
    for item in items:
        answers = [moment for moment in instants(item, "bot_answer") if moment >= item["received"]]
        human = feedback_at(item)
        if not answers or (human and human < answers[0]):
            continue
        if at - item["received"] < 3 * DAY:
            continue
        result["matured"] += 1
        if not is_handed_over(item):
            first = bot_at(item)
            accepted = [m for m in instants(item, "bot_accepted") if first and m >= first]
            result["confirmed" if accepted else "presumed"] += 1
        elif human is None:
            result["abandoned"] += 1
    return result
