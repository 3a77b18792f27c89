"""Many libraries side by side: three figures that are different numbers, each with its name.

A library without the channel is not in the denominator; one without consultations is "not
observed", one with fewer than ten matured "too few". Probes (mystery-shopper questions) are
excluded from a library's own rates and are read here, as the study of 42 libraries did it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from itertools import chain
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker import rates
from tracker.clock import day_bounds, utc_text, within_24h, zone
from tracker.figures import INCLUSIVE, RateCount
from tracker.fold import DAY
from tracker.models import ChannelPresence, Consultation, Library
from tracker.rollups import channels_asked
from tracker.stats import tally_all

QUALIFY_AT = Fraction(9, 10)
MINIMUM_MATURED = 10
PROBE = "probe"
SETTING = "consortium"  # of a library: true takes part, false refuses
JUDGED, TOO_FEW, NOT_OBSERVED = "judged", "too_few", "not_observed"


@dataclass(frozen=True, slots=True)
class Member:
    """What one library shows on one channel."""

    library: str
    name: str
    channel: str
    within: int
    matured: int
    pending: int

    @property
    def state(self) -> str:
        if self.matured == 0:
            return NOT_OBSERVED
        return JUDGED if self.matured >= MINIMUM_MATURED else TOO_FEW

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, with the library's own rate."""
        share = rates.wilson(self.within, self.matured)
        return {
            "library": self.library,
            "name": self.name,
            "channel": self.channel,
            "state": self.state,
            "within": self.within,
            "matured": self.matured,
            "pending": self.pending,
            "rate": share.rate,
            "low": share.low,
            "high": share.high,
        }


def consortium(
    session: Session,
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    libraries: Sequence[Library] | None = None,
    figure: str = INCLUSIVE,
    qualify_at: Fraction = QUALIFY_AT,
) -> dict[str, Any]:
    """Qualifying share, mean of library rates and pooled rate by channel, JSON-ready.

    `libraries` are those compared (default: those that take part, by their setting
    `consortium: true`). `figure` is the rate that is compared; the default is what a patron
    sees, an answer by bot or librarian within 24 h, as a probe from outside would see it.
    """
    compared = [*members(session)] if libraries is None else libraries
    found = list(_members(session, compared, start=start, end=end, at=at, figure=figure))
    channels = sorted({member.channel for member in found})
    pooled = {
        name: rates.consortium(
            [(m.within, m.matured) for m in found if m.channel == name],
            qualify_at=qualify_at,
            minimum=MINIMUM_MATURED,
        )
        for name in channels
    }
    return {
        "at": utc_text(at),
        "figure": figure,
        "qualify_at": float(qualify_at),
        "qualifying": {
            name: {
                **_fraction(item.qualifying),
                "too_few": item.too_few,
                "not_observed": item.not_observed,
            }
            for name, item in pooled.items()
        },
        "mean": {
            name: {
                "rate": item.mean_of_rates,
                "libraries": sum(m.matured > 0 for m in found if m.channel == name),
            }
            for name, item in pooled.items()
        },
        "pooled": {name: _fraction(item.pooled) for name, item in pooled.items()},
        "libraries": [member.as_dict() for member in found],
    }


def members(session: Session) -> list[Library]:
    """The libraries that take part in the comparison: those that have chosen to."""
    return [library for library in _all(session) if library.settings.get(SETTING) is True]


def not_refusing(session: Session) -> list[Library]:
    """All but those that have said no: for whoever runs the installation, not for members."""
    return [library for library in _all(session) if library.settings.get(SETTING) is not False]


def _all(session: Session) -> list[Library]:
    return list(session.scalars(select(Library).order_by(Library.slug)))


def published(result: dict[str, Any], *, below: int = rates.HIDE_BELOW_PUBLISHED) -> dict[str, Any]:
    """The comparison as it may leave the house: small cells hidden, and one more each."""
    rows = sorted({item["library"] for item in result["libraries"]})
    channels = sorted({item["channel"] for item in result["libraries"]})
    cells = {(item["library"], item["channel"]): item for item in result["libraries"]}
    table = [
        [cells[row, name]["matured"] if (row, name) in cells else 0 for name in channels]
        for row in rows
    ]
    shown = rates.suppress(table, below=below)
    hidden = {"within": None, "matured": None, "pending": None} | dict.fromkeys(
        ("rate", "low", "high")
    )
    libraries = [
        cells[row, name] | ({} if shown[i][j] is not None else hidden)
        for i, row in enumerate(rows)
        for j, name in enumerate(channels)
        if (row, name) in cells
    ]
    return {**result, "libraries": libraries}


def probes(
    session: Session,
    *,
    start: date | None = None,
    end: date | None = None,
    at: datetime,
    libraries: Sequence[Library] | None = None,
) -> dict[str, Any]:
    """By channel, the share of probed libraries that gave feedback within one day.

    One probe per library and channel, as in the study: the first of the period that has
    been observed for 24 hours. `with_channel` counts the libraries that have the channel.
    """
    compared = [*members(session)] if libraries is None else libraries
    first: dict[tuple[str, int], bool] = {}
    presence: dict[str, set[int]] = {}
    for library in compared:
        for row in _probes_of(session, library, start=start, end=end, at=at):
            answers = [moment for moment in (row.feedback_at, row.bot_at) if moment]
            met = within_24h(row.received_at, min(answers, default=None))
            first.setdefault((row.channel, library.id), met)
        for name in channels_of(session, library):
            presence.setdefault(name, set()).add(library.id)
    names = sorted({name for name, _ in first} | set(presence))
    return {
        name: {
            **_fraction(
                (
                    sum(met for (channel, _), met in first.items() if channel == name),
                    sum(channel == name for channel, _ in first),
                )
            ),
            "with_channel": len(presence.get(name, ())),
            "libraries": len(compared),
        }
        for name in names
    }


def channels_of(session: Session, library: Library) -> set[str]:
    """The channels that a library is known to have: entered, or asked on."""
    return _channels(session, [library]).get(library.id, set())


def _channels(session: Session, libraries: Sequence[Library]) -> dict[int, set[str]]:
    ids = [library.id for library in libraries]
    entered = select(ChannelPresence.library_id, ChannelPresence.channel).where(
        ChannelPresence.library_id.in_(ids)
    )
    found: dict[int, set[str]] = {}
    for owner, name in chain(session.execute(entered), channels_asked(session, libraries)):
        found.setdefault(owner, set()).add(name)
    return found


def _members(
    session: Session,
    libraries: Sequence[Library],
    *,
    start: date | None,
    end: date | None,
    at: datetime,
    figure: str,
) -> Iterator[Member]:
    blocks = tally_all(session, libraries, start=start, end=end, at=at)
    channels = _channels(session, libraries)
    for owner, name in blocks:
        channels.setdefault(owner, set()).add(name)
    for library in libraries:
        for name in sorted(channels.get(library.id, ())):
            block = blocks.get((library.id, name))
            count = block.shares[figure] if block else RateCount()
            yield Member(
                library.slug, library.name, name, count.within, count.matured, count.pending
            )


def _probes_of(
    session: Session, library: Library, *, start: date | None, end: date | None, at: datetime
) -> Iterable[Any]:
    tz = zone(library.timezone)
    query = select(
        Consultation.channel,
        Consultation.received_at,
        Consultation.feedback_at,
        Consultation.bot_at,
    ).where(
        Consultation.library_id == library.id,
        Consultation.excluded_reason == PROBE,
        Consultation.received_at <= at - DAY,
    )
    if start is not None:
        query = query.where(Consultation.received_at >= day_bounds(start, tz)[0])
    if end is not None:
        query = query.where(Consultation.received_at < day_bounds(end, tz)[1])
    return session.execute(query.order_by(Consultation.received_at, Consultation.id))


def _fraction(pair: tuple[int, int]) -> dict[str, Any]:
    share = rates.wilson(*pair)
    return {
        "numerator": pair[0],
        "denominator": pair[1],
        "rate": share.rate,
        "low": share.low,
        "high": share.high,
    }
