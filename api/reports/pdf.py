"""A report as PDF on A4, tagged for screen readers, with its fonts embedded.

Typst lays it out: one wheel with everything inside (docs/decisions). The texts reach it as
data, never as markup, so that nothing that somebody wrote can be read as an instruction.
"""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

import typst

from api.reports.cells import plain
from api.reports.content import Content, Table
from api.reports.fonts import LAYOUT, folder
from api.reports.html import shown


def write(content: Content, *, made_at: datetime) -> bytes:
    """The document. Raises FontsMissing."""
    made: bytes = typst.compile(
        str(LAYOUT / "report.typ"),
        root=str(LAYOUT),
        font_paths=[str(folder())],
        ignore_system_fonts=True,
        format="pdf",
        sys_inputs={"report": json.dumps(_cleaned(_data(content)), ensure_ascii=False)},
        timestamp=int(made_at.timestamp()),
    )
    return made


def _data(content: Content) -> dict[str, Any]:
    return {
        "language": content.language,
        "library": content.library,
        "title": content.title,
        "period": content.period,
        "state": content.state,
        "stamps": content.stamps,
        "opening": content.opening,
        "written": [asdict(content.problems), asdict(content.measures)],
        "headlines": [
            {
                "label": headline.label,
                "clock": headline.clock,
                "value": headline.value,
                "details": headline.details,
            }
            for headline in content.headlines
        ],
        "charts": [
            {
                "title": chart.title,
                "svg": chart.svg,
                "summary": chart.summary,
                "table": _table(chart.table),
            }
            for chart in content.charts
        ],
        "tables": [_table(table) for table in content.printed],
        "method": [asdict(passage) for passage in content.method],
        "headings": content.headings,
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "key": table.key,
        "title": table.title,
        "note": table.note,
        "head": table.head,
        "numeric": table.numeric,
        "has_total": table.has_total,
        "rows": [[shown(value) for value in row] for row in table.rows],
    }


def _cleaned(data: Any) -> Any:
    """The same data without letters that a document cannot hold."""
    if isinstance(data, str):
        return plain(data)
    if isinstance(data, dict):
        return {key: _cleaned(value) for key, value in data.items()}
    return [_cleaned(item) for item in data] if isinstance(data, list | tuple) else data
