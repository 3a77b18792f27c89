"""The sentences of a report: how final it is, how it opens, what changed, how it was counted."""

from collections.abc import Mapping
from typing import Any

from api.reports.content import Headline, Passage
from api.reports.gather import Findings
from api.reports.voice import NOTHING, Share, Voice, difference, tenths
from tracker.clock import parse_instant, utc_text
from tracker.figures import ANSWERED, INCLUSIVE
from tracker.rates import too_few
from tracker.reports import HEADLINES, PRELIMINARY, SEALED

METHOD = (
    "unit",
    "handed",
    "clocks",
    "rate",
    "interval",
    "difference",
    "exclusions",
    "small",
    "times",
    "seal",
    "recompute",
)


def stamps(findings: Findings, voice: Voice) -> tuple[str, ...]:
    """How final the figures are, whether they were corrected, and as of when they hold."""
    result = findings.result
    lines = [
        voice.say(
            "as_of",
            at=voice.moment(findings.figures_at),
            zone=findings.timezone,
        )
    ]
    if result["state"] == SEALED:
        lines += [_sealed(version, voice) for version in result["versions"]]
    else:
        lines.append(
            voice.say(
                f"state.{result['state']}",
                pending=voice.reader.number(result["pending"][ANSWERED]),
                final=voice.moment(parse_instant(result["final_at"])),
            )
        )
    if result["now"] is not None or len(result["versions"]) > 1:
        lines.append(voice.say("state.corrected"))
    if result["provisional"]:
        lines.append(voice.say("state.provisional"))
    return tuple(lines)


def _sealed(version: Mapping[str, Any], voice: Voice) -> str:
    return voice.say(
        "state.restated" if version["reason"] else "state.sealed",
        at=voice.moment(parse_instant(version["sealed_at"])),
        by=version["by"],
        reason=version["reason"],
    )


def opening(findings: Findings, voice: Voice) -> tuple[str, str]:
    """Two sentences that a manager can paste: what patrons got, and what staff did."""
    total = findings.stats["total"]
    first = voice.say(
        _opening_key(total),
        during=findings.period.called(voice.reader, family="during"),
        library=findings.library,
        received=voice.questions(total["received"]),
        **_facts(total[INCLUSIVE], voice),
    )
    if findings.result["state"] == PRELIMINARY:
        first = voice.say("opening.preliminary") + first
    return _capital(first), _second(findings, voice, total[ANSWERED])


def _opening_key(total: Mapping[str, Any]) -> str:
    if total["received"] == 0:
        return "opening.nothing"
    return f"opening.all{_amount_of(total[INCLUSIVE])}"


def _amount_of(share: Share) -> str:
    if share["matured"] == 0:
        return "_none"
    return "_few" if too_few(share["matured"]) else ""


def _second(findings: Findings, voice: Voice, share: Share) -> str:
    return voice.say(
        f"opening.handed{_amount_of(share)}",
        change=change(findings, voice, ANSWERED),
        **_facts(share, voice),
    )


def _facts(share: Share, voice: Voice) -> dict[str, str]:
    low, high = share["low"], share["high"]
    return {
        "rate": voice.percent(share),
        "low": NOTHING if low is None else voice.bound(low),
        "high": NOTHING if high is None else voice.percent_of(high),
        **voice.parts(share),
    }


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def change(findings: Findings, voice: Voice, figure: str) -> str:
    """What changed since the period before, and whether chance can explain it, as a clause."""
    before = findings.before.called(voice.reader)
    found = findings.result["change"][figure]
    if found is None:
        return voice.say("change.none", before=before)
    if found["too_few"]:
        return voice.say("change.few", before=before)
    points = difference(
        findings.stats["total"][figure], findings.result["before"]["stats"]["total"][figure]
    )
    if points == 0:
        return voice.say("change.same", before=before)
    way = "more" if points > 0 else "less"
    key = way if found["distinguishable"] else f"unclear_{way}"
    return voice.say(f"change.{key}", before=before, points=voice.points(points))


def headlines(findings: Findings, voice: Voice) -> tuple[Headline, ...]:
    """The two rates that the report is about."""
    return tuple(_headline(findings, voice, figure) for figure in HEADLINES)


def _headline(findings: Findings, voice: Voice, figure: str) -> Headline:
    share = findings.stats["total"][figure]
    details = [voice.of(share)]
    if share["matured"]:
        low, high = voice.bound(share["low"]), voice.percent_of(share["high"])
        details.append(voice.say("interval", low=low, high=high))
    details.append(_pending(share, voice))
    details += [_capital(change(findings, voice, figure)), _compared(findings, voice, figure)]
    details.append(_corrected(findings, voice, figure))
    worth = voice.judged(share)
    return Headline(
        figure=figure,
        label=voice.label(figure),
        clock=voice.clock_of(figure),
        value=worth.shown,
        details=tuple(line for line in details if line),
        worth=worth,
    )


def _pending(share: Share, voice: Voice) -> str:
    if not share["pending"]:
        return voice.say("no_pending")
    return voice.say(
        "pending",
        n=voice.reader.number(share["pending"]),
        worst=voice.percent_of(share["worst"]),
        best=voice.percent_of(share["best"]),
    )


def _compared(findings: Findings, voice: Voice, figure: str) -> str:
    found = findings.result["change"][figure]
    if found is None:
        return ""
    earlier = findings.result["before"]["stats"]["total"][figure]
    points = difference(findings.stats["total"][figure], earlier)
    told = voice.say(
        "change.interval",
        before=findings.before.called(voice.reader),
        rate=voice.percent(earlier),
        difference=voice.points(points, signed=True),
        low=voice.points(tenths(found["low"]), signed=True),
        high=voice.points(tenths(found["high"]), signed=True),
        **voice.parts(earlier),
    )
    return _capital(told)


def _corrected(findings: Findings, voice: Voice, figure: str) -> str:
    now = findings.result["now"]
    if now is None:
        return ""
    share, sealed = now["stats"]["total"][figure], findings.stats["total"][figure]
    if (share["within"], share["matured"]) == (sealed["within"], sealed["matured"]):
        return ""
    return voice.say(
        "today",
        at=voice.moment(findings.made_at),
        rate=voice.percent(share),
        **voice.parts(share),
    )


def written(findings: Findings, voice: Voice, field: str) -> Passage:
    """What the manager wrote under "problems" or "measures"."""
    text = str(findings.result[field]).strip()
    return Passage(voice.say(f"heading.{field}"), text or voice.say("nothing_written"))


def method(findings: Findings, voice: Voice, *, published: bool) -> tuple[Passage, ...]:
    """How the figures were counted and what was left out: enough to count them again.

    `published`: the few that left for each reason stay in the house.
    """
    volumes = findings.result["figures"]["volumes"]
    reasons = _reasons(volumes["excluded_by_reason"], voice)
    facts = {
        "start": voice.day(findings.period.start),
        "end": voice.day(findings.period.end),
        "zone": findings.timezone,
        "at": f"{voice.moment(findings.figures_at)} ({utc_text(findings.figures_at)})",
        "before": findings.before.called(voice.reader),
        "received": voice.reader.number(volumes["received"]),
        "excluded": voice.reader.number(volumes["excluded"]),
        "late": voice.reader.number(volumes["excluded_late"]),
        "withdrawn": voice.reader.number(volumes["withdrawn"]),
        "reasons": voice.say("hidden") if published else reasons,
        "command": command(findings),
    }
    return tuple(
        Passage(voice.say(f"method.{name}"), voice.say(f"method.{name}_text", **facts))
        for name in METHOD
    )


def _reasons(counts: Mapping[str, int], voice: Voice) -> str:
    if not counts:
        return voice.say("method.no_exclusions")
    return ", ".join(
        f"{voice.known('desk.excluded', reason)} {voice.reader.number(count)}"
        for reason, count in counts.items()
    )


def command(findings: Findings) -> str:
    """What prints the same figures again."""
    start, end = findings.period.start.isoformat(), findings.period.end.isoformat()
    at = utc_text(findings.figures_at)
    return f"refdesk stats --library {findings.slug} --from {start} --to {end} --at {at} --json"
