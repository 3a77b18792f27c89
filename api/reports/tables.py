"""The tables of a report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from api.reports.content import Amount, Cell, Table
from api.reports.gather import Findings, Judged
from api.reports.voice import NOTHING, Share, Voice
from tracker import rates
from tracker.clock import parse_instant
from tracker.figures import ANSWERED, PERCENTILES, RATES
from tracker.reports import HEADLINES

FEW_ON_A_TOPIC = rates.HIDE_BELOW_INTERNAL
MOST_TOPICS = 12
HOURS = range(24)


@dataclass(frozen=True, slots=True)
class Discretion:
    """Which counts a report may show: all inside the house, none under ten outside."""

    published: bool = False

    @property
    def below(self) -> int:
        return rates.HIDE_BELOW_PUBLISHED if self.published else FEW_ON_A_TOPIC

    def hidden(self, blocks: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        """The rows to hide: those with a small count, and one more if it would be alone.

        A row is hidden as a whole, because its counts add up with those of its neighbours.
        """
        if not self.published:
            return frozenset()
        sizes = {
            name: min(block[figure]["matured"] for figure in HEADLINES)
            for name, block in blocks.items()
        }
        shown = rates.suppress([[size] for size in sizes.values()], below=self.below)
        return frozenset(name for name, (count,) in zip(sizes, shown, strict=True) if count is None)


# --- rates ---------------------------------------------------------------------------------


def rate_head(first: str, voice: Voice) -> tuple[str, ...]:
    """The columns that every table of one rate has."""
    names = ("rate", "interval", "within", "matured", "pending")
    return (first, *(voice.say(f"column.{name}") for name in names))


def rate_row(name: str, share: Share | None, voice: Voice) -> tuple[Cell, ...]:
    """One rate with all that must stand beside it; None: hidden."""
    if share is None:
        return (name, *[voice.say("hidden")] * 5)
    return (
        name,
        voice.judged(share),
        voice.interval(share),
        voice.count(share["within"]),
        voice.count(share["matured"]),
        voice.count(share["pending"]),
    )


def by_channel(findings: Findings, voice: Voice, discretion: Discretion) -> list[Table]:
    """Each rate by channel; the first response stands under the answer, never instead."""
    channels = findings.stats["channels"]
    hidden = discretion.hidden(channels)
    return [
        Table(
            key=f"channels_{figure}",
            title=voice.label(figure),
            head=rate_head(voice.say("column.channel"), voice),
            rows=(
                *(
                    rate_row(
                        voice.known("channel", name),
                        None if name in hidden else block[figure],
                        voice,
                    )
                    for name, block in channels.items()
                ),
                rate_row(voice.say("total"), findings.stats["total"][figure], voice),
            ),
            note=_channel_note(figure, hidden, voice, discretion),
            has_total=True,
        )
        for figure in RATES
    ]


def _channel_note(figure: str, hidden: frozenset[str], voice: Voice, discretion: Discretion) -> str:
    notes = [voice.clock_of(figure)]
    if hidden:
        notes.append(voice.say("hidden_note", n=discretion.below))
    return " · ".join(notes)


def week_blocks(findings: Findings) -> dict[str, Mapping[str, Any]]:
    """The figures of each week of all channels together, by the week's first day inside."""
    start = findings.period.start
    return {
        max(date.fromisoformat(week["week"]), start).isoformat(): week
        for week in findings.result["figures"]["weeks"]
        if week["channel"] == ""
    }


def by_week(findings: Findings, voice: Voice, figure: str, discretion: Discretion) -> Table:
    """One rate week by week: the twin of its chart."""
    weeks = week_blocks(findings)
    hidden = discretion.hidden(weeks)
    return Table(
        key=f"weeks_{figure}",
        title=voice.label(figure),
        head=rate_head(voice.say("column.week"), voice),
        rows=tuple(
            rate_row(
                voice.day(date.fromisoformat(day)), None if day in hidden else week[figure], voice
            )
            for day, week in weeks.items()
        ),
        note=voice.say("hidden_note", n=discretion.below) if hidden else "",
    )


def corrections(findings: Findings, voice: Voice) -> Table | None:
    """Every sealed set of figures and today's, side by side; None where they are one."""
    result = findings.result
    sets = [
        (
            voice.say(
                "restated_value" if version["reason"] else "sealed_value",
                at=voice.moment(parse_instant(version["sealed_at"])),
            ),
            version["figures"]["stats"]["total"],
        )
        for version in result["versions"]
    ]
    if result["now"] is not None:
        today = voice.say("today_value", at=voice.moment(findings.made_at))
        sets.append((today, result["now"]["stats"]["total"]))
    if len(sets) < 2:
        return None
    rows: list[tuple[Cell, ...]] = [
        (voice.say(f"volume.{name}"), *(voice.count(total[name]) for _, total in sets))
        for name in ("received", "excluded", "handed_over", "bot_only")
    ]
    rows += [
        (voice.label(figure), *(_fraction(total[figure], voice) for _, total in sets))
        for figure in RATES
    ]
    return Table(
        key="corrections",
        title=voice.say("heading.corrections"),
        head=(voice.say("column.figure"), *(name for name, _ in sets)),
        rows=tuple(rows),
    )


def _fraction(share: Share, voice: Voice) -> str:
    return f"{voice.percent(share)} ({voice.of(share)})" if share["matured"] else NOTHING


# --- counts --------------------------------------------------------------------------------


def volumes(findings: Findings, voice: Voice, discretion: Discretion) -> Table:
    """How many were received, and what became of them."""
    found = findings.result["figures"]["volumes"]
    names = ("received", "reference", "directional", "bot_only", "handed_over", "withdrawn")
    rows = [(voice.say(f"volume.{name}"), voice.count(found[name])) for name in names]
    rows.append((voice.say("volume.excluded"), voice.count(found["excluded"])))
    if not discretion.published:
        rows += [
            (
                voice.say("volume.excluded_because", reason=voice.known("desk.excluded", reason)),
                voice.count(count),
            )
            for reason, count in found["excluded_by_reason"].items()
        ]
    rows.append((voice.say("volume.excluded_late"), voice.count(found["excluded_late"])))
    if not discretion.published:
        rows += [
            (voice.say("volume.read", n=level), voice.count(count))
            for level, count in found["read"].items()
        ]
    return Table(
        key="volumes",
        title=voice.say("heading.volumes"),
        head=(voice.say("column.figure"), voice.say("column.count")),
        rows=tuple(rows),
    )


def times(findings: Findings, voice: Voice) -> Table:
    """How long answers took, who waits, and what the bot's answers came to."""
    total = findings.stats["total"]
    spans = total["seconds_to_feedback"]
    backlog, deflection = total["backlog"], total["deflection"]
    rows: list[tuple[Cell, ...]] = [
        (
            voice.say("times.p", n=percent),
            _span(spans[f"p{percent}"], total[ANSWERED], voice),
        )
        for percent in PERCENTILES
    ]
    rows += [
        (voice.say("times.live"), _estimate(total["live_estimate"], voice)),
        (voice.say("times.waiting"), voice.count(backlog["waiting"])),
        (voice.say("times.overdue"), voice.count(backlog["overdue"])),
        (voice.say("times.oldest"), _age(backlog["oldest_seconds"], voice)),
        (voice.say("times.bot_first"), voice.count(deflection["matured"])),
        *(
            (voice.say(f"times.{name}"), voice.count(deflection[name]))
            for name in ("confirmed", "presumed", "abandoned")
        ),
    ]
    return Table(
        key="times",
        title=voice.say("heading.times"),
        head=(voice.say("column.figure"), voice.say("column.value")),
        rows=tuple(rows),
    )


def _span(seconds: float | None, share: Share, voice: Voice) -> str:
    if seconds is None:
        return voice.say("times.not_reached") if share["matured"] else NOTHING
    return voice.reader.span(seconds)


def _age(seconds: float | None, voice: Voice) -> str:
    return NOTHING if seconds is None else voice.reader.span(seconds)


def _estimate(found: Mapping[str, float | None] | None, voice: Voice) -> str:
    if found is None or found["rate"] is None:
        return NOTHING
    low, high = found["low"], found["high"]
    if low is None or high is None:
        return voice.percent_of(found["rate"])
    return voice.say(
        "times.estimate",
        rate=voice.percent_of(found["rate"]),
        low=voice.bound(low),
        high=voice.bound(high),
    )


def topics(
    findings: Findings, voice: Voice, titles: Mapping[str, str], discretion: Discretion
) -> Table | None:
    """What was asked most; topics that few asked about are one row together."""
    found = findings.result["figures"]["topics"]
    shown, rest = _common(found, discretion)
    names = ("received",) if discretion.published else ("received", "bot_only", "handed_over")
    rows: list[tuple[Cell, ...]] = [
        (_topic(item["topic"], titles, voice), *(voice.count(item[name]) for name in names))
        for item in shown
    ]
    if rest:
        sums = (voice.count(sum(item[name] for item in rest)) for name in names)
        rows.append((_rest(rest, voice), *sums))
    if not rows:
        return None
    return Table(
        key="topics",
        title=voice.say("heading.topics"),
        head=(voice.say("column.topic"), *(voice.say(f"column.{name}") for name in names)),
        rows=tuple(rows),
    )


def _common(
    found: Sequence[Mapping[str, Any]], discretion: Discretion
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The topics to name, and the others, which are enough together not to give one away."""
    ranked = sorted(found, key=lambda item: -item["received"])
    shown = [item for item in ranked if item["received"] >= discretion.below][:MOST_TOPICS]
    rest = ranked[len(shown) :]
    while discretion.published and shown and 0 < _received(rest) < discretion.below:
        rest.insert(0, shown.pop())
    return shown, rest


def _received(items: Iterable[Mapping[str, Any]]) -> int:
    return sum(item["received"] for item in items)


def _rest(rest: Sequence[Mapping[str, Any]], voice: Voice) -> str:
    return voice.say("few_topics", n=max(item["received"] for item in rest) + 1)


def _topic(key: str, titles: Mapping[str, str], voice: Voice) -> str:
    return titles.get(key, key) if key else voice.say("no_topic")


def activity(findings: Findings, voice: Voice) -> Table | None:
    """What the library itself put on its channels; only channels of which something is known."""
    known = {name: item for name, item in findings.activity.items() if item["weeks_entered"]}
    if not known:
        return None
    names = (
        "followers", "growth", "posts", "pushes", "weeks_with_push", "reads", "engagement",
    )  # fmt: skip
    return Table(
        key="activity",
        title=voice.say("heading.activity"),
        head=(voice.say("column.channel"), *(voice.say(f"column.{name}") for name in names)),
        rows=tuple(
            (
                voice.known("channel", channel),
                _count(item["followers"], voice),
                _count(item["growth"], voice),
                _count(item["posts"], voice),
                _count(item["pushes"], voice),
                voice.say(
                    "of",
                    within=voice.reader.number(item["weeks_with_push"]),
                    matured=voice.reader.number(item["weeks"]),
                ),
                _count(item["reads"], voice),
                Amount(voice.percent_of(item["engagement"]), item["engagement"], is_share=True),
            )
            for channel, item in known.items()
        ),
    )


def _count(n: int | None, voice: Voice) -> Amount:
    return Amount(NOTHING) if n is None else voice.count(n)


def arrivals(findings: Findings, voice: Voice) -> Table:
    """How many arrived in each hour of each weekday, on the library's clock."""
    heat = findings.result["figures"]["arrivals"]
    return Table(
        key="arrivals",
        title=voice.say("heading.arrivals"),
        head=(voice.say("column.weekday"), *(str(hour) for hour in HOURS)),
        rows=tuple(
            (
                voice.reader.text(f"format.weekday.{number}"),
                *(voice.count(count) for count in row),
            )
            for number, row in enumerate(heat, start=1)
        ),
        is_wide=True,
    )


# --- cases ---------------------------------------------------------------------------------

CASE_COLUMNS = (
    "id", "channel", "received_at", "kind", "bot_at", "feedback_at", "answered_at",
    "next_day_due_at", "withdrawn_at", "excluded", "topic",
)  # fmt: skip


def cases(findings: Findings, voice: Voice) -> Table:
    """Every question of the period with its times and what it is to each rate."""
    return Table(
        key="cases",
        title=voice.say("heading.cases"),
        head=(
            *(voice.say(f"case.{name}") for name in CASE_COLUMNS),
            *(voice.label(figure) for figure in RATES),
        ),
        rows=tuple(_case(each, voice) for each in findings.cases),
        note=voice.say("cases_note", zone=findings.timezone),
        is_wide=True,
    )


def _case(each: Judged, voice: Voice) -> tuple[Cell, ...]:
    case = each.case
    reason = "" if case.counts else voice.known("desk.excluded", case.excluded_reason or "")
    return (
        case.key,
        voice.known("channel", case.channel),
        _clock(case.received_at, voice),
        voice.say("case.handed_over" if case.handed_over else "case.bot_only"),
        _clock(case.bot_at, voice),
        _clock(case.feedback_at, voice),
        _clock(case.answered_at, voice),
        _clock(case.next_day_due_at, voice),
        _clock(case.withdrawn_at, voice),
        reason or ("" if case.counts else NOTHING),
        case.topic or "",
        *(voice.say(f"outcome.{found}") if found else "" for found in each.outcomes.values()),
    )


def _clock(at: datetime | None, voice: Voice) -> str:
    """Local time to the second: a second decides whether an answer was in time."""
    return "" if at is None else f"{voice.reader.local(at):%Y-%m-%d %H:%M:%S}"
