"""A report in one language, before any file format: every format writes the same content."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Amount:
    """A number: as people read it, and as a spreadsheet calculates with it."""

    shown: str
    value: int | float | None = None  # None: no number, such as "too few to judge"
    is_share: bool = False  # between 0 and 1, read as a percentage


Cell = str | Amount


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings. A row that sums up the others stands last."""

    key: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    has_total: bool = False
    is_wide: bool = False  # for spreadsheets only: too many columns for a page

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Of each column, whether it holds numbers."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.head)
        return tuple(any(isinstance(cell, Amount) for cell in column) for column in columns)


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture with its table, and a sentence for those who see neither."""

    title: str
    svg: str
    summary: str
    table: Table


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the two rates that the report is about, with all that must stand beside it."""

    figure: str  # a figure of tracker.stats
    label: str
    clock: str
    value: str
    details: tuple[str, ...]  # counts, interval, pending, change, correction
    worth: Amount


@dataclass(frozen=True, slots=True)
class Passage:
    """A heading and what stands under it."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Content:
    """All that a report says, in the order in which it says it."""

    language: str
    library: str
    slug: str
    title: str
    period: str
    state: str  # preliminary, final or sealed
    stamps: tuple[str, ...]  # how final the figures are, and as of when
    opening: tuple[str, str]  # two sentences, ready to be pasted
    problems: Passage
    measures: Passage
    headlines: tuple[Headline, ...]
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]
    method: tuple[Passage, ...]
    cases: Table | None  # None where the report is to be published
    headings: dict[str, str]
    records: tuple["Record", ...]

    def table(self, key: str) -> Table | None:
        """The table of that name, if this report has it."""
        return next((table for table in self.tables if table.key == key), None)

    @property
    def printed(self) -> Sequence[Table]:
        """The tables that fit on a page."""
        return [table for table in self.tables if not table.is_wide]


@dataclass(frozen=True, slots=True)
class Record:
    """One rate of one channel and stretch of time, for programs: a line of the CSV file."""

    scope: str  # total, channel or week
    channel: str
    week: str
    figure: str
    label: str
    within: int | None
    matured: int | None
    pending: int | None
    rate: str
    low: str
    high: str
    note: str
