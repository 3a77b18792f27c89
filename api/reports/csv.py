"""The rates of a report as CSV: one line per rate of a channel or week."""

import csv
import io

from api.reports.cells import cell
from api.reports.content import Content

COLUMNS = (
    "library", "period", "state", "scope", "channel", "week", "figure", "label",
    "within", "matured", "pending", "rate", "low", "high", "note",
)  # fmt: skip
MARK = "\ufeff"  # or spreadsheets read Chinese as something else


def write(content: Content) -> bytes:
    """The file, in UTF-8 with a byte-order mark. Rates are shares between 0 and 1."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for record in content.records:
        texts = (
            content.slug,
            content.period,
            content.state,
            record.scope,
            record.channel,
            record.week,
            record.figure,
            record.label,
        )
        numbers = (record.within, record.matured, record.pending)
        row = [cell(text) for text in texts]
        row += ["" if number is None else str(number) for number in numbers]
        writer.writerow([*row, record.rate, record.low, record.high, cell(record.note)])
    return (MARK + out.getvalue()).encode()
