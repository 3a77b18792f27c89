"""Which events a consultation's fold reads: its own, and those of all that was merged into it.

The same code reads them as they are now and as they were at an earlier instant.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker.fold import EventData, Kind, Stream
from tracker.models import Consultation, Event

_IDS_PER_QUERY = 500


class Opened(Protocol):
    """What came in: a Consultation or a row with these columns."""

    @property
    def id(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def opened_at(self) -> datetime: ...
    @property
    def opened_channel(self) -> str: ...


class Opening(NamedTuple):
    """The immutable part of a consultation's row."""

    id: int
    key: str
    opened_at: datetime
    opened_channel: str


OPENING = (
    Consultation.id,
    Consultation.key,
    Consultation.opened_at,
    Consultation.opened_channel,
)


def families(
    session: Session,
    library_id: int,
    consultations: Sequence[Opened],
    *,
    until: datetime | None = None,
) -> dict[str, list[Stream]]:
    """By key, what `fold` reads for each: its own stream first, then those merged into it.

    With `until`, what was received or happened later is left out.
    """
    members = {item.key: _opening(item) for item in consultations}
    members |= _descendants(session, library_id, list(members), until=until)
    events = _events(session, library_id, [item.id for item in members.values()], until=until)
    streams = {
        item.key: Stream(item.key, item.opened_at, item.opened_channel, events.get(item.id, []))
        for item in members.values()
    }
    merges = merges_among(streams)
    return {item.key: _related(item.key, streams, merges) for item in consultations}


class Merges(NamedTuple):
    """Who was merged into whom."""

    into: dict[str, str]
    from_: dict[str, list[str]]


def merges_among(streams: Mapping[str, Stream]) -> Merges:
    """The merges that the streams tell of, both ways."""
    into = {name: target for name, stream in streams.items() if (target := merged_into(stream))}
    found: dict[str, list[str]] = {}
    for name, target in into.items():
        found.setdefault(target, []).append(name)
    return Merges(into, found)


def family(key: str, streams: Mapping[str, Stream]) -> list[Stream]:
    """The streams that end in `key` by way of merges, its own first.

    Merges in a circle, which only imported history can hold, end at the earliest receipt.
    """
    return _related(key, streams, merges_among(streams))


def _related(key: str, streams: Mapping[str, Stream], merges: Merges) -> list[Stream]:
    if key not in merges.from_:
        return [streams[key]]
    own = streams[key]
    circle = _circle(key, merges.into)
    if circle:
        if key != min(circle, key=lambda name: (streams[name].opened_at, name)):
            return [own]
        own = own._replace(events=[e for e in own.events if e.kind != Kind.MERGED])
    found, seen, ahead = [own], {key}, [key]
    while ahead:
        for name in sorted(merges.from_.get(ahead.pop(), ())):
            if name not in seen:
                seen.add(name)
                ahead.append(name)
                found.append(streams[name])
    return found


def merged_into(stream: Stream) -> str | None:
    """The key of the consultation that a stream was merged into, by its earliest merge."""
    merges = [
        (event.at, into)
        for event in stream.events
        if event.kind == Kind.MERGED and event.data and (into := event.data.get("into"))
    ]
    targets = sorted(item for item in merges if item[1] != stream.key)
    return targets[0][1] if targets else None


def _circle(key: str, links: Mapping[str, str]) -> list[str]:
    """The merges that lead from `key` back to it; empty if they lead elsewhere."""
    path, at = [key], links.get(key)
    while at is not None and at not in path:
        path.append(at)
        at = links.get(at)
    return path if at == key else []


def _opening(item: Opened) -> Opening:
    return Opening(item.id, item.key, item.opened_at, item.opened_channel)


def _descendants(
    session: Session, library_id: int, keys: Sequence[str], *, until: datetime | None
) -> dict[str, Opening]:
    found: dict[str, Opening] = {}
    ahead = list(keys)
    while ahead:
        batch, ahead = ahead[:_IDS_PER_QUERY], ahead[_IDS_PER_QUERY:]
        query = select(*OPENING).where(
            Consultation.library_id == library_id, Consultation.merged_into.in_(batch)
        )
        if until is not None:
            query = query.where(Consultation.opened_at <= until)
        for row in session.execute(query):
            if row.key not in found:
                found[row.key] = Opening._make(row)
                ahead.append(row.key)
    return found


def _events(
    session: Session, library_id: int, ids: Iterable[int], *, until: datetime | None
) -> dict[int, list[EventData]]:
    found: dict[int, list[EventData]] = {}
    ordered_ids = sorted(set(ids))
    for start in range(0, len(ordered_ids), _IDS_PER_QUERY):
        query = select(
            Event.consultation_id, Event.kind, Event.at, Event.by, Event.text, Event.data
        ).where(
            Event.library_id == library_id,
            Event.consultation_id.in_(ordered_ids[start : start + _IDS_PER_QUERY]),
        )
        if until is not None:
            query = query.where(Event.at <= until)
        for row in session.execute(query):
            found.setdefault(row[0], []).append(EventData(*row[1:]))
    return found
