"""Findings become a report in one language."""

from collections.abc import Mapping
from datetime import date
from zoneinfo import ZoneInfo

from api.i18n import Reader
from api.reports import sentences, tables
from api.reports.chart import drawing
from api.reports.content import Chart, Content, Record
from api.reports.gather import Findings
from api.reports.tables import Discretion
from api.reports.voice import Share, Voice
from tracker.figures import RATES
from tracker.rates import too_few
from tracker.reports import HEADLINES

HEADINGS = (
    "opening", "problems", "measures", "headline", "weeks", "channels", "volumes", "times",
    "topics", "activity", "corrections", "method", "cases", "summary",
)  # fmt: skip


def compose(
    findings: Findings,
    *,
    language: str,
    titles: Mapping[str, str] | None = None,
    published: bool = False,
) -> Content:
    """The report in a language; `titles` are the names of topics by entry key.

    `published`: for eyes outside the library. Small counts are hidden, cases left out.
    """
    voice = Voice(Reader(language, ZoneInfo(findings.timezone)))
    discretion = Discretion(published)
    found = [
        *tables.by_channel(findings, voice, discretion),
        tables.volumes(findings, voice, discretion),
        tables.times(findings, voice),
        tables.topics(findings, voice, titles or {}, discretion),
        tables.activity(findings, voice),
        None if published else tables.arrivals(findings, voice),
        tables.corrections(findings, voice),
    ]
    return Content(
        language=language,
        library=findings.library,
        slug=findings.slug,
        title=voice.say("title"),
        period=findings.period.called(voice.reader),
        state=findings.result["state"],
        stamps=sentences.stamps(findings, voice),
        opening=sentences.opening(findings, voice),
        problems=sentences.written(findings, voice, "problems"),
        measures=sentences.written(findings, voice, "measures"),
        headlines=sentences.headlines(findings, voice),
        charts=tuple(_chart(findings, voice, figure, discretion) for figure in HEADLINES),
        tables=tuple(table for table in found if table is not None),
        method=sentences.method(findings, voice, published=published),
        cases=None if published else tables.cases(findings, voice),
        headings={name: voice.say(f"heading.{name}") for name in HEADINGS},
        records=tuple(_records(findings, voice, discretion)),
    )


def _chart(findings: Findings, voice: Voice, figure: str, discretion: Discretion) -> Chart:
    blocks = tables.week_blocks(findings)
    hidden = discretion.hidden(blocks)
    weeks = {day: None if day in hidden else week[figure] for day, week in blocks.items()}
    label = voice.label(figure)
    return Chart(
        title=label,
        svg=drawing(weeks, label, voice),
        summary=_summary(weeks, label, voice),
        table=tables.by_week(findings, voice, figure, discretion),
    )


def _summary(weeks: Mapping[str, Share | None], label: str, voice: Voice) -> str:
    told = {day: share for day, share in weeks.items() if share and not too_few(share["matured"])}
    if len(told) < 2:
        return voice.say("week_summary_few", label=label)
    ranked = sorted(told, key=lambda day: (told[day]["rate"], day))
    low, high = ranked[0], ranked[-1]
    return voice.say(
        "week_summary",
        label=label,
        low=voice.percent(told[low]),
        low_week=voice.reader.day(date.fromisoformat(low)),
        high=voice.percent(told[high]),
        high_week=voice.reader.day(date.fromisoformat(high)),
    )


def _records(findings: Findings, voice: Voice, discretion: Discretion) -> list[Record]:
    channels = findings.stats["channels"]
    weeks = tables.week_blocks(findings)
    places = [("total", "", "", findings.stats["total"], False)]
    hidden = discretion.hidden(channels)
    places += [("channel", name, "", block, name in hidden) for name, block in channels.items()]
    hidden = discretion.hidden(weeks)
    places += [("week", "", day, dict(block), day in hidden) for day, block in weeks.items()]
    return [
        _record((scope, channel, week), figure, None if is_hidden else block[figure], voice)
        for scope, channel, week, block, is_hidden in places
        for figure in RATES
    ]


def _record(place: tuple[str, str, str], figure: str, share: Share | None, voice: Voice) -> Record:
    known = share or {}
    scope, channel, week = place
    return Record(
        scope=scope,
        channel=channel,
        week=week,
        figure=figure,
        label=voice.label(figure),
        within=known.get("within"),
        matured=known.get("matured"),
        pending=known.get("pending"),
        rate=_exact(known.get("rate")),
        low=_exact(known.get("low")),
        high=_exact(known.get("high")),
        note=_note(share, voice),
    )


def _exact(share: float | None) -> str:
    return "" if share is None else f"{share:.6f}"


def _note(share: Share | None, voice: Voice) -> str:
    if share is None:
        return voice.say("hidden")
    return voice.say("too_few") if too_few(share["matured"]) else ""
